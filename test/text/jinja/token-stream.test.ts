import { expect, it } from 'vitest';
import { tokenize } from '../../../lib/text/jinja/lexer.js';
import { TokenStream } from '../../../lib/text/jinja/token-stream.js';

it('takes what is expected and says what it got', () => {
  const tokens = new TokenStream(tokenize('{{ a }}'));
  tokens.expect('variable_begin');
  expect(tokens.skip('name', 'b')).toBe(false);
  expect(tokens.skip('name', 'a')).toBe(true);
  expect(() => tokens.expect('name')).toThrow(
    "expected token 'name', got 'end of print statement' (line 1)",
  );
  tokens.next();
  expect(tokens.next().type).toBe('end');
  expect(tokens.next().type).toBe('end');
});
