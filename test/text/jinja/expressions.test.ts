import { expect, it } from 'vitest';
import { checkExpressions, outcome } from './support.js';

checkExpressions('literals', 'calls', 'logic');

it.each(['(', '[', '-', 'not ', '{1:', 'a if b else '])(
  'ends what nests too deeply in %s',
  (open) => {
    expect(outcome(`{{ ${open.repeat(20_000)}1 }}`)).toMatch(/^(syntax|limit)/);
  },
);

it('ends chains that are too long', () => {
  expect(outcome(`{{ "a"${'| upper'.repeat(20_000)} }}`)).toMatch(
    /^syntax: a chain of operators is too long/,
  );
  expect(outcome(`{{ 0${'+ 1'.repeat(900)} }}`)).toBe('900');
});
