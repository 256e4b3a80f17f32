import { expect, it } from 'vitest';
import { ggufSpecOf, settings, specOf, windowsOf } from '../../support/specs.js';

it('caps scores and logits, and every second layer slides', async () => {
  for (const spec of [specOf(settings('gemma2')), await ggufSpecOf('gemma2')]) {
    expect(windowsOf(spec)).toEqual([20, 0]);
    expect(spec.layers.map(({ attention }) => attention!.softcap)).toEqual([20, 20]);
    expect(spec.head).toEqual({ tied: true, scale: 1, softcap: 12 });
  }
});

it('has the defaults of its class, and none at null', () => {
  const absent = (value?: null) => {
    const names = ['attn_logit_softcapping', 'final_logit_softcapping', 'sliding_window'];
    const spec = specOf(settings('gemma2', Object.fromEntries(names.map((n) => [n, value]))));
    return [spec.layers[0].attention!.softcap, spec.head?.softcap, windowsOf(spec)[0]];
  };
  expect(absent()).toEqual([50, 30, 4096]);
  expect(absent(null)).toEqual([0, 0, 0]);
});

it('is read in both spellings', () => {
  const today = settings('gemma2', {
    rope_theta: undefined,
    rope_scaling: undefined,
    torch_dtype: undefined,
    dtype: 'bfloat16',
    rope_parameters: { rope_type: 'default', rope_theta: 10_000 },
    layer_types: ['sliding_attention', 'full_attention'],
  });
  expect(specOf(today)).toEqual(specOf(settings('gemma2')));
});

it('refuses a type that its embedding cannot be scaled in', () => {
  expect(() => specOf(settings('gemma2', { torch_dtype: 'float8' }))).toThrow(/dtype "float8"/);
});
