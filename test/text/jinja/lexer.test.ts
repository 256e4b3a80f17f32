import { expect, it } from 'vitest';
import { tokenize } from '../../../lib/text/jinja/lexer.js';
import { checkExpressions } from './support.js';

checkExpressions('comments', 'raw', 'whitespace');

it('gives tokens with their lines', () => {
  const tokens = tokenize('a\r\n{%- if x >= 1.5 -%}\n b\n');
  expect(tokens.map(({ type, text, line }) => [type, text, line])).toEqual([
    ['data', 'a', 1],
    ['block_begin', '', 2],
    ['name', 'if', 2],
    ['name', 'x', 2],
    ['operator', '>=', 2],
    ['float', '1.5', 2],
    ['block_end', '', 2],
    ['data', 'b', 3],
    ['end', '', 3],
  ]);
});

it.each(['{{ "a }}', '{# a', '{{ ) }}', '{{ (] }}', '{{ $ }}'])('refuses %s', (source) => {
  expect(() => tokenize(source)).toThrow(expect.objectContaining({ kind: 'syntax' }));
});

it('takes no more tokens than can be compiled in time', () => {
  expect(() => tokenize(`{{ [${'1,'.repeat(400_000)}] }}`)).toThrow('more than 300000 tokens');
});
