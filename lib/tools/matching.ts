/** Whether a text that is still coming begins with a marker. Texts are marked (marks.ts). */
import { type CallFormat, ID_SLOT, INDEX_SLOT, NAME_SLOT } from './format.js';
import { isMark } from './marks.js';

export interface Match {
  /** Where what follows begins. */
  readonly end: number;
  /** What stood in the slots. */
  readonly id?: string;
  readonly index?: string;
}

/** `more`: it may yet; null: it does not. */
export type Outcome = Match | 'more' | null;

export interface Expected {
  readonly pattern: string;
  /** For NAME_SLOT. */
  readonly name?: string;
  /** Any whitespace, none too, is as good as what the pattern has. */
  readonly lenient?: boolean;
}

const SPACE = /\s/;
const SLOT_CHARS: Record<string, RegExp> = { [ID_SLOT]: /[A-Za-z0-9_-]/, [INDEX_SLOT]: /[0-9]/ };

export function skipSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && SPACE.test(text[at])) at++;
  return at;
}

/** Matches `pattern` at `from` of a text whose end has perhaps not come yet. */
export function matchAt(text: string, from: number, expected: Expected): Outcome {
  const { pattern, name = '', lenient = false } = expected;
  const found: { id?: string; index?: string } = {};
  let at = from;
  for (let i = 0; i < pattern.length; i++) {
    const char = pattern[i];
    const slot = SLOT_CHARS[char];
    if (slot !== undefined) {
      const start = at;
      while (at < text.length && slot.test(text[at])) at++;
      if (at === text.length) return 'more';
      if (at === start) return null;
      found[char === ID_SLOT ? 'id' : 'index'] = text.slice(start, at);
    } else if (char === NAME_SLOT) {
      for (const letter of name) {
        if (at === text.length) return 'more';
        if (text[at++] !== letter) return null;
      }
    } else if (lenient && SPACE.test(char)) {
      while (i + 1 < pattern.length && SPACE.test(pattern[i + 1])) i++;
      at = skipSpace(text, at);
    } else {
      if (lenient) at = skipsBefore(text, at, char, i === 0);
      if (at === text.length) return 'more';
      if (text[at++] !== char) return null;
    }
  }
  return { end: at, ...found };
}

/** Parts of JSON, and markers, may have whitespace before them that the template does not write. */
function skipsBefore(text: string, at: number, char: string, isFirst: boolean): number {
  if (!isFirst && !/["{}[\],:]/.test(char)) return at;
  const next = skipSpace(text, at);
  return next === text.length || text[next] === char ? next : at;
}

const SYNTAX = /[\\^$.*+?()[\]{}|]/g;

/** Texts that are looked for together: each character is looked at once, however many there are. */
export class Markers {
  readonly #texts: readonly string[];
  readonly #pattern: RegExp | null;

  /** @param texts empty ones are passed over */
  constructor(texts: readonly string[]) {
    this.#texts = [...new Set(texts)]
      .filter((text) => text !== '')
      .sort((a, b) => b.length - a.length);
    const ways = this.#texts.map((text) => text.replace(SYNTAX, '\\$&'));
    this.#pattern = ways.length === 0 ? null : new RegExp(ways.join('|'), 'g');
  }

  get isEmpty(): boolean {
    return this.#pattern === null;
  }

  /** The first that comes, and of those that begin there the longest; null for none. */
  find(text: string, from = 0): { readonly at: number; readonly marker: string } | null {
    if (this.#pattern === null) return null;
    this.#pattern.lastIndex = from;
    const found = this.#pattern.exec(text);
    return found && { at: found.index, marker: found[0] };
  }

  /** Length of the longest end of `text` that one of them may begin with, but no whole one. */
  held(text: string): number {
    const longest = this.#texts[0]?.length ?? 0;
    for (let at = Math.max(0, text.length - longest + 1); at < text.length; at++) {
      if (!this.#begins(text[at])) continue;
      const end = text.slice(at);
      if (this.#texts.some((one) => one.length > end.length && one.startsWith(end))) {
        return end.length;
      }
    }
    return 0;
  }

  #begins(char: string): boolean {
    return this.#texts.some((text) => text[0] === char);
  }
}

const BRACKETED = /^(<[^<>\s]*>|\[[^[\]\s]*\])/;

/** What tells, within free text, that a call begins; none for a bare format. */
export function triggersOf(format: CallFormat): string[] {
  if (format.bare) return [];
  const triggers = format.forms.map(({ start }) => {
    const head = cutAtSlot((format.section.start + start).trimStart());
    if (isMark(head[0])) return head[0];
    return (BRACKETED.exec(head)?.[0] ?? head).trimEnd();
  });
  return [...new Set(triggers)];
}

/** What tells, among what is no argument, that a call ends; '' where nothing does. */
export function endMarkOf({ end }: CallFormat): string {
  const text = cutAtSlot(end.trim());
  const last = Array.from(text).at(-1) ?? '';
  const isOnly = isMark(last) && Array.from(text).filter(isMark).length === 1;
  return isOnly ? last : (/<[^<>\s]*>$/.exec(text)?.[0] ?? text);
}

function cutAtSlot(text: string): string {
  const at = [ID_SLOT, INDEX_SLOT, NAME_SLOT]
    .map((slot) => text.indexOf(slot))
    .filter((i) => i >= 0);
  return at.length === 0 ? text : text.slice(0, Math.min(...at));
}
