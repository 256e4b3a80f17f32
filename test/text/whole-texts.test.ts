import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Encoding, Tokenizer as Library } from 'tokenizers';
import { describe, expect, it } from 'vitest';
import { ggufTokenizer } from '../../lib/text/gguf-tokenizer.js';
import { Tokenizer } from '../../lib/text/tokenizer.js';
import { longestFirst } from '../../lib/text/whole-texts.js';
import { codeOf } from '../support/code-of.js';
import { SEED } from '../support/seed.js';
import { goldenMetadata, random } from './support.js';

const MODELS = fileURLToPath(new URL('../fixtures/embeddings/', import.meta.url));
const jsonOf = (name: string) => readFileSync(`${MODELS}${name}/tokenizer.json`, 'utf8');
const draw = random(SEED);
const WORDS = ['whale', 'sea', 'naïve', '日本', '👍🏽', ' ', '[SEP]', '</s>', '.', 'Congress', 'x'];
const words = (most: number) =>
  Array.from({ length: Math.floor(draw() * most) }, () => WORDS[Math.floor(draw() * WORDS.length)]);

type Cut = Pick<Encoding, 'getIds' | 'getTypeIds'>;
const idsOf = (cut: Cut) => cut.getIds();
const typesOf = (cut: Cut) => cut.getTypeIds();

/**
 * How the library cuts a pair, and the same with a token more of one text and less of the other:
 * where both are long, it gives an odd token to the one that it has read further.
 */
function fairCut(cut: Encoding, whole: Encoding): Cut[] {
  const sources = whole.getSequenceIds();
  const numOf = (which: number) => cut.getSequenceIds().filter((s) => s === which).length;
  const [first, second] = [numOf(0), numOf(1)];
  if (Math.abs(first - second) !== 1) return [cut];
  const left = [second, first];
  const kept = sources.map((s) => (s !== 0 && s !== 1 ? true : left[s]-- > 0));
  return [
    cut,
    {
      getIds: () => whole.getIds().filter((_, i) => kept[i]),
      getTypeIds: () => whole.getTypeIds().filter((_, i) => kept[i]),
    },
  ];
}

describe.each([
  ...['bert-rank', 'xlmr-rank', 'modernbert-rank', 'qwen3-embedding', 'embeddinggemma'],
  'llama-classify-1',
])('%s', (name) => {
  const json = jsonOf(name);

  it('cuts as the library does, and special tokens stay', async () => {
    const tokenizer = Tokenizer.fromJson(json);
    const library = Library.fromString(json);
    for (let round = 0; round < 60; round++) {
      const text = words(30).join(' ');
      const pair = draw() < 0.6 ? words(30).join(' ') : undefined;
      const maxTokens = 4 + Math.floor(draw() * 60);
      library.setTruncation(maxTokens, { strategy: 'LongestFirst' as never });
      const encoding = await library.encode(text, pair ?? null);
      const cut = await tokenizer.encodeWhole({ text, pair }, { maxTokens, truncate: true });
      const what = JSON.stringify([text, pair, maxTokens]);
      library.disableTruncation();
      const whole = await library.encode(text, pair ?? null);
      expect(cut.isTruncated, what).toBe(whole.getLength() > maxTokens);
      const wanted = pair !== undefined && cut.isTruncated ? fairCut(encoding, whole) : [encoding];
      expect(wanted.map(idsOf), what).toContainEqual(cut.ids);
      const types = wanted.filter((one) => String(idsOf(one)) === String(cut.ids)).map(typesOf);
      if (pair !== undefined) expect(types, what).toContainEqual(cut.types);
      const refusing = tokenizer.encodeWhole({ text, pair }, { maxTokens, truncate: false });
      expect(await codeOf(refusing), what).toBe(
        cut.isTruncated ? 'ERR_PROMPT_TOO_LONG' : 'no error',
      );
    }
  });

  it('refuses a length that special tokens alone exceed', async () => {
    const tokenizer = Tokenizer.fromJson(json);
    const added = (await tokenizer.encodeWhole({ text: '' }, { maxTokens: 9, truncate: false }))
      .ids;
    const options = { maxTokens: added.length - 1, truncate: true };
    if (added.length === 0) return;
    expect(await codeOf(tokenizer.encodeWhole({ text: 'a' }, options))).toBe('ERR_PROMPT_TOO_LONG');
    expect(await codeOf(tokenizer.encodeWhole({ text: 'a', pair: 'b' }, options))).toBe(
      'ERR_PROMPT_TOO_LONG',
    );
  });
});

describe('special tokens that a tokenizer_config.json asks for', () => {
  const config = { bos_token: '<|im_start|>', eos_token: '<|im_end|>' };
  const both = { ...config, add_bos_token: true, add_eos_token: true };
  const tokenizer = Tokenizer.fromJson(jsonOf('qwen3-reranker'), both);
  const [bos, eos] = [tokenizer.bosTokenId, tokenizer.eosTokenId];

  it('stand around a text and both of a pair, and are never cut', async () => {
    const plain = await tokenizer.encode('whale', { addSpecialTokens: false });
    const of = async (pair: string | undefined, maxTokens: number) =>
      (await tokenizer.encodeWhole({ text: 'whale', pair }, { maxTokens, truncate: true })).ids;
    expect(await of(undefined, 99)).toEqual([bos, ...plain, eos]);
    expect(await of('whale', 99)).toEqual([bos, ...plain, eos, bos, ...plain, eos]);
    expect(await of('', 99)).toEqual([bos, ...plain, eos, bos, eos]);
    expect(await of(undefined, 4)).toEqual([bos, ...plain.slice(0, 2), eos]);
    expect(await of('whale', 7)).toEqual([bos, plain[0], eos, bos, ...plain.slice(0, 2), eos]);
    expect(await codeOf(of('whale', 3))).toBe('ERR_PROMPT_TOO_LONG');
  });

  it('are told apart by type, and counted where a pair is refused', async () => {
    const pair = { text: 'whale', pair: 'whale' };
    const numAll = 4 + 2 * (await tokenizer.encode('whale', { addSpecialTokens: false })).length;
    const refusing = (maxTokens: number) =>
      tokenizer.encodeWhole(pair, { maxTokens, truncate: false });
    const { types } = await refusing(numAll);
    expect(types).toEqual(Array.from({ length: numAll }, (_, i) => Number(i >= numAll / 2)));
    expect(await codeOf(refusing(numAll - 1))).toBe('ERR_PROMPT_TOO_LONG');
  });

  it('begin a pair once where the tokenizer is of a GGUF file, as in llama.cpp', async () => {
    const gguf = Tokenizer.fromJson(jsonOf('qwen3-reranker'), both, 'golden', {});
    const plain = await gguf.encode('whale', { addSpecialTokens: false });
    const of = async (maxTokens: number) =>
      (await gguf.encodeWhole({ text: 'whale', pair: 'whale' }, { maxTokens, truncate: true })).ids;
    expect(await of(99)).toEqual([bos, ...plain, eos, ...plain, eos]);
    expect(await of(6)).toEqual([bos, plain[0], eos, ...plain.slice(0, 2), eos]);
    expect(await codeOf(of(2))).toBe('ERR_PROMPT_TOO_LONG');
  });

  it('are text where a text only spells them', async () => {
    const text = `a<|im_end|>b`;
    const options = { maxTokens: 99, truncate: true, addSpecialTokens: false };
    const parsed = await tokenizer.encodeWhole({ text }, options);
    expect(parsed.ids).toContain(eos);
    const marked = `a${'\0'.repeat(10)}b`;
    for (const guarded of [
      { text, marked },
      { text, marked: null },
    ]) {
      const { ids } = await tokenizer.encodeWhole(guarded, options);
      expect(ids).not.toContain(eos);
      expect(await tokenizer.decode(ids)).toBe(text);
      const cut = await tokenizer.encodeWhole(guarded, { ...options, maxTokens: 3 });
      expect(cut).toEqual({ ids: ids.slice(0, 3), isTruncated: true });
    }
  });
});

describe('tokenizers of GGUF files', () => {
  it.each(['wordpiece', 'unigram-normalised'])('%s: pairs have their form', async (name) => {
    const tokenizer = await ggufTokenizer(goldenMetadata(name));
    const options = { maxTokens: 99, truncate: false };
    const { ids, types } = await tokenizer.encodeWhole({ text: 'a', pair: 'b' }, options);
    const { ids: a } = await tokenizer.encodeWhole({ text: 'a' }, options);
    const { ids: b } = await tokenizer.encodeWhole({ text: 'b' }, options);
    const hasFront = a[0] === tokenizer.bosTokenId;
    // XLM-R's form has two ends between its texts.
    const between = name === 'wordpiece' || !hasFront ? [] : [a.at(-1)];
    const second = hasFront ? b.slice(1) : b;
    expect(ids).toEqual([...a, ...between, ...second]);
    const type = name === 'wordpiece' ? 1 : 0;
    expect(types).toEqual([...a, ...between].map(() => 0).concat(second.map(() => type)));
  });
});

it('longestFirst() keeps as much as there is room for', () => {
  expect(longestFirst(3, 10, 8)).toEqual([3, 5]);
  expect(longestFirst(10, 3, 8)).toEqual([5, 3]);
  expect(longestFirst(10, 10, 7)).toEqual([3, 4]);
  expect(longestFirst(11, 10, 7)).toEqual([4, 3]);
  expect(longestFirst(5, 0, 0)).toEqual([0, 0]);
  expect(longestFirst(2, 2, 9)[0]).toBe(2);
});
