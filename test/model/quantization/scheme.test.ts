import { expect, it } from 'vitest';
import { Fields } from '../../../lib/model/fields.js';
import {
  bitsIn,
  checkRead,
  globTest,
  groupIn,
  namesIn,
  nameTest,
  partTest,
  regexTest,
} from '../../../lib/model/quantization/scheme.js';

const fields = (values: Record<string, unknown>) => new Fields('config.json', values, 'q.');

it('reads bits, groups and names, or refuses them by name', () => {
  expect(bitsIn(fields({ bits: 4 }), 'bits', 4, 8)).toBe(4);
  expect(() => bitsIn(fields({ bits: 6 }), 'bits', 4, 8)).toThrow(/q\.bits 6 is not supported/);
  expect(groupIn(fields({ group: 64 }), 'group')).toEqual({ per: 'group', size: 64 });
  expect(groupIn(fields({ group: -1 }), 'group')).toEqual({ per: 'channel' });
  expect(() => groupIn(fields({ group: 0 }), 'group')).toThrow(/q\.group 0/);
  expect(namesIn(fields({}), 'ignore')).toEqual([]);
  expect(() => namesIn(fields({ ignore: 'x' }), 'ignore')).toThrow(/q\.ignore is not a list/);
  expect(() => checkRead(fields({ more: 1 }))).toThrow(/the setting "more" of q/);
});

it('finds modules by whole parts of their names', () => {
  const test = partTest(['mlp.gate', 'lm_head']);
  expect(test('model.layers.0.mlp.gate')).toBe(true);
  expect(test('model.layers.0.mlp.gate_proj')).toBe(false);
  expect(test('lm_head')).toBe(true);
});

it('knows a module inside a wrapper by its name without it', () => {
  const nested = 'model.language_model.layers.0.mlp.up_proj';
  const f = fields({});
  expect(nameTest(f, ['model.layers.0.mlp.up_proj'])(nested)).toBe(true);
  expect(nameTest(f, [nested])('model.layers.0.mlp.up_proj')).toBe(true);
  expect(regexTest(f, 'model\\.layers\\.0')(nested)).toBe(true);
  expect(globTest(['model.layers.0*'])(nested)).toBe(true);
  expect(globTest(['model.layers.1*'])(nested)).toBe(false);
});

it('refuses a pattern by its text', () => {
  expect(() => regexTest(fields({}), '(?!a)')).toThrow(/the pattern "\(\?!a\)" of q \(a group/);
});
