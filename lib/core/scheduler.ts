/**
 * Who computes what in the next step. Three verbs a step: `schedule()` decides and takes the blocks
 * it needs, somebody else executes, `commit()` takes the results in. `add` and `abort` may come at
 * any time; an abort takes effect between steps.
 *
 * One step is in flight at a time. Everything that a step needs is in its record, so that a second
 * one in flight would need no new bookkeeping but the assumption of tokens not drawn yet.
 */
import { assert, octavoError } from '../errors.js';
import { Admission, checkAdmissible, checkFeasible } from './admission.js';
import type { BlockPool } from './block-pool.js';
import { commitStep } from './committing.js';
import { planRunning } from './planning.js';
import {
  type SchedulerConfig,
  type SchedulerOptions,
  schedulerConfig,
} from './scheduler-config.js';
import { SchedulerState, type SchedulerStats } from './scheduler-state.js';
import type { FinishReason, SequenceGroup } from './sequence.js';
import type { StepResult } from './step.js';
import { Step } from './step-record.js';
import type { Judge } from './stop.js';
import { admitSwapped } from './swapping.js';

export class Scheduler {
  readonly config: SchedulerConfig;
  readonly #state: SchedulerState;
  readonly #admission: Admission;
  // Two records take turns, so that the last step can still be read while the next is made.
  readonly #records: readonly [Step, Step];
  #turn = 0;
  #inFlight: Step | null = null;
  #nextArrival = 0;

  constructor(options: SchedulerOptions) {
    this.config = schedulerConfig(options);
    this.#state = new SchedulerState(this.config);
    this.#admission = new Admission(this.#state);
    const { maxNumSeqs, maxNumBatchedTokens } = this.config;
    const record = () => new Step(maxNumSeqs, maxNumBatchedTokens);
    this.#records = [record(), record()];
  }

  /** The block tables, Int32Array [maxNumSeqs][blocksPerRow]; steps name rows of it. */
  get tableSlab(): Int32Array {
    return this.#state.tables.slab;
  }

  get blocksPerRow(): number {
    return this.#state.tables.blocksPerRow;
  }

  /** Float64Array [maxNumSeqs][samplerDoubles]; same rows. */
  get samplerSlab(): Float64Array {
    return this.#state.samplerSlab;
  }

  /** For reading: usage, free blocks, counts. */
  get pool(): BlockPool {
    return this.#state.pool;
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
    return this.#state.running.reduce((sum, s) => sum + s.numBlocks - s.numSlid, 0);
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
    group.root = state.pool.prefixes.acquireRoot(group.params.cacheSalt);
    const longest = group.numPromptTokens + group.params.maxTokens;
    for (const sequence of group.sequences) {
      sequence.endsAt = Math.min(longest, this.config.maxModelLen);
      sequence.forgetComputed();
    }
    group.sequences[0].enlarge();
    state.groups.set(group.id, group);
    state.enqueue(group);
  }

  /** Throws what `add` would throw whenever it came: the group can never run. */
  checkFeasible(group: SequenceGroup): void {
    checkFeasible(this.#state, group);
  }

  /** The next step, or null when there is nothing to compute. */
  schedule(): Step | null {
    assert(this.#inFlight === null, 'schedule() before the step in flight was committed');
    const step = this.#records[this.#turn];
    step.clear();
    const preempted = planRunning(this.#state, step);
    if (!preempted) admitSwapped(this.#state, step);
    if (!preempted && this.#state.swapped.length === 0) this.#admission.admit(step);
    step.seal();
    if (step.numSeqs === 0) {
      assert(step.numSwapOuts + step.numSwapIns === 0, 'a step that swaps and computes nothing');
      this.#forgetRecords();
      return null;
    }
    this.#turn ^= 1;
    this.#inFlight = step;
    return step;
  }

  /**
   * Takes in the results of the step in flight; returns the groups that ended by it. `judge` is
   * asked for each token that joins a text, see {@link Judge}.
   */
  commit(step: Step, result: StepResult, judge: Judge): readonly SequenceGroup[] {
    this.#land(step);
    return commitStep(this.#state, step, result, judge);
  }

  /**
   * The step failed: what it wrote is unknown, so its groups end with 'error'; returns them. What
   * it swapped out is computed again.
   */
  discard(step: Step): readonly SequenceGroup[] {
    this.#land(step);
    for (const group of step.swappedOut) {
      if (group.state === 'swapped') this.#state.recompute(group);
    }
    const failed: SequenceGroup[] = [];
    for (let i = 0; i < step.numSeqs; i++) {
      const { group } = step.seqs[i];
      if (group.state !== 'running') continue;
      this.#state.terminate(group, 'error', false);
      failed.push(group);
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
    return this.#state.pool.resetPrefixes();
  }

  /** Throws where an invariant does not hold; for tests and simulation. */
  checkInvariants(): void {
    this.#state.checkInvariants();
  }

  #land(step: Step): void {
    assert(step === this.#inFlight, 'a step was committed that is not in flight');
    this.#inFlight = null;
    this.#state.unfence();
  }

  /** Idle: nobody should be kept alive by an old record. */
  #forgetRecords(): void {
    if (this.#state.groups.size > 0) return;
    for (const record of this.#records) {
      record.clear();
      record.seal();
    }
  }
}
