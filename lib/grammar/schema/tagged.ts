import { byteSet } from '../bytes.js';
import { textWithout } from '../free-text.js';
import type { GrammarBuilder, Sym } from '../grammar.js';
import type { Regex } from '../ir.js';
import { type Brackets, jsonNotation, type Notation, PYTHON_WORDS } from '../notation.js';
import { Emitter } from './emit.js';
import type { Expansion } from './expansion.js';
import { enforced, openSchema, type SchemaOptions } from './index.js';
import { membersOf } from './members.js';
import type { Node } from './node.js';
import { ANY_OBJECT, type ValueSet } from './shapes.js';
import type { Space } from './space.js';
import { PlainSyntax, SPACES, writableNames } from './syntaxes.js';
import type { MemberWriter } from './writer.js';

export const VALUE_TYPES = ['string', 'number', 'boolean', 'null', 'object', 'array'] as const;
export type ValueType = (typeof VALUE_TYPES)[number];

/** What stands around values of some types. */
export interface Tags {
  readonly types: readonly ValueType[];
  /** From the name to the value, and from there to the end of the parameter. */
  readonly middle: Sym;
  readonly end: Sym;
  /** A text that ends a value wherever it is found; '' for none. */
  readonly marker: string;
}

/** Parameters between tags. Texts stand as they are, all else as JSON. */
export interface TagStyle {
  readonly brackets: Brackets;
  readonly start: Sym;
  /** For every type. */
  readonly tags: readonly Tags[];
  /** Names that can be written. */
  readonly names: Regex;
  /** How who reads the values tells texts from others. Left out: by the schema, all of it. */
  readonly reader?: ReaderTypes;
}

/** What a reader takes a parameter's value for: what it reads as, if that is of these types. */
export interface ReaderTypes {
  /** Names that he knows, and types of these. */
  readonly named: ReadonlySet<string>;
  of(name: string): ReadonlySet<ValueType>;
  /** Types of all others. */
  readonly others: ReadonlySet<ValueType>;
}

/**
 * The properties of a schema's objects, each between tags, in the order of the schema.
 * @throws ERR_GRAMMAR as schemaToGrammar does, and for names that cannot be written
 */
export function taggedParameters(
  schema: unknown,
  style: TagStyle,
  options: SchemaOptions,
  builder: GrammarBuilder,
): Sym {
  return enforced(
    options,
    (dropped) => {
      const { expansion, root } = openSchema(schema, options, builder, dropped);
      const plain = expansion.respelled(new PlainSyntax(builder.regex, options));
      return new Parameters(plain, expansion, style, options).of(root);
    },
    builder,
  );
}

/** Names and texts at the outside are of `expansion`, all else of the other. */
class Parameters implements MemberWriter {
  readonly builder: GrammarBuilder;
  readonly space: Space;
  readonly expansion: Expansion;
  readonly notation: MemberWriter['notation'];
  readonly #json: Expansion;
  readonly #style: TagStyle;
  readonly #options: SchemaOptions;
  /** Of what is JSON, by the marker that its texts may not have. */
  readonly #emitters = new Map<string, Emitter>();
  readonly #values = new Map<string, Sym>();
  /** Names of which the reader has ideas of his own, whatever the schema has. */
  readonly #unusual: readonly string[];

  constructor(plain: Expansion, json: Expansion, style: TagStyle, options: SchemaOptions) {
    this.expansion = plain;
    this.space = plain.space;
    this.builder = this.space.builder;
    this.#json = json;
    this.#style = style;
    this.#options = options;
    const { reader } = style;
    const isUsual = (name: string) => isSame(reader!.of(name), reader!.others);
    this.#unusual = [...(reader?.named ?? [])].filter((name) => !isUsual(name));
    this.notation = { object: style.brackets, names: writableNames(style.names, options) };
  }

  of(root: Node): Sym {
    const sym = membersOf(this, root);
    for (const emitter of this.#emitters.values()) emitter.finish();
    return sym;
  }

  member(name: Regex, node: Node, known?: string): readonly Sym[] {
    const { builder } = this;
    const unusual = known === undefined ? this.#unusual.filter((own) => this.#has(name, own)) : [];
    this.space.spend(this.#unusual.length / 8);
    if (unusual.length === 0) return this.#member(name, node, known);
    const ways = unusual.map((own) => this.#member(builder.regex.text(own), node, own));
    const rest = builder.regex.and(name, builder.regex.not(builder.regex.texts(unusual)));
    if (this.expansion.layouts.isEmpty(rest) !== true) ways.push(this.#member(rest, node));
    return [builder.choiceOf(ways.map((way) => builder.sequenceOf(way)))];
  }

  #has(regex: Regex, name: string): boolean {
    return this.expansion.layouts.contains({ kind: 'matching', regex }, name);
  }

  #member(name: Regex, node: Node, known?: string): readonly Sym[] {
    const { builder } = this;
    const { reader, start } = this.#style;
    const types = known === undefined ? reader?.others : reader?.of(known);
    const key = `${node.id} ${types && [...types].join()}`;
    let value = this.#values.get(key);
    if (value === undefined) this.#values.set(key, (value = this.#value(node, types)));
    return builder.fuse([start, builder.terminal(name), value]);
  }

  #value(node: Node, read: ReadonlySet<ValueType> | undefined): Sym {
    const ways = this.#style.tags.map(({ types, middle, end, marker }) => {
      const own = types.filter((type) => read?.has(type) ?? true);
      const inner = this.#inner(node, own, read === undefined ? [] : own, marker);
      return this.builder.sequence(middle, inner, end);
    });
    return this.builder.choiceOf(ways);
  }

  /**
   * @param types that are written
   * @param read types that a text is taken for if it reads so
   */
  #inner(node: Node, types: readonly ValueType[], read: readonly ValueType[], marker: string): Sym {
    const { builder } = this;
    const isText = types.includes('string');
    const texts = isText ? this.expansion.set(node).strings : this.space.strings.none;
    const onlyText = types.every((type) => type === 'string');
    const set = onlyText ? this.#json.space.none : this.#json.set(node);
    const withTexts = texts.written.kind !== 'empty';
    const isWhole = (type: ValueType) => this.#isWhole(set, type);
    // A text that may be any is any other value's text as well.
    const covers = withTexts && texts === this.space.strings.all;
    const others = types.filter((type) => type !== 'string' && !(covers && isWhole(type)));
    // Where it can be no text, JSON is read as such; else up to the first marker.
    const isCut = read.includes('string');
    const blame = node.kind === 'schema' ? node.place.pointer : '';
    const ways = [
      this.#words(set, others),
      this.#emitter(isCut ? marker : '').written(this.#only(set, others), blame),
    ];
    if (withTexts) {
      const misread = read.filter((type) => type !== 'string' && !isWhole(type));
      ways.push(builder.terminal(this.#text(texts.written, misread, marker)));
    }
    return builder.choiceOf(ways);
  }

  /** Texts without the marker, and without those that would be taken for values of the types. */
  #text(written: Regex, misread: readonly ValueType[], marker: string): Regex {
    const { regex } = this.builder;
    const others = misread.map((type) => regex.not(this.#lookAlikes(type)));
    const parts = marker === '' ? [] : [textWithout([marker], regex)];
    const cut = regex.and(written, ...parts, ...others);
    return this.expansion.layouts.isEmpty(cut) === true ? regex.empty() : cut;
  }

  /** What reads as a value of the type, or begins so. */
  #lookAlikes(type: ValueType): Regex {
    const { regex } = this.builder;
    const space = regex.repeat(regex.chars(SPACES), 0, Infinity);
    const around = (inner: Regex) => regex.concat(space, inner, space);
    switch (type) {
      case 'null':
        return around(regex.texts(PYTHON_WORDS.null));
      case 'boolean':
        return around(regex.texts([...PYTHON_WORDS.true, ...PYTHON_WORDS.false]));
      case 'number': {
        const digits = regex.repeat(regex.bytes(byteSet([0x30, 0x39])), 1, Infinity);
        const signs = regex.optional(regex.texts(['+', '-']));
        const exponent = regex.concat(regex.texts(['e', 'E']), signs, digits);
        const { plain } = this.#json.space.numbers.all;
        return around(regex.concat(plain, regex.optional(exponent)));
      }
      default: {
        const bracket = regex.text(type === 'array' ? '[' : '{');
        return regex.concat(space, bracket, regex.anyBytes());
      }
    }
  }

  #words({ nulls, booleans }: ValueSet, types: readonly ValueType[]): Sym {
    const words: string[] = [];
    if (nulls && types.includes('null')) words.push(...PYTHON_WORDS.null);
    if (types.includes('boolean')) {
      if (booleans & 1) words.push(...PYTHON_WORDS.false);
      if (booleans & 2) words.push(...PYTHON_WORDS.true);
    }
    return this.builder.terminal(this.builder.regex.texts(words));
  }

  /** Of a set's values those of the types that are neither texts nor words. */
  #only(set: ValueSet, types: readonly ValueType[]): ValueSet {
    const { none } = this.#json.space;
    return {
      ...none,
      numbers: types.includes('number') ? set.numbers : none.numbers,
      objects: types.includes('object') ? set.objects : none.objects,
      arrays: types.includes('array') ? set.arrays : none.arrays,
    };
  }

  #isWhole(set: ValueSet, type: ValueType): boolean {
    const { all, anyArray } = this.#json.space;
    switch (type) {
      case 'null':
        return set.nulls;
      case 'boolean':
        return set.booleans === 3;
      case 'number':
        return set.numbers === all.numbers;
      case 'object':
        return set.objects.includes(ANY_OBJECT);
      case 'array':
        return set.arrays.includes(anyArray);
      default:
        return false;
    }
  }

  #emitter(marker: string): Emitter {
    let emitter = this.#emitters.get(marker);
    if (emitter === undefined) {
      emitter = new Emitter(this.#json, this.#unmarked(marker));
      this.#emitters.set(marker, emitter);
    }
    return emitter;
  }

  /** JSON without the marker in its texts, for who looks for that before he reads the JSON. */
  #unmarked(marker: string): Notation {
    const { builder } = this;
    const { syntax } = this.#json.space;
    const notation = jsonNotation(builder, syntax);
    if (marker === '') return notation;
    const texts = builder.regex.and(syntax.chars, textWithout([marker], builder.regex));
    return { ...notation, texts, names: writableNames(texts, this.#options) };
  }
}

function isSame(a: ReadonlySet<ValueType>, b: ReadonlySet<ValueType>): boolean {
  return a.size === b.size && [...a].every((type) => b.has(type));
}
