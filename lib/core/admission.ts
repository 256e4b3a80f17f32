/**
 * Lets waiting groups in: at the gate (can it ever fit?) and at each step (does it fit now?).
 *
 * A group is admitted only if the whole of it fits, though perhaps only a chunk is computed now:
 * blocks for all its tokens are taken at once, those of forks to come are promised, and one free
 * block stays in hand for every running sequence, which may need a new block or a copy next. The
 * first group of the line blocks those behind it on purpose: the small never overtake the large for
 * ever.
 */
import { assert, octavoError } from '../errors.js';
import { plantForks, unhang } from './fork-tree.js';
import { planGroup } from './planning.js';
import type { DrawParams } from './sampling-params.js';
import type { SchedulerConfig } from './scheduler-config.js';
import type { SchedulerState } from './scheduler-state.js';
import type { Sequence, SequenceGroup } from './sequence.js';
import type { Step } from './step-record.js';

/** A length that no sequence reaches. */
const NEVER = 2 ** 31 - 1;

/** Refuses what could never run, and what finds the line full. Nothing is half accepted. */
export function checkAdmissible(state: SchedulerState, group: SequenceGroup): void {
  checkFeasible(state, group);
  const { config } = state;
  if (state.waiting.length >= config.maxNumWaiting) {
    throw octavoError(
      'ERR_OVERLOADED',
      `${state.waiting.length} requests are waiting, which is the limit; try again later`,
    );
  }
}

/** Refuses what could never run, however long it waited. */
export function checkFeasible(state: SchedulerState, group: SequenceGroup): void {
  const { config, pool } = state;
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
  if (promptLen >= config.maxModelLen) {
    throw octavoError(
      'ERR_PROMPT_TOO_LONG',
      `the prompt has ${promptLen} tokens, which leaves no room for an answer: at most ` +
        `${config.maxModelLen} fit together; shorten the prompt or raise maxModelLen`,
      { param: 'prompt' },
    );
  }
  checkWidth(group.params, config.maxNumSeqs);
  const worst = worstCaseBlocks(promptLen, maxTokens, n, config);
  if (worst > pool.numUsable) {
    throw octavoError(
      'ERR_REQUEST_TOO_LARGE',
      `the request may need ${worst} blocks of ${config.blockSize} tokens, but the KV pool has ` +
        `${pool.numUsable}; lower maxTokens or ${width}, or give the pool more memory`,
      { param: 'maxTokens' },
    );
  }
}

/** Refuses more sequences than may run at once; to be asked before a group is made of them. */
export function checkWidth({ n, beam }: DrawParams, maxNumSeqs: number): void {
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

/** The most blocks that a group can hold at once: full prompt blocks once, the rest n times. */
export function worstCaseBlocks(
  promptLen: number,
  maxTokens: number,
  n: number,
  config: Pick<SchedulerConfig, 'blockSize' | 'maxModelLen'>,
): number {
  const longest = Math.min(promptLen + maxTokens, config.maxModelLen);
  const shared = n > 1 ? Math.floor(promptLen / config.blockSize) : 0;
  return shared + n * (Math.ceil(longest / config.blockSize) - shared);
}

/** Admits from the head of the line into this step, until something is short. */
export class Admission {
  readonly #state: SchedulerState;
  /** Prefix hits of the group under examination, sequence after sequence. */
  readonly #hits: number[] = [];
  readonly #active: Sequence[] = [];

  constructor(state: SchedulerState) {
    this.#state = state;
  }

  admit(step: Step): void {
    const { waiting, config } = this.#state;
    while (waiting.length > 0 && step.numTokens < config.maxNumBatchedTokens) {
      const group = waiting[0];
      if (!this.#fits(group, config.maxNumBatchedTokens - step.numTokens)) return;
      waiting.shift();
      this.#take(group);
      // Its blocks are there already, so this cannot fail.
      const planned = planGroup(this.#state, step, this.#active, 0, this.#active.length);
      assert(planned, 'an admitted group could not be planned');
    }
  }

  /** Changes nothing that others can see; where it says no, the group is as it was. */
  #fits(group: SequenceGroup, budget: number): boolean {
    const { config, pool, tables, running, numPromised } = this.#state;
    const room = pool.numFree - numPromised - running.length;
    if (room < 1 || tables.numFreeRows < group.numUnfinished) return false;
    plantForks(group);
    const needed = this.#findHits(group);
    if (needed <= room && this.#queryTokens(config) <= budget) return true;
    for (const sequence of group.sequences) {
      if (sequence.finishReason === null) sequence.forgetComputed();
    }
    return false;
  }

  /**
   * Decides how each sequence starts: from the prefix cache, or waiting for a fork. Returns the
   * blocks that the group takes from the free list, now or when it forks; hits that are free leave
   * the list too. Where a hit has carried the parent past the fork already, the child's own hits
   * cover the shared blocks as well (their tokens are the same), and it needs no fork.
   */
  #findHits(group: SequenceGroup): number {
    const { config, pool } = this.#state;
    const { blockSize } = config;
    const useCache = config.enablePrefixCaching && !group.wantsPromptLogprobs;
    let needed = 0;
    this.#hits.length = 0;
    this.#active.length = 0;
    pool.startMarks();
    for (const sequence of group.sequences) {
      if (sequence.finishReason !== null) continue;
      const total = Math.ceil(sequence.numTokens / blockSize);
      const parent = sequence.forkParent;
      if (sequence.asleep || (parent !== null && parent.numComputed < sequence.forkAt)) {
        needed += this.#state.blocksOfFork(sequence);
        continue;
      }
      unhang(sequence);
      const from = this.#hits.length;
      // At least one token is always computed: a step has no empty query.
      const most = useCache ? Math.floor((sequence.numTokens - 1) / blockSize) : 0;
      const count = pool.match(group.root, sequence.tokens, most, this.#hits);
      sequence.numComputed = count * blockSize;
      needed += total - count;
      for (let i = from; i < this.#hits.length; i++) {
        if (pool.refCounts[this.#hits[i]] === 0 && pool.mark(this.#hits[i])) needed++;
      }
      this.#active.push(sequence);
    }
    return needed;
  }

  /**
   * Tokens that the budget must have for the group to start: one for each sequence, and all of the
   * first where prompts may not be computed in chunks. (Without chunks a prompt still ends at a
   * fork, and what a preempted group catches up beside its first sequence may be split by the
   * budget: together it may be more than any budget, and the group would wait for ever.)
   */
  #queryTokens(config: SchedulerConfig): number {
    const others = this.#active.length - 1;
    if (config.enableChunkedPrefill) return 1 + others;
    const [first] = this.#active;
    const whole = first.numTokens - first.numComputed;
    return Math.min(whole + others, config.maxNumBatchedTokens);
  }

  #take(group: SequenceGroup): void {
    const state = this.#state;
    const { pool, tables, stats, config } = state;
    state.giveRows(group);
    // Every hit is touched before anything is allocated, or a hit could be handed out as new.
    let from = 0;
    for (const sequence of this.#active) {
      const count = sequence.numComputed / config.blockSize;
      tables.adopt(sequence, this.#hits, from, count);
      from += count;
      sequence.prefix = count > 0 ? pool.prefixes.identityOf(this.#hits[from - 1]) : group.root;
      sequence.numPublished = count;
      sequence.publishAt = config.enablePrefixCaching ? (count + 1) * config.blockSize : NEVER;
      if (config.enablePrefixCaching && !group.wantsPromptLogprobs) {
        stats.numPrefixQueries += sequence.numTokens;
        stats.numPrefixHits += sequence.numComputed;
      }
    }
    for (const sequence of this.#active) {
      assert(tables.grow(sequence, sequence.numTokens), 'an admitted group did not fit');
    }
    state.promiseForks(group);
    state.enterRunning(group, this.#active);
    if (from > 0) state.countShared(group);
    if (!group.wasAdmitted) group.numCachedTokens = this.#active[0].numComputed;
    group.wasAdmitted = true;
  }
}
