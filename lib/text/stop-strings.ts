import { octavoError } from '../errors.js';

/** The state before anything was read; it stands for no child, too, because it is nobody's. */
const ROOT = 0;

/**
 * Aho and Corasick's automaton over UTF-16 units. A state is a number and stands for a prefix of
 * some stop string; everything of it is in columns, so that long stop strings cost bytes, not
 * objects. Built once, shared by all clones.
 */
class Automaton {
  /** The longest stop string that ends at a state, or null. */
  readonly stops: (string | null)[] = [null];
  /** How many last units may still become part of a stop string that goes on from a state. */
  readonly held: Int32Array;
  /** The state of the longest proper suffix that is a prefix too. */
  readonly #fail: Int32Array;
  readonly #parent: Int32Array;
  readonly #code: Uint16Array;
  readonly #depth: Int32Array;
  /** Children by (parent, unit): open addressing, ROOT where a place is free. */
  readonly #children: Int32Array;
  #size = 1;

  constructor(stops: readonly string[]) {
    const most = 1 + stops.reduce((sum, stop) => sum + stop.length, 0);
    this.held = new Int32Array(most);
    this.#fail = new Int32Array(most);
    this.#parent = new Int32Array(most);
    this.#code = new Uint16Array(most);
    this.#depth = new Int32Array(most);
    this.#children = new Int32Array(2 ** Math.ceil(Math.log2(2 * most)));
    for (const stop of stops) this.#plant(stop);
    const leads = new Uint8Array(most);
    for (let i = 1; i < this.#size; i++) leads[this.#parent[i]] = 1;
    for (const state of this.#byDepth()) this.#link(state, leads[state] === 1);
  }

  get isEmpty(): boolean {
    return this.#size === 1;
  }

  step(from: number, code: number): number {
    for (let at = from; ; at = this.#fail[at]) {
      const child = this.#children[this.#place(at, code)];
      if (child !== ROOT || at === ROOT) return child;
    }
  }

  #plant(stop: string): void {
    let at = ROOT;
    for (let i = 0; i < stop.length; i++) {
      const code = stop.charCodeAt(i);
      const place = this.#place(at, code);
      if (this.#children[place] === ROOT) {
        const child = this.#size++;
        this.#children[place] = child;
        this.#parent[child] = at;
        this.#code[child] = code;
        this.#depth[child] = i + 1;
        this.stops.push(null);
      }
      at = this.#children[place];
    }
    this.stops[at] = stop;
  }

  /** Its suffixes are shorter, and so are linked already. */
  #link(state: number, leads: boolean): void {
    const parent = this.#parent[state];
    const fail = parent === ROOT ? ROOT : this.step(this.#fail[parent], this.#code[state]);
    this.#fail[state] = fail;
    this.stops[state] ??= this.stops[fail];
    this.held[state] = leads ? this.#depth[state] : this.held[fail];
  }

  /** All states but the root, the shallow ones first. */
  #byDepth(): Int32Array {
    const depths = this.#depth.subarray(1, this.#size);
    const deepest = depths.reduce((most, depth) => Math.max(most, depth), 0);
    const next = new Int32Array(deepest + 2);
    for (const depth of depths) next[depth + 1]++;
    for (let d = 1; d < next.length; d++) next[d] += next[d - 1];
    const order = new Int32Array(depths.length);
    for (let i = 0; i < depths.length; i++) order[next[depths[i]]++] = i + 1;
    return order;
  }

  /** Where the child of a state is, or would be. */
  #place(parent: number, code: number): number {
    const mask = this.#children.length - 1;
    let place = (Math.imul(parent, 0x9e3779b1) ^ Math.imul(code, 0x85ebca6b)) >>> 0;
    place = (place ^ (place >>> 15)) & mask;
    for (;;) {
      const child = this.#children[place];
      if (child === ROOT) return place;
      if (this.#parent[child] === parent && this.#code[child] === code) return place;
      place = (place + 1) & mask;
    }
  }
}

export interface StopStringsOptions {
  /** Whether the stop string that was found belongs to the text. Default false. */
  includeStopStrInOutput?: boolean;
}

/** What {@link StopStrings.push} returns. */
export interface StopResult {
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
  #automaton: Automaton;
  #include: boolean;
  #at = ROOT;
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
    this.#automaton = stops.length === 0 ? NOTHING : new Automaton(stops);
    this.#include = options.includeStopStrInOutput ?? false;
  }

  /** Whether there is any stop string to find. */
  get canStop(): boolean {
    return !this.#automaton.isEmpty;
  }

  /**
   * Takes a piece of text. With `mayStop` false a stop string that ends in it is passed over for
   * good; one that only begins in it is still found later. After a stop was reported the matcher is
   * spent: push nothing more.
   */
  push(piece: string, mayStop = true): StopResult {
    const automaton = this.#automaton;
    if (automaton.isEmpty) return { text: piece, stop: null };
    for (let i = 0; i < piece.length; i++) {
      this.#at = automaton.step(this.#at, piece.charCodeAt(i));
      const stop = automaton.stops[this.#at];
      if (stop === null || !mayStop) continue;
      const text = this.#held + piece.slice(0, i + 1);
      this.#held = '';
      return { text: this.#include ? text : text.slice(0, text.length - stop.length), stop };
    }
    const text = this.#held + piece;
    const certain = text.length - automaton.held[this.#at];
    this.#held = text.slice(certain);
    return { text: text.slice(0, certain), stop: null };
  }

  /** The text ends here without a stop string: returns what was held back. */
  flush(): string {
    const text = this.#held;
    this.#held = '';
    this.#at = ROOT;
    return text;
  }

  /** A copy that goes on independently; the automaton is shared. */
  clone(): StopStrings {
    const copy = new StopStrings();
    copy.#automaton = this.#automaton;
    copy.#include = this.#include;
    copy.#at = this.#at;
    copy.#held = this.#held;
    return copy;
  }
}

/** Of no stop strings. */
const NOTHING = new Automaton([]);
