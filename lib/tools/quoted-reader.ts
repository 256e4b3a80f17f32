/** Arguments as an object without quotes around keys, texts between marks of their own, as JSON. */
import type { QuotedStyle } from './format.js';
import type { ArgumentReader, Read } from './json-reader.js';
import { withoutMarks } from './marks.js';
import { partialEnd } from './matching.js';

export class QuotedReader implements ArgumentReader {
  readonly #quote: string;
  /** Brackets that are open. */
  readonly #open: ('{' | '[')[] = [];
  #inString = false;
  /** Of an object: whether a key comes next. */
  #inKey = false;

  constructor({ quote }: QuotedStyle) {
    this.#quote = quote;
  }

  read(text: string): Read {
    let json = '';
    let at = 0;
    while (at < text.length) {
      const rest = text.slice(at);
      const step = this.#inString
        ? this.#string(rest)
        : this.#inKey
          ? this.#key(rest)
          : this.#value(rest);
      if (step === null) return { used: at, json, state: 'broken' };
      at += step.used;
      json += step.json;
      if (step.used > 0 && this.#open.length === 0 && json !== '') {
        return { used: at, json, state: 'done' };
      }
      if (step.used === 0 || step.waits) break;
    }
    return { used: at, json, state: 'open' };
  }

  #string(text: string): Step {
    const at = text.indexOf(this.#quote);
    const held = at < 0 ? partialEnd(text, [this.#quote]) : 0;
    const value = text.slice(0, at < 0 ? text.length - held : at);
    const json = JSON.stringify(withoutMarks(value)).slice(1, -1);
    if (at < 0) return { used: value.length, json, waits: true };
    this.#inString = false;
    return { used: at + this.#quote.length, json: `${json}"` };
  }

  #key(text: string): Step | null {
    const end = text.search(/[:}]/);
    if (end < 0) return { used: 0, json: '' };
    if (text[end] === '}')
      return text.slice(0, end).trim() === '' ? this.#close(end + 1, '}') : null;
    this.#inKey = false;
    return { used: end + 1, json: `${JSON.stringify(text.slice(0, end).trim())}: ` };
  }

  #value(text: string): Step | null {
    if (text.startsWith(this.#quote)) {
      this.#inString = true;
      return { used: this.#quote.length, json: '"' };
    }
    if (this.#quote.startsWith(text)) return { used: 0, json: '' };
    const [char] = text;
    if (this.#open.length === 0 && char !== '{')
      return /\s/.test(char) ? { used: 1, json: '' } : null;
    if (char === '{' || char === '[') {
      this.#open.push(char);
      this.#inKey = char === '{';
      return { used: 1, json: char };
    }
    if (char === '}' || char === ']') return this.#close(1, char);
    if (char === ',') this.#inKey = this.#open.at(-1) === '{';
    return { used: 1, json: char === ',' ? ', ' : char };
  }

  #close(used: number, bracket: '}' | ']'): Step {
    this.#open.pop();
    this.#inKey = false;
    return { used, json: bracket };
  }
}

interface Step {
  readonly used: number;
  readonly json: string;
  /** What is left may be the beginning of a mark. */
  readonly waits?: boolean;
}
