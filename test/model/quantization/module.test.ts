import { expect, it } from 'vitest';
import { Module } from '../../../lib/model/quantization/module.js';
import { storedTensors } from '../../support/quantised.js';

it('gives its tensors once, and names what is missing', () => {
  const [weight, scale] = storedTensors({ 'a.weight': ['I8', 2], 'a.scale': ['F32', 1] });
  const by = new Map([['weight', weight] as const, ['scale', scale] as const]);
  const module = new Module('a', ['m.safetensors'], by);
  expect(module.find('nothing', 'weight')).toBe(weight);
  expect(module.rest()).toEqual([scale]);
  expect(module.need(weight, 'scale')).toBe(scale);
  expect(module.rest()).toEqual([]);
  expect(() => module.need(weight, 'b', 'c')).toThrow(
    /m\.safetensors: tensor a\.weight is I8 without a\.b or a\.c, its scales/,
  );
});
