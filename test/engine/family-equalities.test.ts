/**
 * The promise of the house for layers that cache other things than keys and values of each head:
 * latent rows, two head sizes and keys that are values, experts beside the FFN.
 */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { EngineOptions } from '../../lib/index.js';
import { openCheckpoint } from '../../lib/model/checkpoint.js';
import { native } from '../../lib/native.js';
import { ROOT } from '../support/addon.js';
import { sample, someOf } from '../support/all.js';
import { random } from '../support/random.js';
import { type Ask, oneByOne, randomAsks, tightPool, together } from '../support/random-asks.js';
import { SEED } from '../support/seed.js';

const MODELS = ['deepseek-v3', 'glm4-moe-lite', 'gemma4-kv', 'gemma4-moe'];
const VOCAB = 320;
const MAX_LEN = 160;
const rng = random(SEED);
const counts = { preemptions: 0, swaps: 0 };

const asks: Ask[] = [
  ...randomAsks(rng, sample(10, 24)).map(({ ids, params }) => ({
    ids: ids.map((id) => id % VOCAB),
    params,
  })),
  ...[4, 21, 50].map((length, i) => ({
    ids: Array.from({ length }, () => rng.integer(VOCAB)),
    params: { beamWidth: 2 + i, maxTokens: 20 },
  })),
];

describe.each(MODELS)('%s: alone equals', (name) => {
  const base: EngineOptions = {
    ...{ model: join(ROOT, 'test/fixtures/models', name), maxModelLen: MAX_LEN },
    ...{ maxNumSeqs: 16, kvCacheMemoryBytes: 2 ** 26 },
  };
  const alone = oneByOne({ ...base, enablePrefixCaching: false }, asks);
  // Whoever waits for it says what went wrong.
  alone.catch(() => {});

  const ways: (readonly [string, EngineOptions])[] = [
    ['a batch', {}],
    ['tokens one by one', { longPrefillTokenThreshold: 1 }],
    ['chunks of 5', { longPrefillTokenThreshold: 5 }],
    ['chunks of 23', { longPrefillTokenThreshold: 23, enablePrefixCaching: false }],
    ['steps of 17 tokens', { maxNumBatchedTokens: 17 }],
    ['blocks of 8', { blockSize: 8 }],
    ['blocks of 32', { blockSize: 32 }],
    ['one thread', { numThreads: 1 }],
    ['three threads', { numThreads: 3 }],
    ...native().isas.map((isa) => [isa, { isa: isa as EngineOptions['isa'] }] as const),
  ];
  it.each(someOf(ways, 3))('%s', async (_, options) => {
    const { essences } = await together({ ...base, ...options }, asks);
    expect(essences).toEqual((await alone).essences);
  });

  const pressed: (readonly [string, EngineOptions])[] = [
    ['thrown out and computed again', { preemptionPolicy: 'recompute' }],
    ['thrown out and brought back', { preemptionPolicy: 'swap' }],
    [
      'brought back, in chunks, without prefixes',
      { preemptionPolicy: 'swap', longPrefillTokenThreshold: 7, enablePrefixCaching: false },
    ],
  ];
  it.each(someOf(pressed, 2))('%s', async (_, options) => {
    const { spec } = await openCheckpoint(base.model as string);
    const { kvCacheMemoryBytes, ...rest } = base;
    const { essences, stats } = await together(
      tightPool({ ...rest, ...options }, spec, asks),
      asks,
    );
    expect(essences).toEqual((await alone).essences);
    counts.preemptions += stats.numPreemptions;
    counts.swaps += stats.numBlocksSwappedIn;
  });

  it('from a hit', async () => {
    const { essences, hits } = await oneByOne(base, [...asks, ...asks]);
    const { essences: expected } = await alone;
    expect(essences).toEqual([...expected, ...expected]);
    expect(hits).toBeGreaterThan(0);
  });
});

it('though some were thrown out and came back', () => {
  expect(counts.preemptions).toBeGreaterThan(0);
  expect(counts.swaps).toBeGreaterThan(0);
});
