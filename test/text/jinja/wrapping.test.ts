import { expect, it } from 'vitest';
import { checkExpressions, outcome } from './support.js';

checkExpressions('filters.words', 'filters.pprint');

it('wraps by characters, at hyphens and dashes as Python does', () => {
  const s = '👍🏽 ab-cd the 日本 goof-ball x--y -b';
  expect(outcome('{{ s|wordwrap(6) }}', { s })).toBe(
    '👍🏽 ab-\ncd the\n日本\ngoof-\nball x\n--y -b',
  );
  expect(outcome("{{ 'abcdefgh-ijklm-nop qr'|wordwrap(5) }}")).toBe('abcde\nfgh-i\njklm-\nnop\nqr');
  expect(outcome("{{ 'abc defgh'|wordwrap(4) }}")).toBe('abc \ndefg\nh');
});

it('prints long texts over several lines', () => {
  expect(outcome("{{ ('word ' * 20)|pprint }}")).toBe(
    `('${'word '.repeat(15)}'\n '${'word '.repeat(5)}')`,
  );
});
