import { expect, it } from 'vitest';
import { checkExpressions, outcome } from './support.js';

checkExpressions('methods.string', 'filters.case', 'filters.replace');

it('knows where a sigma is final', () => {
  expect(outcome("{{ 'ßΣ ΑΣ'.title() }} {{ 'ΑΣ'.capitalize() }}")).toBe('Ssς Ας Ας');
  expect(outcome("{{ 'ΑΣ ΣΑΣ Σ. ΑΣʰ'.swapcase() }}")).toBe('ας σας σ. αςʰ');
});

const SIZED = ['ljust(@)', 'rjust(@)', 'center(@)', 'zfill(@)'];
const COUNTED = ["replace('a', 'b', @)", 'split(none, @)', "split(' ', @)", "rsplit(' ', @)"];

it.each([...SIZED, ...COUNTED])('takes a number of ssize_t for %s', (method) => {
  const of = (count: string) => outcome(`{{ 'aa'.${method.replace('@', count)} }}`);
  const tooLarge = 'value: Python int too large to convert to C ssize_t';
  for (const count of ['2 ** 63', '-2 ** 63 - 1', '10 ** 20']) expect(of(count)).toBe(tooLarge);
  expect(of('-2 ** 63')).toBe(of('-1'));
});

it.each(COUNTED)('takes the largest ssize_t for %s', (method) => {
  const of = (count: string) => outcome(`{{ 'a a'.${method.replace('@', count)} }}`);
  expect(of('2 ** 63 - 1')).toBe(of('9'));
});

it.each(['expandtabs', 'splitlines'])('takes an int of C for %s()', (method) => {
  const of = (count: string) => outcome(`{{ 'a'.${method}(${count}) }}`);
  const tooLarge = 'value: Python int too large to convert to C int';
  for (const count of ['2 ** 31', '-2 ** 31 - 1', '2 ** 63']) expect(of(count)).toBe(tooLarge);
  expect([of('2 ** 31 - 1'), of('-2 ** 31')]).toEqual([of('1'), of('1')]);
});

it('cuts bounds to size, however large', () => {
  const template =
    "{{ ['abc'.find('c', -(10 ** 20)), 'abc'.count('c', 10 ** 20), 'abc'[:10 ** 20]] }}";
  expect(outcome(template)).toBe("[2, 0, 'abc']");
});
