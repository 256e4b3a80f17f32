/**
 * What the verbs share: who waits, who runs, the pool, the tables; and the changes of a group that
 * several of them make, or that touch more than one of these.
 */
import { assert } from '../errors.js';
import { BlockPool, NULL_BLOCK } from './block-pool.js';
import { BlockTables } from './block-table.js';
import { FreeIds } from './free-ids.js';
import type { HostedState } from './hosted-states.js';
import { KvGroups } from './kv-groups.js';
import { RecurrentStates } from './recurrent-states.js';
import type { SchedulerConfig } from './scheduler-config.js';
import type { FinishReason, Sequence, SequenceGroup } from './sequence.js';

/** Counts since the start; never reset. */
export interface SchedulerStats {
  numPreemptions: number;
  /** Prompt tokens looked up in the prefix cache, and found there: each request once. */
  numPrefixQueries: number;
  numPrefixHits: number;
  /** The same for what preempted requests have to compute again. */
  numPreemptedQueries: number;
  numPreemptedHits: number;
  numBlockCopies: number;
  /** Blocks moved to the host pool, and back. */
  numSwappedOut: number;
  numSwappedIn: number;
  /** The same of the states of recurrent layers. */
  numStatesSwappedOut: number;
  numStatesSwappedIn: number;
}

export class SchedulerState {
  readonly config: SchedulerConfig;
  readonly pool: BlockPool;
  readonly kvGroups: KvGroups;
  readonly tables: BlockTables;
  /** Blocks of the host pool. A block there has one user: a group, whose sequences may share it. */
  readonly hostBlocks: FreeIds;
  /** null: the model has no recurrent layers. */
  readonly states: RecurrentStates | null;
  /** Every group that is not finished. */
  readonly groups = new Map<string, SequenceGroup>();
  /** First to be admitted first. */
  readonly waiting: SequenceGroup[] = [];
  /** Groups that are in the host's memory, first to come back first. */
  readonly swapped: SequenceGroup[] = [];
  /** Sequences with a table of their own, in the order of {@link precedes}, groups together. */
  readonly running: Sequence[] = [];
  /** Groups that each run in a step of their own, see `Scheduler.putBack`. */
  readonly apart = new Set<SequenceGroup>();
  /** Who has which row of the slabs, by which steps name sequences. */
  readonly byRow: (Sequence | null)[];
  /**
   * Blocks that were counted when a group was let in, and are taken later: by forks to come, and by
   * windows, query for query. Admission leaves them alone.
   */
  numPromised = 0;
  readonly stats: SchedulerStats = {
    numPreemptions: 0,
    numPrefixQueries: 0,
    numPrefixHits: 0,
    numPreemptedQueries: 0,
    numPreemptedHits: 0,
    numBlockCopies: 0,
    numSwappedOut: 0,
    numSwappedIn: 0,
    numStatesSwappedOut: 0,
    numStatesSwappedIn: 0,
  };
  /** Groups aborted while a step runs: their blocks are not handed out before it ends. */
  readonly #fenced: SequenceGroup[] = [];

  constructor(config: SchedulerConfig) {
    this.config = config;
    const { numBlocks, blockSize, blocksPerRow, hashSeed } = config;
    this.kvGroups = new KvGroups(config);
    this.pool = new BlockPool({ numBlocks, blockSize, hashSeed, groups: this.kvGroups });
    this.tables = new BlockTables(this.pool, config.maxNumSeqs, blocksPerRow, this.kvGroups);
    this.hostBlocks = new FreeIds(config.numHostBlocks);
    this.states = statesOf(config, this.kvGroups.coarsest);
    this.byRow = new Array(config.maxNumSeqs).fill(null);
  }

  /** Into the line, at its place. */
  enqueue(group: SequenceGroup): void {
    group.state = 'waiting';
    insert(this.waiting, group);
  }

  /** Gives each unfinished sequence its row in the slabs. */
  giveRows(group: SequenceGroup): void {
    for (const sequence of group.sequences) {
      if (sequence.finishReason !== null) continue;
      this.tables.takeRow(sequence);
      this.byRow[sequence.row] = sequence;
      sequence.forgetSent();
    }
  }

  /** Puts the group's active sequences into the running list. */
  enterRunning(group: SequenceGroup, active: readonly Sequence[]): void {
    group.state = 'running';
    let at = this.running.length;
    while (at > 0 && precedes(group, this.running[at - 1].group)) at--;
    this.running.splice(at, 0, ...active);
  }

  /** Into the line of those that are in the host's memory. */
  enqueueSwapped(group: SequenceGroup): void {
    group.state = 'swapped';
    insert(this.swapped, group);
  }

  /** A group that runs gives its rows and blocks back. */
  withdrawRunning(group: SequenceGroup): void {
    this.leaveRunning(group);
    this.#withdraw(group);
  }

  /** Back into the line with nothing computed. */
  recompute(group: SequenceGroup): void {
    if (group.state === 'swapped') this.#leaveHost(group);
    for (const sequence of group.sequences) {
      if (sequence.finishReason === null) sequence.forgetComputed();
    }
    this.enqueue(group);
  }

  /** Blocks that admission can give away: one for each running table stays in hand. */
  get numSpareBlocks(): number {
    return this.pool.numFree - this.numPromised - this.running.length * this.kvGroups.length;
  }

  /** Blocks that a sequence takes when it is forked: what it does not share, or its copy. */
  blocksOfFork(sequence: Sequence): number {
    if (sequence.finishReason !== null) return 0;
    if (!sequence.isSpare && sequence.forkParent === null) return 0;
    const at = sequence.isSpare ? sequence.numTokens : sequence.forkAt;
    return this.kvGroups.ownBlocks(at, sequence.numTokens);
  }

  /** Keeps blocks for what the sequences of a group that was let in will take later. */
  promiseBlocks(group: SequenceGroup): void {
    for (const sequence of group.sequences) {
      if (sequence.isActive) this.promiseWindows(sequence);
      else this.numPromised += sequence.promise(this.blocksOfFork(sequence));
    }
  }

  /** Keeps blocks for what the windows of a running sequence will take until it has caught up. */
  promiseWindows(sequence: Sequence): void {
    const { numComputed, numTokens } = sequence;
    const numBlocks = this.tables.numToCome(sequence, numComputed, numTokens);
    this.numPromised += sequence.promise(numBlocks);
  }

  /** Frees what has slid out of the windows of a sequence's next query, `before` computed. */
  slide(sequence: Sequence, before: number): void {
    const { kvGroups, tables } = this;
    const { numComputed, numTokens } = sequence;
    for (let g = 0; g < kvGroups.length; g++) {
      const from = kvGroups.firstKept(g, before);
      const to = kvGroups.firstKept(g, numComputed);
      if (to > from) tables.dropHead(sequence, from, to, g);
    }
    // What was freed is needed again for the next query. Who has caught up needs one in hand only.
    if (numComputed < numTokens || sequence.numPromised > 0) this.promiseWindows(sequence);
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
    const { group, finishReason } = sequence;
    // A conversation goes on from here; nobody goes on from a beam.
    if (finishReason !== 'error' && group.beams === null) this.states?.publish(sequence);
    this.#letGo(sequence);
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
    assert(parent.numComputed === child.forkAt, 'a fork of tokens that are not computed');
    assert(parent.group === child.group, 'a fork into another group');
    child.waitNoMore();
    this.tables.fork(parent, child, child.forkAt);
    child.continueFrom(parent);
    this.states?.fork(parent.row, child.row);
    this.promiseWindows(child);
  }

  /** Copies that a step makes for the group; −1: one that it does not make after all. */
  countCopies(group: SequenceGroup, count: number): void {
    group.countCopies(count);
    this.stats.numBlockCopies += count;
  }

  /** Brings the group's peak of shared blocks up to date. */
  countShared(group: SequenceGroup): void {
    const { pool, tables, kvGroups } = this;
    let shared = 0;
    pool.startMarks();
    for (const sequence of group.sequences) {
      for (let g = 0; g < kvGroups.length; g++) {
        const count = tables.numBlocksOf(sequence, g);
        for (let i = 0; i < count; i++) {
          const block = tables.blockAt(sequence, i, g);
          if (pool.refCounts[block] > 1 && pool.mark(block)) shared++;
        }
      }
    }
    group.countShared(shared);
  }

  /**
   * Everything that must hold between steps; for tests and simulation. Counts are recounted from
   * the tables of groups that run, or are fenced.
   */
  checkInvariants(): void {
    const { pool, tables } = this;
    pool.checkInvariants();
    const counts = new Int32Array(pool.numBlocks);
    let promised = 0;
    const hosted = new Set<number>();
    let numHosted = 0;
    const holders = new Set([...this.groups.values(), ...this.#fenced]);
    const withRow: Sequence[] = [];
    for (const group of holders) {
      for (const sequence of group.sequences) {
        for (const block of sequence.hostTable ?? []) hosted.add(block);
        if (sequence.row >= 0) withRow.push(sequence);
        else assert(sequence.numSlots === 0, 'blocks without a row');
        const isFound = sequence.row < 0 || this.byRow[sequence.row] === sequence;
        assert(isFound, 'a row belongs to somebody else');
        this.#checkTables(sequence, counts);
        promised += sequence.numPromised;
        if (sequence.isActive) this.#checkPromise(sequence);
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
    assert(numHosted + this.hostBlocks.numFree === this.hostBlocks.length, 'swap space leaks');
    this.states?.host.check([...holders].map(hostedOf));
    this.states?.checkInvariants(
      withRow.filter(({ forkParent, isSpare }) => !isSpare && !forkParent),
    );
    assert(withRow.length + tables.numFreeRows === tables.numRows, 'rows were lost');
    assert(promised === this.numPromised, 'promised blocks were miscounted');
  }

  /** Who has still to catch up has the promise of what its windows will take. */
  #checkPromise(sequence: Sequence): void {
    const { numComputed, numTokens, numPromised } = sequence;
    if (numTokens - numComputed === 1 && numPromised === 0) return;
    const toCome = this.tables.numToCome(sequence, numComputed, numTokens);
    assert(numPromised === toCome, 'a promise is not what windows will take');
  }

  /** Counts a sequence's blocks; those that its windows look at are there, and no others. */
  #checkTables(sequence: Sequence, counts: Int32Array): void {
    for (let g = 0; g < this.kvGroups.length; g++) {
      const first = this.kvGroups.firstKept(g, sequence.numComputed);
      this.tables.blocksOf(sequence, g).forEach((block, i) => {
        counts[block]++;
        assert(i < first === (block === NULL_BLOCK), 'a window and its table disagree');
      });
    }
  }

  /** Last sequence first, so that shared heads come free last. */
  #withdraw(group: SequenceGroup): void {
    for (let i = group.sequences.length - 1; i >= 0; i--) {
      const sequence = group.sequences[i];
      if (sequence.row >= 0) this.#letGo(sequence);
    }
  }

  /** A sequence gives up what it has computed. */
  releaseComputed(sequence: Sequence): void {
    this.tables.release(sequence);
    this.states?.release(sequence.row);
  }

  /** What it has computed, its row and promised blocks. */
  #letGo(sequence: Sequence): void {
    this.releaseComputed(sequence);
    this.byRow[sequence.row] = null;
    this.tables.giveRow(sequence);
    this.numPromised += sequence.promise(0);
  }

  /** Gives back what the group has in the host's memory. */
  #leaveHost(group: SequenceGroup): void {
    this.swapped.splice(this.swapped.indexOf(group), 1);
    const given = new Set<number>();
    this.states?.host.drop(hostedOf(group));
    for (const sequence of group.sequences) {
      for (const block of sequence.hostTable ?? []) if (block >= 0) given.add(block);
      sequence.moveTo(null);
    }
    for (const block of given) this.hostBlocks.give(block);
    group.holdOnHost(0);
  }

  #forget(group: SequenceGroup): void {
    group.state = 'finished';
    this.groups.delete(group.id);
    this.apart.delete(group);
    this.pool.prefixes.releaseRoot(group.root);
  }
}

/** What recurrent layers keep of a group in the host's memory. */
function hostedOf({ sequences }: SequenceGroup): HostedState[] {
  return sequences.flatMap(({ hostState }) => hostState ?? []);
}

function statesOf(config: SchedulerConfig, coarsest: number): RecurrentStates | null {
  return config.recurrent === undefined
    ? null
    : new RecurrentStates({ ...config, ...config.recurrent, coarsest });
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
