import { expect, it } from 'vitest';
import { readJson } from '../../../lib/text/jinja/json.js';
import { str } from '../../../lib/text/jinja/printing.js';
import { budgeted, checkExpressions, outcome } from './support.js';

checkExpressions('filters.tojson');

it('reads numbers and the order of members as Python does', () => {
  const text =
    '{"10": 1.0, "9": [1, -0, 1e3, 12345678901234567890, "\\ud83d\\udc4d"], "__proto__": {}, "a": null}';
  expect(budgeted(() => str(readJson(text)))).toBe(
    "{'10': 1.0, '9': [1, 0, 1000.0, 12345678901234567890, '👍'], '__proto__': {}, 'a': None}",
  );
  expect(() => readJson('{"a": 1,}')).toThrow(SyntaxError);
});

it('refuses circles', () => {
  expect(outcome('{% set n = namespace() %}{% set n.a = n %}{{ n | tojson }}')).toMatch(/^type/);
});
