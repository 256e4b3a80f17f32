/** How values are written: brackets, names and quotes, whichever the values are. */
import type { GrammarBuilder, Sym } from './grammar.js';
import type { Regex } from './ir.js';
import { type JsonOptions, JsonSyntax } from './json.js';

/** Around members or items, and between two. */
export interface Brackets {
  readonly open: Sym;
  readonly comma: Sym;
  readonly close: Sym;
  /** What is written where there are none. */
  readonly empty: Sym;
}

/** Spellings of the values that are words. */
export interface Words {
  readonly null: readonly string[];
  readonly false: readonly string[];
  readonly true: readonly string[];
}

export const JSON_WORDS: Words = { null: ['null'], false: ['false'], true: ['true'] };
export const PYTHON_WORDS: Words = {
  null: ['null', 'None'],
  false: ['false', 'False'],
  true: ['true', 'True'],
};

/** Names that can be written at all. */
export interface WritableNames {
  /** In the spellings of the syntax. */
  readonly regex: Regex;
  /** Told of a property that cannot be; it is left out, unless this throws. */
  unwritable(name: string, pointer: string): void;
}

export interface Notation {
  readonly object: Brackets;
  readonly array: Brackets;
  readonly words: Words;
  /** Default: all. */
  readonly names?: WritableNames;
  /** Texts that can be written, in the spellings of the syntax. Default: all. */
  readonly texts?: Regex;
  /** The order of properties that a schema names. Default: the schema's. */
  readonly order?: (a: string, b: string) => number;
  /** A name, as the syntax spells it, and what stands between it and the value. */
  key(name: Regex): Sym;
  /** Texts, as the syntax spells what is in them. */
  text(chars: Regex): Sym;
}

/** As JSON. */
export function jsonNotation(builder: GrammarBuilder, syntax: JsonSyntax): Notation {
  const { terminal } = builder;
  return {
    object: {
      open: terminal(syntax.objectOpen),
      comma: terminal(syntax.comma),
      close: terminal(syntax.objectClose),
      empty: terminal(syntax.emptyObject),
    },
    array: {
      open: terminal(syntax.arrayOpen),
      comma: terminal(syntax.comma),
      close: terminal(syntax.arrayClose),
      empty: terminal(syntax.emptyArray),
    },
    words: JSON_WORDS,
    key: (name) => terminal(builder.regex.concat(syntax.quoted(name), syntax.colon)),
    text: (chars) => terminal(syntax.quoted(chars)),
  };
}

/** The rules of unconstrained values, once per grammar and notation. */
export class AnyValue {
  readonly value: Sym;
  readonly object: Sym;
  readonly array: Sym;

  constructor(builder: GrammarBuilder, syntax: JsonSyntax, notation: Notation) {
    const [value, object, array] = ['any', 'any object', 'any array'].map((name) =>
      builder.newRule(name),
    );
    const [members, items] = [builder.newRule('any members'), builder.newRule('any items')];
    this.value = { rule: value };
    this.object = { rule: object };
    this.array = { rule: array };
    const { words, names, texts } = notation;
    const plain = builder.regex.alt(
      builder.regex.texts([...words.null, ...words.true, ...words.false]),
      syntax.number,
    );
    const key = notation.key(names?.regex ?? syntax.chars);
    const scalar = builder.choice(builder.terminal(plain), notation.text(texts ?? syntax.chars));
    const add = (rule: typeof value, ...symbols: Sym[]) =>
      builder.addAlternative(rule, builder.fuse(symbols));
    add(value, scalar);
    add(value, this.object);
    add(value, this.array);
    add(object, notation.object.empty);
    add(object, { rule: members }, notation.object.close);
    add(members, notation.object.open, key, this.value);
    // Left recursion: the rows of the parser come out the same however many members there were.
    add(members, { rule: members }, notation.object.comma, key, this.value);
    add(array, notation.array.empty);
    add(array, { rule: items }, notation.array.close);
    add(items, notation.array.open, this.value);
    add(items, { rule: items }, notation.array.comma, this.value);
  }
}

/** Any JSON at all. */
export function anyJson(builder: GrammarBuilder, options: JsonOptions = {}): AnyValue {
  const syntax = new JsonSyntax(builder.regex, options);
  return new AnyValue(builder, syntax, jsonNotation(builder, syntax));
}
