/**
 * A scheduler that says everything it is told and everything it decides, and the replay of what it
 * said: the same arrivals and results into a fresh scheduler must give the same decisions, step by
 * step (the scheduler has no clock and no randomness of its own). A trace holds token ids: they
 * decide prefix hits and when sequences end. Constraints are not in it: what they allowed shows in
 * what was drawn, and a replay draws nothing; what they refused of that is in it.
 */
import { isOctavoError, octavoError } from '../errors.js';
import { checkWidth } from './admission.js';
import type { DrawParams } from './sampling-params.js';
import { Scheduler } from './scheduler.js';
import type { SchedulerOptions } from './scheduler-config.js';
import { type FinishReason, SequenceGroup } from './sequence.js';
import type { Step } from './step.js';
import { appendTokens, offsetsOf, resultOfTokens, type StepResult } from './step-result.js';
import type { FindStop } from './stop.js';
import type { TokenConstraint } from './structured.js';

export const TRACE_VERSION = 1;

/** What a step computes and moves: the decisions of `schedule()`. */
export interface TracedPlan {
  /** [request id, sample, tokens computed]. */
  readonly seqs: readonly (readonly [id: string, index: number, queryLen: number])[];
  /** (source, target) pairs, flat. */
  readonly copies: readonly number[];
  /** (block, host block) pairs, flat; the first `numSwapOuts` pairs go out, the others come in. */
  readonly swaps: readonly number[];
  readonly numSwapOuts: number;
  /** Where there are recurrent layers: (slot read, slot written or −1) pairs, flat; and records. */
  readonly states?: readonly number[];
  readonly records?: readonly number[];
  /** Of these, too, (here, in the host's memory) pairs; left out where none moves. */
  readonly stateSwaps?: readonly number[];
  readonly recordSwaps?: readonly number[];
}

type Json<T> = { [K in keyof T]: T[K] extends ArrayBufferView | null ? number[] | null : T[K] };

export type TraceEvent =
  | { readonly type: 'config'; readonly version: number; readonly config: SchedulerOptions }
  | {
      readonly type: 'add';
      readonly id: string;
      readonly prompt: readonly number[];
      readonly params: Json<DrawParams>;
      readonly priority: number;
    }
  | { readonly type: 'abort'; readonly id: string; readonly reason: FinishReason }
  | { readonly type: 'reset' }
  | { readonly type: 'schedule'; readonly plan: TracedPlan | null }
  | {
      readonly type: 'commit';
      /** One for each sample, −1 where it got none. */
      readonly tokenIds: readonly number[];
      /** Of each sample, the tokens that came with that one; left out where none did. */
      readonly more?: readonly (readonly number[])[];
      /** Lists of best tokens, where a beam search is among the samples. */
      readonly topTokenIds: readonly number[];
      /** null for −∞: what a constraint forbids. */
      readonly topLogprobs: readonly (number | null)[];
      /** What was found for each token that joined a text, in order: stop strings. */
      readonly stops: readonly (string | null)[];
      /**
       * [sample, n]: its constraint refused the n-th of its tokens, which ended it. Left out where
       * none did.
       */
      readonly refused?: readonly (readonly [sample: number, n: number])[];
      /** What older traces call `stops`. */
      readonly verdicts?: readonly (string | null)[];
    }
  | { readonly type: 'discard' }
  | { readonly type: 'putBack'; readonly apart: boolean };

/** Takes events as they happen. */
export type TraceSink = (event: TraceEvent) => void;

export class RecordingScheduler extends Scheduler {
  readonly #sink: TraceSink;

  constructor(options: SchedulerOptions, sink: TraceSink) {
    super(options);
    this.#sink = sink;
    sink({ type: 'config', version: TRACE_VERSION, config: this.config });
  }

  override add(group: SequenceGroup): void {
    super.add(group);
    const prompt = Array.from(group.sequences[0].tokens.subarray(0, group.numPromptTokens));
    const { id, priority } = group;
    this.#sink({ type: 'add', id, prompt, params: paramsToJson(group.params), priority });
  }

  override abort(id: string, reason: FinishReason = 'abort'): boolean {
    const found = super.abort(id, reason);
    if (found) this.#sink({ type: 'abort', id, reason });
    return found;
  }

  override resetPrefixCache(): boolean {
    this.#sink({ type: 'reset' });
    return super.resetPrefixCache();
  }

  override schedule(): Step | null {
    const step = super.schedule();
    this.#sink({ type: 'schedule', plan: step === null ? null : planOf(this, step) });
    return step;
  }

  override commit(step: Step, result: StepResult, findStop: FindStop): readonly SequenceGroup[] {
    const stops: (string | null)[] = [];
    const { tokensAt } = result;
    const samples = Array.from({ length: step.numSamples }, (_, i) => i);
    const drawn = samples.map((i) => this.sequenceAt(step.sampleRows[i]));
    const before = drawn.map((sequence) => sequence?.numTokens ?? 0);
    const beams = drawn.some((sequence) => sequence !== null && sequence.group.beams !== null);
    const moreOf = (i: number) =>
      Array.from(result.tokenIds.subarray(tokensAt[i] + 1, tokensAt[i + 1]));
    const event = {
      type: 'commit' as const,
      tokenIds: samples.map((i) =>
        tokensAt[i] < tokensAt[i + 1] ? result.tokenIds[tokensAt[i]] : -1,
      ),
      ...(samples.some((i) => tokensAt[i + 1] - tokensAt[i] > 1)
        ? { more: samples.map(moreOf) }
        : {}),
      topTokenIds: beams ? Array.from(result.topTokenIds) : [],
      topLogprobs: beams ? Array.from(result.topLogprobs, finiteOrNull) : [],
      stops,
    };
    const ended = super.commit(step, result, (sequence, at, mayStop) => {
      const stop = findStop(sequence, at, mayStop);
      stops.push(stop);
      return stop;
    });
    const refused = samples.flatMap((i) => {
      const sequence = drawn[i];
      const isRefused = sequence?.finishReason === 'error' && tokensAt[i] < tokensAt[i + 1];
      return isRefused ? [[i, Math.max(1, sequence.numTokens - before[i])] as const] : [];
    });
    this.#sink(refused.length === 0 ? event : { ...event, refused });
    return ended;
  }

  override discard(step: Step): readonly SequenceGroup[] {
    this.#sink({ type: 'discard' });
    return super.discard(step);
  }

  override putBack(step: Step, apart = false): void {
    this.#sink({ type: 'putBack', apart });
    super.putBack(step, apart);
  }
}

export interface ReplaySummary {
  readonly numRequests: number;
  readonly numSteps: number;
  readonly numTokens: number;
  readonly numPreemptions: number;
  /** Tokens found in the prefix cache: of new requests, and of preempted ones. */
  readonly numPrefixHits: number;
  readonly numPreemptedHits: number;
  readonly numBlockCopies: number;
  readonly numSwappedOut: number;
  readonly numSwappedIn: number;
  /** Requests that had not ended when the trace did. */
  readonly numUnfinished: number;
}

/**
 * Replays a trace.
 * @throws ERR_TRACE where it is no trace, or at the first decision that comes out otherwise
 */
export function replayTrace(events: Iterable<TraceEvent>): ReplaySummary {
  let replay: Replay | undefined;
  let line = 0;
  for (const event of events) {
    line++;
    try {
      if (replay === undefined) replay = new Replay(configOf(event));
      else replay.apply(event, line);
    } catch (error) {
      // A damaged event trips whatever it meets first.
      if (isOctavoError(error) && error.code === 'ERR_TRACE') throw error;
      throw traceError(`line ${line} is damaged: ${(error as Error).message}`);
    }
  }
  if (replay === undefined) throw traceError('it is empty');
  return replay.summary();
}

function configOf(event: TraceEvent): SchedulerOptions {
  if (event?.type === 'config' && event.version === TRACE_VERSION) return event.config;
  throw traceError(`it does not begin with a config event of version ${TRACE_VERSION}`);
}

class Replay {
  readonly #scheduler: Scheduler;
  #step: Step | null = null;
  #numRequests = 0;
  #numSteps = 0;
  #numTokens = 0;

  constructor(config: SchedulerOptions) {
    this.#scheduler = new Scheduler(config);
  }

  apply(event: TraceEvent, line: number): void {
    const scheduler = this.#scheduler;
    switch (event.type) {
      case 'add': {
        const { id, prompt, priority } = event;
        const params = paramsFromJson(event.params);
        checkWidth(params, scheduler.config.maxNumSeqs);
        scheduler.add(new SequenceGroup({ id, promptTokens: prompt, params, priority }));
        this.#numRequests++;
        break;
      }
      case 'abort':
        scheduler.abort(event.id, event.reason);
        break;
      case 'reset':
        scheduler.resetPrefixCache();
        break;
      case 'schedule':
        this.#schedule(event.plan, line);
        break;
      case 'commit':
        this.#commit(event, line);
        break;
      case 'discard':
        scheduler.discard(this.#running(line));
        this.#step = null;
        break;
      case 'putBack':
        scheduler.putBack(this.#running(line), event.apart);
        this.#step = null;
        break;
      default:
        throw traceError(`line ${line} is no event`);
    }
  }

  summary(): ReplaySummary {
    const { stats, numRunning, numWaiting, numSwapped } = this.#scheduler;
    return {
      numRequests: this.#numRequests,
      numSteps: this.#numSteps,
      numTokens: this.#numTokens,
      numPreemptions: stats.numPreemptions,
      numPrefixHits: stats.numPrefixHits,
      numPreemptedHits: stats.numPreemptedHits,
      numBlockCopies: stats.numBlockCopies,
      numSwappedOut: stats.numSwappedOut,
      numSwappedIn: stats.numSwappedIn,
      numUnfinished: numRunning + numWaiting + numSwapped,
    };
  }

  #schedule(expected: TracedPlan | null, line: number): void {
    if (this.#step !== null) throw traceError(`line ${line} schedules while a step runs`);
    this.#step = this.#scheduler.schedule();
    const plan = this.#step === null ? null : planOf(this.#scheduler, this.#step);
    if (JSON.stringify(plan) !== JSON.stringify(expected)) {
      throw traceError(
        `line ${line}, step ${this.#numSteps}: the trace decided ${JSON.stringify(expected)}, ` +
          `this scheduler ${JSON.stringify(plan)}`,
      );
    }
    if (this.#step === null) return;
    this.#numSteps++;
    this.#numTokens += this.#step.numTokens;
  }

  #commit(event: TraceEvent & { type: 'commit' }, line: number): void {
    const step = this.#running(line);
    const { tokenIds } = event;
    const stops = event.stops ?? event.verdicts;
    if (tokenIds.length !== step.numSamples) {
      throw traceError(`line ${line} has ${tokenIds.length} tokens for ${step.numSamples} samples`);
    }
    const numTops = step.sampleNumTops.subarray(0, tokenIds.length);
    const lengths = numTops.filter((_, i) => tokenIds[i] >= 0);
    const drawn = resultOfTokens(tokenIds, step.numPromptRows, {
      topAt: offsetsOf(lengths, lengths.length),
      topTokenIds: Int32Array.from(event.topTokenIds),
      topLogprobs: Float64Array.from(event.topLogprobs, (x) => x ?? Number.NEGATIVE_INFINITY),
    });
    const result = event.more === undefined ? drawn : appendTokens(drawn, event.more);
    for (const [i, n] of event.refused ?? []) this.#refuse(step.sampleRows[i], n);
    let next = 0;
    this.#scheduler.commit(step, result, () => stops[next++] ?? null);
    this.#step = null;
  }

  /** Beams end together, by whichever of them. */
  #refuse(row: number, n: number): void {
    const sequence = this.#scheduler.sequenceAt(row);
    const beams = sequence?.group.beams?.live ?? [];
    for (const one of sequence === null ? [] : [sequence, ...beams]) one.obey(new Refusal(n));
  }

  #running(line: number): Step {
    if (this.#step === null) throw traceError(`line ${line} ends a step that was not scheduled`);
    return this.#step;
  }
}

/** What is known of a constraint: that it refused a token. */
class Refusal implements TokenConstraint {
  #left: number;

  /** @param n which of the tokens to come */
  constructor(n: number) {
    this.#left = n;
  }

  advance(): boolean {
    return --this.#left > 0;
  }

  fork(): Refusal {
    return new Refusal(this.#left);
  }

  close(): void {}
}

/** JSON has no infinity. */
function finiteOrNull(x: number): number | null {
  return Number.isFinite(x) ? x : null;
}

function planOf(scheduler: Scheduler, step: Step): TracedPlan {
  return {
    seqs: Array.from({ length: step.numSeqs }, (_, i) => {
      const { group, index } = scheduler.sequenceAt(step.seqRows[i])!;
      return [group.id, index, step.queryLens[i]] as const;
    }),
    copies: Array.from(step.copies.subarray(0, 2 * step.numCopies)),
    swaps: Array.from(step.swaps.view),
    numSwapOuts: step.numSwapOuts,
    ...(step.hasStates ? statesOf(step) : {}),
  };
}

function statesOf(step: Step) {
  const { numSeqs, stateIns, stateOuts, records, stateSwaps, recordSwaps } = step;
  const pairs = Array.from({ length: numSeqs }, (_, i) => [stateIns[i], stateOuts[i]]);
  return {
    states: pairs.flat(),
    records: Array.from(records.view),
    ...(stateSwaps.length > 0 ? { stateSwaps: Array.from(stateSwaps.view) } : {}),
    ...(recordSwaps.length > 0 ? { recordSwaps: Array.from(recordSwaps.view) } : {}),
  };
}

const TYPED = ['endTokenIds', 'allowedIds', 'biasIds'] as const;

function paramsToJson(params: DrawParams): Json<DrawParams> {
  const plain: Record<string, unknown> = { ...params };
  for (const [name, value] of Object.entries(plain)) {
    if (ArrayBuffer.isView(value)) plain[name] = Array.from(value as Int32Array);
  }
  return plain as Json<DrawParams>;
}

function paramsFromJson(json: Json<DrawParams>): DrawParams {
  const params: Record<string, unknown> = { ...json };
  for (const name of TYPED) {
    const list = json[name];
    params[name] = list === null ? null : Int32Array.from(list as number[]);
  }
  params.biasValues = Float32Array.from(json.biasValues as number[]);
  return params as unknown as DrawParams;
}

function traceError(why: string): Error {
  return octavoError('ERR_TRACE', `the trace cannot be replayed: ${why}`);
}
