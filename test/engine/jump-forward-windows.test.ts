/** Tokens that join an output together, where layers keep only the last few. */
import { afterAll, describe, expect, it, vi } from 'vitest';
import type { EngineOptions, SamplingParams } from '../../lib/index.js';
import type { Checkpoint } from '../../lib/model/checkpoint.js';
import { sample, WHOLE } from '../support/all.js';
import { random } from '../support/random.js';
import { type Ask, oneByOne, randomText, tightPool, together } from '../support/random-asks.js';
import { SEED } from '../support/seed.js';
import { SPEC_VOCAB, specCheckpoint } from '../support/spec-checkpoint.js';
import { temporaryFolder } from '../support/write-model.js';

const folder = temporaryFolder();
const models = vi.hoisted(() => new Map<string, Checkpoint>());
const mocked = vi.hoisted(() => ({ isUniform: false }));
vi.mock('../../lib/model/checkpoint.js', async (original) => {
  const real = await original<typeof import('../../lib/model/checkpoint.js')>();
  return {
    ...real,
    openCheckpoint: async (path: string) => models.get(path) ?? real.openCheckpoint(path),
  };
});
vi.mock('../../lib/core/kv-groups.js', async (original) => {
  const real = await original<typeof import('../../lib/core/kv-groups.js')>();
  const planGroups: typeof real.planGroups = (layers, blockSize) => {
    const alike = layers.map((layer) => ({ ...layer, window: 0 }));
    return real.planGroups(mocked.isUniform ? alike : layers, blockSize);
  };
  return { ...real, planGroups };
});

const MAX_LEN = 144;
const counts = { forced: 0, preemptions: 0, swaps: 0 };

/** Of each kind: what is forced is longer than the windows, and there is a choice between. */
const WISHES = [
  { regex: '(the same words again, and then [a-d]{1,3}; ){20}' },
  { grammar: 'root ::= ("x" | "nothing else than this: " [0-9] root)+' },
  { choice: ['one way to say it at length, '.repeat(9), 'another one, at length as well'] },
];

describe.each(Array.from({ length: sample(3, 30) }, (_, i) => SEED + i))('%i', (seed) => {
  const rng = random(seed);
  const windows = [0, 1 + rng.integer(6), ...(rng.integer(2) === 0 ? [1 + rng.integer(40)] : [])];
  const limits = { maxTokens: MAX_LEN, windows, headSizes: [8, 16, 32] };
  const drawn = specCheckpoint(rng, folder, limits);
  // A row of the vocabulary that no text has is its end.
  const checkpoint = { ...drawn, spec: { ...drawn.spec, eosTokenIds: [SPEC_VOCAB - 1] } };
  const model = `jumping-spec-${seed}`;
  models.set(model, checkpoint);
  afterAll(() => models.delete(model));
  const list: Ask<SamplingParams>[] = Array.from({ length: 8 }, (_, i) => ({
    ids: randomText(rng, 1 + rng.integer(60)),
    params: {
      structuredOutputs: WISHES[i % WISHES.length],
      maxTokens: 40 + rng.integer(40),
      temperature: 1.5,
      seed: rng.integer(2 ** 31),
      n: i % 4 === 2 ? 3 : 1,
    },
  }));

  it('the same as in one group, however the requests run', async () => {
    const base = { model, enablePrefixCaching: false };
    mocked.isUniform = true;
    const { essences: wanted } = await oneByOne(base, list);
    mocked.isUniform = false;
    const alone = await oneByOne(base, list);
    expect(alone.info.kvGroups.length).toBeGreaterThan(1);
    expect(alone.essences).toEqual(wanted);
    const ways: EngineOptions[] = [
      {},
      { enablePrefixCaching: true },
      { maxNumBatchedTokens: 9, maxNumSeqs: 9 },
      { longPrefillTokenThreshold: 5 },
      tightPool({ ...base, preemptionPolicy: 'recompute' }, checkpoint.spec, list),
      tightPool({ ...base, preemptionPolicy: 'swap' }, checkpoint.spec, list),
    ];
    for (const way of ways) {
      const { essences, stats } = await together({ ...base, ...way }, list);
      expect(essences, JSON.stringify(way)).toEqual(wanted);
      counts.forced += stats.numTokensForced;
      counts.preemptions += stats.numPreemptions;
      counts.swaps += stats.numBlocksSwappedIn;
      expect(stats.kvCacheUsage).toBe(0);
    }
  });
});

it('though some joined, and some were thrown out', () => {
  expect(counts.forced).toBeGreaterThan(100);
  if (WHOLE) expect(counts.preemptions).toBeGreaterThan(0);
});
