/**
 * Which beginnings of prompts the prefix cache holds, the largest first: blocks are counted under
 * the first of their prefix. A pool has any number of blocks, so a survey goes over them in parts,
 * each of which takes a moment; what comes and goes between two parts may be counted or not.
 */
import type { PrefixIndex } from '../core/prefix-hash.js';

/** Looked at in one part: about a millisecond of work. */
const PART = 8192;
const MOST_PREFIXES = 10;
/** Of the text, for who knows how to spell it. */
const MOST_TOKENS = 24;

/** No first block; not known yet. */
const LOST = -1;
const UNKNOWN = -2;

/** A beginning, and what goes on from it. */
export interface SurveyedPrefix {
  /** Blocks that begin so. */
  readonly numBlocks: number;
  /** Tokens that all of them have in common. */
  readonly numTokens: number;
  /** Whether only prompts with its salt can hit it. */
  readonly isSalted: boolean;
  /** The first tokens; none of what a salt keeps apart. */
  readonly tokenIds: readonly number[];
}

export class PrefixSurvey {
  readonly #prefixes: PrefixIndex;
  /** Of the node that is looked at next, and then of what was found. */
  #at = 1;
  #isCollected = false;
  // Of what was found, in the order of nodes.
  readonly #nodes: number[] = [];
  readonly #identities: number[] = [];
  readonly #parents: number[] = [];
  readonly #numBlocks: number[] = [];
  readonly #indexOf = new Map<number, number>();
  /** The first of its prefix. */
  readonly #firsts: number[] = [];
  readonly #numChildren: number[] = [];
  readonly #child: number[] = [];
  readonly #sums = new Map<number, number>();
  /** Those that are told, by their first. */
  #told: Map<number, SurveyedPrefix> | null = null;

  constructor(prefixes: PrefixIndex) {
    this.#prefixes = prefixes;
  }

  /** The largest first; null before all parts are done. */
  get found(): readonly SurveyedPrefix[] | null {
    return this.#told && [...this.#told.values()];
  }

  /** Does a part. */
  goOn(): void {
    if (this.#told !== null) return;
    if (!this.#isCollected) this.#collect();
    else this.#count();
  }

  /** Which of those found a prefix belongs to that is known by its identity; −1: none of them. */
  placeOf(identity: number): number {
    const index = this.#indexOf.get(identity);
    if (index === undefined || this.#told === null) return -1;
    return [...this.#told.keys()].indexOf(this.#firsts[index]);
  }

  #collect(): void {
    const prefixes = this.#prefixes;
    const end = Math.min(this.#at + PART, prefixes.endOfNodes);
    for (; this.#at < end; this.#at++) {
      const node = this.#at;
      const identity = prefixes.identityAt(node);
      if (identity === 0) continue;
      this.#indexOf.set(identity, this.#nodes.length);
      this.#nodes.push(node);
      this.#identities.push(identity);
      this.#parents.push(prefixes.parentAt(node));
      this.#numBlocks.push(prefixes.numBlocksAt(node));
      this.#firsts.push(UNKNOWN);
      this.#numChildren.push(0);
      this.#child.push(0);
    }
    if (this.#at < prefixes.endOfNodes) return;
    this.#isCollected = true;
    this.#at = 0;
    // A pool of moderate size is done at once.
    if (this.#nodes.length <= PART) this.#count();
  }

  #count(): void {
    const end = Math.min(this.#at + PART, this.#nodes.length);
    for (; this.#at < end; this.#at++) {
      const first = this.#firstOf(this.#at);
      if (first === LOST) continue;
      this.#sums.set(first, (this.#sums.get(first) ?? 0) + this.#numBlocks[this.#at]);
      const before = this.#indexOf.get(this.#parents[this.#at]);
      if (before === undefined) continue;
      this.#numChildren[before]++;
      this.#child[before] = this.#at;
    }
    if (this.#at === this.#nodes.length) this.#tell();
  }

  /** Each is asked once, and then known: all in all as many steps as there are blocks. */
  #firstOf(start: number): number {
    const way: number[] = [];
    let at = start;
    let first = this.#firsts[at];
    while (first === UNKNOWN) {
      way.push(at);
      const parent = this.#parents[at];
      const before = parent < 0 ? at : this.#indexOf.get(parent);
      // What stands before it was evicted: nobody can hit it any more.
      if (before === undefined) first = LOST;
      else if (before === at) first = at;
      else first = this.#firsts[(at = before)];
    }
    for (const one of way) this.#firsts[one] = first;
    return first;
  }

  #tell(): void {
    const largest = [...this.#sums].sort((a, b) => b[1] - a[1]).slice(0, MOST_PREFIXES);
    this.#told = new Map(
      largest.map(([first, numBlocks]) => [first, this.#describe(first, numBlocks)]),
    );
  }

  #describe(first: number, numBlocks: number): SurveyedPrefix {
    const prefixes = this.#prefixes;
    const isSalted = prefixes.rootAt(this.#parents[first]).salt !== null;
    const tokenIds: number[] = [];
    let numTokens = 0;
    for (let at = first; ; at = this.#child[at]) {
      const node = this.#nodes[at];
      const tokens = prefixes.tokensAt(node);
      numTokens += tokens.length;
      // It may be another's by now.
      const isThere = prefixes.identityAt(node) === this.#identities[at];
      if (isThere && !isSalted && tokenIds.length < MOST_TOKENS) tokenIds.push(...tokens);
      if (this.#numChildren[at] !== 1) break;
    }
    return { numBlocks, numTokens, isSalted, tokenIds: tokenIds.slice(0, MOST_TOKENS) };
  }
}
