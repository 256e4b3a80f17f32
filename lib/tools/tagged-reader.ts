/** Arguments between tags, one by one, as JSON by the types of their schema. */
import { JSON_TYPES, type JsonType, type TaggedStyle, typeOf } from './format.js';
import { type ArgumentReader, JsonReader, type Read } from './json-reader.js';
import { withoutMarks } from './marks.js';
import { matchAt, partialEnd, skipSpace } from './matching.js';
import { mayBe, propertySchema } from './schema-types.js';

/** A text's JSON without its quotes. */
function escaped(text: string): string {
  return JSON.stringify(withoutMarks(text)).slice(1, -1);
}

/** A value that has begun. */
interface Open {
  /** What tells its end. */
  readonly end: string;
  /** Null: only the whole value tells its type. `over`: its end is still to come. */
  readonly type: 'string' | 'json' | 'over' | null;
  readonly schema: unknown;
  readonly reader: JsonReader;
}

export class TaggedReader implements ArgumentReader {
  readonly #style: TaggedStyle;
  readonly #schema: Readonly<Record<string, unknown>>;
  /** The text that ends the call. */
  readonly #callEnd: string;
  readonly #keys = new Set<string>();
  #open: Open | null = null;
  #begun = false;

  constructor(style: TaggedStyle, schema: Readonly<Record<string, unknown>>, callEnd: string) {
    this.#style = style;
    this.#schema = schema;
    this.#callEnd = callEnd;
  }

  read(text: string): Read {
    let used = 0;
    let json = this.#begun ? '' : '{';
    this.#begun = true;
    for (;;) {
      const rest = text.slice(used);
      const step = this.#open === null ? this.#between(rest) : this.#value(rest, this.#open);
      used += step.used;
      json += step.json;
      if (step.state !== 'next') return { used, json, state: step.state };
    }
  }

  /** Before a key, or the end of the call. */
  #between(text: string): Step {
    const { start, separator, mids } = this.#style;
    const first = this.#keys.size === 0;
    const ended = matchAt(text, 0, { pattern: this.#callEnd });
    const begun = matchAt(text, 0, { pattern: first ? start : separator + start });
    if (begun !== null && begun !== 'more' && start.length >= this.#callEnd.length) {
      return this.#key(text, begun.end, mids);
    }
    if (ended !== null && ended !== 'more') return { used: 0, json: '}', state: 'done' };
    if (begun === 'more' || ended === 'more') return WAIT;
    if (begun !== null) return this.#key(text, begun.end, mids);
    return { used: 0, json: '', state: 'broken' };
  }

  #key(text: string, from: number, mids: Readonly<Record<JsonType, string>>): Step {
    const kinds = new Map<string, JsonType[]>();
    for (const type of JSON_TYPES) kinds.set(mids[type], [...(kinds.get(mids[type]) ?? []), type]);
    let best: { at: number; mid: string; types: JsonType[] } | null = null;
    let waits = false;
    for (const [mid, types] of kinds) {
      const at = text.indexOf(mid, from);
      if (
        at >= 0 &&
        (best === null || at < best.at || (at === best.at && mid.length > best.mid.length))
      )
        best = { at, mid, types };
      else if (at < 0) waits ||= partialEnd(text.slice(from), [mid]) > 0;
    }
    if (best === null) return text.length - from > MAX_KEY ? BROKEN : WAIT;
    // A longer way between key and value may begin as this one ends.
    if (waits && best.at + best.mid.length === text.length) return WAIT;
    const key = text.slice(from, best.at);
    if (this.#keys.has(key)) return BROKEN;
    const schema = propertySchema(this.#schema, key);
    const comma = this.#keys.size === 0 ? '' : ', ';
    this.#keys.add(key);
    this.#open = this.#opened(best.types, schema);
    const quote = this.#open.type === 'string' ? '"' : '';
    const json = `${comma}${JSON.stringify(key)}: ${quote}`;
    return { used: best.at + best.mid.length, json, state: 'next' };
  }

  #opened(types: readonly JsonType[], schema: unknown): Open {
    const reader = new JsonReader(false);
    const open = { end: this.#style.ends[types[0]], schema, reader };
    if (types.length === 1 && types[0] === 'string') return { ...open, type: 'string' };
    const allowed = mayBe(schema).filter((type) => types.includes(type));
    const isNested = (type: JsonType) => type === 'object' || type === 'array';
    if (allowed.length > 0 && allowed.every(isNested)) return { ...open, type: 'json' };
    return { ...open, type: allowed.join() === 'string' ? 'string' : null };
  }

  #value(text: string, open: Open): Step {
    const { end, type } = open;
    if (type === 'json') {
      const { used, json, state } = open.reader.read(text);
      if (state !== 'done') return { used, json, state };
      this.#open = { ...open, type: 'over' };
      return { used, json, state: 'next' };
    }
    if (type === 'over') {
      const ended = matchAt(text, skipSpace(text, 0), { pattern: end.trimStart() });
      if (ended === 'more') return WAIT;
      if (ended === null) return BROKEN;
      this.#open = null;
      return { used: ended.end, json: '', state: 'next' };
    }
    const mark = end.trimEnd();
    const at = text.indexOf(mark);
    const ended = at < 0 ? 'more' : matchAt(text, at, { pattern: end });
    if (ended === 'more')
      return this.#part(text, at < 0 ? partialEnd(text, [mark]) : text.length - at);
    this.#open = null;
    const value = text.slice(0, at);
    const json = type === 'string' ? `${escaped(value)}"` : written(value, open.schema);
    return { used: ended?.end ?? at + mark.length, json, state: 'next' };
  }

  /** What is certain of a value that goes on. */
  #part(text: string, held: number): Step {
    if (this.#open?.type !== 'string') return WAIT;
    const sure = text.slice(0, text.length - held);
    return { used: sure.length, json: escaped(sure), state: 'open' };
  }
}

/** Words that some templates write as Python does. */
const WORDS: Readonly<Record<string, string>> = { True: 'true', False: 'false', None: 'null' };

/** A value whose type its text has to tell. */
function written(text: string, schema: unknown): string {
  const types = mayBe(schema);
  const plain = text.trim();
  const json = Object.hasOwn(WORDS, plain) ? WORDS[plain] : plain;
  try {
    const type = typeOf(JSON.parse(json));
    if (type !== 'string' && types.includes(type)) return json;
  } catch {
    // It is a text then.
  }
  return `"${escaped(text)}"`;
}

const MAX_KEY = 1024;

interface Step {
  readonly used: number;
  readonly json: string;
  readonly state: Read['state'] | 'next';
}
const WAIT: Step = { used: 0, json: '', state: 'open' };
const BROKEN: Step = { used: 0, json: '', state: 'broken' };
