import { expect, it } from 'vitest';
import { checkExpressions, outcome } from './support.js';

checkExpressions('for');

it('looks ahead only when asked', () => {
  const template =
    '{% set n = namespace(on=true) %}{% for x in [1, 2, 3] if n.on %}{{ x }}{% set n.on = false %}{% endfor %}';
  expect(outcome(template)).toBe('1');
  expect(outcome(template.replace('{{ x }}', '{{ x }}{{ loop.last }}'))).toBe('1False2True');
});
