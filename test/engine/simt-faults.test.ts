import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type EngineOptions, LLM, type RequestOutput } from '../../lib/index.js';
import { ROOT, simtDevice, testAddon } from '../support/addon.js';
import { someOf } from '../support/all.js';

/**
 * Memory runs out in the middle: at each call of the CUDA runtime that a load or a step makes, one
 * after the other. The caller gets a coded error, nothing stays taken, and what runs next has the
 * bits that it has without the fault. Streams are late, so that work of the failed step would still
 * be under way.
 */

/** Every call in `npm run test:all`, else a few. */
const callsOf = (num: number) =>
  someOf(
    Array.from({ length: num }, (_, k) => k),
    2,
  );

const MODEL = join(ROOT, 'test', 'fixtures', 'models', 'llama-head80');
const SMALL: EngineOptions = {
  model: MODEL,
  device: 'simt',
  maxModelLen: 64,
  maxNumSeqs: 4,
  maxNumBatchedTokens: 16,
  numGpuBlocksOverride: 24,
  enablePrefixCaching: false,
  swapSpace: 0,
};
const load = (options: EngineOptions = {}) => LLM.loadWith({ ...SMALL, ...options }, testAddon());
const essence = ({ outputs }: RequestOutput) => outputs.map((o) => [o.tokenIds, o.logprobs]);

/** A prompt of two chunks, two samples that fork, penalties, a list of the best tokens. */
const ask = async (llm: LLM) =>
  essence(
    await llm.generate(
      { promptTokenIds: Array.from({ length: 23 }, (_, i) => (7 * i + 3) % 300) },
      { n: 2, seed: 5, maxTokens: 2, ignoreEos: true, logprobs: 1, frequencyPenalty: 0.5 },
    ),
  );
/** Shorter, other tokens: it would meet the remains of a step that failed. */
const askShort = async (llm: LLM) =>
  essence(
    await llm.generate(
      { promptTokenIds: [250, 9, 77] },
      { temperature: 0, maxTokens: 2, ignoreEos: true, logprobs: 1 },
    ),
  );

const outcome = (promise: Promise<unknown>) =>
  promise.then(
    (value) => ({ value }),
    ({ code }: { code?: string }) => ({ code }),
  );
const taken = () => {
  const { usedBytes, pinnedBytes, graphs } = simtDevice();
  return { usedBytes, pinnedBytes, graphs };
};

beforeEach(() => {
  simtDevice({ failAtLaunch: -1, failAtCall: -1, memoryBytes: 2 ** 29, streamsLate: 1 });
});
afterEach(() => {
  expect(taken()).toEqual({ usedBytes: 0, pinnedBytes: 0, graphs: 0 });
});
afterAll(() => {
  simtDevice({ failAtCall: -1, streamsLate: 0 });
});

/** Calls of the runtime that `run` makes. */
async function countCalls(run: () => Promise<unknown>): Promise<number> {
  const before = simtDevice().calls;
  await run();
  return simtDevice().calls - before;
}

describe('memory runs out at every call of the runtime', () => {
  it('of a load', async () => {
    const num = await countCalls(async () => (await load()).close());
    expect(num).toBeGreaterThan(60);
    for (const k of callsOf(num)) {
      simtDevice({ failAtCall: k });
      const llm = await outcome(load());
      simtDevice({ failAtCall: -1 });
      if ('value' in llm) await (llm.value as LLM).close();
      else expect(llm.code, `call ${k}`).toBe('ERR_OUT_OF_MEMORY');
      expect(taken(), `call ${k}`).toEqual({ usedBytes: 0, pinnedBytes: 0, graphs: 0 });
    }
  });

  it.each([true, false])(
    'of the steps of an engine that goes on; CUDA graphs: %s',
    async (enableCudaGraphs) => {
      const llm = await load({ enableCudaGraphs });
      const [wanted, wantedShort] = [await ask(llm), await askShort(llm)];
      const num = await countCalls(() => ask(llm));
      expect(num).toBeGreaterThan(40);
      const steady = taken();
      let failures = 0;
      for (const k of callsOf(num)) {
        simtDevice({ failAtCall: k });
        const failed = await outcome(ask(llm));
        simtDevice({ failAtCall: -1 });
        if ('value' in failed) expect(failed.value).toEqual(wanted);
        else expect(failed.code, `call ${k}`).toBe('ERR_OUT_OF_MEMORY');
        failures += 'value' in failed ? 0 : 1;
        expect(await askShort(llm), `after call ${k}`).toEqual(wantedShort);
        expect(await ask(llm), `after call ${k}`).toEqual(wanted);
        expect(llm.stats().kvCacheUsage).toBe(0);
        expect(taken(), `call ${k}`).toEqual(steady);
      }
      expect(failures).toBeGreaterThan(0);
      await llm.close();
    },
  );

  it('of the first steps, in which all is recorded and taken for the first time', async () => {
    let llm = await load();
    let wanted: unknown;
    const num = await countCalls(async () => {
      wanted = await ask(llm);
    });
    await llm.close();
    for (const k of callsOf(num)) {
      llm = await load();
      simtDevice({ failAtCall: k });
      const failed = await outcome(ask(llm));
      simtDevice({ failAtCall: -1 });
      if (!('value' in failed)) expect(failed.code, `call ${k}`).toBe('ERR_OUT_OF_MEMORY');
      expect(await ask(llm), `after call ${k}`).toEqual(wanted);
      await llm.close();
    }
  });
});

describe('CUDA graphs in a pool that took all memory', () => {
  const full = { gpuMemoryUtilization: 1, numGpuBlocksOverride: undefined };
  const sizes = async (llm: LLM) => {
    const prompts = Array.from({ length: 4 }, (_, i) => ({ promptTokenIds: [3 + i, 40, 9] }));
    const outputs = await llm.generate(
      prompts,
      prompts.map((_, i) => ({ maxTokens: 2 + 2 * i, temperature: 0, ignoreEos: true })),
    );
    return outputs.map(essence);
  };

  it('find the room that was kept for them', async () => {
    const roomy = await load({ ...full, enableCudaGraphs: false });
    const wanted = await sizes(roomy);
    const { usedBytes } = taken();
    const withoutPool = usedBytes - roomy.info.numBlocks * roomy.info.blockBytes;
    await roomy.close();
    // Room for the engine, its graphs and some blocks.
    simtDevice({ memoryBytes: withoutPool + (12 << 20) });
    const llm = await load(full);
    const before = taken();
    expect(await sizes(llm)).toEqual(wanted);
    expect(simtDevice().graphs).toBeGreaterThan(before.graphs);
    expect(simtDevice().usedBytes).toBeLessThanOrEqual(withoutPool + (12 << 20));
    await llm.close();
  });

  it('do without where another process takes even that', async () => {
    const llm = await load();
    const wanted = await load({ enableCudaGraphs: false });
    const tokens = await sizes(wanted);
    await wanted.close();
    simtDevice({ memoryBytes: simtDevice().usedBytes });
    expect(await sizes(llm)).toEqual(tokens);
    expect(simtDevice().graphs).toBe(0);
    simtDevice({ memoryBytes: 2 ** 29 });
    await llm.close();
  });
});
