import { expect, it } from 'vitest';
import { Fields } from '../../lib/model/fields.js';
import { yarnMscale } from '../../lib/model/rope.js';
import { ggufRope, hfRope, ropesByType } from '../../lib/model/rope-config.js';

const hf = (values: object, maxLen = 4096) =>
  hfRope(new Fields('config.json', values as Record<string, unknown>), 64, maxLen);
const gguf = (values: object, factors: Record<string, Float32Array> = {}) =>
  ggufRope(
    new Fields('m.gguf', values as Record<string, unknown>),
    64,
    4096,
    new Map(Object.entries(factors)),
  );

const LONG = {
  type: 'longrope',
  short_factor: Array(32).fill(1.5),
  long_factor: Array(32).fill(3),
  original_max_position_embeddings: 1024,
};

it('the old and the new style say the same', () => {
  const llama3 = {
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  };
  const scaling = {
    type: 'llama3',
    factor: 8,
    lowFreqFactor: 1,
    highFreqFactor: 4,
    originalMaxLen: 8192,
  };
  const expected = { size: 64, theta: 5e5, scaling };
  expect(hf({ rope_theta: 5e5, rope_scaling: { ...llama3, rope_type: 'llama3' } })).toEqual(
    expected,
  );
  expect(hf({ rope_theta: 5e5, rope_scaling: { ...llama3, type: 'llama3' } })).toEqual(expected);
  const both = { ...llama3, type: 'llama3', rope_type: 'llama3', rope_theta: 5e5 };
  expect(hf({ rope_parameters: both })).toEqual(expected);
  const equal = { ...llama3, high_freq_factor: 1, rope_type: 'llama3' };
  expect(hf({ rope_theta: 5e5, rope_scaling: equal }).scaling).toEqual({
    ...{ ...scaling, highFreqFactor: 1 },
  });
  const below = { ...equal, high_freq_factor: 0.5 };
  expect(() => hf({ rope_scaling: below })).toThrow(/high_freq_factor must not be below/);
  const plain = { size: 64, theta: 10_000, scaling: { type: 'default' } };
  expect(hf({})).toEqual(plain);
  expect(hf({ rope_scaling: null, rope_theta: 10_000 })).toEqual(plain);
  expect(hf({ rope_parameters: { rope_type: 'default', rope_theta: 10_000 } })).toEqual(plain);
});

it('a proportion of the pairs turns, the head being whole', () => {
  const inner = { rope_type: 'proportional', rope_theta: 1e6, partial_rotary_factor: 0.3 };
  const scaling = { type: 'proportional', factor: 1, numPairs: 9 };
  expect(hf({ rope_parameters: inner })).toEqual({ size: 64, theta: 1e6, scaling });
  expect(() => hf({ rope_parameters: { ...inner, rope_type: 'default' } })).toThrow(
    'partial_rotary_factor below 1',
  );
});

it('of a setting that stands twice the inner one counts', () => {
  const inner = { rope_type: 'default', rope_theta: 5e5 };
  expect(hf({ rope_theta: 10_000, rope_parameters: inner }).theta).toBe(5e5);
  expect(hf({ rope_theta: 7e5, rope_parameters: { rope_type: 'default' } }).theta).toBe(7e5);
  const linear = { rope_type: 'linear', factor: 2 };
  const both = { rope_scaling: linear, rope_parameters: { ...linear, rope_theta: 5e5 } };
  expect(hf(both)).toEqual({ size: 64, theta: 5e5, scaling: { type: 'linear', factor: 2 } });
  expect(() => hf({ rope_scaling: linear, rope_parameters: inner })).toThrow(
    /rope_scaling says "linear", rope_parameters "default"/,
  );
});

it('yarn has the reference defaults', () => {
  const yarn = (more: object) =>
    hf({
      rope_scaling: { type: 'yarn', factor: 4, original_max_position_embeddings: 1024, ...more },
    }).scaling;
  expect(yarn({})).toEqual({
    type: 'yarn',
    factor: 4,
    originalMaxLen: 1024,
    betaFast: 32,
    betaSlow: 1,
    attentionFactor: 0.1 * Math.log(4) + 1,
    truncate: true,
  });
  expect(yarn({ attention_factor: 0.9 })).toMatchObject({ attentionFactor: 0.9 });
  const mscales = yarn({ mscale: Math.SQRT1_2, mscale_all_dim: 1 });
  expect(mscales).toMatchObject({ attentionFactor: yarnMscale(4, Math.SQRT1_2) / yarnMscale(4) });
  expect(yarn({ truncate: false, beta_fast: 16, beta_slow: 2 })).toMatchObject({
    truncate: false,
    betaFast: 16,
    betaSlow: 2,
  });
  const ratio = hf({ rope_scaling: { type: 'yarn', original_max_position_embeddings: 512 } });
  expect(ratio.scaling).toMatchObject({ factor: 8 });
});

it.each([
  [{ rope_scaling: { type: 'longrope', factor: 2 } }, 'ERR_MODEL_FORMAT', /original_max/],
  [{ rope_scaling: { ...LONG, long_factor: [1] } }, 'ERR_MODEL_FORMAT', /long_factor.* 32 /],
  [{ rope_scaling: { ...LONG, short_factor: 1 } }, 'ERR_MODEL_FORMAT', /short_factor/],
  [{ rope_scaling: { ...LONG, long_mscale: 1 } }, 'ERR_MODEL_UNSUPPORTED', /long_mscale/],
  [{ rope_scaling: { type: 'dynamic', factor: 2 } }, 'ERR_MODEL_UNSUPPORTED', /dynamic/],
  [
    { rope_scaling: { type: 'linear', factor: 2, short_factor: [1] } },
    'ERR_MODEL_UNSUPPORTED',
    /short_factor/,
  ],
  [{ partial_rotary_factor: 0.5 }, 'ERR_MODEL_UNSUPPORTED', /partial/],
  [{ rope_scaling: { type: 'linear' } }, 'ERR_MODEL_FORMAT', /factor/],
  [{ rope_scaling: { type: 'linear', factor: 0 } }, 'ERR_MODEL_FORMAT', /factor/],
  [{ rope_scaling: { factor: 2 } }, 'ERR_MODEL_FORMAT', /factor stands without a type/],
  [{ rope_theta: null }, 'ERR_MODEL_FORMAT', /rope_theta is null/],
  [
    { rope_scaling: LONG, original_max_position_embeddings: 512 },
    'ERR_MODEL_FORMAT',
    /original_max_position_embeddings is 1024, but 512 outside/,
  ],
  [
    { rope_parameters: { full_attention: { rope_theta: 5e5 }, chunked_attention: {} } },
    'ERR_MODEL_UNSUPPORTED',
    /rope_parameters of "chunked_attention"/,
  ],
  [{ rope_scaling: { type: 5 } }, 'ERR_MODEL_FORMAT', /type/],
  [{ rope_scaling: [1] }, 'ERR_MODEL_FORMAT', /rope_scaling/],
  [{ rope_theta: 'big' }, 'ERR_MODEL_FORMAT', /rope_theta/],
])('%j is refused by name', (values, code, why) => {
  expect(() => hf(values)).toThrow(expect.objectContaining({ code }));
  expect(() => hf(values)).toThrow(why);
});

it('longrope under its three names, with the attention factor of its paper', () => {
  const expected = {
    type: 'longrope',
    shortFactors: new Float32Array(32).fill(1.5),
    longFactors: new Float32Array(32).fill(3),
    originalMaxLen: 1024,
    attentionFactor: Math.sqrt(1 + Math.log(4) / Math.log(1024)),
  };
  for (const type of ['longrope', 'su', 'yarn']) {
    expect(hf({ rope_scaling: { ...LONG, type } }).scaling).toEqual(expected);
  }
  const stretched = hf({ rope_scaling: { ...LONG, factor: 32 } }).scaling;
  expect(stretched).toMatchObject({ attentionFactor: Math.sqrt(1.5) });
  const outside = { ...LONG, original_max_position_embeddings: undefined };
  const more = { original_max_position_embeddings: 1024 };
  expect(hf({ rope_scaling: outside, ...more }).scaling).toEqual(expected);
  expect(hf({ rope_scaling: LONG }, 1024).scaling).toMatchObject({ attentionFactor: 1 });
  const short = new Float32Array(32).fill(1.5);
  const long = new Float32Array(32).fill(3);
  const tensors = { 'rope_factors_short.weight': short, 'rope_factors_long.weight': long };
  const keys = {
    'rope.scaling.original_context_length': 1024,
    'rope.scaling.attn_factor': expected.attentionFactor,
  };
  expect(gguf(keys, tensors).scaling).toEqual(expected);
});

it('a part of each head turns where the family has that', () => {
  const f = (values: object) => new Fields('c', { partial_rotary_factor: 0.75, ...values });
  expect(hfRope(f({}), 64, 4096, { partial: true }).size).toBe(48);
  expect(() => hfRope(f({ partial_rotary_factor: 0.01 }), 64, 4096, { partial: true })).toThrow(
    /partial_rotary_factor turns 0 of 64/,
  );
});

it('transformers 5: by type of layer', () => {
  const linear = { rope_type: 'linear', rope_theta: 1e6, factor: 8 };
  const f = () =>
    new Fields('c', {
      rope_parameters: {
        full_attention: linear,
        sliding_attention: { rope_type: 'default', rope_theta: 1e4 },
      },
    });
  expect(ropesByType(f())).toBe(true);
  expect(hfRope(f(), 64, 4096, { layerType: 'full_attention' }).scaling).toEqual({
    type: 'linear',
    factor: 8,
  });
  expect(() => hfRope(f(), 64, 4096)).toThrow(/rope_parameters that differ by type of layer/);
  expect(hfRope(f(), 64, 4096, { layerType: 'sliding_attention' })).toEqual({
    size: 64,
    theta: 1e4,
    scaling: { type: 'default' },
  });
  const only = new Fields('c', { rope_parameters: { full_attention: linear } });
  expect(() => hfRope(only, 64, 4096, { layerType: 'sliding_attention' })).toThrow(
    /rope_parameters\.sliding_attention is missing/,
  );
  expect(hfRope(only, 64, 4096).theta).toBe(1e6);
  expect(ropesByType(new Fields('c', { rope_parameters: linear }))).toBe(false);
});

it('sections of M-RoPE are one for text', () => {
  const sections = { mrope_section: [8, 12, 12], mrope_interleaved: true };
  const plain = { size: 64, theta: 1e4, scaling: { type: 'default' } };
  expect(hf({ rope_scaling: { type: 'mrope', ...sections } })).toEqual(plain);
  expect(hf({ rope_parameters: { rope_type: 'default', ...sections } })).toEqual(plain);
});

it('GGUF keys', () => {
  expect(gguf({ 'rope.freq_base': 5e5 })).toEqual({
    size: 64,
    theta: 5e5,
    scaling: { type: 'default' },
  });
  expect(gguf({ 'rope.scaling.type': 'linear', 'rope.scaling.factor': 2 }).scaling).toEqual({
    type: 'linear',
    factor: 2,
  });
  const yarn = { 'rope.scaling.type': 'yarn', 'rope.scaling.factor': 4 };
  expect(gguf({ ...yarn, 'rope.scaling.original_context_length': 1024 }).scaling).toMatchObject({
    type: 'yarn',
    factor: 4,
    originalMaxLen: 1024,
    attentionFactor: yarnMscale(4),
  });
  const factors = new Float32Array(32).fill(2);
  const all = (values: Float32Array) => ({ 'rope_freqs.weight': values });
  expect(gguf({}, all(factors)).scaling).toEqual({ type: 'factors', factors });
  expect(() => gguf({}, all(factors.subarray(1)))).toThrow(/rope_freqs/);
  const still = new Float32Array(32).fill(1e30, 8).fill(1, 0, 8);
  expect(gguf({}, all(still)).scaling).toEqual({ type: 'factors', factors: still });
  expect(() => gguf({}, all(new Float32Array(32)))).toThrow(/rope_freqs/);
  expect(() => gguf({ 'rope.scaling.type': 'linear' }, all(factors))).toThrow(/beside .*linear/);
  expect(() => gguf({ 'rope.scaling.type': 'longrope' })).toThrow(/longrope/);
  expect(gguf({ 'rope.scaling.factor': 2 }).scaling).toEqual({ type: 'linear', factor: 2 });
  const idle = { 'rope.scaling.type': 'none', 'rope.scaling.factor': 2 };
  expect(gguf(idle).scaling).toEqual({ type: 'default' });
  expect(() => gguf({ 'rope.scaling.attn_factor': 2 })).toThrow(/attn_factor beside .*none/);
  expect(() => gguf({}, { 'rope_factors_long.weight': factors })).toThrow(/has long factors only/);
  const both = { ...all(factors), 'rope_factors_long.weight': factors };
  expect(() => gguf({}, both)).toThrow(/rope_freqs\.weight beside factors of LongRoPE/);
  expect(() => gguf({ 'rope.scaling.original_context_length': 1.5 })).toThrow(/a whole number/);
  expect(() => gguf({ 'rope.dimension_count': 65 })).toThrow(/dimension_count/);
});
