/**
 * Lets waiting groups in: at the gate (can it ever fit?) and at each step (does it fit now?).
 *
 * A group is admitted only if the whole of it fits, though perhaps only a chunk is computed now:
 * blocks for all its tokens are taken at once, those of forks to come are promised, and one free
 * block stays in hand for every table of a running sequence, which may need a new block or a copy
 * next. In a KV group with a window blocks are taken query by query; what they will be at the most
 * is promised until the sequence has caught up, and then its table gives a block back for each
 * that it takes.
 *
 * Groups that wait and those that were swapped out form one line, in the order of {@link precedes}.
 * Its first blocks those behind it on purpose: the small never overtake the large for ever, and
 * first come, first served, whoever was swapped out comes back before anybody who arrived later.
 */
import { assert, octavoError } from '../errors.js';
import { AdmissionPlan } from './admission-plan.js';
import { planGroup } from './planning.js';
import { NO_PREFIX } from './prefix-hash.js';
import type { PrefixHits } from './prefix-hits.js';
import type { DrawParams } from './sampling-params.js';
import { precedes, type SchedulerState } from './scheduler-state.js';
import { NEVER, type Sequence, type SequenceGroup } from './sequence.js';
import type { Step } from './step.js';
import { swapIn } from './swapping.js';

/** Refuses what could never run, and what finds the line full. Nothing is half accepted. */
export function checkAdmissible(state: SchedulerState, group: SequenceGroup): void {
  checkFeasible(state, group);
  const { config } = state;
  if (state.waiting.length >= config.maxNumWaiting) throw queueFull(state.waiting.length);
}

export function queueFull(numWaiting: number): Error {
  return octavoError(
    'ERR_OVERLOADED',
    `${numWaiting} requests are waiting, which is the limit; try again later`,
  );
}

export function promptTooLong(numTokens: number, maxModelLen: number): Error {
  return octavoError(
    'ERR_PROMPT_TOO_LONG',
    `the prompt has ${numTokens} tokens, which leaves no room for an answer: at most ` +
      `${maxModelLen} fit together; shorten the prompt or raise maxModelLen`,
    { param: 'prompt' },
  );
}

/** What of a group decides whether it can ever run. */
export interface GroupExtent {
  readonly numPromptTokens: number;
  readonly params: Pick<DrawParams, 'n' | 'maxTokens' | 'beam'>;
  readonly priority: number;
}

/** Refuses what could never run, however long it waited. */
export function checkFeasible(state: SchedulerState, group: GroupExtent): void {
  const { config, pool, kvGroups } = state;
  if (group.priority !== 0 && config.schedulingPolicy !== 'priority') {
    throw octavoError(
      'ERR_INVALID_PARAM',
      'a request has a priority, but the engine serves first come, first served; load it with ' +
        "schedulingPolicy 'priority', or leave priority out",
      { param: 'priority' },
    );
  }
  const { n, maxTokens, beam } = group.params;
  const width = widthName(beam);
  const promptLen = group.numPromptTokens;
  if (promptLen >= config.maxModelLen) throw promptTooLong(promptLen, config.maxModelLen);
  checkWidth(group.params, config.maxNumSeqs);
  const longest = Math.min(promptLen + maxTokens, config.maxModelLen);
  const worst = kvGroups.worstCase(promptLen, longest, n);
  if (worst > pool.numUsable) {
    const size = kvGroups.length > 1 ? '' : ` of ${config.blockSize} tokens`;
    throw octavoError(
      'ERR_REQUEST_TOO_LARGE',
      `the request may need ${worst} blocks${size}, but the KV pool has ` +
        `${pool.numUsable}; lower maxTokens or ${width}, or give the pool more memory`,
      { param: 'maxTokens' },
    );
  }
}

/** Refuses more sequences than may run at once. */
export function checkWidth({ n, beam }: GroupExtent['params'], maxNumSeqs: number): void {
  if (n <= maxNumSeqs) return;
  throw octavoError(
    'ERR_REQUEST_TOO_LARGE',
    `${widthName(beam)} is ${n}, but at most ${maxNumSeqs} sequences run at once; ask for fewer ` +
      'or raise maxNumSeqs',
    { param: widthName(beam) },
  );
}

function widthName(beam: DrawParams['beam']): string {
  return beam === null ? 'n' : 'beamWidth';
}

/** Admits from the head of the line into a step, until something is short. */
export class Admission {
  readonly #state: SchedulerState;
  /** Of groups that were at the head and did not fit; forgotten when they are let in or end. */
  readonly #plans = new WeakMap<SequenceGroup, AdmissionPlan>();

  constructor(state: SchedulerState) {
    this.#state = state;
  }

  admit(step: Step): void {
    const { config, apart } = this.#state;
    const { maxNumBatchedTokens } = config;
    while (step.numTokens < maxNumBatchedTokens) {
      const group = this.#first();
      if (group === undefined) return;
      const isApart = apart.has(group);
      if (isApart && step.numSeqs > 0) return;
      const budget = maxNumBatchedTokens - step.numTokens;
      const active =
        group.state === 'swapped'
          ? swapIn(this.#state, step, group, budget)
          : this.#letIn(group, budget);
      if (active === null) return;
      // Its blocks are there already, so this cannot fail.
      const planned = planGroup(this.#state, step, active, 0, active.length);
      assert(planned, 'an admitted group could not be planned');
      if (isApart) return;
    }
  }

  /** Admits the head of the line into a step of its own, if it is to run apart. */
  admitApart(step: Step): void {
    const group = this.#first();
    if (group !== undefined && this.#state.apart.has(group)) this.admit(step);
  }

  /** Of all that wait, in either place, whose turn it is. */
  #first(): SequenceGroup | undefined {
    const [waiting] = this.#state.waiting;
    const [swapped] = this.#state.swapped;
    if (waiting === undefined || swapped === undefined) return waiting ?? swapped;
    return precedes(waiting, swapped) ? waiting : swapped;
  }

  /** Returns who is to be planned; null: the group does not fit and stays as it was. */
  #letIn(group: SequenceGroup, budget: number): readonly Sequence[] | null {
    const { tables, waiting, numSpareBlocks: room } = this.#state;
    if (room < 1 || tables.numFreeRows < group.numUnfinished) return null;
    const plan = this.#planOf(group);
    if (plan.isBlocked(room, budget)) return null;
    plan.make();
    if (plan.numBlocks > room || plan.numQueryTokens > budget) return null;
    assert(waiting[0] === group, 'a group was admitted out of turn');
    waiting.shift();
    this.#plans.delete(group);
    this.#take(group, plan);
    return plan.active;
  }

  #planOf(group: SequenceGroup): AdmissionPlan {
    let plan = this.#plans.get(group);
    if (plan === undefined) {
      plan = new AdmissionPlan(this.#state, group);
      this.#plans.set(group, plan);
    }
    return plan;
  }

  #take(group: SequenceGroup, plan: AdmissionPlan): void {
    const state = this.#state;
    const { tables } = state;
    const { active } = plan;
    plan.carryOut();
    state.giveRows(group);
    // Every hit is touched before anything is allocated, or a hit could be handed out as new.
    for (const sequence of active) this.#adopt(sequence, plan.hitsOf(sequence));
    for (const sequence of active) {
      const { numTokens, numComputed } = sequence;
      assert(tables.grow(sequence, numTokens, numComputed), 'an admitted group did not fit');
    }
    state.promiseBlocks(group);
    state.enterRunning(group, active);
    if (active.some((sequence) => sequence.numComputed > 0)) state.countShared(group);
    if (plan.usesCache) this.#count(group, active);
    group.countAdmission(active[0].numComputed);
  }

  #adopt(sequence: Sequence, hits: PrefixHits): void {
    const { tables, config, kvGroups, states } = this.#state;
    const { numTokens, prefix, numWithoutState } = hits;
    for (let g = 0; g < kvGroups.length; g++) tables.adopt(sequence, hits.blocksOf(g), g);
    const publishAt = config.enablePrefixCaching ? numTokens + config.blockSize : NEVER;
    const partsAt = numWithoutState > numTokens ? numWithoutState : 0;
    states?.adopt(sequence.row, numTokens > 0 ? prefix : NO_PREFIX, partsAt);
    sequence.startAfter(numTokens, prefix, numTokens / config.blockSize, publishAt);
  }

  /** A prompt counts once, however often it is preempted; the rest is counted apart. */
  #count({ wasAdmitted }: SequenceGroup, active: readonly Sequence[]): void {
    const { stats } = this.#state;
    for (const { numTokens, numComputed } of active) {
      if (wasAdmitted) {
        stats.numPreemptedQueries += numTokens;
        stats.numPreemptedHits += numComputed;
      } else {
        stats.numPrefixQueries += numTokens;
        stats.numPrefixHits += numComputed;
      }
    }
  }
}
