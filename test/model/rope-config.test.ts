import { expect, it } from 'vitest';
import { Fields } from '../../lib/model/fields.js';
import { yarnMscale } from '../../lib/model/rope.js';
import { ggufRope, hfRope } from '../../lib/model/rope-config.js';

const hf = (values: object, maxLen = 4096) =>
  hfRope(new Fields('config.json', values as Record<string, unknown>), 64, maxLen);
const gguf = (values: object, factors?: Float32Array) =>
  ggufRope(new Fields('m.gguf', values as Record<string, unknown>), 64, 4096, factors);

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
  const plain = { size: 64, theta: 10_000, scaling: { type: 'default' } };
  expect(hf({})).toEqual(plain);
  expect(hf({ rope_scaling: null, rope_theta: 10_000 })).toEqual(plain);
  expect(hf({ rope_parameters: { rope_type: 'default', rope_theta: 10_000 } })).toEqual(plain);
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
  [{ rope_scaling: { type: 'longrope', factor: 2 } }, 'ERR_MODEL_UNSUPPORTED', /longrope/],
  [{ rope_scaling: { type: 'dynamic', factor: 2 } }, 'ERR_MODEL_UNSUPPORTED', /dynamic/],
  [
    { rope_scaling: { type: 'linear', factor: 2, short_factor: [1] } },
    'ERR_MODEL_UNSUPPORTED',
    /short_factor/,
  ],
  [{ partial_rotary_factor: 0.5 }, 'ERR_MODEL_UNSUPPORTED', /partial/],
  [{ rope_scaling: { type: 'linear' } }, 'ERR_MODEL_FORMAT', /factor/],
  [{ rope_scaling: { type: 'linear', factor: 0 } }, 'ERR_MODEL_FORMAT', /factor/],
  [{ rope_scaling: { type: 5 } }, 'ERR_MODEL_FORMAT', /type/],
  [{ rope_scaling: [1] }, 'ERR_MODEL_FORMAT', /rope_parameters/],
  [{ rope_theta: 'big' }, 'ERR_MODEL_FORMAT', /rope_theta/],
])('%j is refused by name', (values, code, why) => {
  expect(() => hf(values)).toThrow(expect.objectContaining({ code }));
  expect(() => hf(values)).toThrow(why);
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
  expect(gguf({}, factors).scaling).toEqual({ type: 'factors', factors });
  expect(() => gguf({}, factors.subarray(1))).toThrow(/rope_freqs/);
  expect(() => gguf({}, new Float32Array(32))).toThrow(/rope_freqs/);
  expect(() => gguf({ 'rope.scaling.type': 'longrope' })).toThrow(/longrope/);
  expect(() => gguf({ 'rope.dimension_count': 65 })).toThrow(/dimension_count/);
});
