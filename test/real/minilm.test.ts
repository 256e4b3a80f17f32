/** A real encoder beside sentence-transformers: ids exactly, vectors to rounding. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LLM } from '../../lib/index.js';
import { ROOT } from '../support/addon.js';
import { ALL } from '../support/all.js';
import { miniLm } from '../support/real-model.js';

interface Item {
  readonly text: string;
  readonly tokenIds: number[];
  readonly vector: number[];
}

const REFERENCE = join(ROOT, '..', 'shared', 'models', 'real', 'minilm.json');
const isThere = ALL && existsSync(REFERENCE);
if (ALL && !isThere) console.log(`skipped, all-MiniLM-L6-v2: there is no ${REFERENCE}`);
const model = isThere ? miniLm() : undefined;
const items: Item[] = isThere ? JSON.parse(readFileSync(REFERENCE, 'utf8')).items : [];
const texts = items.map(({ text }) => text);

/** Of vectors of length 1: the largest difference of a value, and the smallest cosine. */
function distance(ours: readonly Float32Array[]) {
  let [largest, cosine] = [0, 1];
  for (const [i, { vector }] of items.entries()) {
    vector.forEach((value, j) => {
      largest = Math.max(largest, Math.abs(value - ours[i][j]));
    });
    cosine = Math.min(
      cosine,
      vector.reduce((sum, value, j) => sum + value * ours[i][j], 0),
    );
  }
  return { largest, cosine };
}

describe.runIf(model)('all-MiniLM-L6-v2', () => {
  describe('in float32', () => {
    let llm: LLM;
    beforeAll(async () => {
      llm = await LLM.load({ model, activations: 'f32' });
    });
    afterAll(() => llm.close());

    it('reads texts as the reference does', async () => {
      expect(items.length).toBe(30);
      for (const { text, tokenIds } of items) {
        const ids = await llm.tokenizer.encode(text);
        // The reference ends at 256 tokens, its [SEP] among them.
        const cut = ids.length > 256 ? [...ids.slice(0, 255), ids.at(-1)!] : ids;
        expect(Array.from(cut), text).toEqual(tokenIds);
      }
    });

    it('gives its vectors, in a list and alone', async () => {
      const all = await llm.embed(texts, { truncate: true });
      expect(all.map(({ numPromptTokens }) => numPromptTokens)).toEqual(
        items.map((i) => i.tokenIds.length),
      );
      const { largest } = distance(all.map(({ embedding }) => embedding));
      console.log(`float32: values err by ${largest.toExponential(1)} at most`);
      expect(largest).toBeLessThan(1e-5);
      for (const [i, text] of texts.entries()) {
        const one = await llm.embed(text, { truncate: true });
        expect(one.embedding).toEqual(all[i].embedding);
      }
    });
  });

  it('is close with weights of eight bits', async () => {
    await using llm = await LLM.load({ model, quantize: 'q8_0' });
    const all = await llm.embed(texts, { truncate: true });
    const { largest, cosine } = distance(all.map(({ embedding }) => embedding));
    console.log(`q8_0: values err by ${largest.toExponential(1)}, cosine ${cosine.toFixed(4)}`);
    expect(cosine).toBeGreaterThan(0.995);
  });
});
