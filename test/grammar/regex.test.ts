import { describe, expect, it } from 'vitest';
import { isOctavoError } from '../../lib/errors.js';
import { RegexBuilder } from '../../lib/grammar/ir.js';
import { regexToTerminal, splitLiteral } from '../../lib/grammar/regex.js';
import { sample } from '../support/all.js';
import { type Random, random } from '../support/random.js';
import { regexMatches } from '../support/reference-matcher.js';
import { SEED } from '../support/seed.js';

const TEXTS = ['', 'a', 'b', 'A', '-', '0', '\n', 'é', 'É', 'ſ', 's', 'K', 'k', '😀', '_', ' '];

function randomSource(rng: Random, depth: number): string {
  const atoms = [
    'a',
    'b',
    '.',
    '\\d',
    '\\w',
    '\\W',
    '\\s',
    '\\S',
    '[ab]',
    '[^a]',
    '[a-c_]',
    '[\\w-]',
  ];
  const more = [
    'é',
    '😀',
    '\\u{1F600}',
    '\\uD83D\\uDE00',
    '[é-ü]',
    '\\p{L}',
    '\\P{Lu}',
    '[^\\s\\d]',
    'k',
  ];
  const atom = () => {
    if (depth > 0 && rng.integer(3) === 0) return `(?:${randomSource(rng, depth - 1)})`;
    if (depth > 0 && rng.integer(6) === 0) return `(${randomSource(rng, depth - 1)})`;
    const from = rng.integer(3) === 0 ? more : atoms;
    return from[rng.integer(from.length)];
  };
  const counts = ['*', '+', '?', '*?', '+?', '??', '{2}', '{1,2}', '{0,1}?', '{2,}', '{0}'];
  const term = () => {
    if (rng.integer(6) === 0) return rng.integer(2) === 0 ? '^' : '$';
    return atom() + (rng.integer(3) === 0 ? counts[rng.integer(counts.length)] : '');
  };
  const branch = () => Array.from({ length: rng.integer(4) }, term).join('');
  return Array.from({ length: 1 + rng.integer(2) }, branch).join('|');
}

const randomInput = (rng: Random) =>
  Array.from({ length: rng.integer(6) }, () => TEXTS[rng.integer(TEXTS.length)]).join('');

describe('regular expressions', () => {
  it('match as the engine does, whole and anywhere, with and without flags', () => {
    const rng = random(SEED);
    let matched = 0;
    for (let run = 0; run < sample(800, 20_000); run++) {
      const source = randomSource(rng, 3);
      const flags = ['', 'i', 's', 'is'][rng.integer(4)];
      const builder = new RegexBuilder();
      const whole = regexToTerminal(source, builder, { flags });
      const search = regexToTerminal(source, builder, { flags, search: true });
      const [jsWhole, jsSearch] = [`^(?:${source})$`, source].map(
        (s) => new RegExp(s, `u${flags}`),
      );
      for (let n = 0; n < 12; n++) {
        const text = randomInput(rng);
        const what = `/${source}/${flags} on ${JSON.stringify(text)}`;
        if (jsSearch.test(text)) matched++;
        expect(regexMatches(whole, text), `${what}, whole`).toBe(jsWhole.test(text));
        expect(regexMatches(search, text), `${what}, anywhere`).toBe(jsSearch.test(text));
      }
    }
    expect(matched).toBeGreaterThan(500);
  });

  it.each([
    ['[-a]', ['-', 'a'], ['b']],
    ['[\\w-.]', ['-', '.', 'x'], [',']],
    ['[+-\\d]', ['+', '-', '7'], [',']],
    ['[]', [], ['', 'a']],
    ['[^]', ['a', '\n', '😀'], ['', 'ab']],
    ['[\\b]', ['\b'], ['b']],
    ['a{', ['a{'], ['a']],
    ['a{x}', ['a{x}'], []],
    ['x]}', ['x]}'], []],
    ['\\/\\-\\_\\"', ['/-_"'], []],
    ['\\x41\\cA\\0', ['A\x01\0'], []],
    ['(?<year>\\d{4})', ['2026'], ['26']],
    ['(?P<year>\\d{4})', ['2026'], ['26']],
    ['(?i)ab', ['AB', 'ab'], []],
    ['(?i:a)b', ['Ab'], ['AB']],
    ['(?s:.).', ['\na'], ['a\n']],
    ['', [''], ['a']],
    ['^$', [''], ['a']],
    ['(^a|b$)', ['a', 'b'], ['ab']],
    ['(?:a|^){3}', ['a', 'aa', 'aaa', ''], ['b']],
  ] as [string, string[], string[]][])('reads %s', (source, right, wrong) => {
    const regex = regexToTerminal(source, new RegexBuilder());
    for (const text of right) expect(regexMatches(regex, text), text).toBe(true);
    for (const text of wrong) expect(regexMatches(regex, text), text).toBe(false);
  });

  it.each([
    ['a(?=b)', /look-around/],
    ['a(?!b)', /look-around/],
    ['(?<=a)b', /look-around/],
    ['(?<!a)b', /look-around/],
    ['\\bword\\b', /look-around/],
    ['(a)\\1', /back-reference/],
    ['(?<x>a)\\k<x>', /back-reference/],
    ['(?>a)', /not supported/],
    ['a**', /two repetitions/],
    ['*a', /nothing before/],
    ['{2}', /nothing before/],
    ['a{3,2}', /smaller count/],
    ['a{,3}', /\{0,3\}/],
    ['^*', /repeats \^/],
    ['(a', /without its \)/],
    ['a)', /closes nothing/],
    ['[a', /without its \]/],
    ['[b-a]', /end comes before/],
    ['\\', /backslash/],
    ['\\z', /unknown escape/],
    ['\\u12', /hexadecimal/],
    ['\\u{110000}', /no code point/],
    ['\\p{Nope}', /Unicode property/],
    ['\\p', /without a \{property\}/],
    ['\\01', /octal/],
    ['(?:^a){40}', /8 times/],
    ['('.repeat(200), /deeper than 100/],
    ['a'.repeat(70_000), /too long/],
    [`a{${2 ** 31}}`, /is the most/],
  ])('refuses what it cannot do and says why, case %#', (source, why) => {
    try {
      regexToTerminal(source, new RegexBuilder());
      expect.fail('taken');
    } catch (error) {
      if (!isOctavoError(error)) throw error;
      expect(error.code).toBe('ERR_GRAMMAR');
      expect(error.status).toBe(400);
      expect(error.message).toMatch(why);
    }
  });

  it('refuses flags that change what cannot be changed', () => {
    for (const flags of ['m', 'y', 'gi', 'v', 'x']) {
      expect(() => regexToTerminal('a', new RegexBuilder(), { flags })).toThrow(/flag/);
    }
  });

  it('take a literal apart only where it asks to ignore case', () => {
    expect(splitLiteral('/a\\/b/i')).toEqual({ source: 'a\\/b', flags: 'i' });
    expect(splitLiteral('/a/is')).toEqual({ source: 'a', flags: 'is' });
    for (const source of ['/a/', '/a/b/i', 'a/i', '/usr/bin', '\\/a\\/i']) {
      expect(splitLiteral(source)).toEqual({ source, flags: '' });
    }
  });
});
