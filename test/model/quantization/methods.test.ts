import { describe, expect, it } from 'vitest';
import { Fields } from '../../../lib/model/fields.js';
import { readQuantization } from '../../../lib/model/quantization/read.js';

const read = (quantization_config: Record<string, unknown>) =>
  readQuantization(new Fields('config.json', { quantization_config }))!;
const LAYER = 'model.layers.0.';

describe('fp8', () => {
  const fp8 = { quant_method: 'fp8', activation_scheme: 'dynamic' };

  it('by block, by tensor, and not where it says so', () => {
    const said = { ...fp8, weight_block_size: [128, 64], modules_to_not_convert: ['mlp.gate'] };
    const { schemeOf } = read(said);
    expect(schemeOf(`${LAYER}mlp.gate_proj`)).toMatchObject({
      ...{ form: 'fp8', type: 'float', bits: 8, span: { per: 'block', rows: 128, cols: 64 } },
    });
    expect(schemeOf(`${LAYER}mlp.gate`)).toBeUndefined();
    expect(schemeOf('model.language_model.layers.1.mlp.gate')).toBeUndefined();
    expect(read(fp8).schemeOf('x')).toMatchObject({ span: { per: 'tensor' } });
  });

  it.each([
    [{ fmt: 'e5m2' }, /quantization_config\.fmt "e5m2"/],
    [{ weight_block_size: [128] }, /weight_block_size is not two whole numbers/],
    [{ modules_to_not_convert: [3] }, /not a list of names/],
    [{ sparsity: 2 }, /the setting "sparsity" of quantization_config/],
  ])('refuses %o', (change, message) => {
    expect(() => read({ ...fp8, ...change })).toThrow(message);
  });
});

describe('GPTQ', () => {
  const gptq = { quant_method: 'gptq', bits: 4, group_size: 128, desc_act: false, sym: true };

  it('of either format, with other rules for some modules', () => {
    const { schemeOf } = read({
      ...gptq,
      dynamic: { '-:.*\\.mlp\\.gate$': {}, '+:.*down_proj': { bits: 8, group_size: -1 } },
    });
    expect(schemeOf(`${LAYER}mlp.up_proj`)).toMatchObject({
      ...{ form: 'gptq', bits: 4, zeroOffset: 1, hasOrder: false },
      span: { per: 'group', size: 128 },
    });
    expect(schemeOf(`${LAYER}mlp.gate`)).toBeUndefined();
    expect(schemeOf(`${LAYER}mlp.down_proj`)).toMatchObject({ bits: 8, span: { per: 'channel' } });
    const v2 = read({ ...gptq, checkpoint_format: 'gptq_v2', desc_act: true });
    expect(v2.schemeOf('x')).toMatchObject({ zeroOffset: 0, hasOrder: true });
  });

  it.each([
    [{ bits: 6 }, /quantization_config\.bits 6/],
    [{ checkpoint_format: 'marlin' }, /checkpoint_format "marlin"/],
    [{ is_marlin_format: true }, /"is_marlin_format"/],
    [{ dynamic: { a: { bits: 4, rotate: 1 } } }, /the setting "rotate" of .*dynamic\.a/],
  ])('refuses %o', (change, message) => {
    expect(() => read({ ...gptq, ...change })).toThrow(message);
  });
});

it('AWQ of the one order that is known', () => {
  const awq = { quant_method: 'awq', bits: 4, group_size: 64, zero_point: true, version: 'gemm' };
  const { schemeOf } = read({ ...awq, modules_to_not_convert: ['self_attn.o_proj'] });
  expect(schemeOf(`${LAYER}mlp.up_proj`)).toMatchObject({ form: 'awq', hasZeros: true });
  expect(schemeOf(`${LAYER}self_attn.o_proj`)).toBeUndefined();
  expect(() => read({ ...awq, version: 'gemv' })).toThrow(/version "gemv"/);
  expect(() => read({ ...awq, zero_point: false })).toThrow(/zero_point false/);
});

it('ModelOpt by algorithm, and by layer', () => {
  const said = {
    quant_method: 'modelopt',
    quant_algo: 'NVFP4',
    exclude_modules: ['lm_head', '*.0.*'],
  };
  const { schemeOf } = read(said);
  expect(schemeOf('model.layers.1.mlp.up_proj')).toMatchObject({ type: 'float', bits: 4 });
  expect(schemeOf(`${LAYER}mlp.up_proj`)).toBeUndefined();
  const mixed = read({
    ...{ quant_method: 'modelopt', quant_algo: 'MIXED_PRECISION' },
    quantized_layers: { a: { quant_algo: 'FP8' }, b: { quant_algo: 'NVFP4', group_size: 16 } },
  });
  expect([mixed.schemeOf('a')?.bits, mixed.schemeOf('b')?.bits]).toEqual([8, 4]);
  expect(mixed.schemeOf('c')).toBeUndefined();
  expect(() => read({ ...said, quant_algo: 'W4A8_AWQ' })).toThrow(/quant_algo "W4A8_AWQ"/);
});

it('bitsandbytes of four and eight bits', () => {
  const bnb = { quant_method: 'bitsandbytes', load_in_4bit: true, load_in_8bit: false };
  expect(read({ ...bnb, llm_int8_skip_modules: ['lm_head'] }).schemeOf('lm_head')).toBeUndefined();
  expect(read(bnb).schemeOf('x')).toMatchObject({ bits: 4 });
  expect(() => read({ ...bnb, load_in_8bit: true })).toThrow(/load_in_4bit true/);
});
