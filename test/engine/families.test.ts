import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../lib/model/checkpoint.js';
import { interpret } from '../reference/spec-interpreter.js';
import { ROOT } from '../support/addon.js';
import { someOf } from '../support/all.js';
import { FOLDED, type GoldenPrompt, readF32Tensors, rowError } from '../support/goldens.js';
import { readWeights } from '../support/weights.js';

/**
 * What lib/model reads out of a family's files, run by the interpreter: the record says what the
 * family does, whatever the engine makes of it. (The engine: goldens.test.ts.)
 */

const FIXTURES = join(ROOT, 'test', 'fixtures');
const fixtures = (folder: string) => readdirSync(join(FIXTURES, folder));
// Of Llama and its nearest relatives, which differ in numbers, two.
const NEAREST = /^(llama|mistral|qwen[23]($|-yarn))/;
const FAMILIES = ['llama-gqa', 'qwen3', ...fixtures('models').filter((n) => !NEAREST.test(n))];
const files = fixtures('gguf').flatMap((file) => /^(.+)\.gguf$/.exec(file)?.[1] ?? []);
const GGUF = ['llama-f16', 'qwen3', ...files.filter((n) => !NEAREST.test(n) && !/-q4/.test(n))];

const cases = [
  ...FAMILIES.map((name) => {
    const folder = join(FIXTURES, 'models', name);
    return {
      name,
      model: folder,
      golden: join(folder, 'golden.json'),
      rows: join(folder, 'logits.safetensors'),
    };
  }),
  ...GGUF.map((name) => {
    const base = join(FIXTURES, 'gguf', name);
    return {
      name: `gguf ${name}`,
      model: `${base}.gguf`,
      golden: `${base}.golden.json`,
      rows: `${base}.logits.safetensors`,
    };
  }),
];

describe.each(someOf(cases, 8))('$name as a record', ({ name, model, golden, rows }) => {
  it('gives the reference logits and tokens to the noise of float32', async () => {
    const { prompts, reference_noise = 0 } = JSON.parse(readFileSync(golden, 'utf8')) as {
      prompts: GoldenPrompt[];
      reference_noise?: number;
    };
    const expected = readF32Tensors(rows);
    const { spec, files, tensors } = await openCheckpoint(model);
    const weights = readWeights(files, tensors);
    let worst = 0;
    prompts.forEach((prompt, i) => {
      const { prompt_token_ids: asked, greedy_token_ids: greedy } = prompt;
      const ids = [...asked, ...greedy];
      const long = spec.longRopeFrom !== undefined && ids.length > spec.longRopeFrom;
      const ours = interpret(spec, weights, ids, { long });
      const { data } = expected.get(`logits.${i}`)!;
      prompt.logits_positions.forEach((position, j) => {
        const theirs = data.subarray(j * spec.vocabSize, (j + 1) * spec.vocabSize);
        worst = Math.max(worst, rowError(Float32Array.from(ours[position]), theirs));
      });
      const chosen = greedy.map((_, j) => {
        const row = ours[asked.length - 1 + j];
        return row.indexOf(Math.max(...row));
      });
      expect(chosen).toEqual(greedy);
    });
    const most = name === `gguf ${FOLDED.gguf}` ? FOLDED.rowError : 2 * reference_noise;
    expect(worst).toBeLessThanOrEqual(Math.max(2e-5, most));
  });
});
