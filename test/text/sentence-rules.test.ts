import { describe, expect, it } from 'vitest';
import { ggufTokenizer } from '../../lib/text/gguf-tokenizer.js';
import { SentenceRules } from '../../lib/text/sentence-rules.js';
import { watchEventLoop } from '../support/event-loop.js';
import { SEED } from '../support/seed.js';
import { goldenMetadata, random } from './support.js';

/** Rules of the golden `unigram-normalised`. */
const RULES = new Map([
  ...([
    ['\ufb01', 'fi'],
    ['\u00bd', '1\u20442'],
    ['\u2163', 'IV'],
    ['\u200b', ''],
  ] as const),
  ...([
    ['\u00a0', ' '],
    ['\n', ' '],
    ['\u2026', '...'],
    ['e\u0301', '\u00e9'],
  ] as const),
  ...Array.from({ length: 94 }, (_, i) => {
    return [String.fromCharCode(0xff01 + i), String.fromCharCode(0x21 + i)] as const;
  }),
]);
const bytes = Uint8Array.from(goldenMetadata('unigram-normalised').precompiled_charsmap ?? []);
const TOKENS = [
  { content: '</s>', special: true },
  { content: '<w\u2026>', special: false },
];

function naively(text: string): string {
  let out = '';
  const chars = Array.from(text);
  for (let i = 0; i < chars.length; i++) {
    const pair = chars[i] + (chars[i + 1] ?? '');
    if (pair.length > chars[i].length && RULES.has(pair)) {
      out += RULES.get(pair);
      i++;
    } else out += RULES.get(chars[i]) ?? chars[i];
  }
  return out;
}

describe('compiled rules', () => {
  it('replace the longest key at each place', async () => {
    const rules = new SentenceRules(bytes, []);
    const next = random(SEED);
    const parts = [...RULES.keys(), 'a', 'e', '\u0301', '\u0301', '中', '\u{1f40b}', 'é', ' '];
    for (let round = 0; round < 500; round++) {
      const text = Array.from(
        { length: Math.floor(next() * 30) },
        () => parts[Math.floor(next() * parts.length)],
      ).join('');
      const { text: got, marked } = await rules.apply(text, text);
      expect(got, JSON.stringify(text)).toBe(naively(text));
      expect(marked).toBe('\0'.repeat(got.length));
    }
  });

  it('leave tokens as they are, special ones where they are meant', async () => {
    const rules = new SentenceRules(bytes, TOKENS);
    const text = '\u2026</s><w\u2026>\u2026</s>';
    const meant = { text: '...</s><w\u2026>...</s>', marked: '\0\0\0</s><w\u2026>\0\0\0</s>' };
    expect(await rules.apply(text, text)).toEqual(meant);
    const partly = await rules.apply(text, text.replace(/<\/s>$/, '(/s)'));
    expect(partly.marked).toBe('\0\0\0</s><w\u2026>\0\0\0\0\0\0\0');
    expect((await rules.apply(text, null)).marked).toBe(
      `${'\0'.repeat(7)}<w\u2026>${'\0'.repeat(7)}`,
    );
  });

  it('spell no control token that the text has not', async () => {
    const tokenizer = await ggufTokenizer(goldenMetadata('unigram-normalised'));
    const wide = '\uff1c\uff0fs\uff1e';
    const plain = await tokenizer.encode('</s>', { parseSpecialTokens: false });
    expect(plain.filter((id) => id === 1)).toEqual([1]); // the one at the end
    expect(await tokenizer.encode(wide)).toEqual(plain);
    expect(await tokenizer.encode('</s>')).toEqual([1, 1]);
  });

  it('refuse rules that are damaged, naming the file', async () => {
    const metadata = { ...goldenMetadata('unigram-normalised'), precompiled_charsmap: [1, 2, 3] };
    await expect(ggufTokenizer(metadata, 'my.gguf')).rejects.toMatchObject({
      code: 'ERR_TOKENIZER',
      param: 'my.gguf',
      message: expect.stringContaining('charsmap'),
    });
  });

  it('give the event loop its turns', async () => {
    const rules = new SentenceRules(bytes, TOKENS);
    const text = 'e\u0301\uff01</s> '.repeat(100_000);
    const { value, turns } = await watchEventLoop(() => rules.apply(text, text));
    expect(value.text).toBe('\u00e9!</s> '.repeat(100_000));
    expect(turns).toBeGreaterThan(10);
  });
});
