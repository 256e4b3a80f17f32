import { expect, it } from 'vitest';
import { ggufSpecOf, settings, specOf, windowsOf } from '../../support/specs.js';

it('turns a part of each head, by other factors beyond the first context', async () => {
  const spec = specOf(settings('phi3-longrope'));
  expect(spec).toMatchObject({ longRopeFrom: 64, maxPositionEmbeddings: 256 });
  const [rope] = spec.ropes;
  expect(rope.inverseFrequencies).toHaveLength(24); // 0.75 of 64, in pairs
  expect(rope.inverseFrequencies[0]).toBe(1);
  expect(rope.inverseFrequencies[1]).toBeCloseTo(10_000 ** (-2 / 48) / 1.05, 6);
  expect(rope.longInverseFrequencies![0]).toBeCloseTo(1 / 1.5, 6);
  expect(rope.attentionFactor).toBeCloseTo(Math.sqrt(1 + Math.log(4) / Math.log(64)), 12);
  const gguf = await ggufSpecOf('phi3-longrope');
  expect(gguf).toMatchObject({ longRopeFrom: 256, maxPositionEmbeddings: 1024 });
  expect(gguf.ropes[0].longInverseFrequencies).toHaveLength(18);
  expect(gguf.ropes[0].attentionFactor).toBeCloseTo(Math.sqrt(1.25), 6);
});

it('is read in both spellings', () => {
  const { rope_parameters, ...rest } = settings('phi3-longrope');
  const { rope_theta, partial_rotary_factor, rope_type, ...scaling } = rope_parameters as object & {
    [key: string]: unknown;
  };
  const outside = { ...rest, rope_theta, partial_rotary_factor };
  const { original_max_position_embeddings: _, ...factors } = scaling;
  for (const type of [rope_type, 'su']) {
    expect(specOf({ ...outside, rope_scaling: { ...factors, type } })).toEqual(
      specOf(settings('phi3-longrope')),
    );
  }
});

it('was made for 4,096 tokens where it does not say', () => {
  const { rope_parameters, ...rest } = settings('phi3-longrope', { max_position_embeddings: 8192 });
  const { original_max_position_embeddings: _, ...scaling } = rope_parameters as object & {
    [key: string]: unknown;
  };
  const silent = { ...rest, rope_parameters: scaling, original_max_position_embeddings: undefined };
  expect(specOf(silent)).toMatchObject({ longRopeFrom: 4096, maxPositionEmbeddings: 8192 });
});

it('has one table where nothing is scaled, and windows where it names them', async () => {
  expect(specOf(settings('phi3'))).toMatchObject({ longRopeFrom: undefined });
  expect(specOf(settings('phi3')).ropes[0]).not.toHaveProperty('longInverseFrequencies');
  expect(windowsOf(specOf(settings('phi3', { sliding_window: 47 })))).toEqual([47, 47]);
  expect(windowsOf(await ggufSpecOf('phi3'))).toEqual([0, 0]);
});
