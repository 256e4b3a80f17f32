/** Damaged and hostile sources: a grammar or ERR_GRAMMAR, soon. */
import { expect, it } from 'vitest';
import { isOctavoError } from '../../lib/errors.js';
import { ebnfToGrammar } from '../../lib/grammar/ebnf.js';
import { GrammarBuilder } from '../../lib/grammar/grammar.js';
import { encodeProgram } from '../../lib/grammar/program.js';
import { regexToTerminal } from '../../lib/grammar/regex.js';
import { sample } from '../support/all.js';
import { wrongInProgram } from '../support/program-shape.js';
import { type Random, random } from '../support/random.js';
import { SEED } from '../support/seed.js';

const RUNS = Number(process.env.FUZZ_RUNS ?? sample(3000, 100_000));

const REGEXES = [
  "^(?:[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\\.[a-z0-9]+)*)@(?:[a-z]{2,5}\\.)+[a-z]{2,}$",
  '\\p{L}[\\p{L}\\p{N}_-]{0,62}|\\u{1F600}|\\uD83D\\uDE00',
  '(?<y>\\d{4})-(?:0[1-9]|1[0-2])(?:-(?:[^\\D0-2]|[\\x31-\\cA]))??$',
  '(^a|b$)*(?:(?:^)+|c{2,}?)(?i:Straße)',
];
const GRAMMARS = [
  'root ::= "a\\n" [^b-z\\]]{2,3} (x | "q"?)* # end\nx ::= "\\x41" root | . <[12,14-20]>\n',
  'start: a* "b"i ~2..3 | [A] /x[/]+/i -> alias\n a: "(" start ")"\nA.1: "0".."9"+\n%ignore " "\n',
  '%import common (WS, INT)\n?start: INT ("," INT)*\n%ignore WS\n// end',
];
const BITS = [...'()[]{}|*+?^$\\"/<>~:.,#%-_=! \n\t0129aZé😀\ud800\udc00\0'];
const WORDS = [
  '::=',
  '{2,}',
  '{99999999}',
  '(?:',
  '(?=',
  '\\p{',
  '..',
  '->',
  '%ignore',
  'root',
  '~9999999',
];

function damaged(source: string, rng: Random): string {
  for (let n = 1 + rng.integer(5); n > 0; n--) {
    const at = rng.integer(source.length + 1);
    const bit =
      rng.integer(3) === 0 ? WORDS[rng.integer(WORDS.length)] : BITS[rng.integer(BITS.length)];
    const end = at + rng.integer(6);
    const from = rng.integer(source.length + 1);
    const piece = source.slice(from, from + rng.integer(20));
    const kinds = [
      source.slice(0, at) + bit + source.slice(at),
      source.slice(0, at) + source.slice(end),
      source.slice(0, at) + bit + source.slice(end),
      source.slice(0, at) + piece + source.slice(at),
      source.slice(0, at),
    ];
    source = kinds[rng.integer(16) === 0 ? 4 : rng.integer(4)];
  }
  return source;
}

/** The size of a program, or null where the source is refused as it should be. */
function tryOut(read: (builder: GrammarBuilder) => void): number | null {
  const builder = new GrammarBuilder();
  try {
    read(builder);
    const program = encodeProgram(builder.build());
    expect(wrongInProgram(program)).toEqual([]);
    return program.length;
  } catch (error) {
    if (!isOctavoError(error) || error.code !== 'ERR_GRAMMAR') throw error;
    expect(error.message.length).toBeGreaterThan(10);
    expect(error.message.length).toBeLessThan(400);
    return null;
  }
}

const asRegex = (source: string, search = false) =>
  tryOut((builder) =>
    builder.start({ terminal: regexToTerminal(source, builder.regex, { search }) }),
  );
const asGrammar = (source: string) =>
  tryOut((builder) => builder.start(ebnfToGrammar(source, builder)));

it('damaged regexes give a regex or ERR_GRAMMAR', () => {
  const rng = random(SEED);
  const ends = { taken: 0, refused: 0 };
  for (let run = 0; run < RUNS; run++) {
    const source = damaged(REGEXES[rng.integer(REGEXES.length)], rng);
    ends[asRegex(source, rng.integer(2) === 0) === null ? 'refused' : 'taken']++;
  }
  expect(Math.min(ends.taken, ends.refused)).toBeGreaterThan(RUNS / 10);
});

it('damaged grammars give a grammar or ERR_GRAMMAR', () => {
  const rng = random(SEED + 1);
  const ends = { taken: 0, refused: 0 };
  for (let run = 0; run < RUNS; run++) {
    const source = damaged(GRAMMARS[rng.integer(GRAMMARS.length)], rng);
    ends[asGrammar(source) === null ? 'refused' : 'taken']++;
  }
  expect(Math.min(ends.taken, ends.refused)).toBeGreaterThan(RUNS / 20);
});

it('noise gives ERR_GRAMMAR or a grammar', () => {
  const rng = random(SEED + 2);
  for (let run = 0; run < RUNS; run++) {
    const noise = Array.from({ length: rng.integer(40) }, () =>
      rng.integer(4) === 0 ? WORDS[rng.integer(WORDS.length)] : BITS[rng.integer(BITS.length)],
    ).join('');
    asRegex(noise);
    asGrammar(`root ::= ${noise}`);
    asGrammar(`start: ${noise}`);
  }
});

it('what is made to grow ends soon', () => {
  const many = (count: number, text: (i: number) => string) =>
    Array.from({ length: count }, (_, i) => text(i)).join('');
  const regexes = [
    '('.repeat(60_000),
    '[a'.repeat(30_000),
    `${'('.repeat(99)}a${'){1000}'.repeat(99)}`,
    `${'(?:^|a'.repeat(90)}${'){32}'.repeat(90)}`,
    `${'(?:^a?$|'.repeat(90)}b${')*'.repeat(90)}`,
    many(10_000, (i) => `${i}|`),
    many(6_000, (i) => `\\u{${(i * 150).toString(16)}}`),
    `[${many(5_000, (i) => `\\u{${(i * 200).toString(16)}}`)}]`,
    many(4_000, () => '\\p{L}'),
    `(?i)${many(10_000, () => '\\w')}`,
    `(?i)[${many(3_000, (i) => String.fromCodePoint(0x100 + i * 3))}]`,
    many(5_000, () => '(^|$)'),
    'a?'.repeat(30_000),
    `^${'a*'.repeat(2_000)}$|(x|^)y`,
    '(?:a*)*'.repeat(5_000),
  ];
  const rules = [
    `root ::= ${'( '.repeat(100_000)}`,
    `root ::= "${'a'.repeat(200_000)}"`,
    `root ::= ${many(20_000, (i) => `r${i} `)}\n`,
    `root ::= r5000\nr0 ::= "a"\n${many(5_000, (i) => `r${i + 1} ::= r${i}? "b"\n`)}`,
    `root ::= r400\nr0 ::= "a"\n${many(400, (i) => `r${i + 1} ::= r${i}{1000} | r${i} r${i}\n`)}`,
    `root ::= r4000\nr0 ::= root\n${many(4_000, (i) => `r${i + 1} ::= r${i} r${i} | r${i}{0,999}\n`)}`,
    `root ::= ${many(3_000, (i) => `"${i}" root | `)} "x"`,
    `root ::= "a" # ${'#'.repeat(200_000)}`,
    `root ::= "a"${' '.repeat(200_000)}`,
    `start: ${'( '.repeat(100_000)}`,
    `start: ${'[ '.repeat(100_000)}`,
    `start: A\n${many(5_000, (i) => `A${i}: "x"\n`)}`,
    `start: a\na: ${many(5_000, () => 'a? ')} "b"`,
    `start: /${'['.repeat(50_000)}/`,
    `start: "${'\\'.repeat(100_001)}"`,
    `start: "a"\n${'\n'.repeat(200_000)}`,
    `start: "a" ${'// '.repeat(60_000)}`,
    '('.repeat(250_000),
    'a'.repeat(250_000),
    ' '.repeat(250_000),
    'a '.repeat(120_000),
    'a:'.repeat(120_000),
  ];
  for (const source of regexes) for (const search of [false, true]) asRegex(source, search);
  for (const source of rules) asGrammar(source);
});
