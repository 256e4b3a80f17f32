import { expect, it } from 'vitest';
import { ggufSpecOf, settings, specOf } from '../../support/specs.js';

it('has biases of q, k, v by one switch, of o by another', async () => {
  const biases = (change: object) =>
    specOf(settings('seed-oss', { ...change })).layers[0].attention!.biases;
  expect(biases({})).toEqual(['q', 'k', 'v']);
  expect(biases({ attention_out_bias: true })).toEqual(['q', 'k', 'v', 'o']);
  expect(biases({ attention_bias: false, attention_out_bias: true })).toEqual(['o']);
  expect((await ggufSpecOf('seed-oss')).layers[0].attention!.biases).toEqual(['q', 'k', 'v']);
});
