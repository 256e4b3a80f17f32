import { describe, expect, it } from 'vitest';
import { preTokenizer } from '../../lib/text/pre-tokenizers.js';
import { patternFault, shortestMatch } from '../../lib/text/regex-cost.js';

/** As they stand in tokenizer.json files of known families. */
const KNOWN = [
  '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+',
  '\\p{N}{1,3}',
  '[一-龥぀-ゟ゠-ヿ]+',
  ' {2,}',
  ' ?[^(\\s|[.,!?…。，、।۔،])]+',
  '(?=(\\d{3})+(?!\\d))',
  '\\d{1,3}(?=(?:\\d{3})*\\b)',
  "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}+| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+",
  "[\\p{Han}]+|[\\p{Lu}\\p{M}&&[^\\p{Han}]]*[\\p{Ll}\\p{M}&&[^\\p{Han}]]+(?i:'s|'t)?|\\s+(?!\\S)|\\s+",
  '[0-9][0-9][0-9]',
];

describe('patterns', () => {
  it.each(['gpt-2', 'smollm', 'llama-bpe', 'dbrx', 'qwen2', 'tekken', 'gpt-4o'])(
    'of %s pass',
    (pre) => {
      for (const pattern of preTokenizer(pre).patterns)
        expect(patternFault(pattern)).toBeUndefined();
    },
  );

  it.each(KNOWN)('%s passes', (pattern) => expect(patternFault(pattern)).toBeUndefined());

  // At one place their steps grow with the square of the text, or worse.
  it.each([
    '(a+)+$',
    '(a|aa)+$',
    '(e+|[a-z ]+)+$',
    'a*a*b',
    'x?(?:a*a*)b',
    '(?=a*a*b)',
    'a+(?=a*b)',
    '(?:(?:a+)+b)?',
    'a?'.repeat(9) + 'a'.repeat(9),
    'a{1,300}b',
    '(?:.+c){40}',
    '(?=(?:.+c){3})',
    '(?:a+b|a)*',
    'a*(?:a*b)*+d',
    'a{5,}[ab]*+$',
    'a*(?>[ab]*)c',
    'a*(?:b?(?=a*c))',
    '(?:(?=a*b)a){0,300}',
    `${'[ab]?'.repeat(7)}a*c`,
    'a*b|'.repeat(20),
  ])('%s can take very long', (pattern) => {
    expect(patternFault(pattern)).toMatch(/very long/);
  });

  it.each([
    ['(?:a*)*\\1b', /cannot be read/],
    ['(a)\\1', /refers/],
    ['(?<x>a\\g<x>?)', /refers/],
    ['((a{1,100}){1,100})', /repeats/],
    [`${'('.repeat(99)}a${')'.repeat(99)}`, /nested/],
    ['a'.repeat(10_001), /10001 characters/],
    ['[', /cannot be read/],
  ])('%s is refused', (pattern, why) => expect(patternFault(pattern)).toMatch(why));

  it('possessive and atomic parts are never tried again', () => {
    for (const pattern of ['(?>a*)(?>a*)b', 'a*+a*+b'])
      expect(patternFault(pattern)).toBeUndefined();
  });

  it('match so many characters at least', () => {
    const cases = { a: 1, 'a*': 0, '(ab|c)+': 1, '[ab]{3}x?': 3, '^(?=ab)$': 0, '(?:ab){2}': 4 };
    for (const [pattern, n] of Object.entries(cases))
      expect(shortestMatch(pattern), pattern).toBe(n);
  });
});
