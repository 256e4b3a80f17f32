import { describe, expect, it } from 'vitest';
import { engineConfig } from '../../lib/config/options.js';
import { Scheduler } from '../../lib/core/scheduler.js';
import type { SchedulerConfig } from '../../lib/core/scheduler-config.js';
import { CPU, type Device } from '../../lib/engine/device.js';
import { measured, nativeLimits, type PlannedModel, planEngine } from '../../lib/engine/plan.js';
import type { EngineOptions } from '../../lib/index.js';
import { layerOf, NO_NORM } from '../../lib/model/families/shared.js';
import { DTYPES } from '../../lib/native.js';
import { randomFrom } from '../support/fake-executor.js';

function layer(headSize = 128, window = 0) {
  const size = { numHeads: 1, numKvHeads: 1, headSize, intermediateSize: 1 };
  return layerOf(size, NO_NORM, { window });
}

/** A model of 1,024 bytes of KV per token, made for 2,048 tokens. */
const MODEL: PlannedModel = {
  layers: [layer()],
  dtype: 'F32',
  maxPositionEmbeddings: 2048,
  longRopeFrom: undefined,
};
const BLOCK = 16 * 1024;
const NO_STATES = { stateBytes: 0, recordBytes: 0 };
const GPU: Device = { kind: 'cuda', index: 0 };

const plan = (options: EngineOptions, device = CPU, model = MODEL) =>
  planEngine(engineConfig(options), model, device);
const refused = (param: string) => expect.objectContaining({ code: 'ERR_INVALID_OPTION', param });

describe('the plan', () => {
  it('follows the options, and what reads it agrees', () => {
    const made = plan({ kvCacheMemoryBytes: 100 * BLOCK, maxModelLen: 512 });
    const sizes = {
      numBlocks: 100,
      maxModelLen: 512,
      maxNumSeqs: 256,
      maxNumBatchedTokens: 256,
      blocksPerRow: 32,
      numHostBlocks: 99,
    };
    expect(made).toMatchObject({
      ...sizes,
      kvBytesPerToken: 1024,
      blockBytes: BLOCK,
      numFullSeqs: 3,
    });
    expect(made.scheduling).toMatchObject(sizes);
    const groups = [{ window: 0, blockSize: 16, layers: [0] }];
    expect(nativeLimits(made)).toEqual({ ...sizes, blockSize: 16, groups });
    expect(Object.isFrozen(made) && Object.isFrozen(made.scheduling)).toBe(true);
  });

  it('counts the bytes of a block as native lays it out', () => {
    const bytes = (kvCacheDtype: EngineOptions['kvCacheDtype'], device: Device, headSize = 128) =>
      plan({ kvCacheDtype, blockSize: 8 }, device, { ...MODEL, layers: [layer(headSize)] })
        .blockBytes;
    expect(bytes('float16', CPU)).toBe(8 * 512);
    // A scale per row of K and of V, up to a multiple of 256.
    expect(bytes('int8', CPU)).toBe(8 * (2 * 128 + 2 * 4) + 192);
    expect(bytes('fp8', GPU)).toBe(2304);
    expect(bytes('auto', GPU)).toBe(8 * 512);
    expect(bytes('int8', CPU, 20)).toBe(512);
  });

  it('gives the swap space what was asked, by default no more than helps', () => {
    const host = (options: EngineOptions, device = CPU) =>
      plan({ maxModelLen: 512, ...options }, device).numHostBlocks;
    const pool = { kvCacheMemoryBytes: 100 * BLOCK };
    expect(host({ ...pool, swapSpace: (7 * BLOCK) / 2 ** 30 })).toBe(7);
    expect(host({ ...pool, swapSpace: 0 })).toBe(0);
    expect(host({ ...pool, preemptionPolicy: 'recompute', swapSpace: 1 })).toBe(0);
    expect(host({ maxNumSeqs: 1 }, GPU)).toBe(32);
    expect(host({}, GPU)).toBeLessThanOrEqual((4 * 2 ** 30) / (BLOCK / 2));
  });

  it('takes no more than can be used, nor more than there is', () => {
    expect(plan({ maxNumSeqs: 2, maxModelLen: 100 }).numBlocks).toBe(2 * 7 + 1);
    const large = { ...MODEL, layers: Array(1024).fill(layer()), maxPositionEmbeddings: 2 ** 20 };
    const { numBlocks, maxModelLen } = plan({}, CPU, large);
    expect(numBlocks).toBeLessThanOrEqual((4 * 2 ** 30) / (BLOCK * 1024));
    expect(maxModelLen).toBe((numBlocks - 1) * 16);
  });

  it('halves what weights leave between the pool and everything else', () => {
    const large = { ...MODEL, maxPositionEmbeddings: 2 ** 24 };
    const blocks = (room: number, device = CPU) => {
      const { numBlocks, numHostBlocks } = planEngine(engineConfig({}), large, device, 0, room);
      return [numBlocks, numHostBlocks];
    };
    expect(blocks(400 * BLOCK)).toEqual([200, 100]);
    expect(blocks(2 ** 40)).toEqual([2 ** 18, 2 ** 18 - 1]);
    const [measured, host] = blocks(400 * BLOCK, GPU);
    expect([measured, host]).toEqual([0, 200]); // blocks of half the size
    expect(() => blocks(0)).toThrow(refused('kvCacheMemoryBytes'));
  });

  it('says how long a context would fit', () => {
    expect(() => plan({ numGpuBlocksOverride: 5, maxModelLen: 65 })).toThrow(/at most 64/);
    expect(plan({ numGpuBlocksOverride: 5 }).maxModelLen).toBe(64);
    expect(() => plan({ maxModelLen: 4096 })).toThrow(/2048/);
    for (const device of [CPU, GPU]) {
      expect(() => plan({ kvCacheMemoryBytes: 1 }, device)).toThrow(refused('kvCacheMemoryBytes'));
    }
  });

  it('keeps budget and sequences together', () => {
    expect(plan({ maxNumBatchedTokens: 7 })).toMatchObject({ maxNumSeqs: 7 });
    expect(plan({ maxNumSeqs: 1000 })).toMatchObject({ maxNumBatchedTokens: 1000 });
    expect(plan({ enableChunkedPrefill: false }).maxNumBatchedTokens).toBe(2048);
    const short = { enableChunkedPrefill: false, maxNumBatchedTokens: 100 };
    expect(() => plan(short)).toThrow(refused('maxNumBatchedTokens'));
    const many = { maxNumSeqs: 512, maxNumBatchedTokens: 256 };
    for (const device of [CPU, GPU]) {
      expect(() => plan(many, device)).toThrow(refused('maxNumBatchedTokens'));
    }
  });
});

it('stores the KV of weights that are coarse in 16 bits, whatever their type is called', () => {
  const stored = (dtype: string, options: EngineOptions = {}) =>
    plan(options, CPU, { ...MODEL, dtype }).kvCacheDtype;
  for (const dtype of Object.keys(DTYPES)) {
    const quantised = !['F32', 'F16', 'BF16'].includes(dtype);
    const half = dtype === 'BF16' ? 'bfloat16' : 'float16';
    expect(stored(dtype), dtype).toBe(dtype === 'F32' ? 'float32' : half);
    const int8 = stored(dtype, { activations: 'int8' });
    expect(int8, dtype).toBe(dtype === 'F32' ? 'float32' : 'float16');
    const exact = stored(dtype, { activations: 'f32' });
    expect(exact, dtype).toBe(quantised || dtype === 'F32' ? 'float32' : 'float16');
    expect(stored(dtype, { activations: 'bf16' })).toBe(dtype === 'BF16' ? 'bfloat16' : exact);
    expect(stored(dtype, { quantize: 'q8_0' })).toBe('float16');
    expect(stored(dtype, { quantize: 'q8_0', activations: 'f32' })).toBe('float32');
  }
});

describe('layers with different windows', () => {
  /** Five layers of `window` to one with all tokens, 1,024 bytes a token each. */
  const mixed = (window: number): PlannedModel => ({
    ...MODEL,
    layers: [...Array(5).fill(layer(128, window)), layer()],
  });
  /** Most tokens that the windowed tables hold in steps of 256. */
  const peak = (window: number) => Math.ceil((window - 1 + 256) / 16) + 1;

  it('are groups: of the scheduler, of native, of the bytes', () => {
    const made = plan({ maxNumSeqs: 2, maxModelLen: 1024 }, CPU, mixed(64));
    const windows = [64, 64, 64, 64, 64, 0];
    const kept = windows.map((window) => ({ window, blockSize: 16 }));
    expect(made.scheduling.groups).toEqual(kept);
    expect(nativeLimits(made).groups).toEqual(kept.map((g, i) => ({ ...g, layers: [i] })));
    expect(made).toMatchObject({ blockBytes: BLOCK, kvBytesPerToken: 6 * 1024, blocksPerRow: 64 });
    // Two sequences and what their windows let go of, and the null block.
    expect(made.numBlocks).toBe(1 + 2 * 6 * 64);
    expect(made.numFullSeqs).toBe(Math.floor((2 * 6 * 64) / (5 * peak(64) + 64)));
  });

  it('that no sequence outgrows are all tokens, and one group', () => {
    const groups = (maxModelLen: number) =>
      plan({ maxModelLen }, CPU, mixed(64)).groups.map(({ window, layers }) => [window, layers]);
    expect(groups(64)).toEqual([[0, [0, 1, 2, 3, 4, 5]]]);
    expect(groups(65).map(([window]) => window)).toEqual([64, 64, 64, 64, 64, 0]);
    const one = plan({}, CPU, { ...MODEL, layers: Array(3).fill(layer(64, 32)) });
    expect(one.groups).toEqual([{ window: 32, blockSize: 16, layers: [0, 1, 2] }]);
  });

  it('of other head sizes have longer blocks, with 8 bits as well', () => {
    const gemma = { ...MODEL, layers: [...Array(5).fill(layer(256, 64)), layer(128)] };
    const sizes = (options: EngineOptions) => {
      const { groups, blockBytes } = plan(options, CPU, gemma);
      return [blockBytes, ...groups.map((group) => group.blockSize)];
    };
    expect(sizes({ kvCacheDtype: 'float32' })).toEqual([16 * 2048, 16, 16, 16, 16, 16, 32]);
    expect(sizes({ kvCacheDtype: 'int8' })).toEqual([16 * 512 + 256, 16, 16, 16, 16, 16, 32]);
  });

  it('make a pool hold longer sequences, as long as it says and the scheduler lets in', () => {
    const numGpuBlocksOverride = 1 + 5 * peak(64) + 50;
    const model = mixed(64);
    const made = plan({ numGpuBlocksOverride }, CPU, model);
    expect([made.maxModelLen, made.numFullSeqs]).toEqual([50 * 16, 1]);
    const longer = { numGpuBlocksOverride, maxModelLen: 50 * 16 + 1 };
    expect(() => plan(longer, CPU, model)).toThrow(/a sequence of 800 tokens, not one of 801;/);
    const none = () => plan({ numGpuBlocksOverride: 6 }, CPU, model);
    expect(none).toThrow(/no room for a block for each of the model's 6 KV groups; raise numGpuB/);
    expect(plan({ numGpuBlocksOverride: 7 }, CPU, model).maxModelLen).toBe(16);
  });

  const fits = (numTokens: number, scheduling: SchedulerConfig) => {
    const params = { n: 1, maxTokens: numTokens, beam: null };
    const scheduler = new Scheduler({ ...scheduling, maxModelLen: numTokens });
    scheduler.checkFeasible({ numPromptTokens: 1, params, priority: 0 });
  };

  it('plan the longest context that the scheduler lets in, now or once it is measured', () => {
    const random = randomFrom(3);
    let numExact = 0;
    for (let run = 0; run < 100; run++) {
      const numBlocks = 8 + random(400);
      const isWhole = random(2) === 0;
      const options: EngineOptions = {
        blockSize: ([8, 16, 32] as const)[random(3)],
        longPrefillTokenThreshold: random(2) * random(300),
        ...(isWhole ? { enableChunkedPrefill: false } : { maxNumBatchedTokens: 64 + random(300) }),
        maxNumSeqs: 1 + random(64),
      };
      const window = 1 + random(700);
      const model = mixed(window);
      const fixed = { ...options, numGpuBlocksOverride: numBlocks };
      const { maxModelLen, scheduling, groups } = plan(fixed, CPU, model);
      fits(maxModelLen, scheduling);
      const config = engineConfig(options);
      const planned = planEngine(config, model, GPU);
      const { blockBytes } = planned;
      const later = measured(planned, config, { numBlocks, blockBytes, ...NO_STATES });
      const { maxModelLen: laterLen } = later;
      fits(laterLen, later.scheduling);
      if (!isWhole) expect([laterLen, later.groups]).toEqual([maxModelLen, groups]);
      expect(later.numFullSeqs).toBeGreaterThanOrEqual(1);
      // Where no sequence outgrows the window there is one group, with fewer and larger blocks.
      if (maxModelLen === 2048 || window > maxModelLen) continue;
      const next = { ...scheduling, blocksPerRow: 2 ** 10 };
      if (isWhole) next.maxNumBatchedTokens = 4096;
      expect(() => fits(maxModelLen + 1, next)).toThrow(/may need \d+ blocks/);
      const says = new RegExp(`at most ${maxModelLen} or`);
      expect(() => plan({ ...fixed, maxModelLen: maxModelLen + 1 }, CPU, model)).toThrow(says);
      numExact++;
    }
    expect(numExact).toBeGreaterThan(20);
  });
});

it('tells the scheduler from which length on a model has another table of angles', () => {
  expect(plan({}).scheduling.longRopeFrom).toBeUndefined();
  const long = planEngine(engineConfig({}), { ...MODEL, longRopeFrom: 99 }, GPU);
  expect(long.scheduling.longRopeFrom).toBe(99);
  const some = { numBlocks: 11, blockBytes: long.blockBytes, ...NO_STATES };
  expect(measured(long, engineConfig({}), some).scheduling.longRopeFrom).toBe(99);
});

describe('a measured pool', () => {
  const config = engineConfig({ maxNumSeqs: 4 });
  const planned = planEngine(config, MODEL, GPU);
  const loaded = (numBlocks: number, blockBytes = planned.blockBytes) => ({
    ...{ numBlocks, blockBytes },
    ...NO_STATES,
  });

  it('may hold less than the context: rows stay as wide as native was told', () => {
    expect(planned).toMatchObject({ numBlocks: 0, maxModelLen: 2048, blocksPerRow: 128 });
    expect(planned.maxNumBlocks).toBe(4 * 128 + 1);
    const plan = measured(planned, config, loaded(11));
    expect(plan).toMatchObject({ numBlocks: 11, maxModelLen: 160, blocksPerRow: 128 });
    expect(plan.scheduling).toMatchObject({ numBlocks: 11, maxModelLen: 160, blocksPerRow: 128 });
    expect(measured(planned, config, loaded(513)).maxModelLen).toBe(2048);
  });

  it('that cannot hold the context asked for is refused, with one that fits', () => {
    const asked = engineConfig({ maxNumSeqs: 4, maxModelLen: 512 });
    const plan = planEngine(asked, MODEL, GPU);
    expect(() => measured(plan, asked, loaded(11))).toThrow(/at most 160 or raise gpuMemoryUtil/);
  });

  it('and blocks that native counts otherwise are another version', () => {
    const mismatch = expect.objectContaining({ code: 'ERR_NATIVE_MISMATCH' });
    expect(() => measured(planned, config, loaded(11, 1))).toThrow(mismatch);
    const fixed = engineConfig({ numGpuBlocksOverride: 9 });
    const plan = planEngine(fixed, MODEL, CPU);
    const sizes = { numBlocks: 9, blockBytes: BLOCK, ...NO_STATES };
    expect(() => measured(plan, fixed, { ...sizes, numBlocks: 8 })).toThrow(mismatch);
    expect(() => measured(plan, fixed, { ...sizes, stateBytes: 4 })).toThrow(/4 bytes of a state/);
    expect(() => measured(plan, fixed, { ...sizes, recordBytes: 4 })).toThrow(
      /4 bytes of a record/,
    );
    expect(measured(plan, fixed, sizes)).toBe(plan);
  });
});
