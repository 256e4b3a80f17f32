/** JSON as Python's json.dumps writes it, and read so that integers, floats and order stay. */
import { spend, spendText } from './budget.js';
import { typeFailure, valueFailure } from './failure.js';
import { plain } from './marks.js';
import { floatText, intText } from './printing.js';
import { Dict, Float, Markup, Tuple, textOf, typeName, Undefined, type Value } from './values.js';

export interface JsonOptions {
  readonly ascii: boolean;
  /** What stands before each level; undefined: all on one line. */
  readonly indent: string | undefined;
  readonly separators: readonly [item: string, key: string];
  readonly sortKeys: boolean;
}

const SHORT: Record<string, string> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\f': '\\f',
  '\b': '\\b',
};

function unit(c: string): string {
  if (plain(c) !== c) return c;
  return SHORT[c] ?? `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

function jsonText(text: string, ascii: boolean): string {
  spendText(text.length);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: JSON escapes exactly these
  const special = ascii ? /["\\]|[^ -~]/g : /["\\\x00-\x1f]/g;
  return `"${text.replace(special, unit)}"`;
}

function floatJson(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity';
  return floatText(value);
}

function keyText(key: Value): string {
  const text = textOf(key);
  if (text !== undefined) return text;
  if (key === null || typeof key === 'boolean') return String(key);
  if (typeof key === 'number' || typeof key === 'bigint') return intText(key);
  if (key instanceof Float) return floatJson(key.value);
  throw typeFailure(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
}

class Writer {
  readonly #open = new Set<Value>();
  constructor(readonly options: JsonOptions) {}

  write(value: Value, level: number): string {
    spend(1);
    if (value === null) return 'null';
    if (typeof value === 'boolean') return String(value);
    if (typeof value === 'number' || typeof value === 'bigint') return intText(value);
    if (value instanceof Float) return floatJson(value.value);
    const text = textOf(value);
    if (text !== undefined) return jsonText(text, this.options.ascii);
    if (Array.isArray(value)) return this.#inside(value, () => this.#list(value, level));
    if (value instanceof Tuple) return this.#inside(value, () => this.#list(value.items, level));
    if (value instanceof Dict) return this.#inside(value, () => this.#dict(value, level));
    if (value instanceof Undefined && value.unsafe) throw value.failure();
    throw typeFailure(`Object of type ${typeName(value)} is not JSON serializable`);
  }

  #inside(value: Value, write: () => string): string {
    if (this.#open.has(value)) throw valueFailure('Circular reference detected');
    this.#open.add(value);
    const text = write();
    this.#open.delete(value);
    return text;
  }

  #list(items: readonly Value[], level: number): string {
    return this.#group(
      '[',
      items.map((item) => this.write(item, level + 1)),
      ']',
      level,
    );
  }

  #dict(dict: Dict, level: number): string {
    let entries = Array.from(dict.entries(), ([key, value]) => [keyText(key), value] as const);
    if (this.options.sortKeys) entries = entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    const { ascii, separators } = this.options;
    const members = entries.map(
      ([key, value]) => jsonText(key, ascii) + separators[1] + this.write(value, level + 1),
    );
    return this.#group('{', members, '}', level);
  }

  #group(open: string, members: readonly string[], close: string, level: number): string {
    const { indent, separators } = this.options;
    let length = 2 + members.length * separators[0].length;
    for (const member of members) length += member.length;
    const line = indent === undefined ? 0 : indent.length * (level + 1) + 1;
    spendText(members.length === 0 ? 2 : length + line * (members.length + 1));
    if (indent === undefined || members.length === 0) {
      return open + members.join(separators[0]) + close;
    }
    const start = `\n${indent.repeat(level + 1)}`;
    const end = `\n${indent.repeat(level)}`;
    return open + start + members.join(separators[0] + start) + end + close;
  }
}

/** @throws TemplateFailure where a value has no JSON */
export function writeJson(value: Value, options: JsonOptions): string {
  return new Writer(options).write(value instanceof Markup ? value.text : value, 0);
}

const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
const SPACE = /[ \t\n\r]*/y;

/** Deepest nesting that is read. */
const MAX_NESTING = 200;

/** Text that is JSON already, by the engine's own parser; read again for what that one loses. */
class Reader {
  #at = 0;
  constructor(readonly text: string) {}

  read(nesting = 0): Value {
    if (nesting > MAX_NESTING) throw valueFailure('the JSON nests too deeply');
    this.#space();
    const c = this.text[this.#at];
    if (c === '{') return this.#dict(nesting);
    if (c === '[') return this.#list(nesting);
    if (c === '"') return this.#string();
    for (const [word, value] of [
      ['null', null],
      ['true', true],
      ['false', false],
    ] as const) {
      if (this.text.startsWith(word, this.#at)) {
        this.#at += word.length;
        return value;
      }
    }
    return this.#number();
  }

  #space(): void {
    SPACE.lastIndex = this.#at;
    this.#at += SPACE.exec(this.text)?.[0].length ?? 0;
  }

  #skip(): string {
    this.#space();
    const c = this.text[this.#at++];
    this.#space();
    return c;
  }

  #string(): string {
    let end = this.#at + 1;
    while (this.text[end] !== '"') end += this.text[end] === '\\' ? 2 : 1;
    const text: string = JSON.parse(this.text.slice(this.#at, end + 1));
    this.#at = end + 1;
    return text;
  }

  #number(): Value {
    NUMBER.lastIndex = this.#at;
    const [whole, fraction, power] = NUMBER.exec(this.text) as RegExpExecArray;
    this.#at += whole.length;
    const value = Number(whole);
    if (fraction !== undefined || power !== undefined) return new Float(value);
    return Number.isSafeInteger(value) ? value + 0 : BigInt(whole);
  }

  #list(nesting: number): Value[] {
    const list: Value[] = [];
    this.#skip();
    if (this.text[this.#at] === ']') {
      this.#at++;
      return list;
    }
    do list.push(this.read(nesting + 1));
    while (this.#skip() === ',');
    return list;
  }

  #dict(nesting: number): Dict {
    const dict = new Dict();
    this.#skip();
    if (this.text[this.#at] === '}') {
      this.#at++;
      return dict;
    }
    do {
      const key = this.#string();
      this.#skip();
      dict.set(key, this.read(nesting + 1));
    } while (this.#skip() === ',');
    return dict;
  }
}

/**
 * Parses JSON: 1.0 is a float, 1 an integer of any size, members keep their order.
 *
 * @throws SyntaxError when it is no JSON
 */
export function readJson(text: string): Value {
  JSON.parse(text);
  return new Reader(text).read();
}
