import { expect, it } from 'vitest';
import { isSpace, skipSpace, trimEnd } from '../../../lib/text/jinja/space.js';
import { checkExpressions } from './support.js';

checkExpressions('filters.trim', 'whitespace');

it('knows what Python takes for white space', () => {
  const spaces = Array.from({ length: 65536 }, (_, i) => i).filter(isSpace);
  expect(spaces).toHaveLength(29);
  expect(isSpace(0xfeff)).toBe(false);
  expect(skipSpace('  \u2003a', 0)).toBe(3);
  expect(trimEnd('a\x1c \n')).toBe('a');
});
