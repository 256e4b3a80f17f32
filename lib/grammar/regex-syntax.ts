/** Reads regular expressions as ECMAScript writes them (with the meaning of flag u). */
import { Budget } from './budget.js';
import {
  ALL_CHARS,
  type CharSet,
  charSet,
  charSetOf,
  invertChars,
  subtractChars,
} from './bytes.js';
import { MAX_COUNT } from './ir.js';
import { grammarError } from './problem.js';
import { foldCase, propertySet } from './unicode.js';

/** A regular expression over code points. `anchored`: `^` or `$` is somewhere in it. */
export type RegexAst = { readonly anchored: boolean } & (
  | { readonly kind: 'set'; readonly set: CharSet }
  | { readonly kind: 'concat' | 'alt'; readonly parts: readonly RegexAst[] }
  | {
      readonly kind: 'repeat';
      readonly of: RegexAst;
      readonly min: number;
      readonly max: number;
    }
  | { readonly kind: 'start' | 'end' }
);

/** Longest source, in UTF-16 units. */
export const MAX_REGEX_LENGTH = 65_536;
const MAX_GROUPS_DEEP = 100;

const DIGITS: CharSet = [[0x30, 0x39]];
const WORD: CharSet = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
];
const SPACES = charSet(
  ...([0x09, 0x20, 0xa0, 0x1680, 0x202f, 0x205f, 0x3000, 0xfeff] as const).map(
    (char) => [char, char] as const,
  ),
  [0x0a, 0x0d],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
);
const NOT_DIGITS = invertChars(DIGITS);
const NOT_SPACES = invertChars(SPACES);
/** [case matters, case is ignored] */
const WORDS = [WORD, foldCase(WORD)];
const NOT_WORDS = WORDS.map(invertChars);
const NOT_LINE_ENDS = invertChars([
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
]);
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13 };

interface Modes {
  readonly ignoreCase: boolean;
  readonly dotAll: boolean;
}

/**
 * @param flags of `i`, `s` and `u`; u is always on
 * @throws ERR_GRAMMAR where it is malformed, or needs look-around, back-references, word
 *   boundaries or other flags, or the budget does not suffice
 */
export function parseRegex(source: string, flags = '', budget = new Budget()): RegexAst {
  if (source.length > MAX_REGEX_LENGTH) {
    throw grammarError(
      `a regex of ${source.length} characters is too long: ${MAX_REGEX_LENGTH} is the most`,
    );
  }
  const wrong = /[^isu]/.exec(flags);
  if (wrong !== null) {
    throw grammarError(`regex flag ${wrong[0]} is not supported: i, s and u are`);
  }
  const modes = { ignoreCase: flags.includes('i'), dotAll: flags.includes('s') };
  return new RegexReader(source, modes, budget).whole();
}

export function concatAst(parts: readonly RegexAst[]): RegexAst {
  if (parts.length === 1) return parts[0];
  return { kind: 'concat', parts, anchored: parts.some((part) => part.anchored) };
}

export function setAst(set: CharSet): RegexAst {
  return { kind: 'set', set, anchored: false };
}

/** Any text. */
export const ANY_TEXT: RegexAst = {
  kind: 'repeat',
  of: setAst(ALL_CHARS),
  min: 0,
  max: Infinity,
  anchored: false,
};

class RegexReader {
  readonly #chars: readonly string[];
  #at = 0;
  #depth = 0;
  #modes: Modes;
  readonly #budget: Budget;

  constructor(source: string, modes: Modes, budget: Budget) {
    this.#chars = Array.from(source);
    this.#modes = modes;
    this.#budget = budget;
  }

  whole(): RegexAst {
    this.#leadingFlags();
    const ast = this.#disjunction();
    if (this.#at < this.#chars.length) throw this.#wrong('has a ) that closes nothing');
    return ast;
  }

  /** `(?i)` at the very beginning, as Python and Rust write it. */
  #leadingFlags(): void {
    const match = /^\(\?([is]+)\)/.exec(this.#chars.slice(0, 8).join(''));
    if (match === null) return;
    this.#at = match[0].length;
    this.#modes = {
      ignoreCase: this.#modes.ignoreCase || match[1].includes('i'),
      dotAll: this.#modes.dotAll || match[1].includes('s'),
    };
  }

  #wrong(what: string): Error {
    return grammarError(`regex ${what} (at character ${this.#at + 1})`);
  }

  #next(...text: string[]): boolean {
    if (!text.every((char, i) => this.#chars[this.#at + i] === char)) return false;
    this.#at += text.length;
    return true;
  }

  #disjunction(): RegexAst {
    const branches = [this.#alternative()];
    while (this.#next('|')) branches.push(this.#alternative());
    if (branches.length === 1) return branches[0];
    return { kind: 'alt', parts: branches, anchored: branches.some((branch) => branch.anchored) };
  }

  #alternative(): RegexAst {
    const parts: RegexAst[] = [];
    while (this.#at < this.#chars.length && !'|)'.includes(this.#chars[this.#at])) {
      parts.push(this.#term());
    }
    return concatAst(parts);
  }

  #term(): RegexAst {
    const from = this.#at;
    const char = this.#chars[this.#at++];
    if (char === '^' || char === '$') {
      if (this.#at < this.#chars.length && '*+?'.includes(this.#chars[this.#at])) {
        throw this.#wrong(`repeats ${char}, which is no character: leave the repetition out`);
      }
      return { kind: char === '^' ? 'start' : 'end', anchored: true };
    }
    if ('*+?'.includes(char)) {
      this.#at = from;
      throw this.#wrong(`has nothing before ${char} to repeat: write \\${char} for the character`);
    }
    if (char === '{' && this.#braces(from) !== undefined) {
      throw this.#wrong('has nothing before {…} to repeat: write \\{ for the character');
    }
    return this.#quantified(this.#atom(char));
  }

  #atom(char: string): RegexAst {
    if (char === '(') return this.#group();
    if (char === '[') return setAst(this.#class());
    if (char === '.') return setAst(this.#modes.dotAll ? ALL_CHARS : NOT_LINE_ENDS);
    if (char === '\\') {
      const set = this.#escape(false);
      return this.#set(typeof set === 'number' ? [[set, set]] : set);
    }
    const codePoint = char.codePointAt(0)!;
    return this.#set([[codePoint, codePoint]]);
  }

  #set(set: CharSet): RegexAst {
    return setAst(this.#folded(set));
  }

  #folded(set: CharSet): CharSet {
    this.#budget.spend(1 + set.length / 16);
    return this.#modes.ignoreCase ? foldCase(set, this.#budget) : set;
  }

  #quantified(of: RegexAst): RegexAst {
    const from = this.#at;
    let counts: [min: number, max: number] | undefined;
    if (this.#next('*')) counts = [0, Infinity];
    else if (this.#next('+')) counts = [1, Infinity];
    else if (this.#next('?')) counts = [0, 1];
    else if (this.#next('{')) {
      counts = this.#braces(from);
      if (counts === undefined) this.#at = from;
    }
    if (counts === undefined) return of;
    // Lazy or greedy: the same texts.
    this.#next('?');
    if (this.#at < this.#chars.length && '*+?'.includes(this.#chars[this.#at])) {
      throw this.#wrong('has two repetitions after each other: put a group around the first');
    }
    return { kind: 'repeat', of, min: counts[0], max: counts[1], anchored: of.anchored };
  }

  /** The counts after a `{` at `from`; undefined, and nothing read, where it is a plain one. */
  #braces(from: number): [number, number] | undefined {
    const text = this.#chars.slice(from, from + 40).join('');
    const match = /^\{(\d*)(,?)(\d*)\}/.exec(text);
    if (match === null || match[0] === '{}') return undefined;
    const [all, low, comma, high] = match;
    if (low === '') throw this.#wrong(`has ${all}: write {0,${high}} or \\{`);
    const min = Number(low);
    const max = comma === '' ? min : high === '' ? Infinity : Number(high);
    if (min > max) throw this.#wrong(`has ${all}: the smaller count comes first`);
    if (min > MAX_COUNT) throw this.#wrong(`has ${all}: ${MAX_COUNT} is the most`);
    this.#at = from + all.length;
    return [min, max];
  }

  #group(): RegexAst {
    if (++this.#depth > MAX_GROUPS_DEEP) {
      throw this.#wrong(`nests groups deeper than ${MAX_GROUPS_DEEP}`);
    }
    const outer = this.#modes;
    if (this.#next('?')) this.#groupKind();
    const inner = this.#disjunction();
    if (!this.#next(')')) throw this.#wrong('has a ( without its )');
    this.#modes = outer;
    this.#depth--;
    return inner;
  }

  /** After `(?`. */
  #groupKind(): void {
    if (this.#next(':')) return;
    for (const look of ['=', '!', '<=', '<!']) {
      if (!this.#next(...look)) continue;
      throw this.#wrong(
        `uses look-around (?${look}…), which cannot be enforced: say what may come instead`,
      );
    }
    this.#next('P');
    const text = this.#chars.slice(this.#at, this.#at + 80).join('');
    const name = /^<[\p{L}_$][\p{L}\p{N}_$]*>/u.exec(text);
    const modes = /^([is]*)(?:-([is]+))?:/.exec(text);
    if (name !== null) {
      this.#at += Array.from(name[0]).length;
    } else if (modes !== null) {
      const [all, on, off = ''] = modes;
      const mode = (flag: string, now: boolean) =>
        (on.includes(flag) || now) && !off.includes(flag);
      this.#modes = {
        ignoreCase: mode('i', this.#modes.ignoreCase),
        dotAll: mode('s', this.#modes.dotAll),
      };
      this.#at += all.length;
    } else {
      throw this.#wrong(`has a group (?${text.slice(0, 1)}… that is not supported: use (?:…)`);
    }
  }

  #class(): CharSet {
    const inverted = this.#next('^');
    const sets: CharSet[] = [];
    for (;;) {
      if (this.#at >= this.#chars.length) throw this.#wrong('has a [ without its ]');
      if (this.#next(']')) break;
      const low = this.#classAtom();
      const range = this.#chars[this.#at] === '-' && this.#chars[this.#at + 1] !== ']';
      if (!range || typeof low !== 'number') {
        sets.push(typeof low === 'number' ? [[low, low]] : low);
        continue;
      }
      this.#at++;
      if (this.#at >= this.#chars.length) continue;
      const high = this.#classAtom();
      if (typeof high !== 'number') {
        // As in [+-\d]: a hyphen beside a class is one.
        sets.push(charSet([low, low], [0x2d, 0x2d]), high);
      } else if (low > high) {
        throw this.#wrong('has a range in […] whose end comes before its beginning');
      } else {
        sets.push([[low, high]]);
      }
    }
    const set = charSetOf(sets.flat());
    const folded = this.#folded(set);
    return inverted ? invertChars(folded) : folded;
  }

  #classAtom(): number | CharSet {
    const char = this.#chars[this.#at++];
    return char === '\\' ? this.#escape(true) : char.codePointAt(0)!;
  }

  /** After a backslash: a character or a set. */
  #escape(inClass: boolean): number | CharSet {
    const char = this.#chars[this.#at++];
    if (char === undefined) throw this.#wrong('ends in a backslash: write \\\\ for the character');
    if (char in CONTROLS) return CONTROLS[char];
    switch (char) {
      case 'd':
        return DIGITS;
      case 'D':
        return NOT_DIGITS;
      case 'w':
        return WORDS[Number(this.#modes.ignoreCase)];
      case 'W':
        return NOT_WORDS[Number(this.#modes.ignoreCase)];
      case 's':
        return SPACES;
      case 'S':
        return NOT_SPACES;
      case 'p':
      case 'P':
        return this.#property(char === 'P');
      case 'x':
        return this.#hex(2);
      case 'u':
        return this.#unicode();
      case 'c':
        return this.#control();
      case '0':
        if (!/[0-9]/.test(this.#chars[this.#at] ?? '')) return 0;
        throw this.#wrong('has an octal escape: write \\x and two hexadecimal digits');
      case 'b':
        if (inClass) return 8;
    }
    if (/[bB]/.test(char)) {
      throw this.#wrong(`uses \\${char}, a kind of look-around, which cannot be enforced`);
    }
    if (/[1-9k]/.test(char)) {
      throw this.#wrong(
        `uses a back-reference \\${char}, which cannot be enforced: repeat the part`,
      );
    }
    if (/[a-zA-Z]/.test(char)) {
      throw this.#wrong(`has the unknown escape \\${char}: leave the backslash out for the letter`);
    }
    return char.codePointAt(0)!;
  }

  #property(inverted: boolean): CharSet {
    const text = this.#chars.slice(this.#at, this.#at + 140).join('');
    const match = /^\{([^}]*)\}/.exec(text);
    if (match === null) throw this.#wrong('has \\p without a {property}');
    const set = propertySet(match[1], this.#budget);
    this.#at += Array.from(match[0]).length;
    return inverted ? subtractChars(ALL_CHARS, set) : set;
  }

  #hex(digits: number): number {
    const text = this.#chars.slice(this.#at, this.#at + digits).join('');
    if (text.length !== digits || !/^[0-9a-fA-F]+$/.test(text)) {
      throw this.#wrong(`has \\${digits === 2 ? 'x' : 'u'} without ${digits} hexadecimal digits`);
    }
    this.#at += digits;
    return Number.parseInt(text, 16);
  }

  #unicode(): number {
    if (this.#next('{')) {
      const text = this.#chars.slice(this.#at, this.#at + 12).join('');
      const match = /^([0-9a-fA-F]+)\}/.exec(text);
      const value = match === null ? Infinity : Number.parseInt(match[1], 16);
      if (value > 0x10ffff) throw this.#wrong('has \\u{…} that is no code point');
      this.#at += match![0].length;
      return value;
    }
    const high = this.#hex(4);
    const from = this.#at;
    if (high < 0xd800 || high > 0xdbff || !this.#next('\\', 'u')) return high;
    const low = /^[dD][c-fC-F]/.test(this.#chars.slice(this.#at, this.#at + 2).join(''))
      ? this.#hex(4)
      : 0;
    if (low !== 0) return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    this.#at = from;
    return high;
  }

  #control(): number {
    const letter = this.#chars[this.#at++] ?? '';
    if (!/^[a-zA-Z]$/.test(letter)) throw this.#wrong('has \\c without a letter');
    return letter.charCodeAt(0) % 32;
  }
}
