import { describe, expect, it } from 'vitest';
import { type EngineOptions, engineConfig } from '../../lib/config/options.js';
import { CPU, type Device } from '../../lib/engine/device.js';
import { measured, nativeLimits, type PlannedModel, planEngine } from '../../lib/engine/plan.js';
import { planRecurrent } from '../../lib/engine/recurrent-plan.js';
import { layerOf, NO_NORM } from '../../lib/model/families/shared.js';
import { type NativeRecurrent, RECURRENT_KINDS } from '../../lib/native.js';

const GiB = 2 ** 30;

const DELTA: NativeRecurrent = {
  kind: RECURRENT_KINDS.delta,
  numKeyHeads: 2,
  numValueHeads: 4,
  keySize: 8,
  valueSize: 16,
  tiled: false,
  convWidth: 4,
  convBias: false,
  norm: NO_NORM,
};
/** Channels: 2 · 2 · 8 + 4 · 16. */
const CHANNELS = 96;
const STATE = 4 * (4 * 8 * 16 + 3 * CHANNELS);
const RECORD = 4 * (CHANNELS + 2 * 8 + 4 * 16 + 4);

const attention = layerOf(
  { numHeads: 1, numKvHeads: 1, headSize: 128, intermediateSize: 1 },
  NO_NORM,
  { window: 0 },
);
const { attention: _, ...bare } = attention;
const recurrent = (layer: Partial<NativeRecurrent> = {}) => ({
  ...bare,
  recurrent: { ...DELTA, ...layer },
});

const MODEL: PlannedModel = {
  layers: [recurrent(), recurrent(), attention, recurrent()],
  dtype: 'F32',
  maxPositionEmbeddings: 2048,
  longRopeFrom: undefined,
};
const plan = (options: EngineOptions, room = 8 * GiB, device: Device = CPU, model = MODEL) =>
  planEngine(engineConfig(options), model, device, 0, room);

describe('a plan with recurrent layers', () => {
  it('has states and records for all that run at once, and the cache', () => {
    const made = plan({ maxNumSeqs: 5 });
    const sizes = { numSlots: 1 + 8 + 6, numRecords: 6 * 16, interval: 2048, numHostSlots: 5 };
    expect(made.recurrent).toEqual({
      sizes,
      stateBytes: 3 * STATE,
      recordBytes: 3 * RECORD,
      seqBytes: 1.5 * 3 * STATE + 16 * 3 * RECORD,
      bytes: 15 * 3 * STATE + 96 * 3 * RECORD,
      maxNumSeqs: 5,
    });
    expect(made.scheduling.recurrent).toEqual(sizes);
    expect(nativeLimits(made).recurrent).toEqual(sizes);
    // Other layers have the KV: theirs are the numbers.
    expect(made.groups).toEqual([{ window: 0, blockSize: 16, layers: [2] }]);
    expect(made.kvBytesPerToken).toBe(1024);
  });

  it('deals the swap space to states, up to half of it, and to blocks', () => {
    const place = 3 * (STATE + 16 * RECORD);
    const host = (options: EngineOptions, room?: number, model?: PlannedModel) => {
      const { numHostBlocks, recurrent: made, blockBytes } = plan(options, room, CPU, model);
      return { numHostBlocks, numHostSlots: made!.sizes.numHostSlots!, blockBytes };
    };
    // As many as run at once, and then KV has the rest.
    const roomy = host({ maxNumSeqs: 6, swapSpace: 1 });
    expect(roomy.numHostSlots).toBe(6);
    expect(roomy.numHostBlocks).toBe(Math.floor((GiB - 6 * place) / roomy.blockBytes));
    const tight = host({ maxNumSeqs: 6, swapSpace: (5 * place) / GiB });
    expect(tight.numHostSlots).toBe(2);
    expect(tight.numHostBlocks).toBe(Math.floor((3 * place) / tight.blockBytes));
    // Of what nobody asked for, a quarter of the memory, and no more blocks than the pool has.
    const usual = host({ maxNumSeqs: 6 }, 400 * place);
    expect(usual.numHostSlots).toBe(6);
    expect(usual.numHostBlocks * usual.blockBytes).toBeLessThanOrEqual(94 * place);
    expect(usual.numHostBlocks).toBeLessThan(plan({ maxNumSeqs: 6 }, 400 * place).numBlocks);
    // Where no state fits, and where nobody swaps, there are no blocks either.
    for (const options of [
      { swapSpace: place / GiB },
      { preemptionPolicy: 'recompute' },
    ] as const) {
      expect(host(options)).toMatchObject({ numHostBlocks: 0, numHostSlots: 0 });
    }
    // Without KV states may take all of it, each with the one block that a sequence keeps.
    const only = { ...MODEL, layers: [recurrent()] };
    const swapSpace = (3 * (place / 3 + 256)) / GiB;
    const bare = host({ maxNumSeqs: 6, swapSpace }, GiB, only);
    expect(bare).toMatchObject({ numHostBlocks: 3, numHostSlots: 3 });
  });

  it('counts what each kind of layer keeps', () => {
    const bytesOf = (kind: keyof typeof RECURRENT_KINDS, layer: Partial<NativeRecurrent> = {}) => {
      const made = planRecurrent(
        [recurrent({ kind: RECURRENT_KINDS[kind], ...layer })],
        {},
        1,
        GiB,
      );
      return [made!.stateBytes, made!.recordBytes];
    };
    expect(bytesOf('delta')).toEqual([STATE, RECORD]);
    expect(bytesOf('ssm')).toEqual([STATE, RECORD]);
    expect(bytesOf('delta', { convWidth: 2 })).toEqual([STATE - 2 * 4 * CHANNELS, RECORD]);
    // Of a short convolution only the inputs.
    expect(bytesOf('conv', { convWidth: 3 })).toEqual([4 * 2 * 64, 4 * 64]);
    expect(planRecurrent([attention], {}, 1, GiB)).toBeNull();
  });

  it('runs fewer sequences at once where memory is short', () => {
    const seq = plan({}).recurrent!.seqBytes;
    const room = 4 * 30 * seq;
    const { recurrent: made, maxNumSeqs, scheduling } = plan({}, room);
    expect(maxNumSeqs).toBeGreaterThan(15);
    expect(maxNumSeqs).toBeLessThan(30);
    expect(scheduling.maxNumSeqs).toBe(maxNumSeqs);
    expect(made!.bytes).toBeLessThanOrEqual(room / 4);
    const more = planRecurrent(MODEL.layers, { maxNumSeqs: maxNumSeqs + 1 }, 0, 100 * GiB);
    expect(more!.bytes).toBeGreaterThan(room / 4);
    // Who asks for more gets more, if half of the memory is enough, and else less for the cache.
    expect(plan({ maxNumSeqs: 40 }, room).recurrent!.bytes).toBeLessThanOrEqual(room / 2);
    const tight = planRecurrent(MODEL.layers, { maxNumSeqs: 40 }, 0, 2 * 41 * seq)!;
    expect(tight.sizes.numSlots).toBeLessThan(1 + 60 + 14);
  });

  it('of a GPU is as its own memory has room', () => {
    const gpu: Device = { kind: 'cuda', index: 0, memory: 8 * GiB };
    const on = (room: number) => planEngine(engineConfig({}), MODEL, gpu, 0, 1, room);
    const seq = plan({}).recurrent!.seqBytes;
    expect(on(8 * GiB).maxNumSeqs).toBe(256);
    const small = on(4 * 30 * seq);
    expect(small.maxNumSeqs).toBe(plan({}, 4 * 30 * seq).maxNumSeqs);
    expect(small.numBlocks).toBe(0); // what the states leave is measured
    expect(() => on(0)).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' }));
  });

  it('refuses what does not fit, and says which option', () => {
    const code = 'ERR_INVALID_OPTION';
    const lower = expect.objectContaining({ code, param: 'maxNumSeqs' });
    expect(() => plan({ maxNumSeqs: 250 }, 2 ** 20)).toThrow(lower);
    expect(() => plan({ maxNumSeqs: 250 }, 2 ** 20)).toThrow(/lower maxNumSeqs/);
    const free = expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY' });
    for (const options of [{}, { maxNumSeqs: 1 }]) {
      expect(() => planRecurrent(MODEL.layers, options, 8, 2 ** 15)).toThrow(free);
    }
    expect(planRecurrent(MODEL.layers, {}, 256, 4 * plan({}).recurrent!.seqBytes)!.maxNumSeqs).toBe(
      1,
    );
  });

  it('needs no layer with attention: states say what fits, blocks what the cache can find', () => {
    const only = { ...MODEL, layers: [recurrent()] };
    const made = plan({ maxNumSeqs: 4 }, GiB, CPU, only);
    expect(made).toMatchObject({
      ...{ kvBytesPerToken: 0, blockBytes: 256, numFullSeqs: 4 },
      groups: [{ window: 1, blockSize: 16, layers: [] }],
    });
    const { numSlots, interval } = made.recurrent!.sizes;
    expect(made.numBlocks).toBeGreaterThan((numSlots * interval) / 16);
    expect(made.scheduling.numBlocks).toBe(made.numBlocks);
    // What memory a pool of KV may take does not matter, on a device neither.
    expect(plan({ maxNumSeqs: 4, kvCacheMemoryBytes: 2 ** 20 }, GiB, CPU, only)).toMatchObject({
      numBlocks: made.numBlocks,
    });
    const device: Device = { ...CPU, kind: 'cuda' };
    expect(plan({ maxNumSeqs: 4 }, GiB, device, only).numBlocks).toBeGreaterThan(0);
    expect(plan({ numGpuBlocksOverride: 40 }, GiB, CPU, only).numBlocks).toBe(40);
  });

  it('and native counts the same bytes', () => {
    const made = plan({ maxNumSeqs: 2 });
    const { numBlocks, blockBytes } = made;
    const { stateBytes, recordBytes } = made.recurrent!;
    const loaded = { numBlocks, blockBytes, stateBytes, recordBytes };
    expect(measured(made, engineConfig({}), loaded)).toBe(made);
    expect(() => measured(made, engineConfig({}), { ...loaded, stateBytes: 0 })).toThrow(
      expect.objectContaining({ code: 'ERR_NATIVE_MISMATCH' }),
    );
  });
});
