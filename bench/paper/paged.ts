/**
 * A trace served by the real scheduler: the block pool, admission, forks, beams, preemption and
 * prefix cache of lib/core, nothing of them imitated. Only the executor is: it keeps time (cost.ts)
 * and answers with tokens that never end a sequence.
 */
import { completeBeamParams } from '../../lib/core/beam-params.js';
import {
  completeParams,
  type DrawParams,
  validateSamplingParams,
} from '../../lib/core/sampling-params.js';
import { Scheduler } from '../../lib/core/scheduler.js';
import type { SchedulerOptions } from '../../lib/core/scheduler-config.js';
import { SequenceGroup } from '../../lib/core/sequence.js';
import type { Step } from '../../lib/core/step.js';
import { offsetsOf, resultOfTokens, type StepResult } from '../../lib/core/step-result.js';
import { type SimModel, stepSeconds } from './cost.js';
import { type Served, ServeLog } from './log.js';
import { type Random, type SimRequest, seeded } from './workloads.js';

export interface PagedOptions {
  readonly blockSize?: number;
  /** Parallel samples, or beams, of each request. */
  readonly n?: number;
  readonly beams?: boolean;
  readonly prefixCache?: boolean;
  readonly preemptionPolicy?: 'recompute' | 'swap';
}

const VOCAB = 50_272;
const MAX_LEN = 2048;
const BUDGET = 2560;

export function servePaged(
  model: SimModel,
  requests: readonly SimRequest[],
  options: PagedOptions = {},
): Served {
  return new PagedRun(model, requests, options).run();
}

class PagedRun {
  readonly #model: SimModel;
  readonly #requests: readonly SimRequest[];
  readonly #options: PagedOptions;
  readonly #scheduler: Scheduler;
  readonly #log: ServeLog;
  readonly #random: Random = seeded(17);
  readonly #swaps: boolean;

  constructor(model: SimModel, requests: readonly SimRequest[], options: PagedOptions) {
    this.#model = model;
    this.#requests = requests;
    this.#options = options;
    this.#log = new ServeLog(requests);
    const { blockSize = 16, prefixCache = false, preemptionPolicy = 'recompute' } = options;
    const numBlocks = Math.floor(model.slots / blockSize) + 1;
    this.#swaps = preemptionPolicy === 'swap';
    const config: SchedulerOptions = {
      numBlocks,
      blockSize,
      maxModelLen: MAX_LEN,
      maxNumSeqs: 1024,
      maxNumBatchedTokens: BUDGET,
      maxNumWaiting: 2 ** 24,
      enablePrefixCaching: prefixCache,
      preemptionPolicy,
      numHostBlocks: this.#swaps ? numBlocks : 0,
    };
    this.#scheduler = new Scheduler(config);
  }

  run(): Served {
    const scheduler = this.#scheduler;
    const log = this.#log;
    let next = 0;
    let time = 0;
    while (next < this.#requests.length || scheduler.hasUnfinished) {
      while (next < this.#requests.length && this.#requests[next].arrival <= time)
        this.#add(next++);
      const step = scheduler.schedule();
      if (step === null) {
        time = this.#requests[next].arrival;
        continue;
      }
      const seconds = this.#seconds(step);
      log.sample(seconds, time, this.#memory(step));
      time += seconds;
      const ended = scheduler.commit(step, this.#result(step), () => null);
      for (const group of ended) log.end(Number(group.id), time);
    }
    const { numPreemptions } = scheduler.stats;
    return log.result({ preemptions: numPreemptions });
  }

  #add(index: number): void {
    const { prompt, prefix = 0 } = this.#requests[index];
    // Nobody shares more than the prefix.
    const promptTokens = Int32Array.from({ length: prompt }, (_, i) =>
      i < prefix ? i : (index * 7919 + i * 31) % VOCAB,
    );
    if (prefix === 0) promptTokens[0] = index % VOCAB;
    const params = this.#params(this.#requests[index].output);
    this.#scheduler.add(new SequenceGroup({ id: `${index}`, promptTokens, params }));
  }

  #params(maxTokens: number): DrawParams {
    const { n = 1, beams = false } = this.#options;
    const context = { vocabSize: VOCAB, eosTokenIds: [], seed: 1 };
    if (beams) return completeBeamParams({ beamWidth: n, maxTokens }, context);
    return completeParams(validateSamplingParams({ n, maxTokens }, context), context);
  }

  #seconds(step: Step): number {
    let context = 0;
    for (let i = 0; i < step.numSeqs; i++) context += step.contextLens[i];
    return stepSeconds(this.#model, {
      sequences: step.numSeqs,
      tokens: step.numTokens,
      context,
      swappedBlocks: step.numSwapOuts + step.numSwapIns,
      blockSize: this.#options.blockSize ?? 16,
    });
  }

  /** Slots by use, once the step has run. */
  #memory(step: Step) {
    const { pool } = this.#scheduler;
    const used = (pool.numUsable - pool.numFree) * pool.blockSize;
    const named = this.#scheduler.numTableEntries * pool.blockSize;
    let tokens = 0;
    for (let i = 0; i < step.numSeqs; i++) tokens += step.contextLens[i];
    return {
      running: this.#scheduler.numRunning,
      tokens,
      reserved: 0,
      internal: used - tokens,
      held: used,
      named,
      total: this.#model.slots,
    };
  }

  #result(step: Step): StepResult {
    const { numSamples, sampleNumTops } = step;
    const topAt = offsetsOf(sampleNumTops, numSamples);
    const topTokenIds = new Int32Array(topAt[numSamples]);
    const topLogprobs = new Float64Array(topAt[numSamples]);
    if (topAt[numSamples] > 0) this.#candidates(step, topTokenIds, topLogprobs);
    const tokens = Array.from({ length: numSamples }, () => Math.floor(this.#random() * VOCAB));
    return resultOfTokens(tokens, 0, { topAt, topTokenIds, topLogprobs });
  }

  /**
   * What beams continue with. A language model is sure of most tokens and unsure of some: the
   * probability of the best is uniform in [0.2, 1), the next ones halve what is left.
   */
  #candidates(step: Step, ids: Int32Array, logprobs: Float64Array): void {
    let at = 0;
    for (let i = 0; i < step.numSamples; i++) {
      let p = 0.2 + 0.8 * this.#random();
      let rest = 1 - p;
      for (let k = step.sampleNumTops[i]; k > 0; k--, at++) {
        ids[at] = Math.floor(this.#random() * VOCAB);
        logprobs[at] = Math.log(p);
        p = rest / 2;
        rest -= p;
      }
    }
  }
}
