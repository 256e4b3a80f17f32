/** The grammar of a call's arguments, by the tool's schema, in the style of a format. */
import { isOctavoError } from '../errors.js';
import { charSet } from '../grammar/bytes.js';
import type { GrammarBuilder, Sym } from '../grammar/grammar.js';
import type { SpecLimits } from '../grammar/index.js';
import { grammarError } from '../grammar/problem.js';
import { schemaToGrammar } from '../grammar/schema/index.js';
import type { Tool } from './definitions.js';
import type { ArgumentStyle, JsonType, TaggedStyle } from './format.js';
import type { Literals } from './literals.js';
import { PlainValues } from './plain-values.js';
import { isSchema, mayBe, propertySchema, resolved, withRoot } from './schema-types.js';
import { unenforced } from './unenforced.js';

/** Of arguments that a schema does not name. */
const KEY_CHARS = charSet([0x2d, 0x2d], [0x30, 0x39], [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]);

/** One argument that may come, where its place is. */
interface Item {
  readonly symbol: Sym;
  readonly required: boolean;
}

export class ArgumentGrammar {
  readonly #builder: GrammarBuilder;
  readonly #literals: Literals;
  readonly #limits: SpecLimits;
  readonly #warnings: string[];

  constructor(builder: GrammarBuilder, literals: Literals, limits: SpecLimits, warnings: string[]) {
    this.#builder = builder;
    this.#literals = literals;
    this.#limits = limits;
    this.#warnings = warnings;
  }

  /** @throws ERR_GRAMMAR, with the tool's place */
  of(tool: Tool, style: ArgumentStyle): Sym {
    const param = `tools[${tool.place}].function.parameters`;
    const warnings: string[] = [];
    try {
      const symbol = this.#styled(tool, style, warnings);
      this.#warnings.push(...warnings.map((warning) => `${param}: ${warning}`));
      return symbol;
    } catch (error) {
      if (isOctavoError(error) && error.code === 'ERR_GRAMMAR') {
        error.message = `${param} (of ${tool.name}): ${error.message}`;
        Object.defineProperty(error, 'param', { value: param, enumerable: true });
      }
      throw error;
    }
  }

  #styled(tool: Tool, style: ArgumentStyle, warnings: string[]): Sym {
    const json = (schema: unknown) => this.#json(schema, tool, warnings);
    if (style.kind === 'json') return json(tool.schema);
    for (const pointer of unenforced(tool.schema, style)) {
      const why = `${pointer} cannot be enforced: this model's calls are not written as JSON`;
      if (tool.strict) throw grammarError(`${why}; leave it out, or strict`);
      warnings.push(why);
    }
    const values = new PlainValues(this.#builder, this.#literals, json);
    if (style.kind === 'quoted') return values.quoted(tool.schema, style.quote);
    if (style.kind === 'tagged') return this.#tagged(tool.schema, style, values);
    const items = this.#items(tool.schema, (key, schema) =>
      this.#builder.sequence(this.#builder.text(`${key}=`), values.python(schema)),
    );
    return this.#listed(items, this.#builder.text(', '));
  }

  #json(schema: unknown, { strict }: Tool, warnings: string[]): Sym {
    const { maxSchemaBytes, maxDepth, maxEnumBytes } = this.#limits;
    const options = { strict, maxSchemaBytes, maxDepth, maxEnumBytes, warnings };
    return schemaToGrammar(schema, options, this.#builder);
  }

  #tagged(schema: Tool['schema'], style: TaggedStyle, values: PlainValues): Sym {
    const { start, separator } = style;
    const value = (own: unknown) => this.#value(own, style, values);
    const items = this.#items(schema, (key, own) =>
      this.#builder.sequence(this.#literals.text(start + key), value(own)),
    );
    const separated = this.#literals.text(separator);
    if (items.length > 0 || schema.additionalProperties === false) {
      return this.#listed(items, separated);
    }
    // A schema without properties takes any: each once, as far as a grammar can tell.
    const { regex } = this.#builder;
    const key: Sym = { terminal: regex.repeat(regex.chars(KEY_CHARS), 1, 64) };
    const other = isSchema(schema.additionalProperties)
      ? withRoot(schema.additionalProperties, schema)
      : true;
    const any = this.#builder.sequence(this.#literals.text(start), key, value(other));
    return this.#builder.separated(any, separated, 0, Infinity);
  }

  /** From behind the key to the end of the argument. */
  #value(schema: unknown, { mids, ends }: TaggedStyle, values: PlainValues): Sym {
    const groups = new Map<string, JsonType[]>();
    for (const type of mayBe(schema)) {
      const around = `${mids[type]}\0${ends[type]}`;
      groups.set(around, [...(groups.get(around) ?? []), type]);
    }
    const symbols = [...groups].map(([, types]) => {
      const [mid, end] = [mids[types[0]], ends[types[0]]];
      const ways: Sym[] = [];
      const plain = types.includes('string');
      if (plain) ways.push({ terminal: values.text(schema, end.trim()) });
      const others = types.filter((type) => type !== 'string');
      // A free text is any other value's text as well.
      if (others.length > 0 && (!plain || !values.isFree(schema))) {
        ways.push(values.json(schema, others), ...values.words(schema, others));
      }
      return this.#builder.sequence(
        this.#literals.text(mid),
        this.#builder.choice(...ways),
        this.#literals.text(end),
      );
    });
    return this.#builder.choice(...symbols);
  }

  #items(schema: Tool['schema'], write: (key: string, schema: unknown) => Sym): Item[] {
    const whole = resolved(schema);
    const properties = isSchema(whole.properties) ? whole.properties : {};
    const required = Array.isArray(whole.required) ? whole.required : [];
    const keys = [...new Set([...Object.keys(properties), ...required.map(String)])];
    return keys
      .filter((key) => properties[key] !== false)
      .map((key) => ({
        symbol: write(key, propertySchema(whole, key)),
        required: required.includes(key),
      }));
  }

  /** In their order, those that must come and any of the others, a separator between two. */
  #listed(items: readonly Item[], separator: Sym): Sym {
    const builder = this.#builder;
    let rest: Sym = builder.nothing();
    let first: Sym = rest;
    for (const { symbol, required } of [...items].reverse()) {
      const own = builder.sequence(symbol, rest);
      const next = builder.sequence(separator, symbol, rest);
      first = required ? own : builder.choice(own, first);
      rest = required ? next : builder.choice(next, rest);
    }
    return first;
  }
}
