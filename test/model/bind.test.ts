import { describe, expect, it } from 'vitest';
import { bind, type Found } from '../../lib/model/bind.js';
import { layerOf } from '../../lib/model/families/shared.js';
import { HF_NAMES, withLayer } from '../../lib/model/names.js';
import { type Shape, tensorShapes } from '../../lib/model/spec.js';
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
        inner: { of, slices: 2, takeTurns: true },
        turned: { of, slices: 2, takeTurns: true, transposed: true },
        inner_bias: { of: biases, slices: 2, takeTurns: true },
        outer: { of: down, slices: 2 },
        outer_mxfp4: { of: down, slices: 2 },
        inner_mxfp4: { of, slices: 2, takeTurns: true },
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
    const { tensors, weightBytes } = bind(sparse, ['m.safetensors'], found);
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
      ...{ dtype: 'MXFP4', rows: 3, cols: 32, step: 2, bytes: 5 * 16 },
      offset: start('inner_blocks') + 7 * 16,
      scales: { file: 0, offset: start('inner_scales') + 7 },
    });
    const plain = expertsIn({ ...OUTER, [`${LAYER}inner`]: { shape: [2, 6, 32] } });
    expect(plain.weightBytes - weightBytes).toBe(2 * 6 * 32 * 2 - 204);
  });

  it('of another number of experts is refused', () => {
    const three = { ...OUTER, [`${LAYER}inner`]: { shape: [3, 4, 32] } };
    expect(() => expertsIn(three)).toThrow(/inner.*\[3, 4, 32\], not \[2, 6, 32\]/);
  });
});
