import { expect, it } from 'vitest';
import { jsonMembers } from '../../lib/text/json-members.js';

it('finds members wherever they stand, and only at the top', () => {
  const value = {
    a: [1, { b: 2 }],
    'q"\\': 'x,}]"\\',
    b: { a: 'no', s: '{[' },
    c: null,
    d: -1.5e3,
    e: 'end',
  };
  const all = Object.fromEntries(Object.keys(value).map((key) => [key, true as const]));
  for (const indent of [0, 2]) {
    const json = JSON.stringify(value, null, indent);
    for (const key of Object.keys(value) as (keyof typeof value)[]) {
      expect(jsonMembers(json, { [key]: true })).toEqual({ [key]: value[key] });
    }
    expect(jsonMembers(json, all)).toEqual(value);
    expect(jsonMembers(json, { s: true, none: true })).toEqual({});
  }
});

it('reads an empty object, and ends on text that is no object', () => {
  expect(jsonMembers('{}', { a: true })).toEqual({});
  for (const json of ['', '{', '{"a"', '[1]', '"x"']) {
    expect(jsonMembers(json, { b: true })).toEqual({});
  }
});

it('reads a big member in part, the last where one stands twice', () => {
  const json =
    '{"m": {"type": "no"}, "z": 1, "m": {"v": {"type": 5}, "type" : "x" } , "z": {"a":2}}';
  expect(jsonMembers(json, { m: { type: true }, z: true })).toEqual({
    m: { type: 'x' },
    z: { a: 2 },
  });
  expect(jsonMembers('{"m":5,"__proto__":2}', { m: { type: true } })).toEqual({ m: 5 });
});

it('refuses strings that are too long inside it, and only there', () => {
  const json = (m: unknown) => JSON.stringify({ a: 'x'.repeat(99), m });
  const read = (m: unknown) => jsonMembers(json(m), { a: true, m: { type: true } }, 10);
  expect(read({ v: { ['x'.repeat(10)]: 1 } })).toMatchObject({ m: {} });
  expect(() => read({ v: { ['x'.repeat(11)]: 1 } })).toThrow('a token of 11 characters');
  expect(() => read({ v: [['x'.repeat(11), 1]] })).toThrow('a token of 11 characters');
});
