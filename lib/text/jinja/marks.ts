/**
 * Where a text comes from. A template writes control tokens; what it is given must not spell one.
 * So the characters that control tokens begin and end with are replaced, in all that a template is
 * given, by stand-ins of the same length. To the template a stand-in is the character it stands
 * for: whatever compares or searches looks at `plain()` texts, and cuts the text that has them. In
 * the render a control token of real characters is the template's own. Where nobody knows which
 * characters of a result come from where, all that could be marked is.
 */

/** First of the characters that may stand in: Unicode's own noncharacters, then private ones. */
const BLOCKS = [0xfdd0, ...Array.from({ length: 200 }, (_, i) => 0xe000 + 32 * i)];
const BLOCK = 32;

function classOf(first: number, last: number): string {
  const unit = (code: number) => `\\u${code.toString(16).padStart(4, '0')}`;
  return `[${unit(first)}-${unit(last)}]`;
}

/** The stand-ins of one render. */
export class Marks {
  readonly #chars: string;
  readonly #first: number;
  readonly #guarded: RegExp;
  readonly #standIn: RegExp;

  /** @param chars at most 32 that are marked; no letters, digits, spaces or quotes */
  constructor(chars: string, first: number = BLOCKS[0]) {
    this.#chars = chars.slice(0, BLOCK);
    this.#first = first;
    const listed = [...this.#chars].map(
      (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
    this.#guarded = new RegExp(`[${listed.join('')}]`, 'g');
    this.#standIn = new RegExp(classOf(first, first + BLOCK - 1), 'g');
  }

  /** Those whose stand-ins occur in none of the texts; undefined where there are none. */
  static unused(chars: string, isUsed: (standIns: RegExp) => boolean): Marks | undefined {
    const first = BLOCKS.find((at) => !isUsed(new RegExp(classOf(at, at + BLOCK - 1))));
    return first === undefined ? undefined : new Marks(chars, first);
  }

  mark(text: string): string {
    return text.replace(this.#guarded, (c) => this.standIn(c));
  }

  plain(text: string): string {
    return text.replace(this.#standIn, (c) => this.#chars[c.charCodeAt(0) - this.#first] ?? c);
  }

  standIn(char: string): string {
    return String.fromCharCode(this.#first + this.#chars.indexOf(char));
  }
}

/** Rendering is synchronous, so there is one at a time; null: nothing is marked. */
let current: Marks | null = null;

export function withMarks<T>(marks: Marks | null, run: () => T): T {
  const outer = current;
  current = marks;
  try {
    return run();
  } finally {
    current = outer;
  }
}

export function isMarking(): boolean {
  return current !== null;
}

/** A text that comes from outside. */
export function mark(text: string): string {
  return current === null ? text : current.mark(text);
}

/** As the template sees it: as long, and without stand-ins. */
export function plain(text: string): string {
  return current === null ? text : current.plain(text);
}

/** Of a result that nobody can follow: marked wherever one of the texts was. */
export function changed(change: (text: string) => string): (text: string) => string {
  return (text) => {
    const bare = plain(text);
    return bare === text ? change(text) : mark(change(bare));
  };
}

/** `text.split(by)` */
export function splitText(text: string, by: string): string[] {
  if (current === null) return text.split(by);
  const parts = plain(text).split(plain(by));
  let at = 0;
  return parts.map((part) => {
    const start = at;
    at += part.length + by.length;
    return text.slice(start, start + part.length);
  });
}
