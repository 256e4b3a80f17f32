/**
 * What the three verbs share: who waits, who runs, the pool, the tables. Each change of a group's
 * state that touches more than one of these is a method here, so that it can only happen whole.
 */
import { assert } from '../errors.js';
import { BlockPool } from './block-pool.js';
import { BlockTables } from './block-table.js';
import { unhang } from './fork-tree.js';
import { HostBlocks } from './host-blocks.js';
import { makeSamplerSlab, writeSamplerRow } from './sampler-slab.js';
import type { SchedulerConfig } from './scheduler-config.js';
import type { FinishReason, Sequence, SequenceGroup } from './sequence.js';
import type { Step } from './step-record.js';
import { swapOut } from './swapping.js';

/** Counts since the start; never reset. */
export interface SchedulerStats {
  numPreemptions: number;
  /** Tokens looked up in the prefix cache, and found there. */
  numPrefixQueries: number;
  numPrefixHits: number;
  numBlockCopies: number;
  /** Blocks moved to the host pool, and back. */
  numSwappedOut: number;
  numSwappedIn: number;
}

export class SchedulerState {
  readonly config: SchedulerConfig;
  readonly pool: BlockPool;
  readonly tables: BlockTables;
  readonly hostBlocks: HostBlocks;
  readonly samplerSlab: Float64Array;
  /** Every group that is not finished. */
  readonly groups = new Map<string, SequenceGroup>();
  /** First to be admitted first. */
  readonly waiting: SequenceGroup[] = [];
  /** Groups whose blocks are in the host pool, first to come back first. */
  readonly swapped: SequenceGroup[] = [];
  /** Sequences with a table of their own, in the order of {@link precedes}, groups together. */
  readonly running: Sequence[] = [];
  /** Blocks that forks still to come will need; admission leaves them alone. */
  numPromised = 0;
  readonly stats: SchedulerStats = {
    numPreemptions: 0,
    numPrefixQueries: 0,
    numPrefixHits: 0,
    numBlockCopies: 0,
    numSwappedOut: 0,
    numSwappedIn: 0,
  };
  /** Groups aborted while a step runs: their blocks are not handed out before it ends. */
  readonly #fenced: SequenceGroup[] = [];

  constructor(config: SchedulerConfig) {
    this.config = config;
    const { numBlocks, blockSize, hashSeed } = config;
    this.pool = new BlockPool({ numBlocks, blockSize, hashSeed });
    const blocksPerRow = Math.ceil(config.maxModelLen / blockSize);
    this.tables = new BlockTables(this.pool, config.maxNumSeqs, blocksPerRow);
    this.hostBlocks = new HostBlocks(config.numHostBlocks);
    this.samplerSlab = makeSamplerSlab(config.maxNumSeqs);
  }

  /** Into the line, in order; a preempted group arrived before all others that wait. */
  enqueue(group: SequenceGroup): void {
    group.state = 'waiting';
    insert(this.waiting, group);
  }

  /** Gives each unfinished sequence its row in the slabs. */
  giveRows(group: SequenceGroup): void {
    for (const sequence of group.sequences) {
      if (sequence.finishReason !== null) continue;
      this.tables.takeRow(sequence);
      writeSamplerRow(this.samplerSlab, sequence);
    }
  }

  /** Puts the group's active sequences into the running list. */
  enterRunning(group: SequenceGroup, active: readonly Sequence[]): void {
    group.state = 'running';
    let at = this.running.length;
    while (at > 0 && precedes(group, this.running[at - 1].group)) at--;
    this.running.splice(at, 0, ...active);
  }

  /** Room is short: frees all blocks of a group, into the host pool or to be computed again. */
  preempt(group: SequenceGroup, step: Step): void {
    this.leaveRunning(group);
    const { preemptionPolicy } = this.config;
    const maySwap =
      preemptionPolicy === 'swap' || (preemptionPolicy === 'auto' && group.numUnfinished > 1);
    const isSwapped = maySwap && swapOut(this, step, group);
    this.#withdraw(group);
    group.numPreemptions++;
    this.stats.numPreemptions++;
    if (isSwapped) {
      group.numSwaps++;
      group.state = 'swapped';
      insert(this.swapped, group);
    } else {
      this.recompute(group);
    }
  }

  /** Back into the line with nothing computed. */
  recompute(group: SequenceGroup): void {
    if (group.state === 'swapped') this.#leaveHost(group);
    for (const sequence of group.sequences) {
      if (sequence.finishReason === null) sequence.forgetComputed();
    }
    this.enqueue(group);
  }

  /** Blocks that a sequence takes when it is forked: what it does not share, or its copy. */
  blocksOfFork(sequence: Sequence): number {
    if (sequence.finishReason !== null) return 0;
    if (!sequence.asleep && sequence.forkParent === null) return 0;
    const { blockSize } = this.config;
    const at = sequence.asleep ? sequence.numTokens : sequence.forkAt;
    return Math.ceil(sequence.numTokens / blockSize) - Math.floor(at / blockSize);
  }

  /** Keeps blocks for all forks of the group that are still to come. */
  promiseForks(group: SequenceGroup): void {
    for (const sequence of group.sequences) {
      sequence.numPromised = this.blocksOfFork(sequence);
      this.numPromised += sequence.numPromised;
    }
  }

  /** Frees what has slid out of the window of a sequence's next query. */
  slide(sequence: Sequence): void {
    const reach = sequence.numComputed - this.config.slidingWindow + 1;
    const end = Math.floor(reach / this.config.blockSize);
    if (end > sequence.numSlid) this.tables.dropHead(sequence, sequence.numSlid, end);
    sequence.numSlid = Math.max(sequence.numSlid, end);
  }

  leaveRunning(group: SequenceGroup): void {
    const { running } = this;
    let end = running.length;
    while (end > 0 && running[end - 1].group !== group) end--;
    let start = end;
    while (start > 0 && running[start - 1].group === group) start--;
    running.splice(start, end - start);
  }

  /** One sequence has ended, its finishReason says why. True: so has its group. */
  retire(sequence: Sequence): boolean {
    this.#letGo(sequence);
    const { group } = sequence;
    if (--group.numUnfinished > 0) return false;
    this.#forget(group);
    return true;
  }

  /** Ends a group from outside. While a step runs, its blocks and rows stay fenced till then. */
  terminate(group: SequenceGroup, reason: FinishReason, stepRuns: boolean): void {
    if (group.state === 'waiting') this.waiting.splice(this.waiting.indexOf(group), 1);
    else if (group.state === 'swapped') this.#leaveHost(group);
    else this.leaveRunning(group);
    for (const sequence of group.sequences) {
      sequence.finishReason ??= reason;
    }
    group.numUnfinished = 0;
    if (stepRuns) this.#fenced.push(group);
    else this.#withdraw(group);
    this.#forget(group);
  }

  /** The step has ended: nothing writes the fenced blocks any more. */
  unfence(): void {
    for (const group of this.#fenced) this.#withdraw(group);
    this.#fenced.length = 0;
  }

  get numFenced(): number {
    return this.#fenced.length;
  }

  /** The parent has computed what both share: the child gets a table of its own. */
  fork(parent: Sequence, child: Sequence): void {
    unhang(child);
    this.tables.fork(parent, child, child.forkAt);
    child.numComputed = child.forkAt;
    child.prefix = parent.prefix;
    child.numPublished = parent.numPublished;
    child.publishAt = parent.publishAt;
    child.numSlid = parent.numSlid;
    this.numPromised -= child.numPromised;
    child.numPromised = 0;
  }

  /** Brings the group's peak of shared blocks up to date. */
  countShared(group: SequenceGroup): void {
    const { pool, tables } = this;
    let shared = 0;
    pool.startMarks();
    for (const sequence of group.sequences) {
      for (let i = 0; i < sequence.numBlocks; i++) {
        const block = tables.blockAt(sequence, i);
        if (pool.refCounts[block] > 1 && pool.mark(block)) shared++;
      }
    }
    group.numSharedBlocks = Math.max(group.numSharedBlocks, shared);
  }

  /**
   * Everything that must hold between steps; for tests and simulation. Counts are recounted from
   * the tables of groups that run, or are fenced.
   */
  checkInvariants(): void {
    const { pool, tables } = this;
    pool.checkInvariants();
    const counts = new Int32Array(pool.numBlocks);
    let rows = 0;
    let promised = 0;
    const hosted = new Set<number>();
    let numHosted = 0;
    const holders = new Set([...this.groups.values(), ...this.#fenced]);
    for (const group of holders) {
      for (const sequence of group.sequences) {
        for (const block of sequence.hostTable ?? []) hosted.add(block);
        if (sequence.row >= 0) rows++;
        else assert(sequence.numBlocks === 0, 'blocks without a row');
        for (const block of tables.blocksOf(sequence)) counts[block]++;
        promised += sequence.numPromised;
        const listed = this.running.includes(sequence);
        assert(listed === sequence.isActive, 'the running list and a sequence disagree');
      }
      numHosted += group.numHostBlocks;
      if (group.state === 'swapped') assert(this.swapped.includes(group), 'a group is lost');
      if (group.state === 'waiting') assert(this.waiting.includes(group), 'a group is lost');
    }
    for (let b = 1; b < pool.numBlocks; b++) {
      assert(counts[b] === pool.refCounts[b], 'a count is not the number of tables');
    }
    hosted.delete(-1);
    assert(hosted.size === numHosted, 'swapped blocks are shared between groups, or lost');
    assert(numHosted + this.hostBlocks.numFree === this.hostBlocks.numBlocks, 'swap space leaks');
    assert(rows + tables.numFreeRows === tables.numRows, 'rows were lost');
    assert(promised === this.numPromised, 'promised blocks were miscounted');
  }

  /** Last sequence first, so that shared heads come free last. */
  #withdraw(group: SequenceGroup): void {
    for (let i = group.sequences.length - 1; i >= 0; i--) {
      const sequence = group.sequences[i];
      if (sequence.row >= 0) this.#letGo(sequence);
    }
  }

  /** Table, row and promised blocks. */
  #letGo(sequence: Sequence): void {
    this.tables.release(sequence);
    this.tables.giveRow(sequence);
    this.numPromised -= sequence.numPromised;
    sequence.numPromised = 0;
  }

  /** Gives the group's host blocks back. */
  #leaveHost(group: SequenceGroup): void {
    this.swapped.splice(this.swapped.indexOf(group), 1);
    const given = new Set<number>();
    for (const sequence of group.sequences) {
      for (const block of sequence.hostTable ?? []) if (block >= 0) given.add(block);
      sequence.hostTable = null;
    }
    for (const block of given) this.hostBlocks.give(block);
    group.numHostBlocks = 0;
  }

  #forget(group: SequenceGroup): void {
    group.state = 'finished';
    this.groups.delete(group.id);
    this.pool.prefixes.releaseRoot(group.root);
  }
}

/**
 * The order of all lists, and so of everything: who is admitted first, who takes from the budget
 * first, and (from the other end) who is preempted first. Lower priority value first, then first
 * come, first served; without the policy `priority` all have the same.
 */
export function precedes(a: SequenceGroup, b: SequenceGroup): boolean {
  return a.priority === b.priority ? a.arrival < b.arrival : a.priority < b.priority;
}

/** Into a list that {@link precedes} orders. */
function insert(list: SequenceGroup[], group: SequenceGroup): void {
  let at = list.length;
  while (at > 0 && precedes(group, list[at - 1])) at--;
  list.splice(at, 0, group);
}
