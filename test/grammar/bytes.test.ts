import { describe, expect, it } from 'vitest';
import {
  ALL_CHARS,
  type CharSet,
  charSet,
  countChars,
  hasByte,
  hasChar,
  intersectChars,
  invertChars,
  subtractChars,
  unionChars,
} from '../../lib/grammar/bytes.js';
import { type Regex, RegexBuilder } from '../../lib/grammar/ir.js';
import { foldCase, propertySet } from '../../lib/grammar/unicode.js';
import { type Random, random } from '../support/random.js';
import { regexMatches } from '../support/reference-matcher.js';
import { SEED } from '../support/seed.js';

const SURROGATES: CharSet = [[0xd800, 0xdfff]];
/** Where UTF-8 gets longer, and what lies beside. */
const EDGES = [
  0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xd800, 0xdfff, 0xe000, 0xffff, 0x10000, 0x10ffff,
];

function randomChars(rng: Random): CharSet {
  const point = () => {
    if (rng.integer(3) === 0) return EDGES[rng.integer(EDGES.length)];
    return rng.integer([0x80, 0x800, 0x10000, 0x110000][rng.integer(4)]);
  };
  const ranges = Array.from({ length: 1 + rng.integer(12) }, () => {
    const first = point();
    const width = [1, 2, 64, 4096, 0x20000][rng.integer(5)];
    return [first, Math.min(0x10ffff, first + rng.integer(width))] as const;
  });
  return charSet(...ranges);
}

/** How many strings a regex without repetition has, if each comes in one way only. */
function countStrings(regex: Regex): number {
  if (regex.kind === 'alt') return regex.parts.reduce((sum, part) => sum + countStrings(part), 0);
  if (regex.kind === 'concat')
    return regex.parts.reduce((all, part) => all * countStrings(part), 1);
  if (regex.kind !== 'bytes') return 0;
  return Array.from({ length: 256 }, (_, byte) => byte).filter((b) => hasByte(regex.set, b)).length;
}

describe('sets of characters', () => {
  it('are written as the UTF-8 of their members, all of them, and nothing else', () => {
    const rng = random(SEED);
    for (let run = 0; run < 60; run++) {
      const set = run === 0 ? ALL_CHARS : randomChars(rng);
      const regex = new RegexBuilder().chars(set);
      // As many strings as members: with every member among them, there are no others.
      expect(countStrings(regex)).toBe(countChars(subtractChars(set, SURROGATES)));
      const near = set.flatMap(([a, b]) => [a - 1, a, a + 1, b - 1, b, b + 1]);
      const far = Array.from({ length: 200 }, () => rng.integer(0x110000));
      for (const char of [...near, ...far, ...EDGES]) {
        if (char < 0 || char > 0x10ffff || hasChar(SURROGATES, char)) continue;
        const is = regexMatches(regex, String.fromCodePoint(char));
        expect(is, `${char.toString(16)} of ${JSON.stringify(set)}`).toBe(hasChar(set, char));
      }
    }
  });

  it('never match bytes that are no UTF-8', () => {
    const any = new RegexBuilder().chars(ALL_CHARS);
    const wrong = ['80', 'c080', 'c1bf', 'e08080', 'e09fbf', 'eda080', 'edbfbf', 'f08080af'];
    for (const hex of [...wrong, 'f4908080', 'f5808080', 'ff', 'c3', 'e282', 'f09f98', 'c3a9a9']) {
      expect(regexMatches(any, Buffer.from(hex, 'hex')), hex).toBe(false);
    }
  });

  it('cost few nodes however many ranges they have', () => {
    const builder = new RegexBuilder();
    builder.chars(propertySet('L'));
    expect(builder.numNodes).toBeLessThan(1000);
  });

  it('join, meet and invert as sets do', () => {
    const rng = random(SEED + 1);
    for (let run = 0; run < 200; run++) {
      const [a, b] = [randomChars(rng), randomChars(rng)];
      const edges = [...a, ...b].flatMap(([first, last]) => [first - 1, first, last, last + 1]);
      for (const char of edges.filter((value) => value >= 0 && value <= 0x10ffff)) {
        const [inA, inB] = [hasChar(a, char), hasChar(b, char)];
        expect(hasChar(unionChars(a, b), char)).toBe(inA || inB);
        expect(hasChar(intersectChars(a, b), char)).toBe(inA && inB);
        expect(hasChar(subtractChars(a, b), char)).toBe(inA && !inB);
        expect(hasChar(invertChars(a), char)).toBe(!inA);
      }
    }
  });
});

describe('Unicode', () => {
  it.each(['L', 'Lu', 'Script=Greek', 'Emoji', 'Any', 'ASCII', 'Cn', 'Co', 'Alphabetic', 'Cs'])(
    '\\p{%s} is what the engine says of each character',
    (name) => {
      const set = propertySet(name);
      const regex = new RegExp(`^\\p{${name}}$`, 'u');
      for (let char = 0; char <= 0x10ffff; char++) {
        // Surrogates have no UTF-8 and are left out.
        if (char === 0xd800) char = 0xe000;
        if (hasChar(set, char) !== regex.test(String.fromCodePoint(char))) {
          expect.fail(`U+${char.toString(16)} of ${name}`);
        }
      }
    },
  );

  it('ignores case as the engine does with flags i and u', () => {
    const cased = propertySet('Changes_When_Casemapped').flatMap(([first, last]) =>
      Array.from({ length: last - first + 1 }, (_, i) => first + i),
    );
    const all = cased.map((char) => String.fromCodePoint(char)).join('');
    for (const char of [...cased, 0x130, 0x131]) {
      const same = [...all.matchAll(new RegExp(`\\u{${char.toString(16)}}`, 'giu'))].map(
        ([text]) => text.codePointAt(0)!,
      );
      const folded = foldCase([[char, char]]);
      expect(folded, `U+${char.toString(16)}`).toEqual(charSet(...[...same, char].map(pair)));
    }
  });
});

const pair = (char: number) => [char, char] as const;
