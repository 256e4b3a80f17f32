/** Random regexes, grammars and inputs over few letters, so that they meet often. */
import { byteSet } from '../../lib/grammar/bytes.js';
import { type Grammar, GrammarBuilder, type RuleId, type Sym } from '../../lib/grammar/grammar.js';
import type { Automaton, Regex, RegexBuilder } from '../../lib/grammar/ir.js';
import type { Random } from './random.js';
import type { Piece } from './reference-matcher.js';

export const LETTERS = 'abc';

export function randomRegex(rng: Random, builder: RegexBuilder, depth = 4): Regex {
  const inner = () => randomRegex(rng, builder, depth - 1);
  const some = () => Array.from({ length: 1 + rng.integer(3) }, inner);
  if (depth <= 0) return leaf(rng, builder);
  switch (rng.integer(9)) {
    case 0:
      return leaf(rng, builder);
    case 1:
    case 2:
      return builder.concat(...some());
    case 3:
      return builder.alt(...some());
    case 4:
      return builder.and(...some());
    case 5:
      return builder.not(inner());
    case 6:
      return builder.automaton(randomAutomaton(rng));
    default: {
      const min = rng.integer(3);
      return builder.repeat(inner(), min, rng.integer(2) === 0 ? Infinity : min + rng.integer(3));
    }
  }
}

function leaf(rng: Random, builder: RegexBuilder): Regex {
  switch (rng.integer(8)) {
    case 0:
      return builder.epsilon();
    case 1:
      return rng.integer(3) === 0 ? builder.empty() : builder.anyByte();
    case 2:
      return builder.text(randomText(rng, 3));
    case 3:
      return builder.texts(Array.from({ length: rng.integer(5) }, () => randomText(rng, 4)));
    default:
      return builder.bytes(
        byteSet(...LETTERS.split('').flatMap((c) => keep(rng, c.charCodeAt(0)))),
      );
  }
}

function keep<T>(rng: Random, value: T): T[] {
  return rng.integer(2) === 0 ? [value] : [];
}

export function randomAutomaton(rng: Random): Automaton {
  const numStates = 1 + rng.integer(4);
  const numClasses = 1 + LETTERS.length;
  const classOf = new Uint8Array(256);
  for (let i = 0; i < LETTERS.length; i++) classOf[LETTERS.charCodeAt(i)] = i + 1;
  return {
    numStates,
    numClasses,
    classOf,
    start: rng.integer(numStates),
    accepts: Array.from({ length: numStates }, () => rng.integer(2) === 0),
    next: Int32Array.from(
      { length: numStates * numClasses },
      (_, i) => (i % numClasses === 0 ? 0 : rng.integer(numStates + 1)) - 1,
    ),
  };
}

export function randomText(rng: Random, most: number): string {
  return Array.from({ length: rng.integer(most + 1) }, () => LETTERS[rng.integer(3)]).join('');
}

/** Bytes of the letters and now and then a token of 0 to 3. */
export function randomPieces(rng: Random, most: number): Piece[] {
  return Array.from({ length: rng.integer(most + 1) }, () =>
    rng.integer(6) === 0 ? { token: rng.integer(4) } : LETTERS.charCodeAt(rng.integer(3)),
  );
}

/** Any rules: recursive on any side, nullable, ambiguous. Null where no text fits. */
export function randomGrammar(rng: Random): Grammar | null {
  const builder = new GrammarBuilder();
  const rules = Array.from({ length: 1 + rng.integer(4) }, () => builder.newRule());
  for (const rule of rules) {
    for (let n = 1 + rng.integer(3); n > 0; n--) {
      const length = rng.integer(4);
      builder.addAlternative(
        rule,
        Array.from({ length }, () => randomSymbol(rng, builder, rules)),
      );
    }
  }
  builder.start({ rule: rules[0] });
  try {
    return builder.build();
  } catch {
    return null;
  }
}

function randomSymbol(rng: Random, builder: GrammarBuilder, rules: readonly RuleId[]): Sym {
  const inner = () => randomSymbol(rng, builder, rules);
  switch (rng.integer(10)) {
    case 0:
    case 1:
    case 2:
      return { rule: rules[rng.integer(rules.length)] };
    case 3:
      return builder.token(rng.integer(4), rng.integer(4));
    case 4:
      return builder.repeat(inner(), rng.integer(2), 1 + rng.integer(3));
    case 5:
      return builder.star(inner());
    case 6:
      return builder.choice(inner(), inner());
    default:
      return builder.terminal(randomRegex(rng, builder.regex, 2));
  }
}
