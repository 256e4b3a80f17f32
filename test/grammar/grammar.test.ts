import { describe, expect, it } from 'vitest';
import { areDisjoint, isEmpty, isSubset } from '../../lib/grammar/derivative.js';
import { GrammarBuilder, type Sym } from '../../lib/grammar/grammar.js';
import { MAX_DEPTH, RegexBuilder } from '../../lib/grammar/ir.js';
import { encodeProgram } from '../../lib/grammar/program.js';
import { sample } from '../support/all.js';
import { wrongInProgram } from '../support/program-shape.js';
import { random } from '../support/random.js';
import {
  LETTERS,
  randomGrammar,
  randomPieces,
  randomRegex,
  randomText,
} from '../support/random-grammar.js';
import { accepts, pieces, regexMatches } from '../support/reference-matcher.js';
import { SEED } from '../support/seed.js';

/** All texts of the letters up to a length. */
function* textsUpTo(length: number, before = ''): Generator<string> {
  yield before;
  if (length > 0) for (const letter of LETTERS) yield* textsUpTo(length - 1, before + letter);
}
const SHORT = [...textsUpTo(4)];

/** A grammar of one symbol, made by `make`. */
function grammarOf(make: (builder: GrammarBuilder) => Sym) {
  const builder = new GrammarBuilder();
  builder.start(make(builder));
  return builder.build();
}

/** A symbol that stays a rule: x or y, or nothing but by rules. */
function ruled(builder: GrammarBuilder): Sym {
  const rule = builder.newRule('letter');
  builder.addAlternative(rule, [builder.text('x')]);
  builder.addAlternative(rule, [builder.text('('), { rule }, builder.text(')')]);
  return { rule };
}

describe('repetition of rules', () => {
  it('takes each count from min to max and no other', () => {
    const rng = random(SEED);
    const wanted = [
      [0, 1],
      [0, 16],
      [0, 17],
      [3, 3],
      [16, 40],
      [1, 31],
      [2, Infinity],
      [0, Infinity],
    ];
    while (wanted.length < sample(20, 60)) {
      const min = rng.integer(40);
      wanted.push([min, min + rng.integer(60)]);
    }
    for (const [min, max] of wanted.filter(([, most]) => most > 0)) {
      const grammar = grammarOf((builder) => builder.repeat(ruled(builder), min, max));
      for (const count of [0, 1, 2, min - 1, min, min + 1, max - 1, max, max + 1, min + 20]) {
        if (count < 0 || count > 120) continue;
        const items = Array.from({ length: count }, (_, i) => (i % 3 === 0 ? '(x)' : 'x'));
        const text = items.join('');
        const is = accepts(grammar, text);
        expect(is, `${count} of {${min},${max}}`).toBe(count >= min && count <= max);
      }
    }
  });

  it('costs few rules where it is long', () => {
    const grammar = grammarOf((builder) => builder.repeat(ruled(builder), 1000, 1_000_000_000));
    expect(grammar.rules.length).toBeLessThan(200);
  });

  it('puts separators between items only', () => {
    const grammar = grammarOf((builder) =>
      builder.separated(ruled(builder), builder.text(','), 0, 3),
    );
    for (const text of ['', 'x', 'x,x', 'x,(x),x']) expect(accepts(grammar, text)).toBe(true);
    for (const text of [',', 'x,', 'xx', 'x,,x', 'x,x,x,x'])
      expect(accepts(grammar, text)).toBe(false);
  });

  it('refuses impossible counts', () => {
    const { regex } = new GrammarBuilder();
    for (const [min, max] of [
      [2, 1],
      [-1, 2],
      [0.5, 2],
      [0, Number.NaN],
      [2 ** 31, Infinity],
    ]) {
      expect(() => regex.repeat(regex.anyByte(), min, max)).toThrow(/repetition/);
    }
  });
});

describe('the builder', () => {
  it('makes one terminal of terminals, and the same symbol of the same call', () => {
    const builder = new GrammarBuilder();
    const [a, b] = [builder.text('a'), builder.text('b')];
    const rule = ruled(builder);
    expect('terminal' in builder.sequence(a, builder.star(builder.choice(a, b)))).toBe(true);
    expect(builder.choice(a, rule, b)).toEqual(builder.choice(b, rule, a));
    expect(builder.star(rule)).toEqual(builder.star(rule));
    const { regex } = builder;
    expect(regex.concat(regex.text('a'), regex.text('b'))).toBe(regex.text('ab'));
  });

  it('takes tokens by id, whole', () => {
    const grammar = grammarOf((builder) =>
      builder.sequence(builder.token(7, 5), builder.text('a'), builder.star(builder.token(9))),
    );
    expect(accepts(grammar, pieces({ token: 5 }, 'a'))).toBe(true);
    expect(accepts(grammar, pieces({ token: 7 }, 'a', { token: 9 }, { token: 9 }))).toBe(true);
    expect(accepts(grammar, pieces({ token: 9 }, 'a'))).toBe(false);
    expect(accepts(grammar, 'a')).toBe(false);
  });

  it('drops what cannot be reached or never ends', () => {
    const builder = new GrammarBuilder();
    const endless = builder.newRule('endless');
    builder.addAlternative(endless, [builder.text('a'), { rule: endless }]);
    ruled(builder);
    builder.start(builder.choice(builder.text('b'), { rule: endless }));
    const grammar = builder.build();
    expect(grammar.rules).toHaveLength(1);
    expect(accepts(grammar, 'b')).toBe(true);
  });

  it('refuses a grammar without a text, without a start, and rules left open', () => {
    const never = new GrammarBuilder();
    const rule = never.newRule('endless');
    never.addAlternative(rule, [never.text('a'), { rule }]);
    never.start({ rule });
    expect(() => never.build()).toThrow(/no text fits/);
    expect(() => new GrammarBuilder().build()).toThrow(/no start/);
    const open = new GrammarBuilder();
    open.start({ rule: open.newRule('later') });
    expect(() => open.build()).toThrow(/rule later/);
    expect(() => grammarOf((builder) => builder.terminal(builder.regex.empty()))).toThrow(
      /no text/,
    );
    expect(() => new GrammarBuilder().token()).toThrow(/token/);
  });

  it('refuses half a surrogate pair', () => {
    expect(() => new RegexBuilder().text('a\ud800')).toThrow(/surrogate/);
  });

  it('bounds depth, and lists that double', () => {
    const builder = new RegexBuilder();
    let deep = builder.text('ab');
    const wrap = () => {
      for (let i = 0; i < MAX_DEPTH; i++) deep = builder.concat(builder.optional(deep), deep);
    };
    expect(wrap).toThrow(/deeper than/);
  });
});

describe('regexes', () => {
  it('keep their language however the builder simplifies them', () => {
    const rng = random(SEED + 1);
    for (let run = 0; run < sample(400, 4000); run++) {
      const builder = new RegexBuilder();
      const [a, b] = [randomRegex(rng, builder), randomRegex(rng, builder)];
      for (let n = 0; n < 8; n++) {
        const text = randomText(rng, 6);
        const [inA, inB] = [regexMatches(a, text), regexMatches(b, text)];
        expect(regexMatches(builder.alt(a, b), text)).toBe(inA || inB);
        expect(regexMatches(builder.and(a, b), text)).toBe(inA && inB);
        expect(regexMatches(builder.not(a), text)).toBe(!inA);
        expect(regexMatches(builder.nonEmpty(a), text)).toBe(inA && text !== '');
        expect(regexMatches(builder.optional(a), text)).toBe(inA || text === '');
        const cuts = Array.from({ length: text.length + 1 }, (_, at) => at);
        const joined = cuts.some(
          (at) => regexMatches(a, text.slice(0, at)) && regexMatches(b, text.slice(at)),
        );
        expect(regexMatches(builder.concat(a, b), text)).toBe(joined);
      }
      expect(a.nullable).toBe(regexMatches(a, ''));
    }
  });

  it('texts() is any of its texts', () => {
    const rng = random(SEED + 2);
    for (let run = 0; run < 300; run++) {
      const list = Array.from({ length: rng.integer(8) }, () => randomText(rng, 5));
      const regex = new RegexBuilder().texts(list);
      for (const text of [...list, ...SHORT])
        expect(regexMatches(regex, text)).toBe(list.includes(text));
    }
  });

  it('are found empty, parts of others, and disjoint', () => {
    const rng = random(SEED + 3);
    const found = { empty: 0, within: 0, apart: 0 };
    for (let run = 0; run < sample(500, 4000); run++) {
      const builder = new RegexBuilder();
      const [a, b] = [randomRegex(rng, builder, 3), randomRegex(rng, builder, 3)];
      const [empty, within, apart] = [
        isEmpty(a),
        isSubset(a, b, builder),
        areDisjoint(a, b, builder),
      ];
      const inA = SHORT.filter((text) => regexMatches(a, text));
      if (inA.length > 0) expect(empty).toBe(false);
      if (inA.some((text) => !regexMatches(b, text))) expect(within).toBe(false);
      if (inA.some((text) => regexMatches(b, text))) expect(apart).toBe(false);
      // What was not found short is rarely there: the counts show that yes is said, too.
      if (empty) found.empty++;
      if (within) found.within++;
      if (apart) found.apart++;
      if (empty) expect([within, apart]).toEqual([true, true]);
    }
    for (const count of Object.values(found)) expect(count).toBeGreaterThan(20);
  });

  it('give up looking where that takes too many states', () => {
    const builder = new RegexBuilder();
    const a = builder.repeat(builder.text('ab'), 5000, 5000);
    const b = builder.not(builder.repeat(builder.text('ab'), 0, 9000));
    expect(isEmpty(builder.and(a, b), 100)).toBe(undefined);
    expect(isEmpty(builder.and(a, b), 100_000)).toBe(true);
  });
});

describe('an encoded program', () => {
  it('has the shape that native code checks', () => {
    const rng = random(SEED + 4);
    let grammars = 0;
    for (let run = 0; run < sample(500, 5000); run++) {
      const grammar = randomGrammar(rng);
      if (grammar === null) continue;
      grammars++;
      expect(wrongInProgram(encodeProgram(grammar))).toEqual([]);
    }
    expect(grammars).toBeGreaterThan(100);
  });

  it('holds each node, terminal and set once', () => {
    const grammar = grammarOf((builder) => {
      const rule = ruled(builder);
      const token = builder.token(3, 1);
      const text = builder.text('same');
      return builder.sequence(rule, text, token, text, rule, token);
    });
    const [, nodes, terminals, sets] = encodeProgram(grammar);
    // s, a, m, e, x, (, ) and the concatenation; same, x, (, ).
    expect([nodes, terminals, sets]).toEqual([8, 4, 1]);
  });

  it('is told apart from a damaged one by the shape check', () => {
    const good = encodeProgram(grammarOf((builder) => builder.plus(ruled(builder))));
    for (const at of [0, 1, 2, 4, 5, 6, 7, 8]) {
      const bad = good.slice();
      bad[at] += 1000;
      expect(wrongInProgram(bad), `word ${at}`).not.toEqual([]);
    }
  });
});

it('the reference takes only what a rule by rule search finds', () => {
  // Grammars by hand whose languages are known otherwise.
  const nested = grammarOf((builder) => ruled(builder));
  const matched = (text: string) => /^(\(*)x(\)*)$/.exec(text);
  const rng = random(SEED + 5);
  for (let run = 0; run < 500; run++) {
    const text = Array.from({ length: rng.integer(8) }, () => '(x)'[rng.integer(3)]).join('');
    const parts = matched(text);
    expect(accepts(nested, text)).toBe(parts !== null && parts[1].length === parts[2].length);
  }
  const grammar = randomGrammar(random(1));
  if (grammar !== null) expect(typeof accepts(grammar, randomPieces(rng, 4))).toBe('boolean');
});
