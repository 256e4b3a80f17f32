/** Markers as symbols of a grammar: control tokens by id, slots as what may stand in them. */

import { charSet } from '../grammar/bytes.js';
import type { GrammarBuilder, Sym } from '../grammar/grammar.js';
import { ID_SLOT, type IdStyle, INDEX_SLOT, NAME_SLOT } from './format.js';
import { isMark, type MarkIds } from './marks.js';

const LETTERS = charSet([0x30, 0x39], [0x41, 0x5a], [0x61, 0x7a]);
const ID_CHARS = charSet([0x2d, 0x2d], [0x30, 0x39], [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]);
const DIGITS = charSet([0x30, 0x39]);

export class Literals {
  readonly builder: GrammarBuilder;
  readonly #marks: MarkIds;
  readonly #ids: IdStyle;

  constructor(builder: GrammarBuilder, marks: MarkIds, ids: IdStyle) {
    this.builder = builder;
    this.#marks = marks;
    this.#ids = ids;
  }

  static hasName(text: string): boolean {
    return text.includes(NAME_SLOT);
  }

  /** @param name for NAME_SLOT */
  text(text: string, name = ''): Sym {
    const symbols: Sym[] = [];
    let plain = '';
    const flush = () => {
      if (plain !== '') symbols.push(this.builder.text(plain));
      plain = '';
    };
    for (const char of text) {
      if (!isMark(char)) plain += char;
      else if (char === NAME_SLOT) plain += name;
      else {
        flush();
        symbols.push(this.#special(char));
      }
    }
    flush();
    return symbols.length === 0 ? this.builder.nothing() : this.builder.sequence(...symbols);
  }

  #special(char: string): Sym {
    const { regex } = this.builder;
    if (char === INDEX_SLOT) return { terminal: regex.repeat(regex.chars(DIGITS), 1, 4) };
    if (char !== ID_SLOT) return this.builder.token(this.#marks.idOf(char));
    if (this.#ids === 'nine') return { terminal: regex.repeat(regex.chars(LETTERS), 9, 9) };
    return { terminal: regex.repeat(regex.chars(ID_CHARS), 1, 64) };
  }
}
