import { expect, it } from 'vitest';
import { textLiteral } from '../../../lib/text/jinja/literals.js';
import { checkExpressions } from './support.js';

checkExpressions('literals');

it('reads escapes as Python does', () => {
  expect(textLiteral(String.raw`'\n\x41\u00e9\U0001F44D\101\q\\\''`)).toBe("\nAé👍A\\q\\'");
  expect(textLiteral(String.raw`'\é'`)).toBe('\\xe9');
  expect(() => textLiteral(String.raw`'\x4'`)).toThrow(expect.objectContaining({ kind: 'syntax' }));
});

it('looks for the end of a name only as far as names are long', () => {
  const text = `'${'\\N{'.repeat(300_000)}'`;
  const start = process.cpuUsage().user;
  expect(() => textLiteral(text)).toThrow(expect.objectContaining({ kind: 'syntax' }));
  expect((process.cpuUsage().user - start) / 1000).toBeLessThan(2000);
  expect(textLiteral("'\\N{Left double quotation mark}'")).toBe('“');
});
