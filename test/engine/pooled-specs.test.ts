import { describe, expect, it } from 'vitest';
import { DTYPES, native } from '../../lib/native.js';
import { POOLINGS, type Pooling } from '../../lib/wire/layout.js';
import type { PooledText } from '../../lib/wire/pooled.js';
import { interpret, interpretPooled, type Weights } from '../reference/spec-interpreter.js';
import { sample, someOf } from '../support/all.js';
import { rmsError, rowError } from '../support/goldens.js';
import { PooledModel, type PooledOptions, type PooledSource } from '../support/pooled-model.js';
import { type Random, random } from '../support/random.js';
import { randomSpec, type SpecLimits } from '../support/random-spec.js';
import { SEED } from '../support/seed.js';
import { ROUNDINGS, shaken } from '../support/shaken.js';
import { writeSpec } from '../support/spec-file.js';
import { readWeights } from '../support/weights.js';
import { temporaryFolder } from '../support/write-model.js';

/**
 * Random models that are loaded to pool: their vectors and logits are the interpreter's, and a text has
 * the same bits whatever is computed beside it. Case i is drawn from the seed plus i.
 */

const VOCAB = 83;
const MAX_TOKENS = 90;
const seeds = (count: number) => Array.from({ length: count }, (_, i) => SEED + i);
const folder = temporaryFolder();

interface Case extends PooledSource {
  readonly rng: Random;
}

function makeCase(seed: number, limits: Partial<SpecLimits> = {}): Case {
  const rng = random(seed);
  const sharing = rng.integer(3) === 0;
  const all = { vocabSize: VOCAB, maxTokens: MAX_TOKENS, pools: true, sharing, ...limits };
  const spec = randomSpec(rng, all);
  return { rng, spec, ...writeSpec(rng, spec, folder) };
}

type Text = PooledText & { readonly tokenIds: number[]; readonly tokenTypes: number[] };

function randomText({ rng, spec }: Case, longest: number): Text {
  const length = 1 + rng.integer(longest);
  const numTypes = Math.max(1, spec.embedding.numTokenTypes);
  const ids = (below: number) => Array.from({ length }, () => rng.integer(below));
  const pooling = (Object.keys(POOLINGS) as Pooling[])[rng.integer(3)];
  const isLong = rng.integer(2) === 1;
  return { tokenIds: ids(VOCAB), tokenTypes: ids(numTypes), pooling, longRope: isLong };
}

const randomTexts = (one: Case, count: number, longest: number) =>
  Array.from({ length: count }, () => randomText(one, longest));

/**
 * What a batch asks for: vectors, or logits where there is a head; several, as a rounding may leave
 * a single one as it is.
 */
function randomAsk({ rng, spec }: Case): number[] | undefined {
  if (spec.head === undefined || rng.integer(2) === 0) return undefined;
  return Array.from({ length: 5 + rng.integer(5) }, () => rng.integer(VOCAB));
}

/** By the interpreter. */
function valuesOf(
  { spec }: Case,
  weights: Weights,
  { tokenIds, tokenTypes: types, pooling, longRope: long }: Text,
  ids: number[] | undefined,
  margins: number[],
): Float32Array {
  const options = { types, long, margins };
  if (ids === undefined) {
    return Float32Array.from(interpretPooled(spec, weights, tokenIds, { ...options, pooling }));
  }
  const last = interpret(spec, weights, tokenIds, options).at(-1)!;
  return Float32Array.from(ids, (id) => last[id]);
}

async function withModel<T>(
  source: PooledSource,
  options: PooledOptions,
  use: (model: PooledModel) => Promise<T>,
): Promise<T> {
  const model = await PooledModel.open(source, { maxModelLen: MAX_TOKENS, ...options });
  try {
    return await use(model);
  } finally {
    await model.close();
  }
}

/** In units of what a rounding of the weights alone does to these values; the margins of experts. */
async function compare(
  one: Case,
  texts: readonly Text[],
  options: PooledOptions,
  rounding: keyof typeof ROUNDINGS,
  distance: (ours: Float32Array, theirs: Float32Array) => number,
) {
  const tokenLogits = randomAsk(one);
  const weights = readWeights(one.files, one.tensors);
  const off = shaken(weights, ROUNDINGS[rounding], one.rng);
  const ours = await withModel(one, options, (model) => model.embed({ texts, tokenLogits }));
  const margins = [Infinity];
  const all = (rows: (text: Text, i: number) => Float32Array) => {
    const flat = texts.flatMap((text, i) => [...rows(text, i)]);
    return Float32Array.from(flat);
  };
  // Of all texts together: of one alone a single number may be near 0.
  const theirs = all((text) => valuesOf(one, weights, text, tokenLogits, margins));
  const others = all((text) => valuesOf(one, off, text, tokenLogits, []));
  const given = all((_, i) => ours[i]);
  const margin = Math.min(...margins);
  // A head may end in an activation that leaves nothing.
  const isZero = (values: Float32Array) => values.every((value) => value === 0);
  if (isZero(theirs) && isZero(others)) return { error: isZero(given) ? 0 : Infinity, margin };
  const unit = Math.max(distance(others, theirs), ROUNDINGS[rounding]);
  return { error: distance(given, theirs) / unit, margin };
}

describe('values of random models are the interpreter’s', () => {
  it.each(seeds(sample(16, 300)))('OCTAVO_SEED=%i', async (seed) => {
    const one = makeCase(seed);
    const { rng } = one;
    const options = {
      blockSize: [1, 8, 16, 32][rng.integer(4)],
      numThreads: 1 + rng.integer(3),
      isa: native().isas[rng.integer(native().isas.length)],
    };
    const texts = randomTexts(one, 1 + rng.integer(4), 70);
    const { error, margin } = await compare(one, texts, options, 'float32', rowError);
    if (margin < 1e-5) return; // float32 may choose another expert
    expect(error).toBeLessThanOrEqual(20);
  });

  // On the CUDA kernels (emulated): the bound is the rounding of activations.
  it.each(seeds(sample(2, 40)))('through the CUDA sources, OCTAVO_SEED=%i', async (seed) => {
    const sizes = { headSizes: [32, 64, 80, 128], multiple: 8 };
    const one = makeCase(seed, { ...sizes, allExperts: true });
    const options = { device: { index: 0, dtype: DTYPES.F16 }, maxNumBatchedTokens: 128 };
    const { error } = await compare(one, randomTexts(one, 2, 40), options, 'float16', rmsError);
    expect(error).toBeLessThanOrEqual(3);
  });
});

describe('random models: alone equals', () => {
  const ways: (readonly [string, PooledOptions])[] = [
    ['a batch', {}],
    ['pages of 8', { blockSize: 8 }],
    ['pages of 64', { blockSize: 64 }],
    ['three threads', { numThreads: 3 }],
    ['a step that is full', { maxNumSeqs: 6, maxNumBatchedTokens: 6 * MAX_TOKENS }],
    ...native().isas.map((isa) => [isa, { isa }] as const),
  ];

  async function expectSame(one: Case, base: PooledOptions, list: typeof ways, longest: number) {
    const texts = randomTexts(one, 6, longest);
    const tokenLogits = randomAsk(one);
    const alone: Float32Array[] = [];
    await withModel(one, base, async (model) => {
      for (const text of texts) {
        const [row] = await model.embed({ texts: [text], tokenLogits });
        alone.push(row);
      }
      expect(await model.embed({ texts, tokenLogits }), 'after others').toEqual(alone);
    });
    for (const [name, options] of list) {
      const got = await withModel(one, { ...base, ...options }, (model) =>
        model.embed({ texts: texts.toReversed(), tokenLogits }),
      );
      expect(got.toReversed(), name).toEqual(alone);
    }
  }

  it.each(seeds(sample(5, 80)))('OCTAVO_SEED=%i', async (seed) => {
    const one = makeCase(seed);
    const base = one.rng.integer(3) === 0 ? ({ quantize: 'q8_0' } as const) : {};
    await expectSame(one, base, someOf(ways, 4), MAX_TOKENS);
  });

  // On the CUDA kernels (emulated).
  it.each(seeds(sample(1, 10)))('through the CUDA sources, OCTAVO_SEED=%i', async (seed) => {
    const one = makeCase(seed, { headSizes: [32, 64, 80, 128], multiple: 8 });
    const device = { index: 0, dtype: DTYPES.F16 };
    const onDevice: typeof ways = [
      ['a batch', {}],
      ['pages of 32', { blockSize: 32 }],
    ];
    await expectSame(one, { device, maxNumBatchedTokens: 256 }, onDevice, 30);
  });
});
