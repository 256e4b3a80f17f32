import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { byteTokens, tokenBytes } from '../../lib/text/token-bytes.js';
import { Tokenizer } from '../../lib/text/tokenizer.js';
import { ROOT } from '../support/addon.js';

const fixture = (path: string) => readFileSync(join(ROOT, path), 'utf8');

async function spelled(tokenizer: Tokenizer, ids: readonly number[]): Promise<string> {
  const { bytes, offsets } = await tokenBytes(tokenizer, tokenizer.vocabSize + 3);
  const parts = ids.map((id) => bytes.subarray(offsets[id], offsets[id + 1]));
  return Buffer.concat(parts).toString();
}

const TEXT = 'Grüße, "quoted"\n\t{ "a": [1, 2] }  日本語 🎉 naïve­soft';

/** A tokenizer.json with byte fallback, as SentencePiece's become. */
function sentencePiece(): string {
  const words = ['<unk>', '<s>', '</s>', ...Array.from({ length: 256 }, (_, b) => byte(b))];
  words.push('▁', 'a', '▁a', 'b', '{', '▁{', '"');
  const vocab = Object.fromEntries(words.map((word, i) => [word, i]));
  return JSON.stringify({
    version: '1.0',
    added_tokens: words.slice(0, 3).map((content, id) => ({
      ...{ id, content, special: true },
      ...{ single_word: false, lstrip: false, rstrip: false, normalized: false },
    })),
    normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    pre_tokenizer: null,
    post_processor: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      ...{ type: 'BPE', dropout: null, unk_token: '<unk>', fuse_unk: true, byte_fallback: true },
      ...{ continuing_subword_prefix: null, end_of_word_suffix: null, ignore_merges: false },
      vocab,
      merges: ['▁ a', '▁ {'],
    },
  });
}
const byte = (b: number) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`;

describe('bytes of tokens', () => {
  it('of a byte-level vocabulary spell a text again, whatever its tokens', async () => {
    const tokenizer = Tokenizer.fromJson(fixture('models/octavo-demo/tokenizer.json'));
    const ids = await tokenizer.encode(TEXT, { addSpecialTokens: false });
    expect(await spelled(tokenizer, ids)).toBe(TEXT);
    expect(byteTokens(await tokenBytes(tokenizer, tokenizer.vocabSize))).not.toContain(-1);
  });

  it('of a SentencePiece vocabulary keep the space in front, and bytes as they are', async () => {
    const tokenizer = Tokenizer.fromJson(sentencePiece());
    const ids = await tokenizer.encode('é a{ {"', { addSpecialTokens: false });
    expect(await spelled(tokenizer, ids)).toBe('é a{ {"');
    const a = tokenizer.tokenToId('▁a')!;
    expect(await spelled(tokenizer, [a, a])).toBe(' a a');
    const bytes = byteTokens(await tokenBytes(tokenizer, tokenizer.vocabSize));
    expect(bytes[0xe9]).toBe(tokenizer.tokenToId(byte(0xe9)));
    expect(bytes).not.toContain(-1);
  });

  it('special tokens and ids without a token have none', async () => {
    const tokenizer = Tokenizer.fromJson(sentencePiece());
    const { offsets } = await tokenBytes(tokenizer, tokenizer.vocabSize + 3);
    const length = (id: number) => offsets[id + 1] - offsets[id];
    expect([0, 1, 2].map(length)).toEqual([0, 0, 0]);
    expect(length(tokenizer.vocabSize + 1)).toBe(0);
    expect(offsets).toHaveLength(tokenizer.vocabSize + 4);
  });
});
