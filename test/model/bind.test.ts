import { describe, expect, it } from 'vitest';
import { bind, type Found } from '../../lib/model/bind.js';
import { layerOf } from '../../lib/model/families/shared.js';
import { joined } from '../../lib/model/mxfp4.js';
import { HF_NAMES, withLayer } from '../../lib/model/names.js';
import { type Shape, tensorShapes } from '../../lib/model/tensor-shapes.js';
import { HIDDEN_ACTS, NORMS, ROUTER_SCORES } from '../../lib/native.js';
import { settings, specOf } from '../support/specs.js';

const RMS = { kind: NORMS.rms, eps: 1e-6, offset: false, weight: true, bias: false };
const size = { numHeads: 2, numKvHeads: 1, headSize: 4, intermediateSize: 6 };
const spec = {
  ...specOf(settings('llama-gqa')),
  ...{ vocabSize: 5, hiddenSize: 32 },
  layers: [layerOf(size, RMS, { attentionBiases: ['q', 'k', 'v'] })],
};
const names = withLayer(HF_NAMES, {
  'self_attn.qkv_proj': ['q', 'k', 'v'],
  'mlp.gate_up_proj': ['gate', 'up'],
  'mlp.down_proj': { of: ['down'], transposed: true },
});
const model = { spec, names, numMtpLayers: 1 };

/** Stored tensors end to end, of two bytes a value but where a type is given. */
function stored(shapes: Record<string, { shape: number[]; dtype?: string; bytes?: number }>) {
  let offset = 100;
  return Object.entries(shapes).map(([name, { shape, dtype = 'BF16', bytes }]): Found => {
    const length = bytes ?? 2 * shape.reduce((product, n) => product * n, 1);
    offset += length;
    return { name, dtype, shape, offset: offset - length, bytes: length, file: 0 };
  });
}

const LAYER = 'model.layers.0.';
const GOOD = {
  'model.embed_tokens.weight': { shape: [5, 32] },
  'model.norm.weight': { shape: [32] },
  [`${LAYER}input_layernorm.weight`]: { shape: [32] },
  [`${LAYER}post_attention_layernorm.weight`]: { shape: [1, 32] },
  [`${LAYER}self_attn.qkv_proj.weight`]: { shape: [16, 32], dtype: 'Q8_0', bytes: 16 * 34 },
  [`${LAYER}self_attn.qkv_proj.bias`]: { shape: [16] },
  [`${LAYER}self_attn.o_proj.weight`]: { shape: [32, 8] },
  [`${LAYER}mlp.gate_up_proj.weight`]: { shape: [12, 32] },
  [`${LAYER}mlp.down_proj.weight`]: { shape: [6, 32] },
};
const bound = (change: Parameters<typeof stored>[0] = {}) =>
  bind(model, ['m.safetensors'], stored({ ...GOOD, ...change }));

it('cuts a stored tensor into the rows of several', () => {
  const { tensors, numParameters, weightBytes } = bound();
  const by = new Map(tensors.map((t) => [t.name, t]));
  const qkv = stored(GOOD)[4];
  const [q, k, v] = ['q', 'k', 'v'].map((name) => by.get(`layers.0.${name}`)!);
  expect(q).toMatchObject({ dtype: 'Q8_0', rows: 8, cols: 32, bytes: 8 * 34 });
  expect(q.offset).toBe(qkv.offset);
  expect([k.offset - q.offset, v.offset - k.offset]).toEqual([8 * 34, 4 * 34]);
  expect(v.offset + v.bytes).toBe(qkv.offset + qkv.bytes);
  const bias = by.get('layers.0.v.bias')!;
  expect(bias).toMatchObject({ rows: 1, cols: 4, bytes: 8 });
  expect(bias.offset).toBe(stored(GOOD)[5].offset + 2 * 12);
  const want = [...tensorShapes(spec)];
  expect(new Set(by.keys())).toEqual(new Set(want.map(([name]) => name)));
  expect(numParameters).toBe(want.reduce((sum, [, [r, c]]: [string, Shape]) => sum + r * c, 0));
  expect(weightBytes).toBe(stored(GOOD).reduce((sum, { bytes }) => sum + bytes, 0));
});

it('takes rows that lie side by side apart', () => {
  const table = { of: ['embed'], flat: true } as const;
  const flat = { ...names, top: { ...names.top, 'model.embed_tokens': table } };
  const read = (shape: number[]) => {
    const all = stored({ ...GOOD, 'model.embed_tokens.weight': { shape } });
    const own = { ...model, spec: { ...spec, vocabSize: 6 }, names: flat };
    return bind(own, ['m.safetensors'], all).tensors.find(({ name }) => name === 'embed');
  };
  expect(read([2, 96])).toMatchObject({ rows: 6, cols: 32, bytes: 2 * 6 * 32 });
  expect(() => read([2, 95])).toThrow(/has shape \[2, 95\], not \[6, 32\]/);
  expect(() => read([12, 16])).toThrow(/has shape \[12, 16\], not \[6, 32\]/);
});

it('leaves turned matrices to the native side, whole', () => {
  const down = bound().tensors.find(({ name }) => name === 'layers.0.down')!;
  expect(down).toMatchObject({ rows: 32, cols: 6, bytes: 2 * 6 * 32 });
  expect(down.transposed).toEqual({ of: 32, from: 0 });
  expect(() =>
    bound({ [`${LAYER}mlp.down_proj.weight`]: { shape: [6, 32], dtype: 'Q8_0', bytes: 6 * 34 } }),
  ).toThrow(/dtype Q8_0 of tensor .*down_proj.* apart by values/);
});

it('counts what it passes over, by part', () => {
  const more = {
    'model.visual.patch_embed.weight': { shape: [3, 3, 3], dtype: 'I8', bytes: 27 },
    'model.vision_tower.a.weight': { shape: [3] },
    'audio_tower.b.weight': { shape: [3] },
    'mtp.fc.weight': { shape: [3] },
    'model.layers.1.eh_proj.weight': { shape: [3] },
  };
  const { spec: read, tensors, weightBytes } = bound(more);
  expect(read.skipped).toEqual({ vision: 2, audio: 1, mtp: 2 });
  expect(read.dtype).toBe('BF16');
  expect([tensors, weightBytes]).toEqual([bound().tensors, bound().weightBytes]);
});

const rest = (name: string) =>
  Object.fromEntries(Object.entries(GOOD).filter(([key]) => key !== name));

it.each<[string, Parameters<typeof stored>[0], RegExp, string]>([
  [
    'a layer beyond those that draft',
    { ...GOOD, 'model.layers.2.mlp.down_proj.weight': { shape: [6, 32] } },
    /layers\.2\..*has none/,
    'ERR_MODEL_UNSUPPORTED',
  ],
  [
    'a layer that only the count of drafts takes away',
    { ...GOOD, 'model.layers.1.mlp.down_proj.weight': { shape: [6, 32] } },
    /layer 1 is none that drafts/,
    'ERR_MODEL_FORMAT',
  ],
  [
    'q beside the q in qkv',
    { ...GOOD, [`${LAYER}self_attn.q_proj.weight`]: { shape: [8, 32] } },
    /q_proj.*has none/,
    'ERR_MODEL_UNSUPPORTED',
  ],
  [
    'rows that do not add up',
    { ...GOOD, [`${LAYER}mlp.gate_up_proj.weight`]: { shape: [6, 32] } },
    /gate_up_proj.*\[6, 32\], not \[12, 32\]/,
    'ERR_MODEL_FORMAT',
  ],
  [
    'a matrix that is not turned',
    { ...GOOD, [`${LAYER}mlp.down_proj.weight`]: { shape: [32, 6] } },
    /down_proj.*\[32, 6\], not \[6, 32\]/,
    'ERR_MODEL_FORMAT',
  ],
  [
    'a bias of a projection that has none',
    { ...GOOD, [`${LAYER}self_attn.o_proj.bias`]: { shape: [32] } },
    /o_proj\.bias.*has none/,
    'ERR_MODEL_UNSUPPORTED',
  ],
  [
    'a bias that is not there',
    rest(`${LAYER}self_attn.qkv_proj.bias`),
    /layers\.0\.q\.bias is missing/,
    'ERR_MODEL_FORMAT',
  ],
  [
    'biases of a type whose values share bytes',
    { ...GOOD, [`${LAYER}self_attn.qkv_proj.bias`]: { shape: [16], dtype: 'Q8_0' } },
    /Q8_0 of tensor .*qkv_proj\.bias/,
    'ERR_MODEL_UNSUPPORTED',
  ],
])('%s is refused by name', (_, shapes, why, code) => {
  const call = () => bind(model, ['m.safetensors'], stored(shapes));
  expect(call).toThrow(why);
  expect(call).toThrow(expect.objectContaining({ code }));
});

describe('layouts', () => {
  const experts = {
    ...{ numExperts: 2, topK: 1, intermediateSize: 3, hiddenAct: HIDDEN_ACTS.silu },
    ...{ alpha: 1, limit: 0, upOffset: 0, biases: ['gate', 'up'] },
    ...{ scalesInput: false, sharedGate: false },
    router: {
      ...{ score: ROUTER_SCORES.softmax, bias: false, choiceBias: false, normalize: false },
      ...{ scale: 1, numGroups: 1, topGroups: 1, groupBest: 1 },
    },
  };
  const of = ['0.gate', '0.up', '1.gate', '1.up'].map((name) => `experts.${name}`);
  const down = ['experts.0.down', 'experts.1.down'];
  const biases = of.map((name) => `${name}.bias`);
  const sparse = {
    numMtpLayers: 0,
    spec: { ...spec, layers: [layerOf({ ...size, intermediateSize: 0 }, RMS, { experts })] },
    names: withLayer(
      HF_NAMES,
      { 'mlp.gate': 'router' },
      {
        inner: { of, slices: 2, runs: [1, 1] },
        turned: { of, slices: 2, runs: [1, 1], transposed: true },
        inner_bias: { of: biases, slices: 2, runs: [1, 1] },
        outer: { of: down, slices: 2 },
        outer_mxfp4: { of: down, slices: 2 },
        inner_mxfp4: { of, slices: 2, runs: [1, 1] },
      },
    ),
  };
  const REST = {
    'model.embed_tokens.weight': { shape: [5, 32] },
    'model.norm.weight': { shape: [32] },
    [`${LAYER}input_layernorm.weight`]: { shape: [32] },
    [`${LAYER}post_attention_layernorm.weight`]: { shape: [32] },
    [`${LAYER}self_attn.q_proj.weight`]: { shape: [8, 32] },
    [`${LAYER}self_attn.k_proj.weight`]: { shape: [4, 32] },
    [`${LAYER}self_attn.v_proj.weight`]: { shape: [4, 32] },
    [`${LAYER}self_attn.o_proj.weight`]: { shape: [32, 8] },
    [`${LAYER}mlp.gate.weight`]: { shape: [2, 32] },
    [`${LAYER}inner_bias`]: { shape: [2, 6] },
  };
  const OUTER = { [`${LAYER}outer`]: { shape: [2, 32, 3] } };
  const expertsIn = (shapes: Parameters<typeof stored>[0]) => {
    const found = stored({ ...REST, ...shapes });
    const files = ['m.safetensors'];
    const { tensors, weightBytes } = bind(sparse, files, joined(found, files));
    const by = new Map(tensors.map((t) => [t.name.replace('layers.0.experts.', ''), t]));
    const start = (name: string) => found.find((t) => t.name === LAYER + name)!.offset;
    return { at: (name: string) => by.get(name)!, start, weightBytes };
  };

  it('slices by expert, rows in turn', () => {
    const { at, start } = expertsIn({ ...OUTER, [`${LAYER}inner`]: { shape: [2, 6, 32] } });
    const rows = (row: number) => start('inner') + row * 64;
    expect(at('0.gate')).toMatchObject({ rows: 3, cols: 32, step: 2, offset: rows(0) });
    expect(at('0.up').offset).toBe(rows(1));
    expect(at('1.up')).toMatchObject({ offset: rows(7), bytes: 5 * 64 });
    expect(at('1.down')).toMatchObject({ offset: start('outer') + 192, bytes: 192 });
    expect(at('1.down')).not.toHaveProperty('step');
    const value = (i: number) => start('inner_bias') + 2 * i;
    expect(at('1.up.bias')).toMatchObject({ rows: 1, cols: 3, step: 2, offset: value(7) });
    expect(at('1.up.bias').bytes).toBe(2 * 5);
  });

  it('turned around, columns in turn', () => {
    const { at, start } = expertsIn({ ...OUTER, [`${LAYER}turned`]: { shape: [2, 32, 6] } });
    expect(at('1.up')).toMatchObject({
      ...{ rows: 3, cols: 32, step: 2, transposed: { of: 6, from: 1 } },
      ...{ offset: start('turned') + 384, bytes: 384 },
    });
  });

  it('codes of four bits with their scales', () => {
    const { at, start, weightBytes } = expertsIn({
      ...OUTER,
      [`${LAYER}inner_blocks`]: { shape: [2, 6, 1, 16], dtype: 'U8', bytes: 192 },
      [`${LAYER}inner_scales`]: { shape: [2, 6, 1], dtype: 'U8', bytes: 12 },
    });
    expect(at('1.up')).toMatchObject({
      ...{ dtype: 'MXFP4', rows: 3, cols: 32, step: 2, bytes: 3 * 17 },
      parts: {
        ...{ rows: 12, from: 7, group: 32, float: true },
        codes: { file: 0, offset: start('inner_blocks'), bytes: 192, bits: 4 },
        scales: { file: 0, offset: start('inner_scales'), bytes: 12, rows: 12, cols: 1 },
      },
    });
    const plain = expertsIn({ ...OUTER, [`${LAYER}inner`]: { shape: [2, 6, 32] } });
    expect(plain.weightBytes - weightBytes).toBe(2 * 6 * 32 * 2 - 204);
  });

  it('a factor for each expert, or one for all', () => {
    const nvfp4 = (count: number) => {
      const found = stored({ ...REST, ...OUTER });
      const inner = { name: `${LAYER}inner_mxfp4`, dtype: 'NVFP4', shape: [2, 6, 32], file: 0 };
      const factor = { file: 0, offset: 9000, bytes: 4 * count };
      found.push({ ...inner, offset: 8000, bytes: 216, factor });
      const { tensors } = bind(sparse, ['m.safetensors'], found);
      const by = new Map(tensors.map((t) => [t.name, t.factor]));
      return [0, 1].map((e) => by.get(`layers.0.experts.${e}.up`)?.offset);
    };
    expect(nvfp4(2)).toEqual([9000, 9004]);
    expect(nvfp4(1)).toEqual([9000, 9000]);
  });

  it('of another number of experts is refused', () => {
    const three = { ...OUTER, [`${LAYER}inner`]: { shape: [3, 4, 32] } };
    expect(() => expertsIn(three)).toThrow(/inner.*\[3, 4, 32\], not \[2, 6, 32\]/);
  });
});

it('cuts matrices of heads that lie one below the other, some turned around', () => {
  const latent = { rank: 8, queryRank: 0, nopeSize: 6, valueSize: 4, norm: RMS };
  const row = { numHeads: 2, numKvHeads: 1, headSize: 12, intermediateSize: 6 };
  const of = ['heads.0.k_b', 'heads.0.v_b', 'heads.1.k_b', 'heads.1.v_b'];
  const both = { of, slices: 2, stacked: true, turned: [true, false] } as const;
  const own = withLayer(names, {
    'self_attn.kv_a_proj_with_mqa': ['kv_a', 'k_rope'],
    'self_attn.kv_a_layernorm': 'kv_a_norm',
    'self_attn.kv_b_proj': both,
  });
  const layers = [layerOf(row, RMS, { latent })];
  const { [`${LAYER}self_attn.qkv_proj.weight`]: _, ...rest } = GOOD;
  const { [`${LAYER}self_attn.qkv_proj.bias`]: __, ...others } = rest;
  const shapes = {
    ...others,
    [`${LAYER}self_attn.q_proj.weight`]: { shape: [20, 32] },
    [`${LAYER}self_attn.kv_a_proj_with_mqa.weight`]: { shape: [12, 32] },
    [`${LAYER}self_attn.kv_a_layernorm.weight`]: { shape: [8] },
    [`${LAYER}self_attn.kv_b_proj.weight`]: { shape: [20, 8] },
  };
  const read = (change = {}) =>
    bind(
      { ...model, spec: { ...spec, layers }, names: own },
      ['m.safetensors'],
      stored({ ...shapes, ...change }),
    );
  const by = new Map(read().tensors.map((t) => [t.name, t]));
  const [k0, v0, k1] = of.map((name) => by.get(`layers.0.${name}`)!);
  expect(k0).toMatchObject({ rows: 8, cols: 6, bytes: 2 * 48, transposed: { of: 8, from: 0 } });
  expect(v0).toMatchObject({ rows: 4, cols: 8, bytes: 2 * 32 });
  expect(v0.transposed).toBeUndefined();
  expect([v0.offset - k0.offset, k1.offset - k0.offset]).toEqual([2 * 48, 2 * 80]);
  const flat = { [`${LAYER}self_attn.kv_b_proj.weight`]: { shape: [18, 8] } };
  expect(() => read(flat)).toThrow('not [20, 8]');
});
