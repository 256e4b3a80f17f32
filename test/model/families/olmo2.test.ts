import { expect, it } from 'vitest';
import { NORMS, QK_NORM_SPANS } from '../../../lib/native.js';
import { ggufSpecOf, ropesOf, settings, specOf, windowsOf } from '../../support/specs.js';

it('has norms behind its branches only, those of q and k over all heads', async () => {
  for (const spec of [specOf(settings('olmo2')), await ggufSpecOf('olmo2')]) {
    const [{ attnNorm, postAttnNorm, mlpNorm, postMlpNorm, attention }] = spec.layers;
    expect([attnNorm, mlpNorm].map(({ kind }) => kind)).toEqual([NORMS.none, NORMS.none]);
    expect([postAttnNorm, postMlpNorm].map(({ kind }) => kind)).toEqual([NORMS.rms, NORMS.rms]);
    expect(attention!.qkNorm).toEqual(postAttnNorm);
    expect(attention!.qkNormSpan).toBe(QK_NORM_SPANS.projection);
    expect(spec.ropes[0].interleaved).toBe(false);
  }
});

it('OLMo 3 slides, and scales the rope of the layers that do not', async () => {
  const spec = specOf(settings('olmo3'));
  const gguf = await ggufSpecOf('olmo3');
  for (const { layers, ropes } of [spec, gguf]) {
    const [scaled, plain] = ropes.map((rope) => rope.inverseFrequencies);
    expect(layers.map(({ attention }) => attention!.window)).toEqual([20, 20, 20, 0]);
    expect(layers.map(({ attention }) => attention!.rope)).toEqual([1, 1, 1, 0]);
    expect(scaled.at(-1)! / plain.at(-1)!).toBeCloseTo(1 / 8, 6);
    expect(ropes[1].attentionFactor).toBe(1);
  }
  const yarn = { factor: 8, original_max_position_embeddings: 64, beta_fast: 32, beta_slow: 1 };
  const old = specOf(
    settings('olmo3', {
      ...{ rope_parameters: undefined, layer_types: undefined },
      ...{ rope_theta: 500_000, rope_scaling: { rope_type: 'yarn', ...yarn } },
    }),
  );
  expect(old).toEqual(spec);
});

it('OLMo 2 does not: a window in its config.json is none it knows', async () => {
  expect(windowsOf(await ggufSpecOf('olmo2'))).toEqual([0, 0]);
  expect(ropesOf(await ggufSpecOf('olmo2'))).toEqual([0, 0]);
  const windowed = settings('olmo2', { sliding_window: 20 });
  expect(() => specOf(windowed)).toThrow(/"sliding_window" of olmo2/);
});
