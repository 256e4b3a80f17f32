import { octavoError } from '../errors.js';

/** A state of the automaton: a prefix of some stop string. */
interface Node {
  readonly depth: number;
  readonly next: Map<number, Node>;
  /** The state of the longest proper suffix that is a prefix too. */
  fail: Node | null;
  /** The longest stop string that ends here. */
  stop: string | null;
  /** How many last UTF-16 units may still become part of a stop string that goes on from here. */
  held: number;
}

function node(depth: number): Node {
  return { depth, next: new Map(), fail: null, stop: null, held: 0 };
}

function plant(root: Node, stop: string): void {
  let at = root;
  for (let i = 0; i < stop.length; i++) {
    const code = stop.charCodeAt(i);
    let child = at.next.get(code);
    if (child === undefined) at.next.set(code, (child = node(i + 1)));
    at = child;
  }
  at.stop = stop;
}

function step(from: Node, code: number): Node {
  let at: Node | null = from;
  while (at !== null) {
    const child = at.next.get(code);
    if (child !== undefined) return child;
    if (at.fail === null) return at;
    at = at.fail;
  }
  return from;
}

/** Aho and Corasick's automaton over UTF-16 units: built once, shared by all clones. */
function automaton(stops: readonly string[]): Node {
  const root = node(0);
  for (const stop of stops) plant(root, stop);
  const queue = [root];
  for (const at of queue) {
    const fail = at.fail;
    at.stop ??= fail?.stop ?? null;
    at.held = at.next.size > 0 ? at.depth : (fail?.held ?? 0);
    for (const [code, child] of at.next) {
      child.fail = fail === null ? root : step(fail, code);
      queue.push(child);
    }
  }
  return root;
}

export interface StopStringsOptions {
  /** Whether the stop string that was found belongs to the text. Default false. */
  includeStopStrInOutput?: boolean;
}

/** What {@link StopStrings.push} returns. */
export interface StopVerdict {
  /** Text that is now certain and belongs to the output. */
  readonly text: string;
  /** The stop string that was found; the text ends here. Null: it goes on. */
  readonly stop: string | null;
}

/**
 * Finds stop strings in text that arrives in pieces, wherever the pieces break. Text that may still
 * become a stop string is held back, no more than that, so nothing returned has to be taken back.
 *
 * Which one wins: the one that *ends* first (the only choice that never has to wait for more text);
 * of several that end at the same place the longest, so that the text is as short as it can be.
 * Constant cost per UTF-16 unit (amortised), whatever the number of stop strings.
 */
export class StopStrings {
  #root: Node;
  #include: boolean;
  #at: Node;
  #held = '';

  /** @throws ERR_INVALID_PARAM when one is not a string, is empty, or has half a surrogate pair. */
  constructor(stops: readonly string[] = [], options: StopStringsOptions = {}) {
    for (const stop of stops) {
      if (typeof stop === 'string' && stop !== '' && !/\p{Surrogate}/u.test(stop)) continue;
      throw octavoError(
        'ERR_INVALID_PARAM',
        `A stop string must be a non-empty, well-formed string, not ${JSON.stringify(stop)}.`,
        { param: 'stop' },
      );
    }
    this.#root = automaton(stops);
    this.#include = options.includeStopStrInOutput ?? false;
    this.#at = this.#root;
  }

  /** Whether there is any stop string to find. */
  get canStop(): boolean {
    return this.#root.next.size > 0;
  }

  /**
   * Takes a piece of text. With `judge` false a stop string that ends in it is passed over for
   * good; one that only begins in it is still found later. After a stop was reported the matcher is
   * spent: push nothing more.
   */
  push(piece: string, judge = true): StopVerdict {
    if (this.#root.next.size === 0) return { text: piece, stop: null };
    const text = this.#held + piece;
    for (let i = this.#held.length; i < text.length; i++) {
      this.#at = step(this.#at, text.charCodeAt(i));
      const { stop } = this.#at;
      if (stop === null || !judge) continue;
      this.#held = '';
      return { text: text.slice(0, this.#include ? i + 1 : i + 1 - stop.length), stop };
    }
    const certain = text.length - this.#at.held;
    this.#held = text.slice(certain);
    return { text: text.slice(0, certain), stop: null };
  }

  /** The text ends here without a stop string: returns what was held back. */
  flush(): string {
    const text = this.#held;
    this.#held = '';
    this.#at = this.#root;
    return text;
  }

  /** A copy that goes on independently; the automaton is shared. */
  clone(): StopStrings {
    const copy = new StopStrings();
    copy.#root = this.#root;
    copy.#include = this.#include;
    copy.#at = this.#at;
    copy.#held = this.#held;
    return copy;
  }
}
