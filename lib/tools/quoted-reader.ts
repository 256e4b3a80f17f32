/** Arguments as an object without quotes around keys, texts between marks of their own, as JSON. */
import type { QuotedStyle } from './format.js';
import type { ArgumentReader, Read } from './json-reader.js';
import { withoutMarks } from './marks.js';
import { Markers } from './matching.js';

/** Longest key, spaces around it included. */
const MAX_KEY = 1024;
const KEY_END = new Markers([':', '}']);

export class QuotedReader implements ArgumentReader {
  readonly #quote: string;
  readonly #end: Markers;
  /** Brackets that are open. */
  readonly #open: ('{' | '[')[] = [];
  #inString = false;
  /** Of an object: whether a key comes next; it brings the comma before it along. */
  #inKey = false;
  #isFirst = true;
  /** How much of a text that waits for the end of its key was looked at. */
  #numSeen = 0;

  constructor({ quote }: QuotedStyle) {
    this.#quote = quote;
    this.#end = new Markers([quote]);
  }

  read(text: string): Read {
    let json = '';
    let at = 0;
    while (at < text.length) {
      const step = this.#step(text.slice(at));
      if (step === null) return { used: at, json, state: 'broken' };
      at += step.used;
      json += step.json;
      if (step.isLast) return { used: at, json, state: 'done' };
      if (step.used === 0 || step.waits) break;
    }
    return { used: at, json, state: 'open' };
  }

  /** It breaks at its beginning, or within a key. */
  close(): string {
    const closed = this.#open.map((bracket) => (bracket === '{' ? '}' : ']'));
    return closed.length === 0 ? '{}' : closed.reverse().join('');
  }

  #step(text: string): Step | null {
    if (this.#inString) return this.#string(text);
    return this.#inKey ? this.#key(text) : this.#value(text);
  }

  #string(text: string): Step {
    const at = this.#end.find(text)?.at ?? -1;
    const value = text.slice(0, at < 0 ? text.length - this.#end.held(text) : at);
    const json = JSON.stringify(withoutMarks(value)).slice(1, -1);
    if (at < 0) return { used: value.length, json, waits: true };
    this.#inString = false;
    return { used: at + this.#quote.length, json: `${json}"` };
  }

  #key(text: string): Step | null {
    const end = KEY_END.find(text, this.#numSeen);
    this.#numSeen = end === null ? text.length : 0;
    if ((end?.at ?? text.length) > MAX_KEY) return null;
    if (end === null) return { used: 0, json: '' };
    const key = text.slice(0, end.at).trim();
    if (end.marker === '}') return key === '' ? this.#close(end.at + 1, '}') : null;
    const comma = this.#isFirst ? '' : ', ';
    this.#inKey = false;
    this.#isFirst = false;
    return { used: end.at + 1, json: `${comma}${JSON.stringify(key)}: ` };
  }

  #value(text: string): Step | null {
    if (text.startsWith(this.#quote)) {
      this.#inString = true;
      return { used: this.#quote.length, json: '"' };
    }
    if (this.#quote.startsWith(text)) return { used: 0, json: '' };
    const [char] = text;
    if (this.#open.length === 0 && char !== '{') {
      return /\s/.test(char) ? { used: 1, json: '' } : null;
    }
    if (char === '{' || char === '[') {
      this.#open.push(char);
      this.#inKey = char === '{';
      this.#isFirst = true;
      return { used: 1, json: char };
    }
    if (char === '}' || char === ']') return this.#close(1, char);
    if (char !== ',') return { used: 1, json: char };
    this.#inKey = this.#open.at(-1) === '{';
    return { used: 1, json: this.#inKey ? '' : ', ' };
  }

  #close(used: number, bracket: '}' | ']'): Step {
    this.#open.pop();
    this.#inKey = false;
    this.#isFirst = false;
    return { used, json: bracket, isLast: this.#open.length === 0 };
  }
}

interface Step {
  readonly used: number;
  readonly json: string;
  /** What is left may be the beginning of a mark. */
  readonly waits?: boolean;
  /** The outermost bracket was closed. */
  readonly isLast?: boolean;
}
