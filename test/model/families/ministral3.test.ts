import { expect, it } from 'vitest';
import { ggufSpecOf, settings, specOf } from '../../support/specs.js';

const { text_config: text } = settings('ministral3') as { text_config: Record<string, unknown> };
const changed = (rope_parameters: unknown) =>
  specOf({ ...settings('ministral3'), text_config: { ...text, rope_parameters } });

it('sharpens with each original context, in both forms alike', async () => {
  for (const spec of [specOf(settings('ministral3')), await ggufSpecOf('ministral3')]) {
    const { temperature } = spec.layers[1].attention!;
    expect(temperature).toMatchObject({ length: 64, offset: 0 });
    expect(temperature.beta).toBeCloseTo(0.1, 7);
    expect(spec.ropes[0].attentionFactor).toBeCloseTo(1, 6);
    expect(spec.maxPositionEmbeddings).toBe(512);
  }
});

it('does so by default, and not at all where a file says so', () => {
  const temperature = (rope: unknown) => changed(rope).layers[0].attention!.temperature;
  expect(temperature(undefined)).toEqual({ beta: 0.1, length: 16_384, offset: 0 });
  const plain = { rope_type: 'default', rope_theta: 1e6 };
  expect(temperature(plain).beta).toBe(0);
  expect(() => temperature({ ...plain, llama_4_scaling_beta: 0.1 })).toThrow(/no step/);
});
