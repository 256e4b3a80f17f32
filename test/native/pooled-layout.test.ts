import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type NativeExecutor, type NativeLoadRequest, verified } from '../../lib/native.js';
import { POOLED_LAYOUT as L } from '../../lib/wire/layout.js';
import { encodePooled } from '../../lib/wire/pooled.js';
import { testAddon } from '../support/addon.js';
import { PooledModel, type PooledSource } from '../support/pooled-model.js';
import { random } from '../support/random.js';
import { randomSpec } from '../support/random-spec.js';
import { SEED } from '../support/seed.js';
import { writeSpec } from '../support/spec-file.js';
import { temporaryFolder } from '../support/write-model.js';

/** Whatever JS sends as texts, native checks it again: a coded refusal, never a crash. */

const VOCAB = 40;
const MAX_LEN = 6;
const folder = temporaryFolder();

/** With a head, two token types and learned positions for `MAX_LEN` tokens. */
function source(change: object = {}): PooledSource {
  const rng = random(SEED);
  const spec = randomSpec(rng, { vocabSize: VOCAB, maxTokens: MAX_LEN, pools: true });
  const embedding = { ...spec.embedding, numTokenTypes: 2, numPositions: MAX_LEN };
  const head = { tied: true, scale: 1, softcap: 0 };
  const all = { ...spec, embedding, head, ...change };
  return { spec: all, ...writeSpec(rng, all, folder) };
}

const LIMITS = { maxNumSeqs: 2, maxNumBatchedTokens: 8, maxModelLen: MAX_LEN };
let model: PooledModel;
let executor: NativeExecutor;

beforeAll(async () => {
  model = await PooledModel.open(source(), LIMITS);
  executor = model.executor;
});
afterAll(() => model.close());

/** Two texts with types, and two ids. */
const goodWords = () =>
  encodePooled({
    texts: [
      { tokenIds: [1, 2, 3, 39], tokenTypes: [0, 0, 1, 1], pooling: 'mean', longRope: false },
      { tokenIds: [5, 6], pooling: 'last', longRope: true },
    ],
    tokenLogits: [7, 0],
  });
const TEXTS_AT = L.headerWords;
const TOKENS_AT = TEXTS_AT + 2 * L.textWords;
const TYPES_AT = TOKENS_AT + 6;
const IDS_AT = TYPES_AT + 6;

const code = (promise: Promise<unknown>) =>
  promise.then(
    () => 'ok',
    (error) => error.code as string,
  );

describe('texts', () => {
  it('that are good run: logits, or vectors where no id is asked for', async () => {
    const words = goodWords();
    expect(words).toHaveLength(IDS_AT + 2);
    const logits = await executor.embed(words);
    expect(logits.values).toHaveLength(2 * 2);
    expect(logits.values.every(Number.isFinite)).toBe(true);
    expect(logits.computeMs).toBeGreaterThan(0);
    const vectors = words.slice(0, IDS_AT);
    vectors[L.headerTotalWords] = IDS_AT;
    vectors[L.headerNumTokenLogits] = 0;
    const { values } = await executor.embed(vectors);
    expect(values.length % 2).toBe(0);
    expect(values.every(Number.isFinite)).toBe(true);
  });

  const set = (at: number, value: number) => (w: Int32Array) => {
    w[at] = value;
  };
  it.each<[string, (w: Int32Array) => void]>([
    ['another version', set(L.headerVersion, L.version + 1)],
    ['a length past the end', set(L.headerTotalWords, IDS_AT + 3)],
    ['a length before the end', set(L.headerTotalWords, IDS_AT + 1)],
    ['no text', set(L.headerNumTexts, 0)],
    ['more texts than maxNumSeqs', set(L.headerNumTexts, 3)],
    ['texts without number', set(L.headerNumTexts, -1)],
    ['no token', set(L.headerNumTokens, 0)],
    ['more tokens than maxNumBatchedTokens', set(L.headerNumTokens, 9)],
    ['fewer tokens than the texts have', set(L.headerNumTokens, 5)],
    ['a flag of types that is none', set(L.headerHasTokenTypes, 2)],
    ['types left out', set(L.headerHasTokenTypes, 0)],
    ['a negative count of ids', set(L.headerNumTokenLogits, -1)],
    ['more ids than the vocabulary', set(L.headerNumTokenLogits, VOCAB + 1)],
    ['an empty text', set(TEXTS_AT, 0)],
    ['a negative text', set(TEXTS_AT, -4)],
    ['a text that takes the next one’s', set(TEXTS_AT, 5)],
    ['a text longer than maxModelLen', set(TEXTS_AT, MAX_LEN + 1)],
    ['a pooling that is none', set(TEXTS_AT + 2 * L.textPooling, 3)],
    ['a negative pooling', set(TEXTS_AT + 2 * L.textPooling, -1)],
    ['a flag that is none', set(TEXTS_AT + 2 * L.textLongRope, 2)],
    ['a token that is none', set(TOKENS_AT, VOCAB)],
    ['a negative token', set(TOKENS_AT + 5, -1)],
    ['a type that is none', set(TYPES_AT, 2)],
    ['a negative type', set(TYPES_AT + 5, -1)],
    ['an id that is none', set(IDS_AT, VOCAB)],
    ['a negative id', set(IDS_AT + 1, -1)],
  ])('with %s are refused', async (_, spoil) => {
    const words = goodWords();
    spoil(words);
    expect(await code(executor.embed(words))).toBe('ERR_INVALID_STEP');
  });

  it('that are no words are refused', async () => {
    for (const words of [undefined, null, [], new Float32Array(50), new Int32Array(0)]) {
      expect(await code(executor.embed(words as never))).toBe('ERR_INVALID_STEP');
    }
    for (let length = 0; length < goodWords().length; length++) {
      expect(await code(executor.embed(goodWords().subarray(0, length)))).toBe('ERR_INVALID_STEP');
    }
  });

  it('while others run are refused', async () => {
    const first = executor.embed(goodWords());
    expect(await code(executor.embed(goodWords()))).toBe('ERR_BUSY');
    expect(await code(first)).toBe('ok');
  });

  it('with random words never do harm', async () => {
    const rng = random(SEED);
    const values = [0, 1, -1, 2, 3, 4, 6, 7, 39, 40, 2 ** 31 - 1, -(2 ** 31), 2 ** 30];
    const counts = new Map<string, number>();
    for (let i = 0; i < 3000; i++) {
      const words = goodWords();
      for (let k = 1 + rng.integer(3); k > 0; k--) {
        words[rng.integer(words.length)] = values[rng.integer(values.length)];
      }
      const outcome = await code(executor.embed(words));
      counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
    }
    expect([...counts.keys()].sort()).toEqual(['ERR_INVALID_STEP', 'ok']);
  });
});

describe('a model that is loaded to pool', () => {
  it('runs no steps; the closed one nothing', async () => {
    const slab = [new Int32Array(9), new Float64Array(99)] as const;
    expect(await code(executor.step(goodWords(), ...slab))).toBe('ERR_INVALID_STEP');
    const other = await PooledModel.open(source(), LIMITS);
    const closing = other.close();
    expect(await code(other.executor.embed(goodWords()))).toBe('ERR_CLOSED');
    await closing;
    const empty = new (testAddon().Executor)();
    expect(await code(empty.embed(goodWords()))).toBe('ERR_BUSY');
    await empty.close();
  });

  it('gives no logits without a head, and knows no types without a table', async () => {
    const embedding = { ...source().spec.embedding, numTokenTypes: 0 };
    const bare = await PooledModel.open(source({ head: undefined, embedding }), LIMITS);
    const text = { tokenIds: [1, 2], pooling: 'cls', longRope: false } as const;
    const embed = (batch: object, types?: number[]) =>
      code(bare.embed({ texts: [{ ...text, ...(types && { tokenTypes: types }) }], ...batch }));
    expect(await embed({})).toBe('ok');
    expect(await embed({}, [0, 0])).toBe('ok');
    expect(await embed({}, [0, 1])).toBe('ERR_INVALID_STEP');
    expect(await embed({ tokenLogits: [1] })).toBe('ERR_INVALID_STEP');
    await bare.close();
  });

  it.each<[string, Partial<NativeLoadRequest['limits']>]>([
    ['blocks', { numBlocks: 2 }],
    ['block tables', { blocksPerRow: 1 }],
    ['a host pool', { numHostBlocks: 1 }],
    ['pages of nothing', { blockSize: 0 }],
    ['more tokens than positions', { maxModelLen: MAX_LEN + 1 }],
  ])('has no cache: %s are refused', async (_, limits) => {
    expect(await code(PooledModel.open(source(), { ...LIMITS, limits }))).toBe(
      'ERR_INVALID_OPTION',
    );
  });

  it('keeps K and V as it computes them', async () => {
    const device = { kvCacheDtype: 'int8' } as const;
    const refused = PooledModel.open(source(), { ...LIMITS, device });
    await expect(refused).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
  });
});

it('an addon with other words is another version’s', () => {
  const addon = testAddon();
  const other = { ...addon, pooledLayout: { ...addon.pooledLayout, textWords: 4 } };
  expect(() => verified(other)).toThrow(/layout of pooled texts/);
});
