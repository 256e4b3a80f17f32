import { expect, it } from 'vitest';
import { matchesGlob, Pattern } from '../../../lib/model/quantization/pattern.js';
import { random } from '../../support/random.js';

it.each([
  ['.*lm_head', ['lm_head', 'model.lm_head', 'lm_head.x'], ['lm', '']],
  [
    '.*self_attn\\.(q|k|v|o)_proj$',
    ['a.self_attn.q_proj'],
    ['a.self_attn.q_proj.x', 'self_attnxq_proj'],
  ],
  ['model\\.layers\\.([0-9]|1[0-2])\\.mlp', ['model.layers.9.mlp.up'], ['model.layers.13.mlp']],
  ['^a+b?$', ['a', 'aab'], ['ab b', 'b']],
  ['(?:ab|c)*d', ['d', 'abcd'], ['abx']],
  ['[^.]+\\.\\d+', ['x.12'], ['.12', 'a.b']],
  ['a|b$', ['ab', 'b'], ['bc', 'c']],
  ['', ['', 'x'], []],
])('%s', (source, yes, no) => {
  const pattern = new Pattern(source);
  expect(yes.filter((name) => !pattern.matches(name))).toEqual([]);
  expect(no.filter((name) => pattern.matches(name))).toEqual([]);
});

it('agrees with regular expressions', () => {
  const { integer } = random(7);
  const some = (from: readonly string[]) =>
    Array.from({ length: integer(6) }, () => from[integer(from.length)]).join('');
  const pieces = [
    'a',
    'b',
    '.',
    'a*',
    '(a|b)',
    '[ab]',
    'b+',
    '(ab)?',
    'a?',
    '^',
    '$',
    '(|b)',
    '[^a]',
  ];
  for (let i = 0; i < 2000; i++) {
    const source = some(pieces);
    const name = some(['a', 'b', 'c']);
    const want = new RegExp(`^(?:${source})`).test(name);
    expect(new Pattern(source).matches(name), `${source} on ${name}`).toBe(want);
  }
});

it('takes no longer for a hostile pattern', () => {
  const started = performance.now();
  expect(new Pattern('(a*)*(a*)*b$').matches('a'.repeat(2000))).toBe(false);
  expect(performance.now() - started).toBeLessThan(5000);
});

it.each(['(', ')', '[a', '*', 'a{2}', '(?!a)', '(?=a)', '\\1', 'a\\'])('refuses %s', (source) => {
  expect(() => new Pattern(source)).toThrow();
});

it('knows the wildcards of file names', () => {
  expect(matchesGlob('model.layers.*.self_attn*', 'model.layers.3.self_attn.q_proj')).toBe(true);
  expect(matchesGlob('lm_head', 'lm_head')).toBe(true);
  expect(matchesGlob('lm_head', 'xlm_head')).toBe(false);
  expect(matchesGlob('model.layers.0', 'model.layers.01')).toBe(false);
  expect(matchesGlob('a?c', 'abc.d')).toBe(true);
});
