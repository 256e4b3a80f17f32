import { expect, it } from 'vitest';
import { Config } from '../../lib/model/config.js';
import { Fields } from '../../lib/model/fields.js';

const GGUF = {
  names: new Set<string>(),
  vocabSize: 1,
  biases: new Set<string>(),
  shapes: new Map(),
  factors: new Map(),
};

it('has two names for one setting, and switches only in config.json', () => {
  const f = new Fields('c', { a_switch: true, num_nextn_predict_layers: 1 });
  const hf = new Config(f, f);
  const gguf = new Config(f, f, GGUF);
  expect([hf.name('a', 'b'), gguf.name('a', 'b')]).toEqual(['a', 'b']);
  expect([hf.flag('a_switch'), hf.flag('other'), gguf.flag('a_switch')]).toEqual([
    ...[true, false, false],
  ]);
  expect([hf.numMtpLayers, gguf.numMtpLayers]).toEqual([1, 0]);
});

it('finds the type of weights inside or outside', () => {
  const type = (inner: object, outer: object) =>
    new Config(new Fields('c', { ...inner }), new Fields('c', { ...outer })).dtype();
  expect(type({ dtype: 'float16' }, { dtype: 'bfloat16' })).toBe('float16');
  expect(type({}, { torch_dtype: 'bfloat16' })).toBe('bfloat16');
  expect(type({ torch_dtype: null }, {})).toBe('');
  const f = new Fields('c', { dtype: 'float16' });
  expect(new Config(f, f, GGUF).dtype()).toBe('');
});
