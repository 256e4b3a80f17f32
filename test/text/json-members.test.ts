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
  for (const indent of [0, 2]) {
    const json = JSON.stringify(value, null, indent);
    for (const key of Object.keys(value) as (keyof typeof value)[]) {
      expect(jsonMembers(json, [key])).toEqual({ [key]: value[key] });
    }
    expect(jsonMembers(json, Object.keys(value))).toEqual(value);
    expect(jsonMembers(json, ['s', 'none'])).toEqual({});
  }
});

it('reads an empty object, and ends on text that is no object', () => {
  expect(jsonMembers('{}', ['a'])).toEqual({});
  for (const json of ['', '{', '{"a"', '[1]', '"x"']) {
    expect(jsonMembers(json, ['b'])).toEqual({});
  }
});
