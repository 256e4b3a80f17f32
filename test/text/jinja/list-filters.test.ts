import { expect, it } from 'vitest';
import { checkExpressions, outcome } from './support.js';

checkExpressions(
  ...[
    'filters.batch',
    'filters.dictsort',
    'filters.first-last',
    'filters.groupby',
    'filters.items',
    'filters.join',
  ],
  ...[
    'filters.length',
    'filters.list',
    'filters.map',
    'filters.max-min',
    'filters.random',
    'filters.reject-select',
  ],
  ...['filters.reverse', 'filters.sort', 'filters.sum', 'filters.unique', 'filters.attr'],
);

it('gives markup for what Python takes from markup by an index', () => {
  const template =
    '{{ [("<&>"|e)|last, ("<>"|e)|reverse, ("<&>"|e)|first, "ab"|last, ("a"|e)|random] }}';
  expect(outcome(template)).toBe("[Markup(';'), Markup(';tg&;tl&'), '&', 'b', Markup('a')]");
});
