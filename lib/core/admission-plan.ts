/**
 * What a waiting group needs to be let in: its fork tree, the prefix hits of the sequences that
 * start at once, and how many blocks and tokens that takes. Kept while the group waits, because
 * its tokens stay the same: a step in which it stays blocked costs nothing that grows with them.
 */
import { plantForks } from './fork-tree.js';
import { PrefixHits } from './prefix-hits.js';
import type { SchedulerState } from './scheduler-state.js';
import type { Sequence, SequenceGroup } from './sequence.js';

export class AdmissionPlan {
  readonly #state: SchedulerState;
  readonly #group: SequenceGroup;
  readonly #hits = new Map<Sequence, PrefixHits>();
  readonly #active: Sequence[] = [];
  #numBlocks = 0;
  #wasMade = false;
  /** Counts of the pool when the plan was made; see {@link isBlocked}. */
  #numRevivals = 0;
  #numEvictions = 0;

  /** For a group that has nothing computed and starts to wait. */
  constructor(state: SchedulerState, group: SequenceGroup) {
    this.#state = state;
    this.#group = group;
    plantForks(group);
  }

  /** Sequences that start at once, the first of the tree first; others are forked from them. */
  get active(): readonly Sequence[] {
    return this.#active;
  }

  /** Blocks that the group takes from those free now, and those that its forks will take. */
  get numBlocks(): number {
    return this.#numBlocks;
  }

  get usesCache(): boolean {
    return this.#state.config.enablePrefixCaching && !this.#group.wantsPromptLogprobs;
  }

  /** Of a sequence that starts at once. */
  hitsOf(sequence: Sequence): PrefixHits {
    let hits = this.#hits.get(sequence);
    if (hits === undefined) {
      const { pool, kvGroups, states } = this.#state;
      // At least one token is always computed: a step has no empty query.
      const mostTokens = this.usesCache ? sequence.numTokens - 1 : 0;
      const { prefixes } = pool;
      const { root } = this.#group;
      hits = new PrefixHits({ prefixes, groups: kvGroups, states, root, mostTokens });
      this.#hits.set(sequence, hits);
    }
    return hits;
  }

  /**
   * Tokens that the budget must have for the group to start: one for each sequence, and all of the
   * first where prompts may not be computed in chunks. (Without chunks a prompt still ends at a
   * fork, and what a preempted group catches up beside its first sequence may be split by the
   * budget: together it may be more than any budget, and the group would wait for ever.)
   */
  get numQueryTokens(): number {
    const others = this.#active.length - 1;
    return Math.min(this.#leastQueryTokens + others, this.#state.config.maxNumBatchedTokens);
  }

  /**
   * True: nothing has happened since the plan was made that could let the group into `room`
   * blocks and `budget` tokens. What it needs becomes less only where its hits become more, where
   * others take free hits into use (one block each), or where hits were evicted: fewer of it may
   * start at once then, and before a shorter hit windows may look at blocks that are in use.
   */
  isBlocked(room: number, budget: number): boolean {
    const { pool, kvGroups } = this.#state;
    if (!this.#wasMade) return false;
    const mayShrink = this.#active.length > 1 || kvGroups.slides;
    if (mayShrink && pool.prefixes.numEvictions !== this.#numEvictions) return false;
    const least = this.#numBlocks - (pool.numRevivals - this.#numRevivals);
    if (least <= room && this.#leastQueryTokens <= budget) return false;
    return !this.#active.some((sequence) => this.hitsOf(sequence).mayGrow(sequence.tokens));
  }

  /**
   * Makes the plan for the cache and the pool as they are now. A sequence waits for its fork unless
   * hits cover the shared tokens as well: then it starts at once with hits of its own.
   */
  make(): void {
    const { pool } = this.#state;
    const limits = new Map<Sequence, number>();
    while (!this.#makeWithin(limits));
    this.#wasMade = true;
    this.#numRevivals = pool.numRevivals;
    this.#numEvictions = pool.prefixes.numEvictions;
  }

  /**
   * One try. False: the hits of a parent go past the fork of a child, but before the end of its own
   * hits a window misses a block, so that it would compute in blocks of its own what it can share.
   * Then the parent is limited to hits that end before the fork.
   */
  #makeWithin(limits: Map<Sequence, number>): boolean {
    const { pool, kvGroups } = this.#state;
    this.#active.length = 0;
    this.#numBlocks = 0;
    pool.startMarks();
    for (const sequence of this.#group.sequences) {
      if (sequence.finishReason !== null) continue;
      if (this.#waitsForFork(sequence)) {
        this.#numBlocks += this.#state.blocksOfFork(sequence);
        continue;
      }
      this.hitsOf(sequence).update(sequence.tokens, limits.get(sequence));
      const { forkParent: parent, forkAt, numTokens } = sequence;
      if (parent !== null) {
        const shared = Math.floor(Math.min(forkAt, numTokens - 1) / kvGroups.finest);
        if (this.#numHit(sequence) < shared * kvGroups.finest) {
          limits.set(parent, forkAt - 1);
          return false;
        }
      }
      this.#numBlocks += this.#countBlocks(sequence);
      this.#active.push(sequence);
    }
    return true;
  }

  /** The group is let in: who starts at once waits for no fork. */
  carryOut(): void {
    for (const sequence of this.#active) sequence.waitNoMore();
  }

  /** What the sequence will hold at its peak in each group, less the hits that are in use. */
  #countBlocks(sequence: Sequence): number {
    const { pool, kvGroups } = this.#state;
    const hits = this.hitsOf(sequence);
    const { numTokens } = hits;
    let sum = 0;
    for (let g = 0; g < kvGroups.length; g++) {
      const blocks = hits.blocksOf(g);
      const numHit = blocks.length - kvGroups.firstKept(g, numTokens);
      sum += kvGroups.peak(g, numTokens, sequence.numTokens) - numHit;
      for (const block of blocks) if (pool.refCounts[block] === 0 && pool.mark(block)) sum++;
    }
    return sum;
  }

  get #leastQueryTokens(): number {
    const { enableChunkedPrefill, maxNumBatchedTokens } = this.#state.config;
    if (enableChunkedPrefill) return 1;
    const [first] = this.#active;
    return Math.min(first.numTokens - this.#numHit(first), maxNumBatchedTokens);
  }

  #waitsForFork(sequence: Sequence): boolean {
    const parent = sequence.forkParent;
    if (sequence.isSpare) return true;
    if (parent === null) return false;
    return !this.#active.includes(parent) || this.#numHit(parent) < sequence.forkAt;
  }

  #numHit(sequence: Sequence): number {
    return this.hitsOf(sequence).numTokens;
  }
}
