import { expect, it } from 'vitest';
import { ggufSpecOf, ggufSpecWith, ropesOf, settings, specOf } from '../../support/specs.js';

it('scales embedding, scores, branches and logits, in both forms alike', async () => {
  const spec = specOf(settings('granite'));
  const gguf = await ggufSpecOf('granite');
  for (const { embedding, head, layers } of [spec, gguf]) {
    expect(embedding.scale).toBe(3);
    expect(head?.scale).toBeCloseTo(1 / 0.8, 7);
    expect(layers[1].residualScale).toBeCloseTo(0.7, 7);
    expect(layers[1].attention!.scale).toBeCloseTo(0.08, 7);
  }
  expect([spec, gguf].map(({ ropes }) => ropes[0].interleaved)).toEqual([false, true]);
});

it('multiplies scores by 1 where config.json does not say', () => {
  const { layers, head, embedding } = specOf(
    settings('granite', {
      ...{ attention_multiplier: undefined, logits_scaling: undefined },
      ...{ embedding_multiplier: undefined, residual_multiplier: undefined },
    }),
  );
  expect([layers[0].attention!.scale, layers[0].residualScale]).toEqual([1, 1]);
  expect([head?.scale, embedding.scale]).toEqual([1, 1]);
  expect(() => specOf(settings('granite', { logits_scaling: 0 }))).toThrow(/logits_scaling/);
  expect(() => specOf(settings('granite', { attention_multiplier: 0 }))).toThrow(
    /attention_multiplier is 0/,
  );
});

it('of a GGUF file does not turn where that says so, whatever the key is called', () => {
  const keys = { 'attention.layer_norm_rms_epsilon': 1e-5 };
  const key = 'rope.scaling.finetuned';
  expect(ropesOf(ggufSpecWith('granite', keys))).toEqual([0, 0, 0, 0]);
  expect(ropesOf(ggufSpecWith('granite', { ...keys, [key]: true }))).toEqual([0, 0, 0, 0]);
  expect(ropesOf(ggufSpecWith('granite', { ...keys, [key]: false }))).toEqual([-1, -1, -1, -1]);
  expect(() => ggufSpecWith('granite', { ...keys, [key]: 0 })).toThrow(/finetuned is 0/);
  expect(ropesOf(ggufSpecWith('llama', { ...keys, [key]: false }))).toEqual([0, 0, 0, 0]);
});

it('of a GGUF file has the usual scale of scores where 0 or none is named', () => {
  const scale = (value: object) =>
    ggufSpecWith('granite', { 'attention.layer_norm_rms_epsilon': 1e-5, ...value }).layers[0]
      .attention!.scale;
  expect([scale({}), scale({ 'attention.scale': 0 })]).toEqual([32 ** -0.5, 32 ** -0.5]);
  expect(scale({ 'attention.scale': 0.25 })).toBe(0.25);
  expect(() => scale({ 'attention.scale': 1e-12 })).toThrow(/attention\.scale is 1e-12/);
});
