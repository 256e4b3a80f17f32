import { expect, it } from 'vitest';
import { NORMS } from '../../../lib/native.js';
import { ggufSpecOf, ropesOf, settings, specOf, windowsOf } from '../../support/specs.js';

const { text_config: text } = settings('muse-glimmer') as { text_config: Record<string, unknown> };
const changed = (change: object) =>
  specOf({ ...settings('muse-glimmer'), text_config: { ...text, ...change } });

it('norms its embedding, gates its attention, scales and caps its logits', async () => {
  for (const spec of [specOf(settings('muse-glimmer')), await ggufSpecOf('muse-glimmer')]) {
    expect(spec.embedding.norm).toMatchObject({ kind: NORMS.rms, weight: false });
    expect(spec.head?.scale).toBeCloseTo(0.4, 7);
    expect(spec.head?.softcap).toBe(20);
    expect([windowsOf(spec), ropesOf(spec)]).toEqual([
      [20, 0],
      [0, -1],
    ]);
    const [{ attention, attnNorm, postAttnNorm }] = spec.layers;
    expect(attention!.gated).toBe(true);
    expect([attnNorm.eps, postAttnNorm.eps]).toEqual([expect.closeTo(1e-5, 9), 1e-8]);
  }
});

it('has the factor of scores beside a norm without weight, or in its weights', async () => {
  const [{ attention }] = specOf(settings('muse-glimmer')).layers;
  expect(attention!.qkNorm.weight).toBe(false);
  expect(attention!.scale).toBeCloseTo(3.87 / Math.sqrt(32), 9);
  const [gguf] = (await ggufSpecOf('muse-glimmer')).layers;
  expect(gguf.attention!.qkNorm.weight).toBe(true);
  expect(gguf.attention!.scale).toBeCloseTo(1 / Math.sqrt(32), 9);
});

it('turns in all but each fourth layer from the last, or by a list', () => {
  const six = { num_hidden_layers: 6, layer_types: undefined, layer_rope_theta: undefined };
  expect(ropesOf(changed(six))).toEqual([0, -1, 0, 0, 0, -1]);
  expect(windowsOf(changed(six))).toEqual([20, 0, 20, 20, 20, 0]);
  expect(ropesOf(changed({ layer_rope_theta: [0, 500_000] }))).toEqual([-1, 0]);
  expect(() => changed({ layer_rope_theta: [0, 10_000] })).toThrow(/layer_rope_theta of 10000/);
});
