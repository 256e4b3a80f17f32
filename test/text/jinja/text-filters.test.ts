import { expect, it } from 'vitest';
import { checkExpressions, outcome } from './support.js';

checkExpressions(
  ...[
    'filters.abs',
    'filters.center',
    'filters.default',
    'filters.filesizeformat',
    'filters.float-int',
  ],
  ...[
    'filters.indent',
    'filters.replace',
    'filters.round',
    'filters.trim',
    'filters.truncate',
    'filters.url',
  ],
);

it.each([
  ["'a'|center(@)", 'Python int too large to convert to C ssize_t'],
  ["'a'|replace('a', 'b', @)", 'Python int too large to convert to C ssize_t'],
  ["'a'|indent(@)", "cannot fit 'int' into an index-sized integer"],
  ['1|tojson(indent=@)', "cannot fit 'int' into an index-sized integer"],
])('takes no more than an index for %s', (filter, message) => {
  const of = (count: string) => outcome(`{{ ${filter.replace('@', `(${count})`)} }}`);
  for (const count of ['2 ** 63', '-2 ** 63 - 1']) expect(of(count)).toBe(`value: ${message}`);
  expect(of('-2 ** 63')).toBe(of('-1'));
});

it('does not look at the indent of a text alone', () => {
  expect(outcome("{{ 'a'|tojson(indent=10 ** 20) }}")).toBe('"a"');
});

it('takes a text of an unknown base for a float', () => {
  expect(outcome("{{ '1'|int(5, 99) }} {{ '2.5'|int(5, -3) }} {{ 'z'|int(5, 10 ** 20) }}")).toBe(
    '1 2 5',
  );
});

it('lets no text be longer by less than nothing', () => {
  expect(outcome("{{ 'abc def ghi'|truncate(5, leeway=-1) }}")).toBe(
    'value: expected leeway >= 0, got -1',
  );
});

it('writes bytes of any number', () => {
  expect(outcome("{{ (-2 ** 63)|filesizeformat }} {{ 'nan'|float|filesizeformat }}")).toBe(
    '-9223372036854775808 Bytes nan YB',
  );
  expect(outcome("{{ '-inf'|float|filesizeformat }}")).toMatch(/^value/);
});

it('title makes a plain text of markup, capitalize, upper and lower leave it markup', () => {
  expect(outcome("{{ ['a b'|forceescape|title] }}")).toBe("['A B']");
  const kept = "{{ ['a'|escape|capitalize, 'a'|escape|upper, 'A'|escape|lower] }}";
  expect(outcome(kept)).toBe("[Markup('A'), Markup('A'), Markup('a')]");
});
