/** Arguments between tags, one by one, as JSON by the types of their schema. */
import { JSON_TYPES, type JsonType, type TaggedStyle, typeOf } from './format.js';
import { type ArgumentReader, JsonReader, type Read } from './json-reader.js';
import { withoutMarks } from './marks.js';
import { Markers, matchAt, skipSpace } from './matching.js';
import type { SchemaTypes } from './schema-types.js';

/** A text's JSON without its quotes. */
function escaped(text: string): string {
  return JSON.stringify(withoutMarks(text)).slice(1, -1);
}

/**
 * How a value is read. `text`: as one, up to the first mark of its end. `json`: it can be no text,
 * and has not begun. `nested`: a list or an object, which may have texts that spell the mark.
 * `whole`: all of it, up to the first mark, tells what it is. `over`: its end is still to come.
 */
type Way = 'text' | 'json' | 'nested' | 'whole' | 'over';

/** A value that has begun. */
interface Open {
  way: Way;
  /** What tells its end. */
  readonly end: string;
  readonly mark: Markers;
  /** What it may be. */
  readonly allowed: readonly JsonType[];
  readonly reader: JsonReader;
  /** What was read of one that is to be whole. */
  held: string;
}

/** Most characters of a key. */
const MAX_KEY = 1024;

export class TaggedReader implements ArgumentReader {
  readonly #style: TaggedStyle;
  readonly #types: SchemaTypes;
  /** The text that ends the call. */
  readonly #callEnd: string;
  /** Between keys and values, by the types of the latter. */
  readonly #mids = new Map<string, JsonType[]>();
  readonly #keyEnd: Markers;
  readonly #longestMid: number;
  #numKeys = 0;
  /** How much of a text that waits for the end of its key was looked at. */
  #numSeen = 0;
  #open: Open | null = null;
  #begun = false;

  constructor(style: TaggedStyle, types: SchemaTypes, callEnd: string) {
    this.#style = style;
    this.#types = types;
    this.#callEnd = callEnd;
    for (const type of JSON_TYPES) {
      const mid = style.mids[type];
      this.#mids.set(mid, [...(this.#mids.get(mid) ?? []), type]);
    }
    const mids = [...this.#mids.keys()];
    this.#keyEnd = new Markers(mids);
    this.#longestMid = Math.max(...mids.map((mid) => mid.length));
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

  /** It breaks between arguments, or within a key. */
  close(): string {
    return '}';
  }

  /** Before a key, or the end of the call. */
  #between(text: string): Step {
    const { start, separator } = this.#style;
    const first = this.#numKeys === 0;
    const ended = matchAt(text, 0, { pattern: this.#callEnd });
    const begun = matchAt(text, 0, { pattern: first ? start : separator + start });
    if (begun !== null && begun !== 'more' && start.length >= this.#callEnd.length) {
      return this.#key(text, begun.end);
    }
    if (ended !== null && ended !== 'more') return { used: 0, json: '}', state: 'done' };
    if (begun === 'more' || ended === 'more') return WAIT;
    return begun === null ? BROKEN : this.#key(text, begun.end);
  }

  #key(text: string, from: number): Step {
    const found = this.#keyEnd.find(text, Math.max(from, this.#numSeen - this.#longestMid));
    this.#numSeen = found === null ? text.length : 0;
    const isLong = (found?.at ?? text.length - this.#longestMid) - from > MAX_KEY;
    if (isLong) return BROKEN;
    if (found === null) return WAIT;
    const { at, marker } = found;
    // A longer way between key and value may begin as this one ends.
    const isLonger = (mid: string) => mid !== marker && mid.startsWith(marker);
    const end = at + marker.length;
    if (end === text.length && [...this.#mids.keys()].some(isLonger)) return WAIT;
    const key = text.slice(from, at);
    const comma = this.#numKeys++ === 0 ? '' : ', ';
    const types = this.#mids.get(marker) as JsonType[];
    this.#open = this.#opened(types, this.#types.of(key));
    const quote = this.#open.way === 'text' ? '"' : '';
    return { used: end, json: `${comma}${JSON.stringify(key)}: ${quote}`, state: 'next' };
  }

  #opened(types: readonly JsonType[], own: ReadonlySet<JsonType>): Open {
    const end = this.#style.ends[types[0]];
    const mark = new Markers([end.trimEnd()]);
    const allowed = types.length === 1 ? types : types.filter((type) => own.has(type));
    const isText = allowed.length === 1 && allowed[0] === 'string';
    const isJson = allowed.length > 0 && !allowed.includes('string');
    const way = isText ? 'text' : isJson ? 'json' : 'whole';
    return { way, end, mark, allowed, reader: new JsonReader(false), held: '' };
  }

  #value(text: string, open: Open): Step {
    if (open.way === 'json') return this.#json(text, open);
    if (open.way === 'nested') return this.#nested(text, open);
    const found = open.mark.find(text);
    const sure = found?.at ?? text.length - open.mark.held(text);
    const told = this.#told(text.slice(0, sure), open);
    const ended = found && matchAt(text, sure, { pattern: open.end });
    if (found === null || ended === 'more') return { used: sure, json: told, state: 'open' };
    const used = ended?.end ?? sure + found.marker.length;
    this.#open = null;
    if (open.way === 'text') return { used, json: `${told}"`, state: 'next' };
    const json = open.way === 'whole' ? written(open.held, open.allowed) : '';
    return { used, json, state: 'next' };
  }

  /** What can be told of a part of a value. What stands behind a list or an object is none. */
  #told(part: string, open: Open): string {
    if (open.way === 'text') return escaped(part);
    if (open.way === 'whole') open.held += part;
    return '';
  }

  #json(text: string, open: Open): Step {
    const from = skipSpace(text, 0);
    if (from === text.length) return { used: from, json: '', state: 'open' };
    open.way = /[[{]/.test(text[from]) ? 'nested' : 'whole';
    return { used: from, json: '', state: 'next' };
  }

  #nested(text: string, open: Open): Step {
    const { used, json, state } = open.reader.read(text);
    if (state !== 'done') return { used, json, state };
    open.way = 'over';
    return { used, json, state: 'next' };
  }
}

/** Words that some templates write as Python does. */
const WORDS: Readonly<Record<string, string>> = { True: 'true', False: 'false', None: 'null' };

/** A value whose type its text has to tell. */
function written(text: string, allowed: readonly JsonType[]): string {
  const plain = text.trim();
  const json = Object.hasOwn(WORDS, plain) ? WORDS[plain] : plain;
  try {
    const type = typeOf(JSON.parse(json));
    if (type !== 'string' && allowed.includes(type)) return json;
  } catch {
    // It is a text then.
  }
  return `"${escaped(text)}"`;
}

interface Step {
  readonly used: number;
  readonly json: string;
  readonly state: Read['state'] | 'next';
}
const WAIT: Step = { used: 0, json: '', state: 'open' };
const BROKEN: Step = { used: 0, json: '', state: 'broken' };
