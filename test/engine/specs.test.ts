import { afterEach, describe, expect, it, vi } from 'vitest';
import type { EngineOptions } from '../../lib/index.js';
import type { Checkpoint } from '../../lib/model/checkpoint.js';
import { hasLatent } from '../../lib/model/spec.js';
import { DTYPES, native } from '../../lib/native.js';
import { interpret, type Weights } from '../reference/spec-interpreter.js';
import { sample, someOf, WHOLE } from '../support/all.js';
import { RawModel, rmsError, rowError } from '../support/goldens.js';
import { type Random, random } from '../support/random.js';
import { oneByOne, randomAsks, randomText, tightPool, together } from '../support/random-asks.js';
import type { SpecLimits } from '../support/random-spec.js';
import { SEED } from '../support/seed.js';
import { ROUNDINGS, shaken } from '../support/shaken.js';
import { specCheckpoint } from '../support/spec-checkpoint.js';
import { readWeights } from '../support/weights.js';
import { temporaryFolder } from '../support/write-model.js';

/**
 * Random models, every switch of the record thrown: their logits are the interpreter's, and one
 * way to compute them is as good as any other, bit for bit. Case i is drawn from the seed plus i:
 * a case that fails says the OCTAVO_SEED under which it comes first.
 */

const seeds = (count: number) => Array.from({ length: count }, (_, i) => SEED + i);
const folder = temporaryFolder();
const RECURRENT = { recurrent: true };
/** KV of other layers, and tables of inputs. */
const SHARING = { sharing: true };
/** Rows that all heads share are cached. */
const LATENT = { latent: true };

/** What the engine finds under a path that is none. */
const models = vi.hoisted(() => new Map<string, Checkpoint>());
vi.mock('../../lib/model/checkpoint.js', async (original) => {
  const real = await original<typeof import('../../lib/model/checkpoint.js')>();
  const openCheckpoint = async (path: string) => models.get(path) ?? real.openCheckpoint(path);
  return { ...real, openCheckpoint };
});
afterEach(() => models.clear());

interface Case {
  readonly rng: Random;
  readonly path: string;
  readonly checkpoint: Checkpoint;
}

function makeCase(caseSeed: number, limits: Omit<SpecLimits, 'vocabSize'>): Case {
  const rng = random(caseSeed);
  const checkpoint = specCheckpoint(rng, folder, limits);
  const path = `random-spec-${caseSeed}`;
  models.set(path, checkpoint);
  return { rng, path, checkpoint };
}

/**
 * Rows at every position of a text, by the interpreter and by the engine's native side.
 * @param worst how far two lists of rows are from each other
 * @returns `error` of the engine, in units of what a rounding of the weights alone does to these
 *   rows (a model may be ill-conditioned: nearly equal numbers are subtracted and then normed); the
 *   smallest margin by which an expert is chosen
 */
async function compare(
  { rng, path, checkpoint }: Case,
  length: number,
  options: Parameters<typeof RawModel.open>[1],
  rounding: keyof typeof ROUNDINGS,
  worst: (ours: Float32Array, theirs: Float32Array) => number,
) {
  const { spec, files, tensors } = checkpoint;
  const ids = randomText(rng, length);
  const { longRopeFrom: from } = spec;
  const long = from !== undefined && length > from;
  const margins = [Infinity];
  const weights = readWeights(files, tensors);
  const rows = (own: Weights) =>
    interpret(spec, own, ids, { long, margins }).map((row) => Float32Array.from(row));
  const theirs = rows(weights);
  const others = rows(shaken(weights, ROUNDINGS[rounding], rng));
  const raw = await RawModel.open(path, options);
  try {
    const positions = ids.map((_, i) => i);
    const ours = await raw.logits(ids, positions, 1 + rng.integer(length));
    const distance = (rows: Float32Array[]) =>
      Math.max(...rows.map((row, t) => worst(row, theirs[t])));
    return { error: distance(ours) / distance(others), margin: Math.min(...margins) };
  } finally {
    await raw.close();
  }
}

describe('logits of random models are the interpreter’s', () => {
  const cases = [
    ...seeds(sample(12, 300)).map((caseSeed) => ['all attend', caseSeed, {}] as const),
    ...seeds(sample(12, 300)).map((caseSeed) => ['recurrent layers', caseSeed, RECURRENT] as const),
    ...seeds(sample(12, 300)).map((caseSeed) => ['layers that share', caseSeed, SHARING] as const),
    ...seeds(sample(12, 300)).map((caseSeed) => ['latent rows', caseSeed, LATENT] as const),
  ];
  it.each(cases)('%s, OCTAVO_SEED=%i', async (_, caseSeed, layers) => {
    const one = makeCase(caseSeed, { maxTokens: 100, ...layers });
    const { rng } = one;
    const options = {
      blockSize: ([8, 16, 32] as const)[rng.integer(3)],
      numThreads: 1 + rng.integer(3),
      isa: native().isas[rng.integer(native().isas.length)],
    };
    const length = 1 + rng.integer(70);
    const { error, margin } = await compare(one, length, options, 'float32', rowError);
    if (margin < 1e-5) return; // float32 may choose another expert
    expect(error).toBeLessThanOrEqual(20);
  });

  // On the CUDA kernels (emulated): the bound is the rounding of activations.
  const onDevice = [
    ...seeds(sample(1, 12)).map((caseSeed) => ['all attend', caseSeed, {}] as const),
    ...seeds(sample(1, 12)).map((caseSeed) => ['recurrent layers', caseSeed, RECURRENT] as const),
    ...seeds(sample(1, 12)).map((caseSeed) => ['layers that share', caseSeed, SHARING] as const),
    ...seeds(sample(1, 12)).map((caseSeed) => ['latent rows', caseSeed, LATENT] as const),
  ];
  it.each(onDevice)('%s, through the CUDA sources, OCTAVO_SEED=%i', async (_, caseSeed, layers) => {
    const sizes = { headSizes: [32, 64, 72, 80, 128], multiple: 8 };
    const limits = { maxTokens: 100, ...sizes, ...layers, allExperts: true };
    const one = makeCase(caseSeed, limits);
    const device = { index: 0, dtype: DTYPES.F16 };
    const length = 1 + one.rng.integer(40);
    const { error } = await compare(one, length, { device }, 'float16', rmsError);
    expect(error).toBeLessThanOrEqual(3);
  });
});

describe('random models: alone equals', () => {
  const MAX_LEN = 144;
  const counts = { preemptions: 0, swaps: 0, states: 0, hits: 0 };
  const pressed: (readonly [string, EngineOptions])[] = [
    ['recomputed after preemption', { preemptionPolicy: 'recompute' }],
    ['swapped', { preemptionPolicy: 'swap' }],
    [
      'swapped, in chunks, without prefixes',
      { preemptionPolicy: 'swap', longPrefillTokenThreshold: 7, enablePrefixCaching: false },
    ],
  ];
  const ways: (readonly [string, EngineOptions])[] = [
    ['a batch', {}],
    ['chunks of 5', { longPrefillTokenThreshold: 5 }],
    ['steps of 9 tokens', { maxNumBatchedTokens: 9, enablePrefixCaching: false }],
    ['blocks of 8', { blockSize: 8 }],
    ['blocks of 32', { blockSize: 32 }],
    ['one thread', { numThreads: 1 }],
    ['three threads', { numThreads: 3 }],
    ...native().isas.map((isa) => [isa, { isa: isa as EngineOptions['isa'] }] as const),
  ];

  /** Each is another one: what must be equal is equal within it. */
  const arithmetics: EngineOptions[] = [
    {},
    { kvCacheDtype: 'float16' },
    { kvCacheDtype: 'int8' },
    { quantize: 'q8_0' },
  ];

  /** Windows spare a pool: every second case has none. */
  const presses = (caseSeed: number) => (caseSeed % 2 === 0 ? { windows: [0, 0, 0] } : {});

  const cases = [
    ...seeds(sample(3, 60)).map((caseSeed) => ['all attend', caseSeed, {}] as const),
    ...seeds(sample(3, 60)).map((caseSeed) => ['recurrent layers', caseSeed, RECURRENT] as const),
    ...seeds(sample(3, 60)).map((caseSeed) => ['layers that share', caseSeed, SHARING] as const),
    ...seeds(sample(3, 60)).map((caseSeed) => ['latent rows', caseSeed, LATENT] as const),
  ];
  it.each(cases)('%s, OCTAVO_SEED=%i', async (_, caseSeed, layers) => {
    const { rng, path, checkpoint } = makeCase(caseSeed, {
      maxTokens: MAX_LEN,
      ...layers,
      ...presses(caseSeed),
    });
    const drawn = arithmetics[rng.integer(arithmetics.length)];
    // Latent rows have no cache of eight bits.
    const arithmetic =
      hasLatent(checkpoint.spec.layers) && drawn.kvCacheDtype === 'int8' ? {} : drawn;
    const base = { ...arithmetic, model: path };
    const list = randomAsks(rng, 12);
    const alone = await oneByOne({ ...base, enablePrefixCaching: false }, list);
    const cached = await oneByOne(base, [...list, ...list]);
    expect(cached.essences).toEqual([...alone.essences, ...alone.essences]);
    counts.hits += cached.hits;
    for (const [name, options] of [...someOf(ways, 4), ...someOf(pressed, 2)]) {
      const all = { ...base, ...options };
      const isTight = options.preemptionPolicy !== undefined;
      const used = isTight ? tightPool(all, checkpoint.spec, list) : all;
      const { essences, stats } = await together(used, list);
      expect(essences, name).toEqual(alone.essences);
      counts.preemptions += stats.numPreemptions;
      counts.swaps += stats.numBlocksSwappedIn;
      counts.states += stats.numStatesSwappedIn;
    }
  });

  // On the CUDA kernels (emulated).
  const emulated = [{}, RECURRENT, SHARING, LATENT].map((layers, i) => [SEED + i, layers] as const);
  it.each(someOf(emulated, 0))('emulated, OCTAVO_SEED=%i %o', async (caseSeed, layers) => {
    const sizes = { headSizes: [32, 64, 80, 128], multiple: 8 };
    const limits = { maxTokens: MAX_LEN, ...sizes, ...layers };
    const { rng, path, checkpoint } = makeCase(caseSeed, limits);
    const base = {
      ...{ model: path, device: 'simt', maxNumBatchedTokens: 64, maxModelLen: MAX_LEN },
      ...(rng.integer(2) === 0 && layers !== LATENT ? { kvCacheDtype: 'int8' as const } : {}),
      ...{ swapSpace: 0.05, kvCacheMemoryBytes: 2 ** 22 },
    } satisfies EngineOptions;
    const list = randomAsks(rng, 4).map(({ ids, params }) => ({
      ids: ids.slice(-40),
      params: { ...params, maxTokens: 8 },
    }));
    const alone = await oneByOne({ ...base, enablePrefixCaching: false }, list);
    const onDevice: (readonly [string, EngineOptions])[] = [
      ['a batch', {}],
      ['chunks of 5', { longPrefillTokenThreshold: 5 }],
      ['blocks of 32', { blockSize: 32 }],
      ['swapped', { maxModelLen: 64, preemptionPolicy: 'swap' }],
    ];
    for (const [name, options] of onDevice) {
      const all = { ...base, ...options };
      const isTight = options.preemptionPolicy !== undefined;
      const used = isTight ? tightPool(all, checkpoint.spec, list) : all;
      const { essences } = await together(used, list);
      expect(essences, name).toEqual(alone.essences);
    }
  });

  it('though some were thrown out and came back', () => {
    expect(counts.hits).toBeGreaterThan(0);
    expect(counts.preemptions).toBeGreaterThan(0);
    if (WHOLE) expect(counts.swaps).toBeGreaterThan(0);
    if (WHOLE) expect(counts.states).toBeGreaterThan(0);
  });
});
