/**
 * The loop: schedule → execute → commit, as long as there is work. Everybody's requests meet here,
 * so concurrent callers are batched with no further call. What a step drew is detokenized and told
 * while the next one is computed.
 */
import { Scheduler } from '../core/scheduler.js';
import type { SchedulerOptions } from '../core/scheduler-config.js';
import type { Sequence, SequenceGroup } from '../core/sequence.js';
import { StepEncoder } from '../core/step-encoder.js';
import type { Step } from '../core/step-record.js';
import { RecordingScheduler, type TraceSink } from '../core/trace.js';
import { octavoError } from '../errors.js';
import type { OutputText } from '../text/output-text.js';
import { EventFeed } from './events.js';
import type { Executor } from './executor.js';
import type { EngineStats } from './outputs.js';
import { type Request, type SequenceRecord, TopListReader } from './request.js';

type Result = Awaited<ReturnType<Executor['execute']>>;

interface Unread {
  readonly text: OutputText;
  readonly token: number;
}

/** A committed step whose callers have not heard of it yet. */
interface News {
  readonly step: Step;
  readonly result: Result;
  readonly ended: readonly SequenceGroup[];
}

/** After these the executor is no longer to be trusted. */
const FATAL = new Set(['ERR_DEVICE_LOST', 'ERR_INTERNAL', 'ERR_CLOSED']);

export class Engine {
  readonly #scheduler: Scheduler;
  readonly #encoder: StepEncoder;
  readonly #executor: Executor;
  readonly events = new EventFeed();
  /** Accepted and not ended. A group's attachment is its request. */
  readonly #requests = new Set<Request>();
  #loop: Promise<void> | null = null;
  #closing: Promise<void> | null = null;
  #fatal: Error | null = null;
  #news: News | null = null;
  /** Drawn tokens whose text nobody had to judge, and which were not detokenized yet. */
  #unread: Unread[] = [];
  readonly #counts = {
    numSteps: 0,
    promptTokens: 0,
    generationTokens: 0,
    numRequestsFinished: 0,
    numRequestsAborted: 0,
    peakKvCacheUsage: 0,
  };

  /** @param trace is told everything the scheduler is told and decides */
  constructor(executor: Executor, options: SchedulerOptions, trace?: TraceSink) {
    this.#executor = executor;
    this.#scheduler = trace ? new RecordingScheduler(options, trace) : new Scheduler(options);
    this.#encoder = new StepEncoder();
  }

  /**
   * Takes a request in, or throws and takes nothing.
   * @throws ERR_CLOSED, ERR_OVERLOADED, ERR_REQUEST_TOO_LARGE, ERR_PROMPT_TOO_LONG, and what
   * killed the engine, if something did
   */
  submit(request: Request): void {
    if (this.#closing) throw closedError();
    if (this.#fatal) throw this.#fatal;
    this.#scheduler.add(request.group);
    request.group.attachment = request;
    this.#requests.add(request);
    this.#loop ??= this.#run();
  }

  /** Throws what `submit` would, now or at any time, but for a full queue; takes nothing. */
  checkFeasible(request: Request): void {
    this.#scheduler.checkFeasible(request.group);
  }

  /**
   * Ends a request; its KV is free before the next step is scheduled. Nothing happens if it has
   * ended already.
   * @param error what its caller gets; without one it gets its output so far, finishReason abort
   */
  abort(request: Request, error?: Error): void {
    this.#tell();
    if (request.settled || !this.#requests.has(request)) return;
    for (const sequence of request.group.sequences) {
      if (sequence.finishReason === null && sequence.attachment !== null) finishText(sequence);
    }
    this.#scheduler.abort(request.group.id);
    this.#counts.numRequestsAborted++;
    this.#requests.delete(request);
    if (error) request.fail(error);
    else request.announce();
  }

  stats(): EngineStats {
    const { pool, stats, numRunning, numWaiting, numSwapped } = this.#scheduler;
    return {
      numRequestsRunning: numRunning,
      numRequestsWaiting: numWaiting,
      numRequestsSwapped: numSwapped,
      kvCacheUsage: pool.usage,
      ...this.#counts,
      prefixCacheQueries: stats.numPrefixQueries,
      prefixCacheHits: stats.numPrefixHits,
      numPreemptions: stats.numPreemptions,
      numBlockCopies: stats.numBlockCopies,
      numBlocksSwappedOut: stats.numSwappedOut,
      numBlocksSwappedIn: stats.numSwappedIn,
    };
  }

  /** Forgets all cached prefixes; false while any block is in use. */
  resetPrefixCache(): boolean {
    return this.#scheduler.resetPrefixCache();
  }

  /** Ends all requests with ERR_CLOSED, waits for the step in flight, frees; idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const request of [...this.#requests]) this.#end(request, closedError());
    try {
      await this.#loop;
    } finally {
      this.events.close();
      await this.#executor.close();
    }
  }

  async #run(): Promise<void> {
    // Requests of the same turn of the event loop start together.
    await new Promise(setImmediate);
    try {
      while (this.#scheduler.hasUnfinished) {
        const step = this.#scheduler.schedule();
        if (step === null) break;
        const executing = this.#execute(step);
        try {
          this.#tell();
        } finally {
          await executing;
        }
      }
      this.#tell();
      if (this.#scheduler.hasUnfinished) {
        throw octavoError('ERR_INTERNAL', 'requests are left that the scheduler cannot run');
      }
    } catch (error) {
      this.#die(error as Error);
    } finally {
      this.#loop = null;
    }
  }

  /** Submits the step before it returns, and commits it when it is done. */
  async #execute(step: Step): Promise<void> {
    const { tableSlab, samplerSlab, pool } = this.#scheduler;
    for (let i = 0; i < step.numSeqs; i++) {
      requestOf(step.seqs[i].group).noteStarted();
    }
    const words = this.#encoder.encode(step);
    const usage = pool.usage;
    if (usage > this.#counts.peakKvCacheUsage) this.#counts.peakKvCacheUsage = usage;
    const started = performance.now();
    let result: Result;
    try {
      result = await this.#executor.execute(words, tableSlab, samplerSlab);
    } catch (error) {
      this.#failStep(step, error as Error & { code?: string });
      return;
    }
    const ended = this.#scheduler.commit(step, result, this.#judge);
    this.#news = { step, result, ended };
    this.#count(this.#news);
    if (this.events.isHeard) this.#publish(step, performance.now() - started, result.computeMs);
  }

  #count({ step, result, ended }: News): void {
    this.#counts.numSteps++;
    for (let i = 0; i < step.numSamples; i++) {
      const dropped = requestOf(step.sampleSeqs[i].group).settled || result.tokenIds[i] < 0;
      if (!dropped) this.#counts.generationTokens++;
    }
    for (const group of ended) {
      this.#counts.numRequestsFinished++;
      this.#counts.promptTokens += group.numPromptTokens;
    }
  }

  /** Callers hear of the last step: the next one is being computed, or there is none. */
  #tell(): void {
    const news = this.#news;
    if (news === null) return;
    this.#news = null;
    const unread = this.#unread;
    this.#unread = [];
    for (const { text, token } of unread) text.push(token);
    this.#record(news);
    for (const group of news.ended) this.#finish(group);
  }

  /**
   * Core asks for each token that joins a text: does it now hold a stop string? Only a text that
   * looks for some is read at once.
   */
  readonly #judge = (sequence: Sequence, _sample: number, mayStop: boolean): string | null => {
    const { text } = sequence.attachment as SequenceRecord;
    if (text.canStop) return text.push(sequence.lastToken, { judge: mayStop }).stop;
    this.#unread.push({ text, token: sequence.lastToken });
    return null;
  };

  #publish(step: Step, ms: number, computeMs: number): void {
    const { pool, config, numFreeHostBlocks } = this.#scheduler;
    this.events.publish({
      ...this.stats(),
      time: Date.now(),
      numBlocksUsed: pool.numUsable - pool.numFree,
      numBlocksFree: pool.numFree,
      numBlocksCached: pool.prefixes.numPublished,
      numTableEntries: this.#scheduler.numTableEntries,
      numHostBlocksUsed: config.numHostBlocks - numFreeHostBlocks,
      step: {
        ms,
        computeMs,
        numSeqs: step.numSeqs,
        numTokens: step.numTokens,
        numBlockCopies: step.numCopies,
        numBlocksSwappedOut: step.numSwapOuts,
        numBlocksSwappedIn: step.numSwapIns,
      },
    });
  }

  /** Logprobs of the tokens drawn; their text has been read. */
  #record({ step, result }: News): void {
    const tops = new TopListReader(result);
    const touched = new Set<Request>();
    for (let i = 0; i < step.numSamples; i++) {
      const sequence = step.sampleSeqs[i];
      const { group } = sequence;
      const numTop = Math.max(0, group.params.numLogprobs);
      const top = group.beams === null ? tops.read(numTop) : tops.skip(numTop);
      const request = requestOf(group);
      if (request.settled || result.tokenIds[i] < 0) continue;
      touched.add(request);
      if (group.beams !== null) continue;
      const record = sequence.attachment as SequenceRecord;
      if (record.wantsLogprobs) {
        record.logprobs.push({
          tokenId: result.tokenIds[i],
          logprob: result.logprobs[i],
          rank: result.ranks[i],
          top,
        });
      }
      if (sequence.finishReason !== null) finishText(sequence);
    }
    for (const request of touched) {
      request.noteToken();
      if (!request.group.finished) request.announce();
    }
  }

  #finish(group: SequenceGroup): void {
    const request = requestOf(group);
    this.#requests.delete(request);
    if (group.sequences.some((sequence) => sequence.finishReason === 'error')) {
      request.fail(
        octavoError(
          'ERR_NON_FINITE',
          'the model gave no finite logit to draw from; the weights are damaged, or bad words, ' +
            'stop ids and allowed tokens left nothing',
        ),
      );
    } else {
      request.announce();
    }
  }

  /** What a failed step wrote is unknown: its requests end with the error, the others go on. */
  #failStep(step: Step, error: Error & { code?: string }): void {
    for (const group of this.#scheduler.discard(step)) {
      const request = requestOf(group);
      this.#requests.delete(request);
      request.fail(error);
    }
    if (FATAL.has(error.code ?? '')) throw error;
  }

  /** Aborts, and if that fails too (a text that cannot be read, say), forgets the request. */
  #end(request: Request, error: Error): void {
    try {
      this.abort(request, error);
    } catch {
      this.#scheduler.abort(request.group.id);
      this.#requests.delete(request);
      request.fail(error);
    }
  }

  #die(error: Error): void {
    this.#fatal = error;
    for (const request of [...this.#requests]) this.#end(request, error);
  }
}

function requestOf(group: SequenceGroup): Request {
  return group.attachment as Request;
}

/** Gives out what was held back, unless a stop string has cut the text. */
function finishText(sequence: Sequence): void {
  const { text } = sequence.attachment as SequenceRecord;
  if (typeof sequence.stopReason !== 'string') text.finish();
}

function closedError(): Error {
  return octavoError('ERR_CLOSED', 'the model was closed; load it anew');
}
