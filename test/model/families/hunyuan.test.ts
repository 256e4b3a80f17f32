import { expect, it } from 'vitest';
import { ggufSpecWith, settings, specOf } from '../../support/specs.js';

it('norms q and k when they have turned', () => {
  const [{ attention }] = specOf(settings('hunyuan-dense')).layers;
  expect(attention).toMatchObject({ qkNormAfterRope: true, biases: [] });
});

it('stretches theta by an alpha, which it calls dynamic', () => {
  const rope = { type: 'dynamic', alpha: 1000, factor: 1, mscale: 1, mscale_all_dim: 1 };
  const old = { rope_parameters: undefined, rope_theta: 1e4, rope_scaling: rope };
  const { inverseFrequencies: f } = specOf(settings('hunyuan-dense', old)).ropes[0];
  expect(f[1]).toBeCloseTo((1e4 * 1000 ** (64 / 62)) ** (-2 / 64), 7);
  const none = { ...old, rope_scaling: { ...rope, alpha: undefined } };
  expect(() => specOf(settings('hunyuan-dense', none))).toThrow(/dynamic/);
});

it('has it in theta already in a GGUF file', () => {
  const spec = ggufSpecWith('hunyuan-dense', {
    ...{ 'attention.layer_norm_rms_epsilon': 1e-5, 'rope.freq_base': 11_158_840 },
    ...{ 'rope.scaling.type': 'none', 'rope.scaling.factor': 1, context_length: 262_144 },
    'rope.scaling.original_context_length': 262_144,
  });
  expect(spec.ropes[0].inverseFrequencies[1]).toBeCloseTo(11_158_840 ** (-2 / 32), 7);
  expect(spec.layers[0].attention!.qkNormAfterRope).toBe(true);
});
