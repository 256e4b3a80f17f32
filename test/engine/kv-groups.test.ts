import { afterEach, describe, expect, it, vi } from 'vitest';
import type { EngineOptions } from '../../lib/index.js';
import type { Checkpoint } from '../../lib/model/checkpoint.js';
import { native } from '../../lib/native.js';
import { sample, someOf, WHOLE } from '../support/all.js';
import { type Random, random } from '../support/random.js';
import {
  type Ask,
  oneByOne,
  randomAsks,
  randomText,
  tightPool,
  together,
} from '../support/random-asks.js';
import type { SpecLimits } from '../support/random-spec.js';
import { SEED } from '../support/seed.js';
import { specCheckpoint } from '../support/spec-checkpoint.js';
import { temporaryFolder } from '../support/write-model.js';

/**
 * Random models whose layers keep their KV in several groups: what they answer is, bit for bit,
 * what they answer when every layer keeps every token in one group, and one way to compute it is as
 * good as any other. Case i is drawn from the seed plus i.
 */

const seeds = (count: number) => Array.from({ length: count }, (_, i) => SEED + i);
const folder = temporaryFolder();

const mocked = vi.hoisted(() => ({
  /** What the engine finds under a path that is none. */
  models: new Map<string, Checkpoint>(),
  /** Plans as if no layer had a window. */
  isUniform: false,
}));
vi.mock('../../lib/model/checkpoint.js', async (original) => {
  const real = await original<typeof import('../../lib/model/checkpoint.js')>();
  const openCheckpoint = async (path: string) =>
    mocked.models.get(path) ?? real.openCheckpoint(path);
  return { ...real, openCheckpoint };
});
vi.mock('../../lib/core/kv-groups.js', async (original) => {
  const real = await original<typeof import('../../lib/core/kv-groups.js')>();
  const planGroups: typeof real.planGroups = (layers, blockSize) => {
    const alike = layers.map((layer) => ({ ...layer, window: 0 }));
    return real.planGroups(mocked.isUniform ? alike : layers, blockSize);
  };
  return { ...real, planGroups };
});
afterEach(() => {
  mocked.models.clear();
  mocked.isUniform = false;
});

const MAX_LEN = 144;

/** A model with a full window, a small one and perhaps another, often with heads of their own. */
function makeCase(caseSeed: number, limits: Pick<SpecLimits, 'headSizes' | 'multiple'>) {
  const rng = random(caseSeed);
  const windows = [0, 1 + rng.integer(40), ...(rng.integer(3) === 0 ? [1 + rng.integer(70)] : [])];
  const checkpoint = specCheckpoint(rng, folder, { maxTokens: MAX_LEN, windows, ...limits });
  const path = `grouped-spec-${caseSeed}`;
  mocked.models.set(path, checkpoint);
  return { rng, path, spec: checkpoint.spec };
}

/** Samples, forks and beams; some texts share beginnings. */
function asks(rng: Random, count: number): Ask[] {
  const common = randomText(rng, 60);
  const beams = [3, 2].map((beamWidth) => ({
    ids: [...common.slice(0, 20 + rng.integer(40)), ...randomText(rng, 3)],
    params: { beamWidth, maxTokens: 10 + rng.integer(30), ignoreEos: true },
  }));
  return [...beams, ...randomAsks(rng, count)];
}

const counts = { preemptions: 0, swaps: 0, copies: 0, hits: 0, blockSizes: 0 };

/** The answers with groups, which are those of one group, alone and again from the cache. */
async function answers(base: EngineOptions, list: readonly Ask[]) {
  const cold = { ...base, enablePrefixCaching: false };
  mocked.isUniform = true;
  const uniform = await oneByOne(cold, list);
  mocked.isUniform = false;
  expect(uniform.info.kvGroups.map(({ window }) => window)).toEqual([0]);
  const alone = await oneByOne(cold, list);
  const { kvGroups, kvBytesPerToken } = alone.info;
  expect(kvGroups.length).toBeGreaterThan(1);
  expect(kvBytesPerToken).toBe(uniform.info.kvBytesPerToken);
  if (new Set(kvGroups.map(({ blockSize }) => blockSize)).size > 1) counts.blockSizes++;
  expect(alone.essences, 'one group').toEqual(uniform.essences);
  const cached = await oneByOne(base, [...list, ...list]);
  expect(cached.essences, 'prefix hits').toEqual([...alone.essences, ...alone.essences]);
  counts.hits += cached.hits;
  return alone.essences;
}

async function compare(
  base: EngineOptions,
  spec: Checkpoint['spec'],
  list: readonly Ask[],
  ways: readonly (readonly [string, EngineOptions])[],
  wanted: unknown,
) {
  for (const [name, options] of ways) {
    const all = { ...base, ...options };
    const isTight = options.preemptionPolicy !== undefined;
    const { essences, stats } = await together(isTight ? tightPool(all, spec, list) : all, list);
    expect(essences, name).toEqual(wanted);
    counts.preemptions += stats.numPreemptions;
    counts.swaps += stats.numBlocksSwappedIn;
    counts.copies += stats.numBlockCopies;
  }
}

describe('groups equal one group, alone equals', () => {
  const pressed: (readonly [string, EngineOptions])[] = [
    ['recomputed', { preemptionPolicy: 'recompute' }],
    ['swapped', { preemptionPolicy: 'swap' }],
    ['swapped, in chunks', { preemptionPolicy: 'swap', longPrefillTokenThreshold: 7 }],
    [
      'recomputed, in chunks, without prefixes',
      { preemptionPolicy: 'recompute', maxNumBatchedTokens: 19, enablePrefixCaching: false },
    ],
  ];
  const ways: (readonly [string, EngineOptions])[] = [
    ['a batch', {}],
    ['a batch without prefixes', { enablePrefixCaching: false }],
    ['chunks of 5', { longPrefillTokenThreshold: 5 }],
    ['steps of 9 tokens', { maxNumBatchedTokens: 9 }],
    ['blocks of 8', { blockSize: 8 }],
    ['blocks of 32', { blockSize: 32, longPrefillTokenThreshold: 11 }],
    ['one thread', { numThreads: 1 }],
    ['three threads', { numThreads: 3 }],
    ...native().isas.map((isa) => [isa, { isa: isa as EngineOptions['isa'] }] as const),
  ];
  const arithmetics: EngineOptions[] = [
    { kvCacheDtype: 'float32' },
    { kvCacheDtype: 'float16' },
    { kvCacheDtype: 'bfloat16' },
    { kvCacheDtype: 'int8' },
  ];

  it.each(seeds(sample(4, 60)))('OCTAVO_SEED=%i', async (caseSeed) => {
    const { rng, path, spec } = makeCase(caseSeed, { headSizes: [8, 16, 26, 32, 64] });
    const base = { ...arithmetics[rng.integer(arithmetics.length)], model: path };
    const list = asks(rng, 10);
    const wanted = await answers(base, list);
    const some = [...someOf(ways, 3), ...pressed.slice(0, 2), ...someOf(pressed.slice(2), 1)];
    await compare(base, spec, list, some, wanted);
  });

  it('though some were thrown out, came back, forked and hit', () => {
    const { blockSizes, ...events } = counts;
    for (const [name, count] of Object.entries(events)) expect(count, name).toBeGreaterThan(0);
    if (WHOLE) expect(blockSizes).toBeGreaterThan(0);
  });

  // On the CUDA kernels (emulated).
  it.each(seeds(sample(1, 3)))('through the CUDA sources, OCTAVO_SEED=%i', async (caseSeed) => {
    const { rng, path, spec } = makeCase(caseSeed, { headSizes: [32, 64, 128], multiple: 8 });
    const base = {
      ...{ model: path, device: 'simt', maxNumBatchedTokens: 64, swapSpace: 0.05 },
      ...{ kvCacheMemoryBytes: 2 ** 22, enableCudaGraphs: rng.integer(2) === 0 },
      ...(rng.integer(2) === 0 ? { kvCacheDtype: 'int8' as const } : {}),
    } satisfies EngineOptions;
    const list = asks(rng, 3).map(({ ids, params }) => ({
      ids: ids.slice(-50),
      params: { ...params, maxTokens: 8 },
    }));
    const wanted = await answers(base, list);
    const onDevice: (readonly [string, EngineOptions])[] = [
      ['a batch', {}],
      ['chunks of 5', { longPrefillTokenThreshold: 5 }],
      ['blocks of 32', { blockSize: 32 }],
      ['swapped', { maxModelLen: 64, preemptionPolicy: 'swap' }],
    ];
    await compare(base, spec, list, someOf(onDevice, 1), wanted);
  });
});
