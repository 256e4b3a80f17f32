import { describe, expect, it } from 'vitest';
import { type GgufTokenizerMetadata, ggufTokenizer } from '../../lib/text/gguf-tokenizer.js';
import { SEED } from '../support/seed.js';
import { goldenMetadata, random } from './support.js';

const TEXT = { addSpecialTokens: false, parseSpecialTokens: false };
async function tokensOf(metadata: GgufTokenizerMetadata, text: string): Promise<string[]> {
  const tokenizer = await ggufTokenizer(metadata);
  return (await tokenizer.encode(text, TEXT)).map((id) => tokenizer.idToToken(id) as string);
}

describe('unigram', () => {
  const tokens = ['</s>', '<unk>', '_', 'a', 'b', '_a', 'ab', '__'];
  const base: GgufTokenizerMetadata = {
    model: 't5',
    tokens: tokens.map((token) => token.replaceAll('_', '\u2581')),
    scores: [0, 0, -3, -2, -2, -3.5, -2.5, -3.2],
    token_type: [3, 2, 1, 1, 1, 1, 1, 1],
    eos_token_id: 0,
  };
  const cut = async (text: string, more: GgufTokenizerMetadata = {}) =>
    (await tokensOf({ ...base, ...more }, text)).join(' ').replaceAll('\u2581', '_');

  it('takes the likeliest of all ways, unknown characters together', async () => {
    expect(await cut('ab')).toBe('_ ab');
    expect(await cut('a')).toBe('_a');
    expect(await cut('ba')).toBe('_ b a');
    expect(await cut('xyza')).toBe('_ <unk> a');
    expect(await cut('')).toBe('');
  });

  it('puts a space in front, and merges and drops spaces, only where the file says so', async () => {
    expect(await cut('a', { add_space_prefix: false })).toBe('a');
    expect(await cut('  a  a ')).toBe('__ _a __ a _');
    const single = { remove_extra_whitespaces: true };
    expect(await cut('  a  a ', single)).toBe('_a _a');
    expect(await cut('   ', single)).toBe('');
    expect(await cut('a\u2581 \u2581', single)).toBe('_a');
    expect(await cut(`a${' '.repeat(5000)}a`, single)).toBe('_a _a');
  });

  it('is the same for parts of a text as for all of it', async () => {
    const next = random(SEED);
    const parts = ['a', 'b', 'ab', ' ', '  ', 'x', '\u2581'];
    // Two spaces as one token would leave two ways that are as likely.
    const scores = [...Array.from(base.scores ?? []).slice(0, 7), -20];
    // A token that goes across a space keeps the text whole; this one no text has.
    const across = {
      tokens: [...(base.tokens ?? []), 'q\u2581'],
      scores: [...scores, -20],
      token_type: [...Array.from(base.token_type ?? []), 1],
    };
    const apart = await ggufTokenizer({ ...base, scores });
    const whole = await ggufTokenizer({ ...base, ...across });
    for (let round = 0; round < 300; round++) {
      const text = Array.from({ length: 12 }, () => parts[Math.floor(next() * 7)]).join('');
      expect(await apart.encode(text), text).toEqual(await whole.encode(text));
    }
  });

  it('shows what it does not know, and writes bytes where it has them', async () => {
    const plain = await ggufTokenizer(base);
    expect(await plain.decode([3, 1, 4], { skipSpecialTokens: false })).toBe('a \u2047 b');
    const bytes = Array.from(
      { length: 256 },
      (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
    );
    const more = {
      tokens: [...(base.tokens ?? []), ...bytes],
      scores: [...Array.from(base.scores ?? []), ...bytes.map(() => 0)],
      token_type: [...Array.from(base.token_type ?? []), ...bytes.map(() => 6)],
    };
    expect(await cut('é', more)).toBe('_ <0xC3> <0xA9>');
    const tokenizer = await ggufTokenizer({ ...base, ...more });
    expect(await tokenizer.decode(await tokenizer.encode('a éb'))).toBe('a éb');
  });
});

describe('WordPiece', () => {
  const base: GgufTokenizerMetadata = {
    model: 'bert',
    tokens: [
      '[CLS]',
      '[SEP]',
      '[UNK]',
      '_the',
      's',
      '_The',
      '_caf\u00e9',
      '_cafe',
      '_,',
      '_中',
    ].map((token) => token.replace('_', '\u2581')),
    token_type: [3, 3, 3, 1, 1, 1, 1, 1, 1, 1],
    bos_token_id: 0,
    seperator_token_id: 1,
    unknown_token_id: 2,
  };
  it('lowers case and strips accents unless the file says otherwise', async () => {
    const text = 'The thes,中 Caf\u00e9 [SEP]x';
    const unknown = ['[UNK]', '[UNK]', '[UNK]'];
    expect(await tokensOf(base, text)).toEqual([
      ...['the', 'the', '##s', ',', '中', 'cafe', '[UNK]', '[UNK]', '[UNK]', '[UNK]'],
    ]);
    const cased = { ...base, 'normalizer.lowercase': false };
    expect(await tokensOf(cased, 'The the caf\u00e9')).toEqual(['The', 'the', 'caf\u00e9']);
    const both = { ...cased, 'normalizer.strip_accents': true };
    expect(await tokensOf(both, 'The caf\u00e9')).toEqual(['The', 'cafe']);
    expect(await tokensOf(base, 'thex thx x')).toEqual(unknown);
  });
  it('joins words by spaces', async () => {
    expect(await (await ggufTokenizer(base)).decode([0, 3, 4, 8, 9, 1])).toBe('thes , 中');
  });
  it('gives a very long word up', async () => {
    expect(await tokensOf(base, `the${'s'.repeat(98)}`)).toEqual(['[UNK]']);
  });
});

describe('Gemma 4', () => {
  it('keeps a run of line ends that is a token whole, and writes bytes', async () => {
    const metadata = goldenMetadata('gemma4');
    expect(await tokensOf(metadata, 'a\n\n\nb')).toContain('\n\n\n');
    expect(await tokensOf(metadata, '\u{1f40b}')).toEqual(['<0xF0>', '<0x9F>', '<0x90>', '<0x8B>']);
  });
});
