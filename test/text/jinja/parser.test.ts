import { expect, it } from 'vitest';
import { checkExpressions, outcome } from './support.js';

checkExpressions('set', 'if', 'macro', 'generation');

it.each([
  '{% if 1 %}x',
  '{% for x in y %}',
  '{% nosuch %}',
  '{% break %}',
  '{% macro f(true) %}{% endmacro %}',
  '{% for x in [1] %}{% macro f() %}{% break %}{% endmacro %}{% endfor %}',
  "{% include 'x' %}",
  "{% extends 'x' %}",
  '{% endif %}',
])('refuses %s', (source) => {
  expect(outcome(source)).toMatch(/^syntax/);
});
