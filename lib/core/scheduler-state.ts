/**
 * What the three verbs share: who waits, who runs, the pool, the tables. Each change of a group's
 * state that touches more than one of these is a method here, so that it can only happen whole.
 */
import { assert } from '../errors.js';
import { BlockPool } from './block-pool.js';
import { BlockTables } from './block-table.js';
import { unhang } from './fork-tree.js';
import { makeSamplerSlab, writeSamplerRow } from './sampler-slab.js';
import type { SchedulerConfig } from './scheduler-config.js';
import type { FinishReason, Sequence, SequenceGroup } from './sequence.js';

/** Counts since the start; never reset. */
export interface SchedulerStats {
  numPreemptions: number;
  /** Tokens looked up in the prefix cache, and found there. */
  numPrefixQueries: number;
  numPrefixHits: number;
  numBlockCopies: number;
}

export class SchedulerState {
  readonly config: SchedulerConfig;
  readonly pool: BlockPool;
  readonly tables: BlockTables;
  readonly samplerSlab: Float64Array;
  /** Every group that is not finished. */
  readonly groups = new Map<string, SequenceGroup>();
  /** First to be admitted first. */
  readonly waiting: SequenceGroup[] = [];
  /** Sequences with a table of their own, in the order of {@link precedes}, groups together. */
  readonly running: Sequence[] = [];
  /** Blocks that forks still to come will need; admission leaves them alone. */
  numPromised = 0;
  readonly stats: SchedulerStats = {
    numPreemptions: 0,
    numPrefixQueries: 0,
    numPrefixHits: 0,
    numBlockCopies: 0,
  };
  /** Groups aborted while a step runs: their blocks are not handed out before it ends. */
  readonly #fenced: SequenceGroup[] = [];

  constructor(config: SchedulerConfig) {
    this.config = config;
    const { numBlocks, blockSize, hashSeed } = config;
    this.pool = new BlockPool({ numBlocks, blockSize, hashSeed });
    const blocksPerRow = Math.ceil(config.maxModelLen / blockSize);
    this.tables = new BlockTables(this.pool, config.maxNumSeqs, blocksPerRow);
    this.samplerSlab = makeSamplerSlab(config.maxNumSeqs);
  }

  /** Into the line, in order; a preempted group arrived before all others that wait. */
  enqueue(group: SequenceGroup): void {
    group.state = 'waiting';
    let at = this.waiting.length;
    while (at > 0 && precedes(group, this.waiting[at - 1])) at--;
    this.waiting.splice(at, 0, group);
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

  /** Room is short: frees everything the group has; it will be computed again. */
  preempt(group: SequenceGroup): void {
    this.leaveRunning(group);
    this.#withdraw(group);
    for (const sequence of group.sequences) {
      if (sequence.finishReason === null) sequence.forgetComputed();
    }
    group.numPreemptions++;
    this.stats.numPreemptions++;
    this.enqueue(group);
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
    const holders = new Set([...this.groups.values(), ...this.#fenced]);
    for (const group of holders) {
      for (const sequence of group.sequences) {
        if (sequence.row >= 0) rows++;
        else assert(sequence.numBlocks === 0, 'blocks without a row');
        for (const block of tables.blocksOf(sequence)) counts[block]++;
        promised += sequence.numPromised;
        const listed = this.running.includes(sequence);
        assert(listed === sequence.isActive, 'the running list and a sequence disagree');
      }
      if (group.state === 'waiting') assert(this.waiting.includes(group), 'a group is lost');
    }
    for (let b = 1; b < pool.numBlocks; b++) {
      assert(counts[b] === pool.refCounts[b], 'a count is not the number of tables');
    }
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

  #forget(group: SequenceGroup): void {
    group.state = 'finished';
    this.groups.delete(group.id);
    this.pool.prefixes.releaseRoot(group.root);
  }
}

/**
 * The order of both lists, and so of everything: who is admitted first, who takes from the budget
 * first, and (from the other end) who is preempted first. First come, first served; a policy with
 * priorities would compare them before the arrival.
 */
export function precedes(a: SequenceGroup, b: SequenceGroup): boolean {
  return a.arrival < b.arrival;
}
