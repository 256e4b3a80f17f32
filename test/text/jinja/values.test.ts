import { expect, it } from 'vitest';
import * as values from '../../../lib/text/jinja/values.js';
import { budgeted, checkExpressions, fails } from './support.js';

checkExpressions('truth');

const { Dict, Float, Tuple } = values;

it('finds equal keys, whatever their type, in the order of insertion', () => {
  const dict = Dict.of([
    [1, 'a'],
    ['1', 'b'],
    [true, 'c'],
    [new Float(1), 'd'],
    [null, 'e'],
    [new Tuple([1, 'x']), 'f'],
  ]);
  expect(dict.size).toBe(4);
  expect(dict.keys()).toEqual([1, '1', null, new Tuple([1, 'x'])]);
  expect([dict.get(1), dict.get('1'), dict.get(new Tuple([true, 'x']))]).toEqual(['d', 'b', 'f']);
  expect(dict.get(2n ** 70n)).toBeUndefined();
  dict.set(2n ** 70n, null);
  expect(dict.get(new Float(2 ** 70))).toBeNull();
  fails('type', () => dict.get([]));
  fails('type', () => dict.get(dict));
});

it('counts code points', () => {
  budgeted(() => {
    expect(values.textLength('a👍é')).toBe(3);
    expect(values.characters('a👍')).toEqual(['a', '👍']);
  });
});

it('matches arguments by place and by name', () => {
  const args = { pos: [1], named: new Map([['b', 2]]) };
  expect(values.bind('f', args, ['a', 'b', 'c'])).toEqual([1, 2]);
  fails('type', () => values.bind('f', args, ['a'])[0]);
  fails('type', () => values.bind('f', args, ['b', 'a'])[0]);
  fails('type', () => values.bind('f', args, ['a', 'b', 'c'], 3)[0]);
});
