import { expect, it } from 'vitest';
import { RECURRENT_KINDS } from '../../../lib/native.js';
import { ggufSpecOf, ggufSpecWith, settings, specOf } from '../../support/specs.js';

const of = (change: Record<string, unknown> = {}) => specOf(settings('falcon-h1', change));

it('has both mixers in each layer, and its multipliers where products are linear', () => {
  const [layer] = of().layers;
  const { attention, recurrent } = layer;
  expect(attention).toMatchObject({ numHeads: 3, numKvHeads: 1, headSize: 64, rope: 0 });
  expect(recurrent).toMatchObject({
    ...{ kind: RECURRENT_KINDS.ssm, numKeyHeads: 1, numValueHeads: 4, keySize: 16, valueSize: 32 },
    ...{ normFirst: false, normOwn: true, normSize: 128, inBias: false, outBias: false },
  });
  // The gate's: 1.2 · 0.9; of what attention reads 0.9 are left.
  expect(layer.attnNorm.scale).toBeCloseTo(1.08, 12);
  expect(recurrent?.norm.scale).toBeUndefined();
  const ratio = 0.9 / 1.08;
  expect(attention?.scale).toBeCloseTo((0.6 * ratio ** 2) / 8, 12);
  expect(layer.attentionScale).toBeCloseTo(0.8 * ratio, 12);
  expect(layer.recurrentScale).toBe(0.7);
  const { convScales, dtScale } = recurrent!;
  expect(convScales?.v).toBeCloseTo(0.7 / 0.9, 12);
  expect(convScales?.k).toBeCloseTo(1.1 / 0.9, 12);
  expect(convScales?.q).toBeCloseTo(0.8 / 0.9, 12);
  expect(dtScale).toBeCloseTo(0.6 / 0.9, 12);
  expect([layer.mlpNorm.scale, layer.mlpScale]).toEqual([0.8, 0.6 / 0.8]);
  expect([of().embedding.scale, of().head?.scale]).toEqual([2, 0.7]);
});

const PLAIN = {
  ...{ ssm_multipliers: null, mlp_multipliers: null, key_multiplier: 1, ssm_in_multiplier: 1 },
  ...{ attention_in_multiplier: 1, attention_out_multiplier: 1, ssm_out_multiplier: 1 },
};

it('has none of them where they are 1, and biases only then', () => {
  const [layer] = of(PLAIN).layers;
  for (const scale of ['attentionScale', 'recurrentScale', 'mlpScale']) {
    expect(layer).not.toHaveProperty(scale);
  }
  expect(layer.attnNorm).not.toHaveProperty('scale');
  expect(layer.recurrent).not.toHaveProperty('convScales');
  const biased = { attention_bias: true, mamba_proj_bias: true, mlp_bias: true };
  const [with_] = of({ ...PLAIN, ...biased, projectors_bias: false }).layers;
  expect(with_.recurrent).toMatchObject({ inBias: true, outBias: false });
  expect(with_.attention?.biases).toEqual(['q', 'k', 'v', 'o']);
  for (const name of Object.keys(biased)) {
    expect(() => of({ [name]: true })).toThrow(`${name} with multipliers`);
  }
});

it('refuses multipliers that are none', () => {
  expect(() => of({ ssm_multipliers: [1, 1, 1, 1] })).toThrow(/ssm_multipliers is not a list of 5/);
  expect(() => of({ mlp_multipliers: [1, 0] })).toThrow(/mlp_multipliers is not a list of 2/);
  expect(() => of({ key_multiplier: 0 })).toThrow(/key_multiplier is 0/);
});

it('need not norm what its gate lets pass, and may do so before it', () => {
  const [bare] = of({ mamba_rms_norm: false }).layers;
  expect(bare.recurrent).toMatchObject({ norm: { kind: 0 }, normFirst: false });
  const [first] = of({ mamba_norm_before_gate: undefined }).layers;
  expect(first.recurrent).toMatchObject({ norm: { kind: 1 }, normFirst: true });
  const auto = { mamba_d_head: 'auto', mamba_d_ssm: null, mamba_n_heads: 6 };
  expect(of(auto).layers[0].recurrent?.valueSize).toBe(32);
});

it('of a GGUF file says nothing of multipliers, and by a tensor whether it norms', async () => {
  const { layers, embedding } = await ggufSpecOf('falcon-h1');
  expect(layers[0]).toMatchObject({
    ...{ recurrent: { normFirst: false, norm: { kind: 1 } }, attention: { headSize: 32 } },
  });
  expect(layers[0]).not.toHaveProperty('attentionScale');
  expect(embedding.scale).toBe(1);
  const keys = {
    ...{ 'ssm.conv_kernel': 4, 'ssm.inner_size': 64, 'ssm.state_size': 16 },
    ...{ 'ssm.time_step_rank': 2, 'ssm.group_count': 1 },
    'attention.layer_norm_rms_epsilon': 1e-5,
  };
  expect(ggufSpecWith('falcon-h1', keys).layers[0].recurrent?.norm.kind).toBe(0);
});
