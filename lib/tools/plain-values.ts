/** Values that are not written as JSON, as symbols of a grammar, by their schemas. */
import { ALL_CHARS, charSet, subtractChars } from '../grammar/bytes.js';
import type { GrammarBuilder, Sym } from '../grammar/grammar.js';
import type { Regex } from '../grammar/ir.js';
import { regexToTerminal } from '../grammar/regex.js';
import type { JsonType } from './format.js';
import type { Literals } from './literals.js';
import { isSchema, mayBe, propertySchema, resolved, withRoot } from './schema-types.js';

/** Deepest nesting of values that are not JSON. */
const MAX_DEPTH = 32;

const NAME_CHARS = charSet([0x2d, 0x2d], [0x30, 0x39], [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]);

export class PlainValues {
  readonly #builder: GrammarBuilder;
  readonly #literals: Literals;
  readonly #json: (schema: unknown) => Sym;
  #anyQuoted: Sym | undefined;

  /** @param json a value as JSON */
  constructor(builder: GrammarBuilder, literals: Literals, json: (schema: unknown) => Sym) {
    this.#builder = builder;
    this.#literals = literals;
    this.#json = json;
  }

  /** Whether texts of a schema may be any. */
  isFree(schema: unknown): boolean {
    return !isSchema(schema) || this.#fixed(schema) === null;
  }

  /** The values of these types alone, as JSON. */
  json(schema: unknown, types: readonly JsonType[]): Sym {
    if (!isSchema(schema)) return this.#json({ type: types });
    const all = mayBe(schema);
    if (all.every((type) => types.includes(type))) return this.#json(withRoot(schema, schema));
    const own = resolved(schema);
    const fixed = own.enum ?? (own.const === undefined ? undefined : [own.const]);
    if (Array.isArray(fixed)) {
      return this.#json({ enum: fixed.filter((value) => typeof value !== 'string') });
    }
    return this.#json(types.length === 0 ? schema : { ...own, type: [...types] });
  }

  /** A text as it is, in which the marker behind it does not occur. */
  text(schema: unknown, marker: string): Regex {
    const free = this.#literals.without(marker);
    const fixed = isSchema(schema) ? this.#fixed(schema) : null;
    return fixed === null ? free : this.#builder.regex.and(free, fixed);
  }

  /** What a schema says of texts; null for nothing. */
  #fixed(schema: Readonly<Record<string, unknown>>): Regex | null {
    const { regex } = this.#builder;
    const own = resolved(schema);
    const values = own.enum ?? (own.const === undefined ? undefined : [own.const]);
    if (Array.isArray(values)) {
      return regex.texts(values.filter((value): value is string => typeof value === 'string'));
    }
    const parts: Regex[] = [];
    if (typeof own.pattern === 'string') {
      try {
        parts.push(regexToTerminal(own.pattern, regex, { search: true }));
      } catch {
        // As in JSON where not strict: what no automaton can tell is left out.
      }
    }
    const { minLength = 0, maxLength = Infinity } = own as Record<string, number>;
    if (minLength > 0 || maxLength < Infinity) {
      parts.push(regex.repeat(regex.chars(ALL_CHARS), minLength, maxLength));
    }
    return parts.length === 0 ? null : regex.and(...parts);
  }

  /** What templates write for some values that is not JSON; where a schema names none. */
  words(schema: unknown, types: readonly JsonType[]): Sym[] {
    const own = isSchema(schema) ? resolved(schema) : {};
    if (own.enum !== undefined || own.const !== undefined) return [];
    const words: string[] = [];
    if (types.includes('boolean')) words.push('True', 'False');
    if (types.includes('null')) words.push('None');
    return words.map((word) => this.#builder.text(word));
  }

  /** As Python writes it. */
  python(schema: unknown): Sym {
    const builder = this.#builder;
    const types = mayBe(schema);
    const ways = [this.#json(schema === true ? {} : schema), ...this.words(schema, types)];
    if (types.includes('string')) ways.push(this.#singleQuoted(schema));
    return builder.choice(...ways);
  }

  #singleQuoted(schema: unknown): Sym {
    const { regex } = this.#builder;
    const fixed = isSchema(schema) ? this.#fixed(schema) : null;
    const plain = subtractChars(ALL_CHARS, charSet([0, 0x1f], [0x27, 0x27], [0x5c, 0x5c]));
    const escaped = regex.concat(regex.text('\\'), regex.texts(['n', 't', 'r', "'", '"', '\\']));
    const char = regex.alt(regex.chars(plain), escaped);
    const inner =
      fixed === null
        ? regex.repeat(char, 0, Infinity)
        : regex.and(fixed, regex.repeat(regex.chars(plain), 0, Infinity));
    return { terminal: regex.concat(regex.text("'"), inner, regex.text("'")) };
  }

  /** Objects without quotes around keys, texts between `quote`. */
  quoted(schema: unknown, quote: string, depth = 0): Sym {
    const builder = this.#builder;
    if (depth > MAX_DEPTH || !isSchema(schema)) return this.#any(quote);
    const own = resolved(schema);
    const several = own.anyOf ?? own.oneOf;
    if (Array.isArray(several)) {
      return builder.choice(
        ...several.map((one) => this.quoted(withRoot(one, own), quote, depth + 1)),
      );
    }
    const ways = mayBe(schema).map((type): Sym => {
      if (type === 'string') return this.#between(quote, this.text(own, quote));
      if (type === 'object') return this.#members(own, quote, depth);
      if (type === 'array') {
        const item = this.quoted(withRoot(own.items, own), quote, depth + 1);
        const { minItems = 0, maxItems = Infinity } = own as Record<string, number>;
        const items = builder.separated(item, builder.text(','), minItems, maxItems);
        return builder.sequence(builder.text('['), items, builder.text(']'));
      }
      return this.json(own, [type]);
    });
    return builder.choice(...ways);
  }

  #between(quote: string, text: Regex): Sym {
    const mark = this.#literals.text(quote);
    return this.#builder.sequence(mark, { terminal: text }, mark);
  }

  #members(schema: Readonly<Record<string, unknown>>, quote: string, depth: number): Sym {
    const builder = this.#builder;
    const properties = isSchema(schema.properties) ? schema.properties : {};
    // These templates sort, what they describe as well as what they write.
    const keys = Object.keys(properties).sort((a, b) => compare(a.toLowerCase(), b.toLowerCase()));
    if (keys.length === 0 && schema.additionalProperties !== false) return this.#anyObject(quote);
    const required = Array.isArray(schema.required) ? schema.required : [];
    let rest: Sym = builder.nothing();
    let first: Sym = rest;
    for (const key of keys.reverse()) {
      const value = this.quoted(propertySchema(schema, key), quote, depth + 1);
      const own = builder.sequence(builder.text(`${key}:`), value, rest);
      const next = builder.sequence(builder.text(`,${key}:`), value, rest);
      first = required.includes(key) ? own : builder.choice(own, first);
      rest = required.includes(key) ? next : builder.choice(next, rest);
    }
    return builder.sequence(builder.text('{'), first, builder.text('}'));
  }

  #anyObject(quote: string): Sym {
    const builder = this.#builder;
    const { regex } = builder;
    const key: Sym = { terminal: regex.repeat(regex.chars(NAME_CHARS), 1, 64) };
    const member = builder.sequence(key, builder.text(':'), this.#any(quote));
    const members = builder.separated(member, builder.text(','), 0, Infinity);
    return builder.sequence(builder.text('{'), members, builder.text('}'));
  }

  /** Any value at all. */
  #any(quote: string): Sym {
    const builder = this.#builder;
    if (this.#anyQuoted !== undefined) return this.#anyQuoted;
    const rule = builder.newRule('any value');
    this.#anyQuoted = { rule };
    const items = builder.separated({ rule }, builder.text(','), 0, Infinity);
    builder.addAlternative(rule, [this.#between(quote, this.#literals.without(quote))]);
    builder.addAlternative(rule, [this.#json({ type: ['number', 'boolean', 'null'] })]);
    builder.addAlternative(rule, [builder.sequence(builder.text('['), items, builder.text(']'))]);
    builder.addAlternative(rule, [this.#anyObject(quote)]);
    return this.#anyQuoted;
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
