import { shown } from '../arguments.js';
import { ebnfToGrammar } from './ebnf.js';
import { textUntil, textWithout } from './free-text.js';
import type { GrammarBuilder, Sym } from './grammar.js';
import { readJson } from './json-text.js';
import { regexToTerminal } from './regex.js';
import { isObject, type JsonObject, keyword } from './schema/document.js';
import { type SchemaOptions, schemaToGrammar } from './schema/index.js';
import { schemaError } from './schema/refusal.js';
import { XML_STYLES, xmlParameters } from './schema/xml.js';

export interface StructuralTagOptions extends SchemaOptions {
  /** Id of a special token by its text. */
  readonly tokenIds?: (text: string) => number | undefined;
}

/** What a format may be. */
const TYPES = [
  ...['const_string', 'json_schema', 'qwen_xml_parameter', 'regex', 'grammar', 'any_text'],
  ...['any_tokens', 'token', 'sequence', 'or', 'optional', 'plus', 'star', 'repeat', 'tag'],
  ...['triggered_tags', 'token_triggered_tags', 'tags_with_separator'],
];

/** Formats within formats. */
const MAX_DEPTH = 64;
const MAX_REPEATS = 10_000;

/**
 * Texts with structured parts, in XGrammar's JSON: `{type: 'structural_tag', format}` with formats
 * const_string, json_schema (styles json, qwen_xml, glm_xml, minimax_xml), regex, grammar,
 * any_text, sequence, or, optional, plus, star, repeat, tag, triggered_tags, tags_with_separator,
 * token, any_tokens and token_triggered_tags; or the older
 * `{structures: [{begin, schema, end}], triggers}`.
 * @param tag the object or its JSON text
 * @throws ERR_GRAMMAR with the place of what is wrong as `pointer`
 */
export function structuralTagToGrammar(
  tag: unknown,
  options: StructuralTagOptions,
  builder: GrammarBuilder,
): Sym {
  const value = typeof tag === 'string' ? parsed(tag) : tag;
  if (!isObject(value)) throw wrong('', 'it has to be an object with "format"');
  const formats = new Formats(options, builder);
  const structures = keyword(value, 'structures');
  if (structures !== undefined) return formats.format(fromStructures(value), '', NOWHERE);
  const format = keyword(value, 'format');
  if (format === undefined) return formats.format(value, '', NOWHERE);
  return formats.format(format, '/format', NOWHERE);
}

/** What the tag around says: its ends may not be found within. */
interface Around {
  readonly ends: readonly string[];
  readonly depth: number;
}

const NOWHERE: Around = { ends: [], depth: 0 };

interface Tag {
  readonly begin: unknown;
  readonly content: unknown;
  readonly ends: readonly unknown[];
  readonly pointer: string;
}

class Formats {
  readonly #options: StructuralTagOptions;
  readonly #builder: GrammarBuilder;

  constructor(options: StructuralTagOptions, builder: GrammarBuilder) {
    this.#options = options;
    this.#builder = builder;
  }

  format(value: unknown, pointer: string, around: Around): Sym {
    if (!isObject(value)) throw wrong(pointer, 'a format is an object with "type"');
    if (around.depth > MAX_DEPTH) throw wrong(pointer, `formats nest deeper than ${MAX_DEPTH}`);
    const inside = { ...around, depth: around.depth + 1 };
    const type = keyword(value, 'type') ?? (Object.hasOwn(value, 'begin') ? 'tag' : undefined);
    const builder = this.#builder;
    switch (type) {
      case 'const_string':
        return builder.text(text(value, 'value', pointer));
      case 'json_schema':
        return this.#schema(value, pointer, keyword(value, 'style') ?? 'json');
      case 'qwen_xml_parameter':
        return this.#schema(value, pointer, 'qwen_xml');
      case 'regex':
        return this.#regex(value, pointer);
      case 'grammar': {
        const source = text(value, 'grammar', pointer);
        return ebnfToGrammar(source, builder, { tokens: this.#options.tokenIds });
      }
      case 'any_text':
        return builder.terminal(
          textWithout([...strings(value, 'excludes', pointer), ...around.ends], builder.regex),
        );
      case 'any_tokens':
        // Special tokens are never part of a text: leaving them out excludes them.
        return builder.terminal(textWithout([], builder.regex));
      case 'token':
        return this.#token(keyword(value, 'token'), `${pointer}/token`);
      case 'sequence':
        return builder.sequence(...this.#elements(value, pointer, inside));
      case 'or':
        return builder.choice(...this.#elements(value, pointer, inside));
      case 'optional':
      case 'plus':
      case 'star':
      case 'repeat':
        return this.#repeat(value, String(type), pointer, inside);
      case 'tag':
        return this.#tag(tagOf(value, pointer), inside, '');
      case 'triggered_tags':
        return this.#triggered(value, pointer, inside);
      case 'token_triggered_tags':
        return this.#tokenTriggered(value, pointer, inside);
      case 'tags_with_separator':
        return this.#separated(value, pointer, inside);
      default:
        throw wrong(pointer, notKnown(type));
    }
  }

  #schema(value: JsonObject, pointer: string, style: unknown): Sym {
    const schema = keyword(value, 'json_schema') ?? true;
    const xml = typeof style === 'string' ? XML_STYLES.get(style) : undefined;
    try {
      if (style === 'json') return schemaToGrammar(schema, this.#options, this.#builder);
      if (xml !== undefined) return xmlParameters(schema, xml, this.#options, this.#builder);
    } catch (error) {
      throw placed(error, `${pointer}/json_schema`);
    }
    const known = ['json', ...XML_STYLES.keys()].join(', ');
    throw wrong(`${pointer}/style`, `${JSON.stringify(style)} is not known: use one of ${known}`);
  }

  #regex(value: JsonObject, pointer: string): Sym {
    const { regex } = this.#builder;
    const pattern = regexToTerminal(text(value, 'pattern', pointer), regex);
    const excluded = strings(value, 'excludes', pointer);
    if (excluded.length === 0) return this.#builder.terminal(pattern);
    return this.#builder.terminal(regex.and(pattern, textWithout(excluded, regex)));
  }

  #repeat(value: JsonObject, type: string, pointer: string, around: Around): Sym {
    const content = this.format(keyword(value, 'content'), `${pointer}/content`, around);
    if (type === 'optional') return this.#builder.optional(content);
    if (type !== 'repeat') return this.#builder[type === 'plus' ? 'plus' : 'star'](content);
    const count = (name: string, otherwise: number) => {
      const given = keyword(value, name) ?? otherwise;
      if (name === 'max' && given === -1) return Infinity;
      const whole = typeof given === 'number' && (Number.isInteger(given) || given === Infinity);
      if (whole && given >= 0 && (given <= MAX_REPEATS || given === Infinity)) return given;
      throw wrong(`${pointer}/${name}`, `it has to be a whole number up to ${MAX_REPEATS}`);
    };
    const [min, max] = [count('min', 0), count('max', Infinity)];
    if (min > max) throw wrong(`${pointer}/min`, 'min has to be at most max');
    return this.#builder.repeat(content, min, max);
  }

  #elements(value: JsonObject, pointer: string, around: Around): Sym[] {
    const elements = list(value, 'elements', pointer);
    return elements.map((element, i) => this.format(element, `${pointer}/elements/${i}`, around));
  }

  /** Begin, content and end; the beginning of `begin` may have been written already. */
  #tag(tag: Tag, around: Around, written: string): Sym {
    const builder = this.#builder;
    const begin =
      typeof tag.begin === 'string'
        ? builder.text(tag.begin.slice(written.length))
        : this.#mark(tag.begin, `${tag.pointer}/begin`);
    const ends = tag.ends.filter((end) => typeof end === 'string');
    const inside = { ...around, ends };
    const free = isObject(tag.content) && keyword(tag.content, 'type') === 'any_text';
    if (free && ends.length === tag.ends.length && !ends.includes('')) {
      // Read up to the first of the ends, as who takes it apart will do.
      const others = strings(tag.content as JsonObject, 'excludes', `${tag.pointer}/content`);
      const ways = ends.map((end) =>
        builder.terminal(
          textUntil(end, [...others, ...ends.filter((other) => other !== end)], builder.regex),
        ),
      );
      return builder.sequence(begin, builder.choice(...ways));
    }
    const content = this.format(tag.content, `${tag.pointer}/content`, inside);
    const marks = tag.ends.map((end) => this.#mark(end, `${tag.pointer}/end`));
    return builder.sequence(begin, content, builder.choice(...marks));
  }

  #mark(value: unknown, pointer: string): Sym {
    if (typeof value === 'string') return this.#builder.text(value);
    if (isObject(value) && keyword(value, 'type') === 'token') {
      return this.#token(keyword(value, 'token'), `${pointer}/token`);
    }
    throw wrong(pointer, 'it has to be a text or a format of type token');
  }

  #token(value: unknown, pointer: string): Sym {
    const id = typeof value === 'string' ? this.#options.tokenIds?.(value) : value;
    if (typeof id === 'number' && Number.isInteger(id) && id >= 0) return this.#builder.token(id);
    throw wrong(pointer, `${JSON.stringify(value)} is no token of this model`);
  }

  #tags(value: JsonObject, pointer: string): Tag[] {
    const tags = list(value, 'tags', pointer);
    if (tags.length === 0) throw wrong(`${pointer}/tags`, 'at least one tag is needed');
    return tags.map((tag, i) => tagOf(tag, `${pointer}/tags/${i}`));
  }

  /** Free text in which a trigger begins a tag. */
  #triggered(value: JsonObject, pointer: string, around: Around): Sym {
    const { regex } = this.#builder;
    const builder = this.#builder;
    const triggers = strings(value, 'triggers', pointer);
    const tags = this.#tags(value, pointer);
    const excluded = [...strings(value, 'excludes', pointer), ...around.ends];
    const begun = tags.map((tag) => {
      const { begin } = tag;
      const trigger = triggers.find((word) => typeof begin === 'string' && begin.startsWith(word));
      if (trigger !== undefined && trigger !== '') return { tag, trigger };
      throw wrong(`${tag.pointer}/begin`, 'it has to begin with one of the triggers');
    });
    const called = triggers.flatMap((trigger) => {
      const own = begun.filter((one) => one.trigger === trigger);
      if (own.length === 0) return [];
      const others = [...triggers.filter((other) => other !== trigger), ...excluded];
      const until = builder.terminal(textUntil(trigger, others, regex));
      const rest = builder.choice(...own.map(({ tag }) => this.#tag(tag, around, trigger)));
      return [builder.sequence(until, rest)];
    });
    const first = () => builder.choice(...tags.map((tag) => this.#tag(tag, around, '')));
    const text = builder.terminal(textWithout([...triggers, ...excluded], regex));
    return this.#dispatch(value, text, builder.choice(...called), first);
  }

  /** Free text in which a special token begins a tag. */
  #tokenTriggered(value: JsonObject, pointer: string, around: Around): Sym {
    const builder = this.#builder;
    const tags = this.#tags(value, pointer);
    const excluded = around.ends;
    for (const tag of tags) {
      if (typeof tag.begin !== 'string') continue;
      throw wrong(`${tag.pointer}/begin`, 'it has to be a format of type token');
    }
    const text = builder.terminal(textWithout(excluded, builder.regex));
    const first = () => builder.choice(...tags.map((tag) => this.#tag(tag, around, '')));
    return this.#dispatch(value, text, builder.sequence(text, first()), first);
  }

  /** `called` is free text and then a tag; `first` a tag at once. */
  #dispatch(value: JsonObject, text: Sym, called: Sym, first: () => Sym): Sym {
    const builder = this.#builder;
    const once = keyword(value, 'stop_after_first') === true;
    if (keyword(value, 'at_least_one') === true) {
      return once ? first() : builder.sequence(first(), builder.star(called), text);
    }
    return once ? builder.choice(text, called) : builder.sequence(builder.star(called), text);
  }

  #separated(value: JsonObject, pointer: string, around: Around): Sym {
    const builder = this.#builder;
    const tags = this.#tags(value, pointer).map((tag) => this.#tag(tag, around, ''));
    const tag = builder.choice(...tags);
    const least = keyword(value, 'at_least_one') === true ? 1 : 0;
    const most = keyword(value, 'stop_after_first') === true ? 1 : Infinity;
    const separator = builder.text(text(value, 'separator', pointer));
    return builder.separated(tag, separator, least, most);
  }
}

function tagOf(value: unknown, pointer: string): Tag {
  if (!isObject(value)) throw wrong(pointer, 'a tag is an object with begin, content and end');
  const end = keyword(value, 'end');
  const ends = Array.isArray(end) ? end : [end];
  if (ends.length === 0) throw wrong(`${pointer}/end`, 'a tag needs an end');
  return { begin: keyword(value, 'begin'), content: keyword(value, 'content'), ends, pointer };
}

/** The older form: free text in which triggers begin structures. */
function fromStructures(value: JsonObject): JsonObject {
  const tags = list(value, 'structures', '').map((structure, i) => {
    if (!isObject(structure)) throw wrong(`/structures/${i}`, 'a structure is an object');
    const schema = keyword(structure, 'schema') ?? true;
    const json_schema = typeof schema === 'string' ? parsed(schema) : schema;
    const content = { type: 'json_schema', json_schema };
    return { begin: keyword(structure, 'begin'), content, end: keyword(structure, 'end') };
  });
  return { type: 'triggered_tags', triggers: keyword(value, 'triggers'), tags };
}

function text(value: JsonObject, name: string, pointer: string): string {
  const given = keyword(value, name);
  if (typeof given === 'string') return given;
  throw wrong(`${pointer}/${name}`, `${name} has to be a text`);
}

function list(value: JsonObject, name: string, pointer: string): readonly unknown[] {
  const given = keyword(value, name);
  if (Array.isArray(given)) return given;
  throw wrong(`${pointer}/${name}`, `${name} has to be a list`);
}

function strings(value: JsonObject, name: string, pointer: string): string[] {
  const given = keyword(value, name) ?? [];
  if (Array.isArray(given) && given.every((one) => typeof one === 'string')) return given;
  throw wrong(`${pointer}/${name}`, `${name} has to be a list of texts`);
}

function notKnown(type: unknown): string {
  const known = `use one of ${TYPES.join(', ')}`;
  if (type === undefined) return `a format needs a "type": ${known}`;
  return `a format of type ${shown(type)} is not known: ${known}`;
}

function wrong(pointer: string, message: string): Error {
  return schemaError(pointer, message, 'the structural tag');
}

/** The error of a schema within, with its place in the whole. */
function placed(error: unknown, prefix: string): unknown {
  if (!(error instanceof Error) || !('pointer' in error)) return error;
  return schemaError(prefix + String(error.pointer), error.message, 'the structural tag');
}

function parsed(source: string): unknown {
  try {
    return readJson(source);
  } catch (error) {
    throw wrong('', `it is no JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}
