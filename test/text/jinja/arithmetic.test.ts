import { expect, it } from 'vitest';
import { checkExpressions, outcome } from './support.js';

checkExpressions('arithmetic');

it('computes with integers of any size, within bounds', () => {
  expect(
    outcome('{{ 2 ** 64 - 2 ** 64 + 5 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7.5 % -2 }} {{ 2 ** -1 }}'),
  ).toBe('5 -4 2 -0.5 0.5');
  expect(outcome('{{ 10 ** (10 ** 9) }}')).toMatch(/^limit/);
  expect(outcome("{{ 'a' * 10000000000 }}")).toMatch(/^limit/);
  expect(outcome('{{ 1 / 0 }}')).toBe('value: division by zero');
});

it.each(["''", '[]', '()', "('<'|e)", "'a'", '[1]'])(
  'repeats %s by what an index can be',
  (what) => {
    const tooLarge = "value: cannot fit 'int' into an index-sized integer";
    for (const count of ['2 ** 63', '-2 ** 63 - 1', '10 ** 20']) {
      expect(outcome(`{{ ${what} * (${count}) }}`)).toBe(tooLarge);
      expect(outcome(`{{ (${count}) * ${what} }}`)).toBe(tooLarge);
    }
    expect(outcome(`{{ ${what} * (-2 ** 63) == ${what} * 0 }}`)).toBe('True');
  },
);

it('repeats nothing as often as an index can say', () => {
  expect(outcome("{{ ['' * (2 ** 63 - 1), [] * (2 ** 63 - 1)] }}")).toBe("['', []]");
  expect(outcome('{{ {} * 2 ** 63 }}')).toMatch(/^type/);
});
