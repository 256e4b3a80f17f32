import { describe, expect, it } from 'vitest';
import { isOctavoError } from '../../lib/errors.js';
import { ebnfToGrammar } from '../../lib/grammar/ebnf.js';
import { type Grammar, GrammarBuilder } from '../../lib/grammar/grammar.js';
import { accepts, pieces } from '../support/reference-matcher.js';

const TOKENS: Record<string, number> = { '<|call|>': 42, '<think>': 7 };

function read(source: string): Grammar {
  const builder = new GrammarBuilder();
  builder.start(ebnfToGrammar(source, builder, { tokens: (text) => TOKENS[text] }));
  return builder.build();
}

function expectTexts(source: string, right: readonly string[], wrong: readonly string[]): void {
  const grammar = read(source);
  for (const text of right) expect(accepts(grammar, text), text).toBe(true);
  for (const text of wrong) expect(accepts(grammar, text), text).toBe(false);
}

const JSON_GBNF = String.raw`
# any JSON value
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws

object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws

array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::=
  "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}
`;

describe('GBNF', () => {
  it('reads a grammar of JSON', () => {
    expectTexts(
      JSON_GBNF,
      ['{}', '{"a": 1}', '{"a":[1,-2.5e3,{"b":null}],"é😀":"\\u00e9\\n"}', '{ "a":\n  true}'],
      ['', '[]', '{"a"}', '{"a":01}', '{"a":"\n"}', '{"a":1,}', '{"a":"\\x"}'],
    );
  });

  it('reads rules that are recursive on either side', () => {
    expectTexts('root ::= root "+" n | n\nn ::= [0-9]+', ['1', '1+22+3'], ['+', '1+', '1++2']);
    expectTexts('root ::= "(" root ")" root |', ['', '()', '(())()'], ['(', ')(']);
  });

  it.each([
    ['root ::= "a" | "b"', ['a', 'b'], ['', 'ab']],
    ['root ::= "a"\n  | "b" # or\n  | c\nc ::= "c"', ['a', 'b', 'c'], ['d']],
    ['root ::= [a-c]{2}', ['ab'], ['a', 'abc']],
    ['root ::= [a-c]{2,}', ['ab', 'abcabc'], ['a']],
    ['root ::= "x"{,2}', ['', 'x', 'xx'], ['xxx']],
    ['root ::= ("a" "b"){1,2}', ['ab', 'abab'], ['', 'ababab']],
    ['root ::= "a"? "b"* "c"+', ['c', 'abbc', 'bccc'], ['a', 'ab']],
    ['root ::= [^a-c\\n]', ['d', 'é', '😀'], ['a', '\n', '']],
    ['root ::= [-a] [a-] [\\]\\[]', ['-a]', 'a-['], ['b--']],
    ['root ::= .', ['a', '\n', '😀'], ['', 'ab']],
    ['root ::= "\\x41\\u00e9\\U0001F600\\t\\\\\\""', ['Aé😀\t\\"'], []],
    ['root ::= a-b_c1\na-b_c1 ::= "x"', ['x'], []],
    ['root ::= ""', [''], ['a']],
    ['root ::= "#" # "x"', ['#'], []],
    ['root::="a"b\nb::="c"', ['ac'], ['a']],
    ['root ::= "a"\r\nb ::= "c"\r\n', ['a'], ['c']],
  ] as [string, string[], string[]][])('reads %j', expectTexts);

  it('reads tokens by id and by name', () => {
    const grammar = read('root ::= <[3]> "a" <[5,7-9]> | <think> [a-z]* <|call|>');
    expect(accepts(grammar, pieces({ token: 3 }, 'a', { token: 8 }))).toBe(true);
    expect(accepts(grammar, pieces({ token: 3 }, 'a', { token: 6 }))).toBe(false);
    expect(accepts(grammar, pieces({ token: 7 }, 'abc', { token: 42 }))).toBe(true);
    expect(accepts(grammar, '<think>abc<|call|>')).toBe(false);
  });

  it('makes terminals of small rules, and none of recursive ones', () => {
    const grammar = read('root ::= ws item (ws "," ws item)*\nitem ::= [a-z]+\nws ::= [ \\t]*');
    expect(grammar.rules).toHaveLength(1);
    expect(read(JSON_GBNF).rules.length).toBeLessThan(16);
  });

  it('stays small where rules double', () => {
    const lines = Array.from({ length: 60 }, (_, i) => `r${i + 1} ::= r${i} r${i}`);
    const grammar = read(`root ::= r60\nr0 ::= "a"\n${lines.join('\n')}`);
    expect(grammar.rules.length).toBeLessThan(70);
  });
});

describe('Lark', () => {
  it('reads rules, terminals, imports and what is ignored', () => {
    expectTexts(
      `
      // sums
      ?start: sum
      sum: product | sum "+" product -> add
         | sum "-" product           -> sub
      ?product: atom
         | product "*" atom
      atom: NUMBER | "-" atom | NAME | "(" sum ")"
      NAME.2: LETTER ("_" | LETTER | DIGIT)*
      %import common.NUMBER
      %import common (LETTER, DIGIT)
      %import common.WS_INLINE -> BLANK
      %ignore BLANK
      `,
      ['1', '1+2*x_1', ' ( 1 + 2 ) * -3.5e1 ', 'a - b'],
      ['', '1+', '(1', '1\n+2', '_a'],
    );
  });

  it.each([
    ['start: "a"i "b"', ['ab', 'Ab'], ['aB']],
    ['start: /[a-c]+/i', ['ABC', 'a'], ['d']],
    ['start: "a".."c" "x"~2', ['axx', 'cxx'], ['dxx', 'ax']],
    ['start: "x"~2..3', ['xx', 'xxx'], ['x', 'xxxx']],
    ['start: ["a"] "b"', ['ab', 'b'], ['a']],
    ['start: ("a" | "b")+', ['abba'], ['']],
    ['start: A B?\nA: "a"\nB: A A', ['a', 'aaa'], ['aa']],
    ['start: "a" "b"\n  | "c"', ['ab', 'c'], ['a']],
    ['start: ("a"\n  | "b" // or\n )\nrest: "x"', ['a', 'b'], ['x']],
    ['start: \n  | "a"', ['', 'a'], ['b']],
    ['start: "\\n\\x41\\u00e9\\"\\\\"', ['\nAé"\\'], []],
    ['start: /a\\/b[/]/', ['a/b/'], []],
    ['start: start "a" | "b"', ['b', 'baa'], ['a', '']],
    ['start: "(" start ")" |', ['', '(())'], ['(']],
    ['%llguidance {}\nstart: "a"', ['a'], []],
    ['start: WORD (" " WORD)*\n%import common.WORD', ['ab cd'], ['ab  cd']],
    ['start: C\n%import common.C_COMMENT -> C', ['/* * / **/'], ['/* */ */', '/*']],
    ['start: S\n%import common.ESCAPED_STRING -> S', ['"a\\"b"', '""'], ['"a"b"', '"']],
  ] as [string, string[], string[]][])('reads %j', expectTexts);

  it('ignores between parts of rules, never inside terminals', () => {
    const source = 'start: AB "c" start?\nAB: "a" "b"\n%ignore " "\n%ignore /#[^\\n]*\\n/';
    expectTexts(source, ['abc', ' ab c ', 'ab#x\nc abc', 'ab c#\n'], ['a bc', '#\n', '']);
  });

  it('reads tokens', () => {
    const grammar = read('start: <|call|> "a" <[1]>');
    expect(accepts(grammar, pieces({ token: 42 }, 'a', { token: 1 }))).toBe(true);
  });
});

describe('what is wrong', () => {
  it.each([
    ['', /no rule/],
    ['hello', /no rule/],
    ['x ::= "a"', /no rule root/],
    ['x: "a"', /no rule start/],
    ['root ::= b', /line 1 uses b/],
    ['root ::= "a"\nroot ::= "b"', /line 2 defines root a second time/],
    ['root ::= "a', /without its end/],
    ['root ::= [a', /without its \]/],
    ['root ::= [b-a]', /ends before/],
    ['root ::= ("a"', /misses a \)/],
    ['root ::= "a")', /line 1/],
    ['root ::= "\\q"', /unknown escape/],
    ['root ::= "\\ud800"', /surrogate/],
    ['root ::= "\\U00110000"', /code point/],
    ['root ::= "a"{3,2}', /smaller count/],
    ['root ::= "a"{}', /has \{\}/],
    ['root ::= "a"{x}', /without counts/],
    ['root ::= *', /no part begins/],
    ['root ::= <|none|>', /model has not/],
    ['root ::= <[9-3]>', /smaller end first/],
    ['root ::= !<think>', /not supported/],
    ['root ::= root', /no text fits/],
    [`root ::= ${'('.repeat(300)}`, /deeper than/],
    [`root ::= "a"${'+'.repeat(100)}`, /too often/],
    [`root ::= ${'"a" '.repeat(100_000)}`, /too long/],
    ['start: x', /line 1 uses x/],
    ['start: X', /line 1 uses X/],
    ['start: A\nA: A "a" | "b"', /inside itself/],
    ['start: A\nA: b\nb: "c"', /rule b in a terminal/],
    ['start: "a"\n\nstart: "b"', /line 3 defines start/],
    ['start: "a\n', /without its end/],
    ['start: /a(?=b)/', /look-around/],
    ['start: /a/m', /flag m/],
    ['start: "ab".."c"', /range/],
    ['start: "c".."a"', /range/],
    ['start: "a"~3..2', /smaller count/],
    ['start: list{x}\n', /out of place/],
    ['start: "a"\n%import other.X', /elsewhere/],
    ['start: "a"\n%import common.NOPE', /not known/],
    ['start: "a"\n%declare X', /%declare/],
    ['start: ("a"', /misses a \)/],
    ['start: "a" ]', /line 1/],
    ['start: +', /out of place/],
    [`start: ${'('.repeat(300)}`, /deeper than/],
    [
      `start: A200\nA0: "a"\n${Array.from({ length: 200 }, (_, i) => `A${i + 1}: A${i}`).join('\n')}`,
      /deeper than/,
    ],
  ])('is said, case %#', (source, why) => {
    try {
      read(source);
      expect.fail('taken');
    } catch (error) {
      if (!isOctavoError(error)) throw error;
      expect(error.code).toBe('ERR_GRAMMAR');
      expect(error.message).toMatch(why);
    }
  });
});
