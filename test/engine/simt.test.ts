import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createNativeExecutor } from '../../lib/engine/executor.js';
import {
  type EngineOptions,
  LLM,
  type RequestOutput,
  type SamplingParamsInput,
} from '../../lib/index.js';
import { openCheckpoint } from '../../lib/model/checkpoint.js';
import { ROOT, simtDevice, testAddon, testDevice } from '../support/addon.js';
import { random } from '../support/random.js';

/**
 * The whole engine on the CUDA sources: kernels, plan, backend and graphs run on the emulator. What
 * is compared among runs is compared in bits; what is compared with the float reference has a bound.
 */

const seed = Number(process.env.OCTAVO_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.log(`simt: OCTAVO_SEED=${seed}`);
const rng = random(seed);
const demo = join(ROOT, 'test', 'fixtures', 'octavo-demo');
const golden = JSON.parse(readFileSync(join(demo, 'golden.json'), 'utf8')) as {
  prompts: {
    text: string;
    prompt_token_ids: number[];
    greedy_token_ids: number[];
    greedy_logprobs: number[];
  }[];
  validation: { first_window_nll: number[] };
};

const SMALL: EngineOptions = { device: 'simt', maxModelLen: 640, maxNumBatchedTokens: 64 };
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

const essence = (output: RequestOutput) =>
  output.outputs.map((o) => ({ text: o.text, ids: o.tokenIds, logprobs: o.logprobs }));

describe('against the float reference', () => {
  it('writes the demo text; an id differs only where the lead is small', async () => {
    const llm = await load();
    try {
      const prompts = golden.prompts.slice(0, 3);
      const outputs = await llm.generate(
        prompts.map((p) => ({ promptTokenIds: p.prompt_token_ids })),
        { temperature: 0, maxTokens: 12, ignoreEos: true, logprobs: 2 },
      );
      let same = 0;
      outputs.forEach(({ outputs: [output] }, i) => {
        const want = prompts[i].greedy_token_ids.slice(0, 12);
        for (const [j, id] of output.tokenIds.entries()) {
          const { logprob, top } = output.logprobs![j];
          if (id !== want[j]) {
            expect(top[0].logprob - top[1].logprob).toBeLessThan(0.05);
            break; // from here on the texts are different ones
          }
          same++;
          expect(Math.abs(logprob - prompts[i].greedy_logprobs[j])).toBeLessThan(0.05);
        }
      });
      expect(same).toBeGreaterThan(12);
    } finally {
      await llm.close();
    }
  });

  it('has its loss on held-out text', async () => {
    const llm = await load({ maxNumBatchedTokens: 192 });
    try {
      const text = readFileSync(join(demo, 'validation.txt'), 'utf8');
      const ids = await llm.tokenizer.encode(text.slice(0, 2000), { addSpecialTokens: false });
      const output = await llm.generate(
        { promptTokenIds: [0, ...ids.slice(0, 191)] },
        { maxTokens: 1, promptLogprobs: 0 },
      );
      const losses = output.promptLogprobs!.slice(1).map((p) => -p!.logprob);
      const want = golden.validation.first_window_nll.slice(0, losses.length);
      const mean = (list: number[]) => list.reduce((sum, x) => sum + x, 0) / list.length;
      // bf16 activations between ops: 2⁻⁹ relative each, averaged over 191 tokens.
      expect(Math.abs(mean(losses) - mean(want))).toBeLessThan(5e-3);
      losses.forEach((loss, i) => {
        expect(Math.abs(loss - want[i])).toBeLessThan(0.25);
      });
    } finally {
      await llm.close();
    }
  }, 120_000);
});

describe('bits', () => {
  let source: number[];
  let asks: { ids: number[]; params: SamplingParamsInput }[];
  let alone: ReturnType<typeof essence>[];

  const run = async (options: EngineOptions, list = asks) => {
    const llm = await load(options);
    try {
      const outputs = await llm.generate(
        list.map((a) => ({ promptTokenIds: a.ids })),
        list.map((a) => a.params),
      );
      return { essences: outputs.map(essence), stats: llm.stats() };
    } finally {
      await llm.close();
    }
  };

  beforeAll(async () => {
    const llm = await load({ enablePrefixCaching: false });
    const text = readFileSync(join(ROOT, 'models', 'octavo-demo', 'README.md'), 'utf8');
    source = await llm.tokenizer.encode(text, { addSpecialTokens: false });
    asks = [3, 17, 40, 75].map((length, i) => {
      const start = rng.integer(source.length - length);
      const params = {
        maxTokens: 3 + i,
        temperature: i % 2,
        seed: i,
        ignoreEos: true,
        logprobs: 2,
      };
      return { ids: [0, ...source.slice(start, start + length - 1)], params };
    });
    alone = [];
    for (const { ids, params } of asks) {
      alone.push(essence(await llm.generate({ promptTokenIds: ids }, params)));
    }
    await llm.close();
  }, 120_000);

  it.each<[string, EngineOptions]>([
    ['in a batch', {}],
    ['in chunks of 7', { longPrefillTokenThreshold: 7 }],
    ['in blocks of 8', { blockSize: 8 }],
    ['without CUDA graphs', { enableCudaGraphs: false }],
  ])(
    'alone equals %s',
    async (_, options) => {
      const before = simtDevice().graphLaunches;
      const { essences } = await run(options);
      expect(essences).toEqual(alone);
      const replayed = simtDevice().graphLaunches - before;
      expect(replayed > 0).toBe(options.enableCudaGraphs !== false);
    },
    120_000,
  );

  it('alone equals preempted and a prefix hit', async () => {
    // One block each at first, three at last, in a pool of seven.
    const tight = [0, 1, 2].map((i) => ({
      ids: [0, ...source.slice(20 * i, 20 * i + 13)],
      params: { maxTokens: 22, temperature: i % 2, seed: i, ignoreEos: true, logprobs: 1 },
    }));
    const roomy = await run({}, tight);
    const { essences, stats } = await run({ numGpuBlocksOverride: 8, maxModelLen: 96 }, tight);
    expect(stats.numPreemptions).toBeGreaterThan(0);
    expect(essences).toEqual(roomy.essences);
    const llm = await load();
    const twice = [];
    for (const _ of [1, 2]) {
      twice.push(essence(await llm.generate({ promptTokenIds: asks[3].ids }, asks[3].params)));
    }
    expect(llm.stats().prefixCacheHits).toBeGreaterThan(0);
    await llm.close();
    expect(twice).toEqual([alone[3], alone[3]]);
  }, 120_000);

  it('a shared prefix read once for all equals one read by each', async () => {
    const prefix = [0, ...source.slice(0, 280)];
    const list = Array.from({ length: 16 }, (_, i) => ({
      ids: [...prefix, ...source.slice(300 + 3 * i, 302 + 3 * i)],
      params: { maxTokens: 2, temperature: 0, ignoreEos: true, logprobs: 1 },
    }));
    const options = { maxNumBatchedTokens: 320 };
    const shared = await run(options, list);
    const each = await run({ ...options, enableCascadeAttention: false }, list);
    expect(shared.stats.prefixCacheHits).toBeGreaterThan(15 * 250);
    expect(shared.essences).toEqual(each.essences);
  }, 120_000);

  it.each(['fp8', 'int8'] as const)(
    'an %s cache: alone equals a batch',
    async (kvCacheDtype) => {
      const list = asks.slice(1, 3);
      const llm = await load({ kvCacheDtype });
      const one = essence(await llm.generate({ promptTokenIds: list[1].ids }, list[1].params));
      await llm.close();
      const { essences } = await run({ kvCacheDtype, longPrefillTokenThreshold: 9 }, list);
      expect(essences[1]).toEqual(one);
      expect(llm.info.kvBytesPerToken).toBe(6 * 2 * 2 * (64 + 4));
    },
    120_000,
  );
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
    const { config, files, tensors } = await openCheckpoint(join(ROOT, 'models', 'octavo-demo'));
    const limits = { numBlocks: 4, blockSize: 16, maxNumSeqs: 1, maxNumBatchedTokens: 16 };
    const request = {
      config: { ...config, headSize: 72 },
      limits: { ...limits, maxModelLen: 32, blocksPerRow: 2 },
      files,
      tensors,
      numThreads: 1,
      isa: '',
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
