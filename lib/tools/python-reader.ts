/** Arguments as Python writes them in a call, as JSON. */
import type { ArgumentReader, Read } from './json-reader.js';

const WORDS: Record<string, string> = { True: 'true', False: 'false', None: 'null' };
const ESCAPES: Record<string, string> = {
  n: '\\n',
  t: '\\t',
  r: '\\r',
  b: '\\b',
  f: '\\f',
  '"': '\\"',
  '\\': '\\\\',
  "'": "'",
  '/': '/',
  '\n': '',
};

/** What keys consist of, half of a pair of surrogates too. */
const KEY = /[^\s\p{Cc}=,()[\]{}'"*#\\]/u;

/** Ends before the bracket that closes the call. */
export class PythonReader implements ArgumentReader {
  #begun = false;
  #inKey = true;
  #numKeys = 0;
  #depth = 0;
  #word = '';
  #quote = '';
  #escape: string | null = null;

  read(text: string): Read {
    let json = this.#begun ? '' : '{';
    this.#begun = true;
    for (let at = 0; at < text.length; at++) {
      const char = text[at];
      if (this.#quote !== '') json += this.#inString(char);
      else if (this.#depth === 0 && char === ')') {
        json += this.#takeWord();
        return { used: at, json: `${json}}`, state: 'done' };
      } else if (this.#inKey) {
        const key = this.#key(char);
        if (key === null) return { used: at, json, state: 'broken' };
        json += key;
      } else json += this.#value(char);
    }
    return { used: text.length, json, state: 'open' };
  }

  /** It breaks within keys only. */
  close(): string {
    return '}';
  }

  #key(char: string): string | null {
    if (char === '=' && this.#word !== '') {
      const key = JSON.stringify(this.#word);
      this.#word = '';
      this.#inKey = false;
      return `${this.#numKeys++ === 0 ? '' : ', '}${key}: `;
    }
    if (KEY.test(char)) this.#word += char;
    else if (!/[\s,]/.test(char) || this.#word !== '') return null;
    return '';
  }

  #value(char: string): string {
    if (char === '"' || char === "'") {
      this.#quote = char;
      return '"';
    }
    if (/[\w.+-]/.test(char)) {
      this.#word += char;
      return '';
    }
    const word = this.#takeWord();
    if (char === '[' || char === '{') this.#depth++;
    else if (char === ']' || char === '}') this.#depth--;
    else if (this.#depth === 0) {
      if (char === ',') this.#inKey = true;
      return word;
    }
    return word + char;
  }

  #takeWord(): string {
    const word = this.#word;
    this.#word = '';
    return WORDS[word] ?? word;
  }

  #inString(char: string): string {
    if (this.#escape !== null) return this.#escaped(char);
    if (char === '\\') {
      this.#escape = '';
      return '';
    }
    if (char === this.#quote) {
      this.#quote = '';
      return '"';
    }
    // Half of a pair of surrogates is passed as it is: the other half follows.
    return char < ' ' || char === '"' ? JSON.stringify(char).slice(1, -1) : char;
  }

  /** After a backslash: x and u take digits, others one character. */
  #escaped(char: string): string {
    const sequence = (this.#escape as string) + char;
    const length = { x: 3, u: 5, U: 9 }[sequence[0]] ?? 1;
    if (sequence.length < length) {
      this.#escape = sequence;
      return '';
    }
    this.#escape = null;
    if (length === 1) return ESCAPES[char] ?? `\\\\${char}`;
    const code = Number.parseInt(sequence.slice(1), 16);
    if (Number.isNaN(code) || code > 0x10ffff) return `\\\\${sequence}`;
    return JSON.stringify(String.fromCodePoint(code)).slice(1, -1);
  }
}
