import { expect, it } from 'vitest';
import { checkExpressions, outcome } from './support.js';

checkExpressions('methods.dict', 'methods.list', 'methods.number');

it('formats fields with attributes and items, never what is internal', () => {
  const d = { a: { b: [5] } };
  expect(outcome("{{ '{0[a][b][0]:>3}|{x!r}'.format(d, x='y') }}", { d })).toBe("  5|'y'");
  expect(outcome("{{ '{0.__class__.__mro__}'.format('') }}")).toMatch(/^security/);
});

it('escapes what becomes part of markup', () => {
  expect(outcome("{{ ('<b>'|e).join(['<', 1, 'a']) }}")).toBe('&lt;&lt;b&gt;1&lt;b&gt;a');
  expect(outcome("{{ ('aXb'|safe).replace('X', '<') }}")).toBe('a&lt;b');
  expect(outcome("{{ ('{:>4}|{}'|safe).format('<', '<'|e) }}")).toBe('   &lt;|&lt;');
  expect(outcome("{{ '%s|%r|%d'|safe % ('<', '<', 5) }}")).toBe('&lt;|&#39;&lt;&#39;|5');
  expect(outcome("{{ ('ab'|e)[0]|pprint }}")).toBe("Markup('a')");
});

it('finds a value in a range as a whole, in a list between bounds', () => {
  expect(outcome('{{ range(4).index(2) }} {{ [1, 2, 1].index(1, 1, 9) }}')).toBe('2 2');
  expect(outcome('{{ range(4).index(2, 0) }}')).toMatch(/^type/);
});
