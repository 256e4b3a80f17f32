import { expect, it } from 'vitest';
import { checkExpressions, outcome } from './support.js';

checkExpressions('index', 'slice', 'security');

it.each([
  "''.constructor",
  'messages.__proto__',
  'messages[0].__proto__.x',
  'range.constructor',
  'messages.map',
  'cycler.prototype',
])('reaches nothing of JavaScript by %s', (path) => {
  expect(outcome(`{{ ${path} is defined }}`)).toMatch(/^(False|undefined: .*)$/);
  expect(outcome(`{{ ${path}('return process')() }}`)).toMatch(/^(undefined|type)/);
});

it('ends the slice of a range where the slice ends', () => {
  expect(outcome('{{ [range(10)[::3], range(3)[::-5], range(1, 9, 2)[1:9:3]] }}')).toBe(
    '[range(0, 10, 3), range(2, -1, -5), range(3, 9, 6)]',
  );
  expect(outcome('{{ range(2 ** 60, 2 ** 60) }}')).toMatch(/^limit/);
});
