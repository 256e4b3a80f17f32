import { expect, it } from 'vitest';
import { floatText, str } from '../../../lib/text/jinja/printing.js';
import { Namespace } from '../../../lib/text/jinja/values.js';
import { budgeted, checkExpressions, fails } from './support.js';

checkExpressions('print', 'filters.string');

it('writes floats as Python does', () => {
  const texts = [1, -0, 1e15, 1e16, 1.5e-5, 0.0001, 1 / 3, 1e300, Number.NaN].map(floatText);
  expect(texts).toEqual([
    '1.0',
    '-0.0',
    '1000000000000000.0',
    '1e+16',
    '1.5e-05',
    '0.0001',
    '0.3333333333333333',
    '1e+300',
    'nan',
  ]);
});

it('writes what holds itself once, and no integer without end', () => {
  const space = new Namespace();
  space.set('a', [space]);
  expect(budgeted(() => str(space))).toBe("<Namespace {'a': [<Namespace {...}>]}>");
  fails('value', () => str(10n ** 5000n));
});
