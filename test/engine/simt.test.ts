import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createNativeExecutor } from '../../lib/engine/executor.js';
import { type EngineOptions, LLM } from '../../lib/index.js';
import { openCheckpoint } from '../../lib/model/checkpoint.js';
import { ON_CPU, ROOT, simtDevice, testAddon, testDevice } from '../support/addon.js';
import { ALL, sample, someOf } from '../support/all.js';
import { type CheckedDevice, deviceChecks } from '../support/device-checks.js';
import { SEED } from '../support/seed.js';

/**
 * The whole engine on the CUDA sources: kernels, plan, backend and graphs run on the emulator.
 */

const SMALL: EngineOptions = {
  device: 'simt',
  maxModelLen: 640,
  maxNumBatchedTokens: 64,
  swapSpace: 0,
};
const load = (options: EngineOptions = {}) => LLM.loadWith({ ...SMALL, ...options }, testAddon());

beforeAll(() => {
  simtDevice({
    order: (SEED % 3) as 0 | 1 | 2,
    seed: SEED,
    asyncCopyLate: ((SEED >> 2) % 2) as 0 | 1,
    streamsLate: ((SEED >> 3) % 2) as 0 | 1,
    threads: sample(1, 2), // two wait for each other at every launch, long where others run
  });
});
beforeEach(() => {
  simtDevice({ failAtLaunch: -1, memoryBytes: 2 ** 29 });
});

const emulated: CheckedDevice = {
  load,
  root: ROOT,
  full: false,
  promptLengths: ALL ? [3, 17, 40, 75] : [9, 17, 40],
  seed: SEED,
  graphLaunches: () => simtDevice().graphLaunches,
};

/** Minutes on the emulator: for `npm run test:all` and a GPU. */
const LONG = /preempted|swapped|a shared prefix|without batch invariance/;
const checks = deviceChecks(emulated).filter(([name]) => ALL || !LONG.test(name));

it.each(someOf(checks, 1))('%s', async (_, check) => {
  console.log(await check());
});

describe('attacked', () => {
  const code = async (promise: Promise<unknown>) =>
    promise.then(
      () => 'no error',
      (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
    );

  it('a device that does not exist, an emulator in the shipped addon', async () => {
    expect(await code(LLM.load({ device: 'cuda:99' }))).toMatch(
      /^ERR_DEVICE_NOT_FOUND: device cuda:99/,
    );
    expect(await code(LLM.load({ device: 'simt' }))).toMatch(/^ERR_DEVICE_NOT_FOUND: .*test addon/);
  });

  it('a head size without a kernel', async () => {
    const { spec, files, tensors } = await openCheckpoint(join(ROOT, 'models', 'octavo-demo'));
    const limits = { numBlocks: 4, blockSize: 16, maxNumSeqs: 1, maxNumBatchedTokens: 16 };
    const groups = [{ window: 0, blockSize: 16, layers: spec.layers.map((_, i) => i) }];
    const request = {
      spec: {
        ...spec,
        layers: spec.layers.map((layer) => ({
          ...layer,
          attention: { ...layer.attention!, headSize: 76 },
        })),
      },
      limits: { ...limits, groups, maxModelLen: 32, blocksPerRow: 2, numHostBlocks: 0 },
      files,
      tensors,
      ...ON_CPU,
      device: testDevice({ index: 0 }),
    };
    expect(await code(createNativeExecutor(request, testAddon()))).toMatch(
      /^ERR_MODEL_UNSUPPORTED: .*head sizes of multiples of 8/,
    );
  });

  /** Makes devices whose pool, once all else is loaded, has so many blocks. */
  async function roomFor(options: EngineOptions): Promise<(blocks: number) => void> {
    const loaded = async (more: EngineOptions) => {
      const llm = await load({ ...options, ...more });
      const { blockBytes, numBlocks } = llm.info;
      const { usedBytes } = simtDevice();
      await llm.close();
      return { usedBytes, numBlocks, blockBytes };
    };
    simtDevice({ memoryBytes: 2 ** 29 });
    const { usedBytes } = await loaded({ numGpuBlocksOverride: 2, maxModelLen: 16 });
    // Beside what is taken by now, recorded steps keep room that only the pool's size tells.
    const memoryBytes = usedBytes + 2 ** 26;
    simtDevice({ memoryBytes });
    const { numBlocks, blockBytes } = await loaded({ maxModelLen: undefined });
    return (blocks) => {
      simtDevice({ memoryBytes: memoryBytes - (numBlocks - blocks) * blockBytes });
    };
  }

  it('a pool that is too small names the longest maxModelLen that fits', async () => {
    const tooFew = { numGpuBlocksOverride: 5, maxModelLen: 500 };
    expect(await code(load(tooFew))).toMatch(/^ERR_INVALID_OPTION: .*at most 64/);
    const options = { maxModelLen: 512, gpuMemoryUtilization: 1 };
    const makeRoom = await roomFor(options);
    makeRoom(10);
    const message = await code(load(options));
    expect(message).toMatch(/^ERR_INVALID_OPTION: .*at most \d+ or raise gpuMemoryUtilization/);
    const fits = Number(/at most (\d+)/.exec(message)![1]);
    const small = await load({ ...options, maxModelLen: fits });
    expect(small.info.maxModelLen).toBe(fits);
    await small.close();
  });

  it('a pool smaller than the context, with default options: the context gives way', async () => {
    const all = { maxModelLen: undefined, gpuMemoryUtilization: 1 };
    // Rows as wide as the model's whole context are planned before the pool is measured.
    const makeRoom = await roomFor(all);
    for (const blocks of someOf([3, 12, 40], 1)) {
      makeRoom(blocks);
      const small = await load(all);
      expect(small.info.numBlocks).toBe(blocks);
      expect(small.info.maxModelLen).toBe((blocks - 1) * 16);
      const params = { maxTokens: 3, temperature: 0, ignoreEos: true };
      const outputs = await small.generate(['Call me', 'The sea', 'A'], params);
      expect(outputs.map(({ outputs: [o] }) => o.tokenIds.length)).toEqual([3, 3, 3]);
      await small.close();
    }
  });

  it('no memory at all', async () => {
    for (const memoryBytes of [1e5, 4e7, 9e7]) {
      simtDevice({ memoryBytes });
      expect(await code(load())).toMatch(/^ERR_OUT_OF_MEMORY: /);
    }
    simtDevice({ memoryBytes: 2 ** 29 });
    const llm = await load();
    await llm.close();
  });

  it('a lost device fails what runs and nothing else; memory is back after close', async () => {
    const { usedBytes } = simtDevice();
    const llm = await load();
    const running = code(llm.generate('Call me', { maxTokens: 50, ignoreEos: true }));
    simtDevice({ failAtLaunch: 150 });
    expect(await running).toMatch(/^ERR_DEVICE_LOST: .*load the model anew/);
    expect(await code(llm.generate('again'))).toMatch(/^ERR_DEVICE_LOST/);
    await llm.close();
    simtDevice({ failAtLaunch: -1 });
    expect(simtDevice().usedBytes).toBe(usedBytes);
    const second = await load();
    const output = await second.generate('Call me', { maxTokens: 2, ignoreEos: true });
    expect(output.outputs[0].tokenIds).toHaveLength(2);
    await second.close();
  });

  it('close() during a step, and two engines on one device', async () => {
    const half = { numGpuBlocksOverride: 200 };
    const [a, b] = await Promise.all([load(half), load(half)]);
    const cut = code(a.generate('Call me', { maxTokens: 500, ignoreEos: true }));
    const other = b.generate('Call me Ishmael.', { temperature: 0, maxTokens: 3 });
    await a.close();
    expect(await cut).toMatch(/^ERR_CLOSED/);
    expect((await other).outputs[0].tokenIds).toHaveLength(3);
    await b.close();
    expect(simtDevice().usedBytes).toBe(0);
  });
});
