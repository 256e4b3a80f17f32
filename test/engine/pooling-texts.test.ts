import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { Deadline } from '../../lib/engine/deadline.js';
import { openTokenizer } from '../../lib/engine/load.js';
import { type LengthWish, TextEncoder } from '../../lib/engine/pooling-texts.js';
import { QuestionForm } from '../../lib/engine/scoring.js';
import { ROOT } from '../support/addon.js';
import { codeOf } from '../support/code-of.js';

const GOLDENS = join(ROOT, 'test', 'fixtures', 'embeddings');
const CASES = readdirSync(GOLDENS).sort();

interface Golden {
  readonly max_seq_length: number;
  readonly texts?: string[];
  readonly pairs?: [string, string][];
  readonly how?: string;
  readonly token_ids: number[][];
  readonly token_type_ids?: number[][];
  readonly truncated?: number[];
  readonly prompts?: Record<string, { prompt: string; token_ids: number[][] }>;
  readonly template?: { prefix: string; body: string; suffix: string; instruction: string };
}

const VOCAB = { vocabSize: 2 ** 20, hasTokenTypes: true };

describe.each(CASES)('%s', (name) => {
  const golden = JSON.parse(readFileSync(join(GOLDENS, name, 'golden.json'), 'utf8')) as Golden;
  const wish: LengthWish = { maxTokens: golden.max_seq_length, truncate: true };
  const opened = openTokenizer(join(GOLDENS, name)).then(
    (tokenizer) => new TextEncoder(tokenizer, { ...VOCAB, maxSeqLength: golden.max_seq_length }),
  );

  it('gives the reference ids, cut where the reference cut', async () => {
    const encoder = await opened;
    const cut: number[] = [];
    for (const [i, text] of (golden.texts ?? []).entries()) {
      const encoded = await encoder.encode(encoder.check(text, wish), wish);
      expect(Array.from(encoded.tokenIds), `text ${i}`).toEqual(golden.token_ids[i]);
      if (encoded.isTruncated) cut.push(i);
    }
    if (golden.truncated) expect(cut).toEqual(golden.truncated);
    const texts = (golden.texts ?? []).map((text) => encoder.check(text, wish));
    for (const [i, known] of await encoder.prepare(texts, wish)) {
      const { tokenIds } = await encoder.encode(texts[i], wish, known);
      expect(Array.from(tokenIds), `text ${i} among others`).toEqual(golden.token_ids[i]);
    }
    for (const { prompt, token_ids } of Object.values(golden.prompts ?? {})) {
      const front = { text: prompt, isAsked: true };
      for (const [i, ids] of token_ids.entries()) {
        const text = encoder.check(golden.texts![i], wish, front);
        expect(Array.from((await encoder.encode(text, wish)).tokenIds)).toEqual(ids);
      }
    }
  });

  it('gives the reference ids and types of pairs', async () => {
    const encoder = await opened;
    const { template } = golden;
    for (const [i, [query, document]] of (golden.pairs ?? []).entries()) {
      const text =
        template === undefined
          ? { whole: { text: query, pair: document } }
          : (
              await QuestionForm.of(
                {
                  query,
                  instruction: template.instruction,
                  template: template.prefix + template.body + template.suffix,
                },
                encoder.tokenizer,
                wish.maxTokens,
                new Deadline(),
              )
            ).about(document);
      const { tokenIds, tokenTypes } = await encoder.encode(text, wish);
      expect(Array.from(tokenIds), `pair ${i}`).toEqual(golden.token_ids[i]);
      const types = golden.token_type_ids?.[i];
      if (types !== undefined) expect(tokenTypes).toEqual(types);
    }
  });

  it('refuses what is too long, or cuts it to less', async () => {
    const encoder = await opened;
    const long = golden.texts?.find((text) => text.length > 2000);
    if (long === undefined) return;
    const refusing = { ...wish, truncate: false };
    const refused = encoder.encode(encoder.check(long, refusing), refusing);
    expect(await codeOf(refused)).toBe('ERR_PROMPT_TOO_LONG');
    const few = { maxTokens: 5, truncate: true };
    const { tokenIds, isTruncated } = await encoder.encode(encoder.check(long, few), few);
    const whole = golden.token_ids[golden.texts!.indexOf(long)];
    expect([tokenIds.length, isTruncated]).toEqual([5, true]);
    expect(tokenIds[0]).toBe(whole[0]);
    // A text without end is not read to its end for it.
    const endless = await encoder.encode(encoder.check(long.repeat(1000), wish), wish);
    expect(Array.from(endless.tokenIds)).toEqual(whole);
  });
});

describe('ids that are too many', () => {
  const ids = { promptTokenIds: [9, 9, 9, 9, 9, 3] };
  const wish = { maxTokens: 4, truncate: true };

  async function opened() {
    const tokenizer = await openTokenizer(join(GOLDENS, 'bert-mean'));
    const encoder = new TextEncoder(tokenizer, { ...VOCAB, maxSeqLength: 99 });
    const cut = async () =>
      Array.from((await encoder.encode(encoder.check(ids, wish), wish)).tokenIds);
    return { tokenizer, cut };
  }

  it('keep what the tokenizer puts at the end, also after it has failed once', async () => {
    const { tokenizer, cut } = await opened();
    const encode = vi.spyOn(tokenizer, 'encodeWhole').mockRejectedValueOnce(new Error('no'));
    await expect(cut()).rejects.toThrow('no');
    expect(await cut()).toEqual([9, 9, 9, 3]);
    const numCalls = encode.mock.calls.length;
    expect(await cut()).toEqual([9, 9, 9, 3]);
    expect(encode.mock.calls.length).toBe(numCalls);
  });

  it('are cut alone where the tokenizer makes nothing of a letter', async () => {
    const { tokenizer, cut } = await opened();
    vi.spyOn(tokenizer, 'encodeWhole').mockImplementation(
      async (_, { addSpecialTokens = true }) => ({
        ids: addSpecialTokens ? [9, 3] : [],
        isTruncated: false,
      }),
    );
    expect(await cut()).toEqual([9, 9, 9, 9]);
  });
});
