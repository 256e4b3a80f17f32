import { expect, it } from 'vitest';
import { Fields } from '../../lib/model/fields.js';

const fields = (values: object) => new Fields('c.json', values as Record<string, unknown>, 'p.');

it('reads typed values with defaults', () => {
  const f = fields({ n: 3, b: false, s: 'x', i: [1, 2], nothing: null });
  expect(f.integer('n', 1, 5)).toBe(3);
  expect(f.number('absent', 0, 1, 0.5)).toBe(0.5);
  expect(f.number('nothing', 0, 1, 0.5)).toBe(0.5);
  expect(f.boolean('b', true)).toBe(false);
  expect(f.string('s')).toBe('x');
  expect(f.ids('i')).toEqual([1, 2]);
  expect(f.ids('n')).toEqual([3]);
  expect(f.ids('absent')).toEqual([]);
});

it('names file and field of what is wrong', () => {
  const f = fields({ n: 'x', h: 1.5, big: 1e9, b: 1, s: 5, i: [-1], nan: Number.NaN });
  for (const call of [
    () => f.number('n', 0, 1),
    () => f.number('absent', 0, 1),
    () => f.number('nan', 0, 1),
    () => f.integer('h', 0, 5),
    () => f.integer('big', 0, 5),
    () => f.boolean('b', true),
    () => f.string('s'),
    () => f.ids('i'),
  ]) {
    expect(call).toThrow(/^c\.json: p\.\w+ /);
    expect(call).toThrow(expect.objectContaining({ code: 'ERR_MODEL_FORMAT' }));
  }
});

it('knows what nobody has read and says something', () => {
  const f = fields({
    read: 1,
    harmless: 1,
    off: false,
    none: null,
    zero: 0,
    empty: {},
    list: [],
    odd: 'x',
  });
  f.raw('read');
  expect(f.unread(new Set(['harmless']))).toEqual(['odd']);
});
