import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { CHUNK } from '../../lib/core/recurrent-states.js';
import { deviceBytes } from '../../lib/engine/room.js';
import { type EngineOptions, LLM } from '../../lib/index.js';
import { openCheckpoint } from '../../lib/model/checkpoint.js';
import { ROOT, simtDevice, testAddon } from '../support/addon.js';
import { sample, someOf } from '../support/all.js';
import { random } from '../support/random.js';
import { type Ask, oneByOne, together } from '../support/random-asks.js';
import { SEED } from '../support/seed.js';

/**
 * Models with recurrent layers on the CUDA sources (emulated): a request has the same bits whatever
 * the batch, the chunks, forks, preemption and the prefix cache; states and records fit the memory.
 */

const FIXTURES = join(ROOT, 'test/fixtures');
const MODELS = {
  delta: join(FIXTURES, 'models/qwen3_5-grouped'),
  ssm: join(FIXTURES, 'models/granite-hybrid-dense'),
  conv: join(FIXTURES, 'models/lfm2'),
};
const SMALL: EngineOptions = { device: 'simt', maxNumBatchedTokens: 64, swapSpace: 0 };
/** Host memory for those that are swapped out, in GiB. */
const SWAP_SPACE = 0.05;
const rng = random(SEED);
const randomText = (length: number) => Array.from({ length }, () => rng.integer(320));
const common = randomText(40);
const asks: Ask[] = someOf([1, 15, 16, 17, 33], 3).flatMap((length, i) => {
  const params = {
    maxTokens: 3 + rng.integer(CHUNK),
    temperature: i % 2 === 0 ? 0 : 0.5 + rng.uniform(),
    seed: rng.integer(2 ** 31),
    ignoreEos: true,
    logprobs: 2,
    n: i % 2 === 0 ? 1 : 3,
  };
  const shared = common.slice(0, length);
  return [
    { ids: shared, params },
    { ids: [...shared, ...randomText(1 + rng.integer(9))], params: { ...params, n: 1 } },
  ];
});
const beams: Ask[] = [{ ids: common.slice(0, 13), params: { beamWidth: 2, maxTokens: 8 } }];
const all = [...asks, ...beams];

beforeAll(() => {
  simtDevice({ order: (SEED % 3) as 0 | 1 | 2, seed: SEED, memoryBytes: 2 ** 29 });
});

describe.each(someOf(Object.entries(MODELS), 1))('%s: alone equals', (_, model) => {
  const base: EngineOptions = {
    ...SMALL,
    ...{ model, maxNumSeqs: 8, maxModelLen: 96, kvCacheMemoryBytes: 2 ** 24 },
  };
  const alone = oneByOne({ ...base, enablePrefixCaching: false }, all);
  // Whoever waits for it says what went wrong.
  alone.catch(() => {});

  const ways: (readonly [string, EngineOptions])[] = [
    ['a batch', {}],
    ['a batch, nothing recorded', { enableCudaGraphs: false }],
    ['tokens one by one', { longPrefillTokenThreshold: 1 }],
    ['chunks of 5', { longPrefillTokenThreshold: 5 }],
    ['chunks of 16', { longPrefillTokenThreshold: CHUNK }],
    ['chunks of 23', { longPrefillTokenThreshold: 23, enablePrefixCaching: false }],
    ['steps of 17 tokens', { maxNumBatchedTokens: 17 }],
  ];
  // Each takes half a minute, so never all of them.
  const first = rng.integer(ways.length);
  const some = Array.from({ length: sample(2, 3) }, (_, i) => ways[(first + 2 * i) % ways.length]);
  it.each(some)('%s', async (_way, options) => {
    const { essences } = await together({ ...base, ...options }, all);
    expect(essences).toEqual((await alone).essences);
  });

  it('thrown out and computed again, from a state or from nothing', async () => {
    const { kvCacheMemoryBytes: _bytes, ...options } = base;
    const tight = { ...options, numGpuBlocksOverride: 12, blockSize: 8, maxModelLen: 64 } as const;
    // Each needs three blocks at first, six in the end, and there are eleven.
    const params = { maxTokens: 24, temperature: 0.7, seed: rng.integer(2 ** 31), ignoreEos: true };
    const list = [1, 2, 3].map(() => ({ ids: randomText(17), params }));
    const { essences: expected } = await oneByOne({ ...base, enablePrefixCaching: false }, list);
    for (const enablePrefixCaching of someOf([true, false], 1)) {
      const { essences, stats } = await together({ ...tight, enablePrefixCaching }, list);
      expect(stats.numPreemptions).toBeGreaterThan(0);
      expect(essences).toEqual(expected);
    }
  });

  it('thrown out and brought back', async () => {
    const { kvCacheMemoryBytes: _bytes, ...options } = base;
    const tight = { ...options, numGpuBlocksOverride: 12, blockSize: 8, maxModelLen: 64 } as const;
    const params = { maxTokens: 24, temperature: 0.7, seed: rng.integer(2 ** 31), ignoreEos: true };
    const list = [1, 2, 3].map(() => ({ ids: randomText(17), params }));
    const { essences: expected } = await oneByOne({ ...base, enablePrefixCaching: false }, list);
    const swapped = { preemptionPolicy: 'swap', swapSpace: SWAP_SPACE } as const;
    const { essences, stats } = await together({ ...tight, ...swapped }, list);
    expect(stats.numStatesSwappedOut).toBeGreaterThan(0);
    expect(stats.numStatesSwappedIn).toBe(stats.numStatesSwappedOut);
    expect(essences).toEqual(expected);
  });

  it('from a hit', async () => {
    const { essences, hits } = await oneByOne(base, [...all, ...all]);
    const { essences: expected } = await alone;
    expect(essences).toEqual([...expected, ...expected]);
    expect(hits).toBeGreaterThan(0);
  });
});

describe('memory', () => {
  const load = (options: EngineOptions) =>
    LLM.loadWith({ ...SMALL, model: MODELS.delta, maxModelLen: 64, ...options }, testAddon());

  it('has a pool of what the states leave', async () => {
    const used = async (options: EngineOptions) => {
      const llm = await load({ gpuMemoryUtilization: 1, enableCudaGraphs: false, ...options });
      const { usedBytes } = simtDevice();
      const { info } = llm;
      await llm.close();
      return { usedBytes, info };
    };
    simtDevice({ memoryBytes: 2 ** 29 });
    const least = await used({ numGpuBlocksOverride: 5 });
    const { blockBytes, stateBytes, numStates, maxNumSeqs } = least.info;
    expect(maxNumSeqs).toBe(64);
    expect(stateBytes * numStates).toBeGreaterThan(300 * blockBytes);
    const gpuMemoryUtilization = (least.usedBytes + 150.5 * blockBytes) / 2 ** 29;
    const all = await used({ gpuMemoryUtilization });
    expect(all.info).toMatchObject({ maxNumSeqs, numStates });
    expect(all.info.numBlocks).toBeLessThanOrEqual(155);
    expect(all.usedBytes).toBeLessThanOrEqual(least.usedBytes + 150.5 * blockBytes);
  });

  it('refuses more sequences than it has states for, and names the option', async () => {
    simtDevice({ memoryBytes: 2 ** 26 });
    await expect(load({ maxNumSeqs: 2048 })).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
      param: 'maxNumSeqs',
    });
    simtDevice({ memoryBytes: 2 ** 29 });
  });

  it.each([
    ['as stored', join(FIXTURES, 'gguf/qwen3-next.gguf'), {}],
    ['16 bits a value', MODELS.ssm, {}],
    ['quantised', MODELS.conv, { quantize: 'q8_0' }],
  ] satisfies [string, string, EngineOptions][])(
    'is planned beside the weights, %s',
    async (...one) => {
      const [, model, options] = one as [string, string, EngineOptions];
      const llm = await load({ model, ...options });
      const { weightBytes } = llm.info;
      await llm.close();
      const planned = deviceBytes(await openCheckpoint(model), options.quantize);
      expect(Math.abs(planned / weightBytes - 1)).toBeLessThan(0.05);
    },
  );
});
