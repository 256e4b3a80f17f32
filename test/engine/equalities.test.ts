import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { EngineOptions, RequestOutput, SamplingParams } from '../../lib/index.js';
import { LLM } from '../../lib/index.js';
import { native } from '../../lib/native.js';
import { ROOT } from '../support/addon.js';
import { sample, someOf } from '../support/all.js';
import { random } from '../support/random.js';
import { SEED } from '../support/seed.js';

/**
 * The promise of the house: the same request gives the same tokens and the same logprobs, bit for
 * bit, whatever runs beside it and however it is computed. Nothing here compares with a tolerance.
 */

const rng = random(SEED);
const text = readFileSync(join(ROOT, 'models', 'octavo-demo', 'README.md'), 'utf8');

interface Ask {
  readonly ids: number[];
  readonly params: SamplingParams;
}

/** What must be equal: tokens, their logprobs and the best beside them, prompt logprobs, text. */
function essence(output: RequestOutput) {
  return {
    prompt: output.promptLogprobs,
    outputs: output.outputs.map((o) => ({
      text: o.text,
      tokenIds: o.tokenIds,
      logprobs: o.logprobs,
      cumulative: o.cumulativeLogprob,
      finish: o.finishReason,
    })),
  };
}

let source: number[];
let asks: Ask[];
let alone: ReturnType<typeof essence>[];

function ask(length: number, i: number): Ask {
  const start = rng.integer(source.length - length);
  return {
    ids: [0, ...source.slice(start, start + length - 1)],
    params: {
      maxTokens: 1 + rng.integer(24),
      temperature: i % 3 === 0 ? 0 : 0.5 + rng.uniform(),
      topP: i % 4 === 1 ? 0.9 : 1,
      topK: i % 5 === 2 ? 20 : 0,
      minP: i % 7 === 3 ? 0.05 : 0,
      repetitionPenalty: i % 6 === 4 ? 1.2 : 1,
      presencePenalty: i % 8 === 5 ? 0.5 : 0,
      seed: rng.integer(2 ** 31),
      ignoreEos: true,
      logprobs: 3,
    },
  };
}

async function run(options: EngineOptions, list: readonly Ask[] = asks) {
  const llm = await LLM.load(options);
  try {
    const outputs = await llm.generate(
      list.map((a) => ({ promptTokenIds: a.ids })),
      list.map((a) => a.params),
    );
    return { outputs, essences: outputs.map(essence), stats: llm.stats() };
  } finally {
    await llm.close();
  }
}

beforeAll(async () => {
  const llm = await LLM.load({ enablePrefixCaching: false });
  const once = await llm.tokenizer.encode(text, { addSpecialTokens: false });
  source = [...once, ...once, ...once];
  const lengths = Array.from(
    { length: sample(16, 64) },
    () => 1 + rng.integer(rng.integer(4) === 0 ? 600 : 80),
  );
  asks = lengths.map(ask);
  alone = [];
  for (const { ids, params } of asks) {
    alone.push(essence(await llm.generate({ promptTokenIds: ids }, params)));
  }
  await llm.close();
});

describe('alone equals', () => {
  it('in a batch of many mixed lengths', async () => {
    const { essences } = await run({});
    expect(essences).toEqual(alone);
  });

  it.each(someOf([1, 7, 16], 1))('chunked at %i tokens', async (longPrefillTokenThreshold) => {
    const { essences, stats } = await run({
      longPrefillTokenThreshold,
      enablePrefixCaching: false,
    });
    const longest = Math.max(...asks.map((a) => a.ids.length));
    expect(stats.numSteps).toBeGreaterThanOrEqual(longest / longPrefillTokenThreshold);
    expect(essences).toEqual(alone);
  });

  it.each(someOf([1, 7, 16], 1))(
    'with a budget of %i tokens a step',
    async (maxNumBatchedTokens) => {
      const few = asks.slice(0, 12);
      const { essences } = await run({ maxNumBatchedTokens, enablePrefixCaching: false }, few);
      expect(essences).toEqual(alone.slice(0, 12));
    },
  );

  it.each(someOf([8, 16, 32] as const, 2))('in blocks of %i tokens', async (blockSize) => {
    const { essences } = await run({ blockSize });
    expect(essences).toEqual(alone);
  });

  it.each([1, 2, 3])('with %i threads', async (numThreads) => {
    const { essences } = await run({ numThreads });
    expect(essences).toEqual(alone);
  });

  it.each(someOf(native().isas, 3))('on %s', async (isa) => {
    const few = asks.slice(0, isa === 'scalar' ? sample(2, 6) : 64);
    const { essences } = await run({ isa: isa as EngineOptions['isa'] }, few);
    expect(essences).toEqual(alone.slice(0, few.length));
  });

  const preemptions = [
    [false, 'recompute'],
    [true, 'recompute'],
    [false, 'swap'],
    [true, 'swap'],
  ] as const;
  it.each(someOf(preemptions, 2))(
    'after forced preemption (prefix cache %s, %s)',
    async (enablePrefixCaching, preemptionPolicy) => {
      // Long answers in a pool that holds the longest request and little more: admitted together,
      // they outgrow it and throw each other out.
      const long = Array.from({ length: 24 }, (_, i) => {
        const { ids, params } = ask(20 + rng.integer(50), i);
        return { ids, params: { ...params, maxTokens: 80 + rng.integer(60) } };
      });
      const roomy = await run({ enablePrefixCaching }, long);
      expect(roomy.stats.numPreemptions).toBe(0);
      const pool = { numGpuBlocksOverride: 17, maxModelLen: 256 };
      const options = { ...pool, enablePrefixCaching, preemptionPolicy, swapSpace: 0.1 };
      const { essences, stats } = await run(options, long);
      expect(stats.numBlocksSwappedIn > 0).toBe(preemptionPolicy === 'swap');
      expect(stats.numPreemptions).toBeGreaterThan(10);
      expect(essences).toEqual(roomy.essences);
    },
  );

  it('from a prefix hit', async () => {
    const llm = await LLM.load();
    try {
      for (const pass of [0, 1]) {
        let hits = 0;
        for (const [i, { ids, params }] of asks.entries()) {
          const output = await llm.generate({ promptTokenIds: ids }, params);
          hits += output.numCachedTokens;
          expect(essence(output)).toEqual(alone[i]);
        }
        if (pass === 1) expect(hits).toBeGreaterThan(0);
      }
    } finally {
      await llm.close();
    }
  });

  it('with prompt logprobs, whatever the chunks', async () => {
    const few = asks.slice(0, 8).map((a) => ({ ...a, params: { ...a.params, promptLogprobs: 2 } }));
    const whole = await run({}, few);
    const chunked = await run({ longPrefillTokenThreshold: 5 }, few);
    expect(chunked.essences).toEqual(whole.essences);
    expect(whole.essences.map((e) => e.outputs)).toEqual(alone.slice(0, 8).map((e) => e.outputs));
  });
});

describe('under the policy priority', () => {
  it('alone equals crowded, whoever makes room for whom', async () => {
    const pool = { numGpuBlocksOverride: 17, maxModelLen: 256, swapSpace: 0.1 };
    const few = Array.from({ length: 16 }, (_, i) => {
      const { ids, params } = ask(20 + rng.integer(50), i);
      return { ids, params: { ...params, maxTokens: 60 + rng.integer(60) } };
    });
    const roomy = await run({}, few);
    for (const preemptionPolicy of ['swap', 'recompute'] as const) {
      const llm = await LLM.load({ ...pool, preemptionPolicy, schedulingPolicy: 'priority' });
      try {
        const outputs = await Promise.all(
          few.map(({ ids, params }) =>
            llm.generate({ promptTokenIds: ids }, params, { priority: rng.integer(4) - 1 }),
          ),
        );
        expect(llm.stats().numPreemptions).toBeGreaterThan(0);
        expect(outputs.map(essence)).toEqual(roomy.essences);
      } finally {
        await llm.close();
      }
    }
  });
});

describe('with a sliding window', () => {
  const model = join(ROOT, 'test', 'fixtures', 'models', 'mistral-window');

  it('alone equals any batch, chunk, block size, preemption and prefix hit', async () => {
    const few = Array.from({ length: 12 }, (_, i) => {
      const { params } = ask(8, i);
      // Short ones are let in with a block and grow to a window's four: that is what gets tight.
      const length = 1 + rng.integer(i < 9 ? 8 : 170);
      const ids = Array.from({ length }, () => rng.integer(320));
      return { ids, params: { ...params, maxTokens: 40 + rng.integer(20) } };
    });
    const single: ReturnType<typeof essence>[] = [];
    const llm = await LLM.load({ model, enablePrefixCaching: false });
    for (const { ids, params } of few) {
      single.push(essence(await llm.generate({ promptTokenIds: ids }, params)));
    }
    await llm.close();
    const tight = { blockSize: 8, numGpuBlocksOverride: 31, maxModelLen: 232 } as const;
    const ways: EngineOptions[] = [
      {},
      { longPrefillTokenThreshold: 7 },
      { blockSize: 32 },
      { ...tight, preemptionPolicy: 'recompute' },
      { ...tight, preemptionPolicy: 'swap', swapSpace: 0.1 },
      { ...tight, preemptionPolicy: 'swap', swapSpace: 0.1, longPrefillTokenThreshold: 5 },
    ];
    let preemptions = 0;
    for (const options of ways) {
      const twice = await run({ model, ...options }, [...few, ...few]);
      preemptions += twice.stats.numPreemptions;
      expect(twice.essences).toEqual([...single, ...single]);
      expect(twice.stats.kvCacheUsage).toBe(0);
    }
    expect(preemptions).toBeGreaterThan(0);
  });
});

describe('n samples', () => {
  const params: SamplingParams = { seed: 4711, temperature: 1.1, maxTokens: 20, logprobs: 2 };

  async function separately(llm: LLM, ids: number[], n: number) {
    const outputs = [];
    for (let i = 0; i < n; i++) {
      const own = { ...params, seed: params.seed! + i };
      outputs.push(essence(await llm.generate({ promptTokenIds: ids }, own)).outputs[0]);
    }
    return outputs;
  }

  it.each([5, 16, 33, 200])(
    'equal n requests with seeds s, s + 1 … (prompt %i)',
    async (length) => {
      const ids = ask(length, 0).ids;
      const llm = await LLM.load();
      try {
        const forked = await llm.generate({ promptTokenIds: ids }, { ...params, n: 5 });
        expect(essence(forked).outputs).toEqual(await separately(llm, ids, 5));
        if (length % 16 !== 0) expect(forked.numBlockCopies).toBe(4);
        if (length >= 16)
          expect(forked.numSharedBlocks).toBeGreaterThanOrEqual(Math.floor(length / 16));
      } finally {
        await llm.close();
      }
    },
  );

  it.each(['recompute', 'swap'] as const)(
    'equal them after preemption too (%s)',
    async (preemptionPolicy) => {
      const prompts = [40, 61, 77, 90].map((length) => ask(length, 0).ids);
      // Room for the largest group and not for two.
      const pool = { numGpuBlocksOverride: 22, maxModelLen: 128, swapSpace: 0.1 };
      const small = await LLM.load({ ...pool, preemptionPolicy });
      const large = await LLM.load();
      try {
        const forked = await small.generate(
          prompts.map((promptTokenIds) => ({ promptTokenIds })),
          { ...params, n: 4, maxTokens: 30, ignoreEos: true },
        );
        const apart = await large.generate(
          prompts.flatMap((promptTokenIds) => Array(4).fill({ promptTokenIds })),
          prompts.flatMap(() =>
            [0, 1, 2, 3].map((i) => ({
              ...params,
              seed: params.seed! + i,
              maxTokens: 30,
              ignoreEos: true,
            })),
          ),
        );
        expect(small.stats().numPreemptions).toBeGreaterThan(0);
        expect(small.stats().numBlocksSwappedIn > 0).toBe(preemptionPolicy === 'swap');
        forked.forEach((output, g) => {
          const own = apart.slice(4 * g, 4 * g + 4).map((o) => essence(o).outputs[0]);
          expect(essence(output).outputs.map((o) => o.tokenIds)).toEqual(
            own.map((o) => o.tokenIds),
          );
          expect(essence(output).outputs.map((o) => o.logprobs)).toEqual(
            own.map((o) => o.logprobs),
          );
        });
      } finally {
        await small.close();
        await large.close();
      }
    },
  );
});

// The same with packed weights, int8 activations and every cache of the CPU.
const PACKED = [
  ['q8_0', 'auto'],
  ['q4_0', 'int8'],
  ['q8_0', 'bfloat16'],
] as const;
describe.each(someOf(PACKED, 1))(
  'weights as %s, KV cache %s: alone equals',
  (quantize, kvCacheDtype) => {
    const options = { quantize, kvCacheDtype } satisfies EngineOptions;
    let list: Ask[];
    let single: ReturnType<typeof essence>[];

    beforeAll(async () => {
      list = asks.slice(0, 16);
      const llm = await LLM.load({ ...options, enablePrefixCaching: false });
      single = [];
      for (const { ids, params } of list) {
        single.push(essence(await llm.generate({ promptTokenIds: ids }, params)));
      }
      await llm.close();
      expect(single).not.toEqual(alone.slice(0, list.length)); // it is another arithmetic
    });

    it.each([
      ['in a batch', {}],
      ['chunked', { longPrefillTokenThreshold: 7, enablePrefixCaching: false }],
      ['in blocks of 8 tokens', { blockSize: 8 }],
      ['with one thread', { numThreads: 1 }],
      ['swapped', { numGpuBlocksOverride: 60, maxModelLen: 640, preemptionPolicy: 'swap' }],
    ] satisfies [string, EngineOptions][])('%s', async (_, more) => {
      expect((await run({ ...options, ...more }, list)).essences).toEqual(single);
    });

    it.each(someOf(native().isas, 3))('on %s', async (isa) => {
      const few = list.slice(0, isa === 'scalar' ? sample(1, 3) : 16);
      const { essences } = await run({ ...options, isa: isa as EngineOptions['isa'] }, few);
      expect(essences).toEqual(single.slice(0, few.length));
    });
  },
);
