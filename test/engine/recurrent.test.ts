import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { CHUNK } from '../../lib/core/recurrent-states.js';
import { type EngineOptions, LLM } from '../../lib/index.js';
import { openCheckpoint } from '../../lib/model/checkpoint.js';
import { native } from '../../lib/native.js';
import { ROOT } from '../support/addon.js';
import { sample, someOf } from '../support/all.js';
import { random } from '../support/random.js';
import { type Ask, oneByOne, tightPool, together } from '../support/random-asks.js';
import { SEED } from '../support/seed.js';

/**
 * The promise of the house for models with recurrent layers: whatever the batch, the chunks, forks,
 * preemption and the prefix cache, a request has the same bits. Prompts lie around the borders of
 * chunks.
 */

const MODELS = ['qwen3_5', 'qwen3_5-grouped', 'falcon-h1', 'nemotron-h', 'mamba2'];
MODELS.push('lfm2', 'granite-hybrid-dense', 'qwen3-next');
/** No layer of it attends: blocks are let go as soon as they are full, and never short. */
const WITHOUT_KV = 'mamba2';
const MAX_LEN = 288;
const VOCAB = 320;
const rng = random(SEED);
const randomText = (length: number) => Array.from({ length }, () => rng.integer(VOCAB));

/** Some begin with the same text, and part from it before, at and behind a border. */
const common = randomText(200);
const LENGTHS = [1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130];
const asks: Ask[] = LENGTHS.flatMap((length, i) => {
  const params = {
    maxTokens: 3 + rng.integer(40),
    temperature: i % 3 === 0 ? 0 : 0.5 + rng.uniform(),
    seed: rng.integer(2 ** 31),
    ignoreEos: true,
    logprobs: 2,
    n: i % 3 === 1 ? 1 + rng.integer(4) : 1,
  };
  const shared = common.slice(0, length);
  return [
    { ids: shared, params },
    { ids: [...shared, ...randomText(1 + rng.integer(40))], params },
  ];
});
const beams: Ask[] = [5, 16, 40].map((length, i) => ({
  ids: common.slice(0, length),
  params: { beamWidth: 2 + i, maxTokens: 20 },
}));
const all = [...asks, ...beams];

describe.each(MODELS)('%s: alone equals', (name) => {
  const base: EngineOptions = {
    model: join(ROOT, 'test/fixtures/models', name),
    maxNumSeqs: 16,
    maxModelLen: MAX_LEN,
    kvCacheMemoryBytes: 2 ** 26,
  };
  const alone = oneByOne({ ...base, enablePrefixCaching: false }, all);
  // Whoever waits for it says what went wrong.
  alone.catch(() => {});

  const ways: (readonly [string, EngineOptions])[] = [
    ['a batch', {}],
    ['tokens one by one', { longPrefillTokenThreshold: 1 }],
    ['chunks of 5', { longPrefillTokenThreshold: 5 }],
    ['chunks of 16', { longPrefillTokenThreshold: CHUNK }],
    ['chunks of 23', { longPrefillTokenThreshold: 23, enablePrefixCaching: false }],
    ['no chunks', { enableChunkedPrefill: false }],
    ['steps of 17 tokens', { maxNumBatchedTokens: 17 }],
    ['blocks of 8', { blockSize: 8 }],
    ['blocks of 32', { blockSize: 32 }],
    ['one thread', { numThreads: 1 }],
    ['three threads', { numThreads: 3 }],
    ...native().isas.map((isa) => [isa, { isa: isa as EngineOptions['isa'] }] as const),
  ];
  it.each(someOf(ways, sample(5, ways.length)))('%s', async (_, options) => {
    const { essences } = await together({ ...base, ...options }, all);
    expect(essences).toEqual((await alone).essences);
  });

  it('thrown out and computed again, from a state or from nothing', async () => {
    const { spec } = await openCheckpoint(join(ROOT, 'test/fixtures/models', name));
    const { kvCacheMemoryBytes: _, ...options } = base;
    const short = all.filter(({ ids }) => ids.length < 110);
    const expected = (await alone).essences.filter((_, i) => all[i].ids.length < 110);
    for (const enablePrefixCaching of [true, false]) {
      const maxModelLen = 160;
      const preemptionPolicy = 'recompute' as const;
      const used = { ...options, maxModelLen, enablePrefixCaching, preemptionPolicy };
      const { essences, stats } = await together(tightPool(used, spec, short), short);
      if (name !== WITHOUT_KV) expect(stats.numPreemptions).toBeGreaterThan(0);
      expect(stats.numBlocksSwappedOut).toBe(0);
      expect(essences).toEqual(expected);
    }
  });

  it.each(['swap', 'auto'] as const)('thrown out and brought back: %s', async (policy) => {
    const { spec } = await openCheckpoint(join(ROOT, 'test/fixtures/models', name));
    const { kvCacheMemoryBytes: _, ...options } = base;
    const short = all.filter(({ ids }) => ids.length < 110);
    const expected = (await alone).essences.filter((_, i) => all[i].ids.length < 110);
    const used = { ...options, maxModelLen: 160, preemptionPolicy: policy };
    const { essences, stats } = await together(tightPool(used, spec, short), short);
    expect(essences).toEqual(expected);
    const { numStatesSwappedOut, numStatesSwappedIn, numBlocksSwappedIn } = stats;
    expect(numStatesSwappedIn).toBe(numStatesSwappedOut);
    if (name === WITHOUT_KV || policy === 'auto') return;
    expect(numStatesSwappedIn).toBeGreaterThan(0);
    expect(numBlocksSwappedIn).toBeGreaterThan(0);
  });

  it('from a hit', async () => {
    const { essences, hits } = await oneByOne(base, [...all, ...all]);
    const { essences: expected } = await alone;
    expect(essences).toEqual([...expected, ...expected]);
    // Each of the second round has at least its own prompt's last border.
    const least = all.reduce(
      (sum, { ids }) => sum + CHUNK * Math.floor((ids.length - 1) / CHUNK),
      0,
    );
    expect(hits).toBeGreaterThan(least / 2);
  });
});

it('closes while requests are in the swap space', async () => {
  const model = join(ROOT, 'test/fixtures/models', MODELS[0]);
  const { spec } = await openCheckpoint(model);
  const list = asks.filter(({ ids }) => ids.length < 110);
  const options = { model, maxNumSeqs: 16, maxModelLen: 160, preemptionPolicy: 'swap' } as const;
  const llm = await LLM.load(tightPool(options, spec, list));
  const events = llm.events();
  const ended = Promise.allSettled(
    list.map(({ ids, params }) => llm.generate({ promptTokenIds: ids }, params)),
  ).then(() => llm.close());
  let wasThere = false;
  for await (const { numRequestsSwapped, numHostStatesUsed } of events) {
    if (numRequestsSwapped === 0 || numHostStatesUsed === 0) continue;
    wasThere = true;
    break;
  }
  expect(wasThere).toBe(true);
  await llm.close();
  await ended;
  expect(llm.stats()).toMatchObject({ numRequestsRunning: 0, numRequestsSwapped: 0 });
});

describe.each([MODELS[0], WITHOUT_KV])('%s: a hit', (name) => {
  const model = join(ROOT, 'test/fixtures/models', name);
  const loading = LLM.load({ model, maxNumSeqs: 4, maxModelLen: MAX_LEN });
  loading.catch(() => {});
  afterAll(async () => (await loading).close());

  const cached = async (ids: number[], maxTokens = 1) => {
    const llm = await loading;
    const output = await llm.generate({ promptTokenIds: ids }, { maxTokens, ignoreEos: true });
    return output.numCachedTokens;
  };

  it('ends at the last border of a prompt, where prompts parted, and where an answer ended', async () => {
    const llm = await loading;
    const text = randomText(200);
    expect(await cached(text.slice(0, 100))).toBe(0);
    expect(await cached(text.slice(0, 100))).toBe(96);
    expect(await cached(text.slice(0, 97))).toBe(96);
    expect(await cached(text.slice(0, 96))).toBe(0);
    // Where these leave the first text nobody has left a state; the second of them does.
    const parting = () => [...text.slice(0, 70), ...randomText(30)];
    expect(await cached(parting())).toBe(0);
    expect(await cached(parting())).toBe(64);
    const asked = text.slice(0, 20);
    const output = await llm.generate(
      { promptTokenIds: asked },
      { maxTokens: 60, temperature: 0, ignoreEos: true },
    );
    const answered = [...asked, ...output.outputs[0].tokenIds, ...randomText(9)];
    expect(await cached(answered)).toBe(64);
    expect(llm.stats()).toMatchObject({ numStatesUsed: 0, numStateHits: 4 });
    expect(llm.stats().numStatesCached).toBeGreaterThan(3);
  });

  it('is none once the cache was told to forget', async () => {
    const llm = await loading;
    const text = randomText(60);
    await cached(text);
    expect(await cached(text)).toBe(48);
    expect(llm.resetPrefixCache()).toBe(true);
    expect([await cached(text), llm.stats().numStatesCached > 0]).toEqual([0, true]);
  });

  it('says what its states take', async () => {
    const { info } = await loading;
    expect(info.stateBytes).toBeGreaterThan(0);
    expect(info.recordBytes).toBeGreaterThan(0);
    expect(info.numStates).toBe(Math.ceil(1.5 * 4) + 4 + 1);
    expect(info.numHostStates).toBe(4);
    expect(info.numHostBlocks).toBeGreaterThan(0);
  });
});
