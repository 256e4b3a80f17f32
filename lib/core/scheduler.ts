/**
 * Who computes what in the next step. Three verbs a step: `schedule()` decides and takes the blocks
 * it needs, somebody else executes, `commit()` takes the results in. `add` and `abort` may come at
 * any time; an abort takes effect between steps.
 *
 * A step is a value: nobody who runs it looks at a sequence; `commit()` finds them again by their
 * rows, which nobody else gets while a step that names them is in flight. There is one at a time.
 */
import { assert, octavoError } from '../errors.js';
import { Admission, checkAdmissible, checkFeasible, type GroupExtent } from './admission.js';
import type { BlockPool } from './block-pool.js';
import { commitStep } from './committing.js';
import { planGroup, planRunning, undoWrites } from './planning.js';
import type { RecurrentStates } from './recurrent-states.js';
import {
  allocated,
  type SchedulerConfig,
  type SchedulerOptions,
  schedulerConfig,
} from './scheduler-config.js';
import { SchedulerState, type SchedulerStats } from './scheduler-state.js';
import type { FinishReason, Sequence, SequenceGroup } from './sequence.js';
import { Step } from './step.js';
import type { StepResult } from './step-result.js';
import type { FindStop } from './stop.js';

export class Scheduler {
  readonly config: SchedulerConfig;
  readonly #state: SchedulerState;
  readonly #admission: Admission;
  // Two records take turns, so that the last step can still be read while the next is made.
  readonly #records: readonly [Step, Step];
  #turn = 0;
  #inFlight: Step | null = null;
  #nextArrival = 0;
  #nextStep = 0;

  /** @throws ERR_INVALID_OPTION, ERR_OUT_OF_MEMORY */
  constructor(options: SchedulerOptions) {
    this.config = schedulerConfig(options);
    const { maxNumSeqs, maxNumBatchedTokens, groups } = this.config;
    const hasStates = this.config.recurrent !== undefined;
    const record = () => new Step(maxNumSeqs, maxNumBatchedTokens, groups.length, hasStates);
    this.#state = allocated(this.config, () => new SchedulerState(this.config));
    this.#records = allocated(this.config, () => [record(), record()]);
    this.#admission = new Admission(this.#state);
  }

  /** The block table of a sequence in a KV group; for tests and diagnosis. */
  tableOf(sequence: Sequence, g = 0): number[] {
    return this.#state.tables.blocksOf(sequence, g);
  }

  /** The first of a sequence's blocks; 0: it has none, or let it go. */
  firstBlockOf(sequence: Sequence, g = 0): number {
    const { tables } = this.#state;
    return tables.numBlocksOf(sequence, g) === 0 ? 0 : tables.blockAt(sequence, 0, g);
  }

  /** Who has a row of the slabs that a step in flight names; null: it ended before that landed. */
  sequenceAt(row: number): Sequence | null {
    return this.#state.byRow[row];
  }

  /** For reading: usage, free blocks, counts. */
  get pool(): BlockPool {
    return this.#state.pool;
  }

  /** The same of what recurrent layers keep; null: there are none. */
  get states(): RecurrentStates | null {
    return this.#state.states;
  }

  get stats(): Readonly<SchedulerStats> {
    return this.#state.stats;
  }

  /** Requests that wait for admission. */
  get numWaiting(): number {
    return this.#state.waiting.length;
  }

  /** Requests that run. */
  get numRunning(): number {
    const { groups, waiting, swapped } = this.#state;
    return groups.size - waiting.length - swapped.length;
  }

  /** Blocks in the tables of all that run; a shared one counts once for each user. */
  get numTableEntries(): number {
    const { running, tables } = this.#state;
    return running.reduce((sum, s) => sum + tables.numHeld(s, s.numComputed), 0);
  }

  /** Requests that are preempted and wait in the host pool. */
  get numSwapped(): number {
    return this.#state.swapped.length;
  }

  /** Blocks of the host pool that are free. */
  get numFreeHostBlocks(): number {
    return this.#state.hostBlocks.numFree;
  }

  /** Is there anything to schedule or to wait for? */
  get hasUnfinished(): boolean {
    return this.#state.groups.size > 0 || this.#inFlight !== null;
  }

  get(id: string): SequenceGroup | undefined {
    return this.#state.groups.get(id);
  }

  /** Takes a group into the line, or throws a coded error and takes nothing. */
  add(group: SequenceGroup): void {
    const state = this.#state;
    assert(group.state === 'new', 'a group was added twice');
    if (state.groups.has(group.id)) {
      throw octavoError(
        'ERR_INVALID_PARAM',
        `a request with the id ${JSON.stringify(group.id)} is not finished yet; choose another id`,
        { param: 'requestId' },
      );
    }
    checkAdmissible(state, group);
    group.arrival = this.#nextArrival++;
    const { maxModelLen, longRopeFrom } = this.config;
    const longest = Math.min(group.numPromptTokens + group.params.maxTokens, maxModelLen);
    const longRope = longRopeFrom !== undefined && longest > longRopeFrom ? 1 : 0;
    group.root = state.pool.prefixes.acquireRoot(group.params.cacheSalt, longRope === 1);
    for (const sequence of group.sequences) {
      sequence.longRope = longRope;
      sequence.endsAt = longest;
      sequence.forgetComputed();
    }
    group.sequences[0].enlarge();
    state.groups.set(group.id, group);
    state.enqueue(group);
  }

  /**
   * Throws what `add` would throw whenever it came: the group can never run. To be asked before a
   * group of many sequences is made.
   */
  checkFeasible(group: GroupExtent): void {
    checkFeasible(this.#state, group);
  }

  /** The next step, or null when there is nothing to compute. */
  schedule(): Step | null {
    assert(this.#inFlight === null, 'schedule() before the step in flight was committed');
    const step = this.#records[this.#turn];
    step.clear();
    this.#state.states?.startStep();
    if (!this.#planApart(step)) {
      const preempted = planRunning(this.#state, step) || step.swappedOut.length > 0;
      if (!preempted) this.#admission.admit(step);
    }
    if (step.numSeqs === 0) {
      const numSwapped = step.swappedOut.length + step.swappedIn.length;
      assert(numSwapped === 0, 'a step that swaps and computes nothing');
      return null;
    }
    step.number = this.#nextStep++;
    step.tableChanges = this.#state.tables.takeChanges(step.tableChanges);
    this.#state.tables.measure(step.seqRows, step.numSeqs, step.numBlocks);
    this.#turn ^= 1;
    this.#inFlight = step;
    return step;
  }

  /**
   * Takes in the results of the step in flight; returns the groups that ended by it. `findStop` is
   * asked for each token that joins a text, see {@link FindStop}.
   */
  commit(step: Step, result: StepResult, findStop: FindStop): readonly SequenceGroup[] {
    this.#land(step);
    const drawing = step.numSamples > 0 ? this.sequenceAt(step.sampleRows[0]) : null;
    if (drawing !== null) this.#state.apart.delete(drawing.group);
    return commitStep(this.#state, step, result, findStop);
  }

  /**
   * The step was refused before anything of it ran: nobody is harmed. Every sequence stands where
   * it stood before `schedule()`, though with the blocks that it got there, and is planned again.
   * Only groups whose swap did not happen, in either direction, are computed again, which gives the
   * same tokens. Whoever is to blame must be aborted, before or after, or the step comes again.
   * @param apart nobody knows who: each group of the step then runs in steps of its own, until it
   * has drawn a token, so that whoever is to blame is refused alone
   */
  putBack(step: Step, apart = false): void {
    const state = this.#state;
    undoWrites(state, step, 0, 0);
    this.#land(step);
    for (let i = 0; i < step.numSeqs && apart; i++) {
      const sequence = this.sequenceAt(step.seqRows[i]);
      if (sequence !== null) state.apart.add(sequence.group);
    }
    this.#forgetSwappedOut(step);
    const swappedIn = state.running.filter(({ group }) => step.swappedIn.includes(group.arrival));
    for (const group of new Set(swappedIn.map((sequence) => sequence.group))) {
      state.withdrawRunning(group);
      state.recompute(group);
    }
  }

  /**
   * The step failed: what it wrote is unknown, so its groups end with 'error'; returns them. What
   * it swapped out is computed again.
   */
  discard(step: Step): readonly SequenceGroup[] {
    this.#land(step);
    this.#forgetSwappedOut(step);
    const failed: SequenceGroup[] = [];
    for (let i = 0; i < step.numSeqs; i++) {
      const sequence = this.sequenceAt(step.seqRows[i]);
      if (sequence === null) continue;
      this.#state.terminate(sequence.group, 'error', false);
      failed.push(sequence.group);
    }
    return failed;
  }

  /**
   * Ends a request in any state; false when there is none of this id. Its results of a step in
   * flight are dropped, and its blocks are not handed out before that step has ended.
   */
  abort(id: string, reason: FinishReason = 'abort'): boolean {
    const group = this.#state.groups.get(id);
    if (group === undefined) return false;
    this.#state.terminate(group, reason, this.#inFlight !== null);
    return true;
  }

  /** Forgets all cached prefixes; refused (false) while any block is in use. */
  resetPrefixCache(): boolean {
    if (!this.#state.pool.resetPrefixes()) return false;
    this.states?.slots.forgetAll();
    return true;
  }

  /** Throws where an invariant does not hold; for tests and simulation. */
  checkInvariants(): void {
    this.#state.checkInvariants();
  }

  /**
   * Makes it the step of a group that is to run apart, if there is one: one that runs, or the first
   * in line if it fits beside those that run. (It must not wait until nobody runs: others may
   * overtake it, and all behind it wait with it.)
   */
  #planApart(step: Step): boolean {
    const { apart, running } = this.#state;
    if (apart.size === 0) return false;
    const sequence = running.find((s) => apart.has(s.group));
    if (sequence === undefined) {
      this.#admission.admitApart(step);
      return step.numSeqs > 0;
    }
    const members = running.filter((s) => s.group === sequence.group);
    planGroup(this.#state, step, members, 0, members.length);
    return step.numSeqs > 0;
  }

  #land(step: Step): void {
    assert(step === this.#inFlight, 'a step was committed that is not in flight');
    this.#inFlight = null;
    this.#state.unfence();
  }

  /** Groups that a step was to swap out, and has not, are computed again. */
  #forgetSwappedOut(step: Step): void {
    const { swapped } = this.#state;
    const affected = swapped.filter((group) => step.swappedOut.includes(group.arrival));
    for (const group of affected) this.#state.recompute(group);
  }
}
