import { expect, it } from 'vitest';
import { fixed, formatValue, percentFormat } from '../../../lib/text/jinja/format.js';
import { Float, Tuple } from '../../../lib/text/jinja/values.js';
import { budgeted, checkExpressions, outcome } from './support.js';

checkExpressions('filters.format', 'filters.round', 'methods.string');

it('rounds what a float is exactly, halves to even', () => {
  const texts = budgeted(() => [
    fixed(0.5, 0),
    fixed(1.5, 0),
    fixed(2.5, 0),
    fixed(1.005, 2),
    fixed(0.125, 2),
    fixed(1e22, 1),
  ]);
  expect(texts).toEqual(['0', '2', '2', '1.00', '0.12', '10000000000000000000000.0']);
});

it('formats in both of the ways', () => {
  budgeted(() => {
    const values = new Tuple([new Float(3.25), 'ab', 255, -5]);
    expect(percentFormat('%07.2f|%-5s|%#X|%+d', values)).toBe('0003.25|ab   |0XFF|-5');
    expect(formatValue(1234567, ',')).toBe('1,234,567');
    expect(formatValue(new Float(0.25), '.1%')).toBe('25.0%');
    expect(formatValue('mid', '*^9')).toBe('***mid***');
    expect(formatValue(-42, '=+8')).toBe('-     42');
  });
});

it.each(['{:.@}', '{:@}', '{0[@]}', '{@}'])(
  'reads numbers in %s that are no larger than an index',
  (format) => {
    const of = (digits: string) => outcome(`{{ '${format.replace('@', digits)}'.format('a') }}`);
    const tooLarge = 'value: Too many decimal digits in format string';
    for (const digits of ['9223372036854775808', '9'.repeat(400)])
      expect(of(digits)).toBe(tooLarge);
    expect(of('9223372036854775807')).not.toBe(tooLarge);
  },
);
