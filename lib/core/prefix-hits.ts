/**
 * The blocks of the prefix cache that hold the tokens of one waiting sequence from their start: the
 * longest prefix that every KV group can serve. A group that keeps all tokens needs every block of
 * it; one with a window only those that the next query looks at. Where one of these is missing the
 * prefix must end before it, which may ask another group for other blocks: it is shortened until
 * all agree. It ends where all groups have a border: nobody writes into a block that is hit; and
 * where there are recurrent layers, where the cache has a state as well.
 *
 * What was found is kept from look to look, each node with the identity that it had: a node that
 * still has it is still the same prefix, so a second look hashes nothing but what has changed.
 */
import { NULL_BLOCK } from './block-pool.js';
import type { KvGroups } from './kv-groups.js';
import type { PrefixIndex } from './prefix-hash.js';
import type { RecurrentStates } from './recurrent-states.js';
import { FIRST_STATE } from './state-slots.js';

/** What is looked at, and what for. */
export interface HitsOptions {
  readonly prefixes: PrefixIndex;
  readonly groups: KvGroups;
  /** null: there are no recurrent layers. */
  readonly states?: RecurrentStates | null;
  readonly root: number;
  /** Most tokens that may be hit. */
  readonly mostTokens: number;
}

export class PrefixHits {
  readonly #prefixes: PrefixIndex;
  readonly #groups: KvGroups;
  readonly #states: RecurrentStates | null;
  readonly #root: number;
  /** Most tokens that may be hit. */
  readonly #most: number;
  readonly #nodes: number[] = [];
  readonly #identities: number[] = [];
  #numTokens = 0;
  #numWithoutState = 0;
  readonly #blocks: number[][];
  /** How many blocks, and states, had ever been published at the last look. */
  #numPublications = 0;
  #numStates = 0;
  /** It would be longer if groups had more blocks of the nodes that there are. */
  #wantsBlocks = false;

  constructor({ prefixes, groups, states = null, root, mostTokens }: HitsOptions) {
    this.#prefixes = prefixes;
    this.#groups = groups;
    this.#states = states;
    this.#root = root;
    this.#most = groups.coarsest * Math.floor(mostTokens / groups.coarsest);
    this.#blocks = groups.blockSizes.map(() => []);
  }

  /** As of the last {@link update}. */
  get numTokens(): number {
    return this.#numTokens;
  }

  /** Tokens that would be hit if there were a state wherever one can be. */
  get numWithoutState(): number {
    return this.#numWithoutState;
  }

  /** For the table of a group: its blocks, and the null block where its window does not look. */
  blocksOf(g: number): readonly number[] {
    return this.#blocks[g];
  }

  /** Identity of the whole prefix that is hit. */
  get prefix(): number {
    return this.#identityAfter(this.#numTokens / this.#groups.finest);
  }

  /** Finds the longest prefix that there is now, within a limit; touches none of its blocks. */
  update(tokens: Int32Array, limit = this.#most): void {
    const most = this.#most / this.#groups.finest;
    let i = 0;
    let parent = this.#root;
    while (i < most && (this.#stands(i) || this.#find(i, parent, tokens))) {
      parent = this.#identities[i++];
    }
    this.#cut(i);
    this.#numTokens = this.#longestHit(limit);
    this.#numPublications = this.#countPublications();
    this.#numStates = this.#states?.slots.numPublished ?? 0;
    for (let g = 0; g < this.#groups.length; g++) this.#listBlocks(g);
  }

  /**
   * Would {@link update} find more than it did? Hashes one block, and may say so where blocks were
   * published that are of no use to it. (It may as well find less.)
   */
  mayGrow(tokens: Int32Array): boolean {
    const { finest } = this.#groups;
    const { length } = this.#nodes;
    if (this.#wantsBlocks) return this.#countPublications() !== this.#numPublications;
    // New nodes have new identities, of which there is no state yet.
    if (this.#states !== null) return this.#states.slots.numPublished !== this.#numStates;
    if (length * finest >= this.#most) return false;
    return this.#prefixes.find(this.#identityAfter(length), tokens, length * finest) > 0;
  }

  /** What all groups serve and, where there are recurrent layers, has a state. */
  #longestHit(limit: number): number {
    const numKnown = this.#nodes.length * this.#groups.finest;
    let numTokens = this.#longestServed(limit);
    this.#wantsBlocks = numTokens + this.#groups.coarsest <= numKnown;
    if (this.#states === null) return numTokens;
    this.#numWithoutState = numTokens - (numTokens % this.#states.unit);
    for (;;) {
      const shorter = this.#withState(this.#states, numTokens);
      numTokens = this.#longestServed(shorter);
      if (numTokens === shorter) return numTokens;
      this.#wantsBlocks = true;
    }
  }

  /** The longest beginning of so many tokens that the cache has a state of. */
  #withState({ slots, unit }: RecurrentStates, numTokens: number): number {
    for (let at = unit * Math.floor(numTokens / unit); at > 0; at -= unit) {
      if (slots.find(this.#identityAfter(at / this.#groups.finest)) !== FIRST_STATE) return at;
    }
    return 0;
  }

  #longestServed(limit: number): number {
    const { length, finest, coarsest, windows } = this.#groups;
    const whole = (numTokens: number) => coarsest * Math.floor(numTokens / coarsest);
    let numTokens = whole(Math.min(limit, this.#nodes.length * finest));
    for (let g = 0; g < length; g++) {
      if (windows[g] === 0) numTokens = whole(this.#servedWhole(g, numTokens));
    }
    if (!this.#groups.slides) return numTokens;
    // Of each group, the first block of those that were seen to be there: none is looked at twice.
    const seen = windows.map(() => Number.POSITIVE_INFINITY);
    for (let g = 0, agreed = 0; agreed < length; g = (g + 1) % length) {
      const shorter = windows[g] === 0 ? numTokens : whole(this.#servedLast(g, numTokens, seen));
      agreed = shorter === numTokens ? agreed + 1 : 0;
      numTokens = shorter;
    }
    return numTokens;
  }

  /** How many of the first `numTokens` a group holds that needs them all. */
  #servedWhole(g: number, numTokens: number): number {
    const count = numTokens / this.#groups.blockSizes[g];
    let i = 0;
    while (i < count && this.#blockAt(g, i) > 0) i++;
    return i * this.#groups.blockSizes[g];
  }

  /** `numTokens`, if the group holds what its window looks at then; else where to try next. */
  #servedLast(g: number, numTokens: number, seen: number[]): number {
    const size = this.#groups.blockSizes[g];
    const first = this.#groups.firstKept(g, numTokens);
    for (let i = Math.min(seen[g], numTokens / size) - 1; i >= first; i--) {
      if (this.#blockAt(g, i) === 0) return i * size;
      seen[g] = i;
    }
    return numTokens;
  }

  /** Block i of a group, 0: it is not there. */
  #blockAt(g: number, i: number): number {
    const ratio = this.#groups.blockSizes[g] / this.#groups.finest;
    return this.#prefixes.blockOf(this.#nodes[(i + 1) * ratio - 1], g);
  }

  #listBlocks(g: number): void {
    const list = this.#blocks[g];
    const first = this.#groups.firstKept(g, this.#numTokens);
    list.length = this.#numTokens / this.#groups.blockSizes[g];
    for (let i = 0; i < list.length; i++) list[i] = i < first ? NULL_BLOCK : this.#blockAt(g, i);
  }

  #countPublications(): number {
    const { numPublished, numEvictions } = this.#prefixes;
    return numPublished + numEvictions + (this.#states?.slots.numPublished ?? 0);
  }

  #identityAfter(numNodes: number): number {
    return numNodes === 0 ? this.#root : this.#identities[numNodes - 1];
  }

  #stands(i: number): boolean {
    return (
      i < this.#nodes.length && this.#prefixes.identityAt(this.#nodes[i]) === this.#identities[i]
    );
  }

  #find(i: number, parent: number, tokens: Int32Array): boolean {
    const node = this.#prefixes.find(parent, tokens, i * this.#groups.finest);
    if (node === 0) return false;
    const identity = this.#prefixes.identityAt(node);
    // Another identity has other successors.
    if (identity !== this.#identities[i]) this.#cut(i);
    this.#nodes[i] = node;
    this.#identities[i] = identity;
    return true;
  }

  #cut(length: number): void {
    this.#nodes.length = length;
    this.#identities.length = length;
  }
}
