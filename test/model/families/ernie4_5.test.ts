import { expect, it } from 'vitest';
import { ggufSpecWith, settings, specOf } from '../../support/specs.js';

it('turns by neighbour pairs, with biases everywhere or nowhere', () => {
  const plain = specOf(settings('ernie4_5'));
  const gguf = ggufSpecWith('ernie4_5', { 'attention.layer_norm_rms_epsilon': 1e-5 });
  expect(gguf.ropes[0].interleaved).toBe(true);
  expect(plain.ropes[0].interleaved).toBe(true);
  expect(plain.layers[0].attention!.biases).toEqual([]);
  const [{ attention, mlp }] = specOf(settings('ernie4_5', { use_bias: true })).layers;
  expect([attention!.biases, mlp.biases]).toEqual([
    ['q', 'k', 'v', 'o'],
    ['gate', 'up', 'down'],
  ]);
});
