/** Arguments as they come, as JSON: what has come is passed on at once. */

export interface Read {
  /** How much of the text is used up. */
  readonly used: number;
  /** New JSON of the arguments. */
  readonly json: string;
  /** `open`: more is to come; `done`: they are whole; `broken`: what follows is no argument. */
  readonly state: 'open' | 'done' | 'broken';
}

export interface ArgumentReader {
  /** Takes a text that begins where the last one was used up to. */
  read(text: string): Read;
  /** Of broken ones: what makes JSON of what was read. */
  close(): string;
}

/** Finds the end of a JSON value in pieces of text, passing its text through. */
export class JsonReader implements ArgumentReader {
  #depth = 0;
  #inString = false;
  #escaped = false;
  #begun = false;
  readonly #onlyObject: boolean;

  /** @param onlyObject false: a value of any type, which ends before what no number or word has */
  constructor(onlyObject = true) {
    this.#onlyObject = onlyObject;
  }

  read(text: string): Read {
    let at = 0;
    if (!this.#begun) {
      while (at < text.length && /\s/.test(text[at])) at++;
      if (at === text.length) return { used: at, json: '', state: 'open' };
      if (this.#onlyObject && text[at] !== '{') return { used: at, json: '', state: 'broken' };
      this.#begun = true;
    }
    const from = at;
    for (; at < text.length; at++) {
      const end = this.#step(text[at]);
      if (end === null) continue;
      const to = at + end;
      return { used: to, json: text.slice(from, to), state: 'done' };
    }
    return { used: at, json: text.slice(from), state: 'open' };
  }

  /** It breaks nowhere but at its beginning. */
  close(): string {
    return '{}';
  }

  /** Null while it goes on; else 1 or 0: whether the character still belongs. */
  #step(char: string): 0 | 1 | null {
    if (this.#inString) {
      if (this.#escaped) this.#escaped = false;
      else if (char === '\\') this.#escaped = true;
      else if (char === '"') {
        this.#inString = false;
        if (this.#depth === 0) return 1;
      }
      return null;
    }
    if (char === '"') this.#inString = true;
    else if (char === '{' || char === '[') this.#depth++;
    else if (char === '}' || char === ']') {
      if (this.#depth === 0) return 0;
      if (--this.#depth === 0) return 1;
    } else if (this.#depth === 0 && !/[\w.+-]/.test(char)) return 0;
    return null;
  }
}
