import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createNativeExecutor } from '../../lib/engine/executor.js';
import { type EngineOptions, LLM } from '../../lib/index.js';
import { openCheckpoint } from '../../lib/model/checkpoint.js';
import { ON_CPU, ROOT, simtDevice, testAddon, testDevice } from '../support/addon.js';
import { type CheckedDevice, deviceChecks } from '../support/device-checks.js';

/**
 * The whole engine on the CUDA sources: kernels, plan, backend and graphs run on the emulator.
 */

const seed = Number(process.env.OCTAVO_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.log(`simt: OCTAVO_SEED=${seed}`);
const SMALL: EngineOptions = {
  device: 'simt',
  maxModelLen: 640,
  maxNumBatchedTokens: 64,
  swapSpace: 0,
};
const load = (options: EngineOptions = {}) => LLM.loadWith({ ...SMALL, ...options }, testAddon());

beforeAll(() => {
  simtDevice({
    order: (seed % 3) as 0 | 1 | 2,
    seed,
    asyncCopyLate: ((seed >> 2) % 2) as 0 | 1,
    threads: 2,
  });
});
beforeEach(() => {
  simtDevice({ failAtLaunch: -1, memoryBytes: 2 ** 29 });
});

const emulated: CheckedDevice = {
  load,
  root: ROOT,
  full: false,
  seed,
  graphLaunches: () => simtDevice().graphLaunches,
};

it.each(deviceChecks(emulated))(
  '%s',
  async (_, check) => {
    console.log(await check());
  },
  120_000,
);

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
    const { config, files, tensors } = await openCheckpoint(join(ROOT, 'models', 'octavo-demo'));
    const limits = { numBlocks: 4, blockSize: 16, maxNumSeqs: 1, maxNumBatchedTokens: 16 };
    const request = {
      config: { ...config, headSize: 72 },
      limits: { ...limits, maxModelLen: 32, blocksPerRow: 2, numHostBlocks: 0 },
      files,
      tensors,
      ...ON_CPU,
      device: testDevice({ index: 0 }),
    };
    expect(await code(createNativeExecutor(request, testAddon()))).toMatch(
      /^ERR_MODEL_UNSUPPORTED: .*head sizes 32, 64/,
    );
  });

  it('a pool that is too small names the longest maxModelLen that fits', async () => {
    const tooFew = { numGpuBlocksOverride: 5, maxModelLen: 500 };
    expect(await code(load(tooFew))).toMatch(/^ERR_INVALID_OPTION: .*at most 64/);
    // Everything but the pool, measured; then room for some ten blocks beside it.
    const llm = await load({ numGpuBlocksOverride: 2, maxModelLen: 16 });
    const blockBytes = llm.info.kvBytesPerToken * llm.info.blockSize;
    const taken = simtDevice().usedBytes - 2 * blockBytes;
    await llm.close();
    simtDevice({ memoryBytes: taken + 10 * blockBytes });
    const options = { maxModelLen: 512, gpuMemoryUtilization: 1 };
    const message = await code(load(options));
    expect(message).toMatch(/^ERR_INVALID_OPTION: .*at most \d+ or raise gpuMemoryUtilization/);
    const fits = Number(/at most (\d+)/.exec(message)![1]);
    const small = await load({ ...options, maxModelLen: fits });
    expect(small.info.maxModelLen).toBe(fits);
    await small.close();
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
  }, 60_000);

  it('close() during a step, and two engines on one device', async () => {
    const [a, b] = await Promise.all([load(), load()]);
    const cut = code(a.generate('Call me', { maxTokens: 500, ignoreEos: true }));
    const other = b.generate('Call me Ishmael.', { temperature: 0, maxTokens: 3 });
    await a.close();
    expect(await cut).toMatch(/^ERR_CLOSED/);
    expect((await other).outputs[0].tokenIds).toHaveLength(3);
    await b.close();
    expect(simtDevice().usedBytes).toBe(0);
  }, 60_000);
});

afterAll(() => console.log(`simt: done, OCTAVO_SEED=${seed}`));
