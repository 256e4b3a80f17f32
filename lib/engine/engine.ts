/**
 * The loop: schedule → execute → commit, as long as there is work. Everybody's requests meet here,
 * so concurrent callers are batched with no further call. What a step drew is detokenized and
 * delivered while the next one is computed.
 *
 * A request ends in one place, `#settle`, and what goes wrong with it alone (a decoder that throws)
 * ends it alone. A step that failed ends the requests in it; the engine itself ends when the
 * executor is lost, or when something of its own is wrong.
 */
import type { GroupExtent } from '../core/admission.js';
import { KvGroups } from '../core/kv-groups.js';
import { Scheduler } from '../core/scheduler.js';
import { allocated, type SchedulerOptions } from '../core/scheduler-config.js';
import type { Sequence, SequenceGroup } from '../core/sequence.js';
import type { Step } from '../core/step.js';
import type { StepResult } from '../core/step-result.js';
import { RecordingScheduler, type TraceSink } from '../core/trace.js';
import { octavoError } from '../errors.js';
import type { NativeStepResult } from '../native.js';
import { Pacer } from '../text/pacer.js';
import { decodeResult } from '../wire/decode.js';
import { StepEncoder } from '../wire/encode.js';
import type { GrammarConstraint } from './constraint.js';
import { EventFeed } from './events.js';
import type { Executor } from './executor.js';
import { figuresOf, stepEvent } from './figures.js';
import type { JumpForward } from './jump-forward.js';
import { type KvEventSink, KvEvents } from './kv-events.js';
import type { EngineStats } from './outputs.js';
import { type Request, unreadable } from './request.js';
import { closedError, coded, endOf, FATAL, failureOf, nothingToDraw } from './request-ends.js';
import { recordOf } from './snapshot.js';
import { Watch, type WatchedGrammars, type Watcher } from './watch.js';

/** A committed step whose callers have not heard of it yet. */
interface CommittedStep {
  /** For whom each of its samples drew. */
  readonly drawn: readonly Sequence[];
  /** How many of its draws a grammar had a mask for. */
  readonly numMasks: number;
  readonly result: StepResult;
  readonly ended: readonly SequenceGroup[];
}

/** A token that was drawn, and is not in the text of its sequence yet. */
interface UnreadToken {
  readonly sequence: Sequence;
  readonly token: number;
}

export class Engine {
  readonly #scheduler: Scheduler;
  readonly #encoder: StepEncoder;
  readonly #executor: Executor;
  readonly #jump: JumpForward | null;
  #kvEvents: KvEvents | null = null;
  readonly events = new EventFeed();
  /** Called when requests may have left the waiting queue, and when the engine has ended. */
  onRoom: () => void = () => {};
  /** Accepted and not ended. A group's attachment is its request. */
  readonly #requests = new Set<Request>();
  #loop: Promise<void> | null = null;
  /** False as soon as it begins to close: ending what runs makes room, which nobody may take. */
  #isOpen = true;
  #closing: Promise<void> | null = null;
  #fatal: Error | null = null;
  #committed: CommittedStep | null = null;
  /** null: nobody watches. */
  #watch: Watch | null = null;
  /** Drawn tokens in whose text nobody looks for stop strings. */
  #unread: UnreadToken[] = [];
  /** Requests whose text could not be read while a step was committed. */
  #unreadable: { readonly request: Request; readonly cause: unknown }[] = [];
  readonly #counts = {
    numSteps: 0,
    promptTokens: 0,
    promptTokensCached: 0,
    generationTokens: 0,
    numRequestsFinished: 0,
    numRequestsAborted: 0,
    numMasks: 0,
    numTokensForced: 0,
    peakKvCacheUsage: 0,
  };

  readonly #numRequestsBy = { stop: 0, length: 0, abort: 0, error: 0 };

  /**
   * @param trace is told everything the scheduler is told and decides
   * @param jump finds tokens that need not be drawn; null: all are
   */
  constructor(
    executor: Executor,
    options: SchedulerOptions,
    trace?: TraceSink,
    jump: JumpForward | null = null,
  ) {
    this.#jump = jump;
    this.#executor = executor;
    this.#scheduler = trace ? new RecordingScheduler(options, trace) : new Scheduler(options);
    const { config } = this.#scheduler;
    this.#encoder = allocated(config, () => new StepEncoder(config));
  }

  /** From now on `sink` is told what the prefix cache has; before the first request. */
  tellPrefixes(sink: KvEventSink): void {
    const { pool, config } = this.#scheduler;
    this.#kvEvents = new KvEvents(pool.prefixes, new KvGroups(config), sink);
  }

  /**
   * Takes a request in, or throws and takes nothing. One that was aborted before is passed over.
   * @throws ERR_CLOSED, ERR_OVERLOADED, ERR_REQUEST_TOO_LARGE, ERR_PROMPT_TOO_LONG, and what
   * killed the engine, if something did
   */
  submit(request: Request): void {
    this.checkOpen();
    if (request.settled) return;
    this.#scheduler.add(request.group);
    request.group.attachment = request;
    this.#requests.add(request);
    this.#watch?.begin(request);
    this.#loop ??= this.#run();
  }

  /** @throws ERR_CLOSED, or what killed the engine */
  checkOpen(): void {
    if (!this.#isOpen) throw closedError();
    if (this.#fatal) throw this.#fatal;
  }

  /** Throws what `submit` would throw at any time of such a request. */
  checkFeasible(extent: GroupExtent): void {
    this.#scheduler.checkFeasible(extent);
  }

  /** Requests that wait for admission. */
  get numWaiting(): number {
    return this.#scheduler.numWaiting;
  }

  /**
   * Ends a request, accepted or not; its KV is free before the next step is scheduled. Nothing
   * happens if it has ended already.
   * @param error what its caller gets; without one it gets its output so far, finishReason abort
   */
  abort(request: Request, error?: Error): void {
    this.#deliver();
    if (request.settled) return;
    if (error === undefined && this.#requests.has(request)) {
      for (const sequence of request.group.sequences) {
        if (sequence.finishReason === null) this.#endText(sequence);
      }
    }
    this.#settle(request, error ?? null);
    this.onRoom();
  }

  stats(): EngineStats {
    const numRequestsBy = { ...this.#numRequestsBy };
    return { ...figuresOf(this.#scheduler), ...this.#counts, numRequestsBy };
  }

  /** What all it does is told to, until the last who watches leaves. @throws ERR_CLOSED */
  watch(grammars: WatchedGrammars): Watcher {
    this.checkOpen();
    this.#watch ??= new Watch(this.#scheduler, this, { grammars, requests: this.#requests });
    return this.#watch.enter(() => void (this.#watch = null));
  }

  /** Forgets all cached prefixes; false while any block is in use. */
  resetPrefixCache(): boolean {
    const isReset = this.#scheduler.resetPrefixCache();
    this.#kvEvents?.flush();
    return isReset;
  }

  /** Ends all requests with ERR_CLOSED, waits for the step in flight, frees; idempotent. */
  close(): Promise<void> {
    this.#isOpen = false;
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#deliver();
    for (const request of [...this.#requests]) this.#settle(request, closedError());
    this.onRoom();
    // The executor is told at once: a step that hangs may end only because it closes.
    const [, closed] = await Promise.allSettled([this.#loop, this.#executor.close()]);
    this.events.close();
    this.#watch?.close();
    if (closed.status === 'rejected') throw closed.reason;
  }

  async #run(): Promise<void> {
    // Requests of the same turn of the event loop start together.
    await new Promise(setImmediate);
    const pacer = new Pacer(1);
    try {
      while (this.#scheduler.hasUnfinished) {
        const step = this.#scheduler.schedule();
        if (step === null) break;
        const executing = this.#execute(step);
        let turn: Promise<void> | undefined;
        try {
          this.onRoom();
          this.#deliver();
          // Node hands over finished steps one after the other, before it looks at sockets again.
          if (pacer.due()) turn = pacer.turn();
        } finally {
          await (turn === undefined ? executing : Promise.all([executing, turn]));
        }
      }
      this.#deliver();
      if (this.#scheduler.hasUnfinished) {
        throw octavoError('ERR_INTERNAL', 'requests are left that the scheduler cannot run');
      }
    } catch (error) {
      this.#die(coded(error));
    } finally {
      this.#loop = null;
    }
  }

  /** Submits the step before it returns, and commits it when it is done. */
  async #execute(step: Step): Promise<void> {
    const scheduler = this.#scheduler;
    for (let i = 0; i < step.numSeqs; i++) {
      const { group } = scheduler.sequenceAt(step.seqRows[i])!;
      if (!requestOf(group).noteStarted()) continue;
      this.#counts.promptTokens += group.numPromptTokens;
      this.#counts.promptTokensCached += group.numCachedTokens;
    }
    const drawn: Sequence[] = [];
    for (let i = 0; i < step.numSamples; i++) drawn.push(scheduler.sequenceAt(step.sampleRows[i])!);
    this.#watch?.plan(step);
    const { usage } = scheduler.pool;
    if (usage > this.#counts.peakKvCacheUsage) this.#counts.peakKvCacheUsage = usage;
    const started = performance.now();
    let raw: NativeStepResult;
    try {
      const encoder = this.#encoder;
      const words = encoder.encode(step);
      const { tableSlab, samplerSlab, newMasks } = encoder;
      const matchers = step.constraints.map((one) => (one as GrammarConstraint).matcher);
      raw = await this.#executor.execute(
        words,
        tableSlab,
        samplerSlab,
        newMasks,
        matchers.length > 0 ? matchers : undefined,
      );
    } catch (error) {
      this.#failStep(step, coded(error));
      return;
    }
    let result = decodeResult(step, raw);
    if (step.constraints.length > 0 && this.#jump !== null) {
      result = await this.#jump.extend(drawn, result);
    }
    const ended = scheduler.commit(step, result, this.#findStop);
    const numMasks = step.constraints.length;
    this.#committed = { drawn, numMasks, result, ended };
    this.#count(this.#committed);
    const times = { ms: performance.now() - started, computeMs: raw.computeMs };
    if (this.events.isHeard) this.events.publish(stepEvent(scheduler, step, this.stats(), times));
    this.#watch?.note(step, drawn, times.ms, times.computeMs);
  }

  #count({ drawn, numMasks, result: { tokensAt }, ended }: CommittedStep): void {
    this.#counts.numSteps++;
    this.#counts.numMasks += numMasks;
    const searches = new Map<SequenceGroup, number>();
    for (let i = 0; i < drawn.length; i++) {
      const request = requestOf(drawn[i].group);
      if (request.settled) continue;
      // Of several tokens at once one may have ended it.
      const { attachment, numOutputTokens } = drawn[i];
      const numTokens =
        attachment === null
          ? tokensAt[i + 1] - tokensAt[i]
          : numOutputTokens - recordOf(drawn[i]).numTokens;
      request.numGenerated += numTokens;
      this.#counts.generationTokens += numTokens;
      // One was drawn; what came with it was not.
      this.#counts.numTokensForced += Math.max(0, numTokens - 1);
      const { group } = request;
      if (group.beams !== null) searches.set(group, (searches.get(group) ?? 0) + numTokens);
    }
    for (const [group, numDrawn] of searches) this.#countBeams(group, numDrawn);
    this.#counts.numRequestsFinished += ended.length;
  }

  /** Several may go on from one: the first step draws for the prompt, and each beam has a token. */
  #countBeams(group: SequenceGroup, numDrawn: number): void {
    const { live, finished } = group.beams!;
    const numBeams = Math.max(live.length, group.finished ? finished.length : 0, numDrawn);
    requestOf(group).numGenerated += numBeams - numDrawn;
    this.#counts.generationTokens += numBeams - numDrawn;
  }

  /**
   * Core asks for each token that joins a text: does it now hold a stop string? Only a text that
   * looks for some is read at once. Nothing may be thrown here, in the middle of a commit.
   */
  readonly #findStop = (sequence: Sequence, _at: number, mayStop: boolean): string | null => {
    const record = recordOf(sequence);
    if (!record.text.canStop) {
      this.#unread.push({ sequence, token: sequence.lastToken });
      return null;
    }
    try {
      return record.push(sequence.lastToken, mayStop);
    } catch (cause) {
      this.#unreadable.push({ request: requestOf(sequence.group), cause });
      return null;
    }
  };

  /** Callers hear of the last step: the next one is being computed, or there is none. */
  #deliver(): void {
    this.#kvEvents?.flush();
    const committed = this.#committed;
    if (committed === null) return;
    this.#committed = null;
    const unread = this.#unread;
    const failed = this.#unreadable;
    this.#unread = [];
    this.#unreadable = [];
    for (const { request, cause } of failed) this.#settle(request, unreadable(cause));
    for (const { sequence, token } of unread) this.#read(sequence, token);
    this.#record(committed);
    for (const group of committed.ended) this.#finish(group);
  }

  #read(sequence: Sequence, token: number): void {
    const request = requestOf(sequence.group);
    if (request.settled) return;
    try {
      recordOf(sequence).push(token);
    } catch (cause) {
      this.#settle(request, unreadable(cause));
    }
  }

  /** Logprobs of the tokens drawn, and who ended; their text has been read. */
  #record({ drawn, result }: CommittedStep): void {
    const { tokensAt, tokenIds, logprobs, ranks, topAt } = result;
    const touched = new Set<Request>();
    for (let i = 0; i < drawn.length; i++) {
      const sequence = drawn[i];
      const { group } = sequence;
      const request = requestOf(group);
      if (request.settled) continue;
      if (tokensAt[i] < tokensAt[i + 1]) touched.add(request);
      if (group.beams !== null) continue;
      const record = recordOf(sequence);
      for (let t = tokensAt[i]; t < tokensAt[i + 1]; t++) {
        record.logprobs?.push(tokenIds[t], logprobs[t], ranks[t], result, topAt[t]);
      }
      if (sequence.finishReason === 'error') record.error = nothingToDraw(sequence);
      if (sequence.finishReason !== null) {
        this.#endText(sequence);
        sequence.dropConstraint();
      }
      record.update(sequence);
    }
    for (const request of touched) {
      if (!request.settled) request.noteTokens();
    }
  }

  /** Gives out what was held back of a text that ends, unless a stop string has cut it. */
  #endText(sequence: Sequence): void {
    if (sequence.attachment === null) return;
    try {
      recordOf(sequence).end(typeof sequence.stopReason === 'string');
    } catch (cause) {
      this.#settle(requestOf(sequence.group), unreadable(cause));
    }
  }

  #finish(group: SequenceGroup): void {
    this.#settle(requestOf(group), failureOf(group));
  }

  /**
   * A step that was refused ran nothing: its groups wait again and then run one by one, until it
   * is known whose it was. What any other failed step wrote is unknown: its requests end.
   */
  #failStep(step: Step, error: Error & { code?: string }): void {
    const groupAt = (i: number) => this.#scheduler.sequenceAt(step.seqRows[i])?.group;
    let isShared = false;
    for (let i = 1; i < step.numSeqs && !isShared; i++) isShared = groupAt(i) !== groupAt(0);
    if (error.code === 'ERR_INVALID_STEP' && isShared) {
      this.#scheduler.putBack(step, true);
      return;
    }
    for (const group of this.#scheduler.discard(step)) {
      this.#counts.numRequestsAborted++;
      this.#settle(requestOf(group), error);
    }
    if (FATAL.has(error.code ?? '')) throw error;
  }

  /** The one way in which a request ends. It has ended with an output where there is no error. */
  #settle(request: Request, error: Error | null): void {
    if (request.settled) return;
    const wasAccepted = this.#requests.delete(request);
    if (wasAccepted) this.#numRequestsBy[endOf(request, error)]++;
    this.#watch?.end(request, error);
    if (wasAccepted && !request.group.finished) {
      this.#counts.numRequestsAborted++;
      this.#scheduler.abort(request.group.id);
    }
    if (error === null) request.finish();
    else request.fail(error);
    for (const sequence of request.group.sequences) sequence.dropConstraint();
  }

  /** Something of the engine's own is wrong, or the executor is lost: nobody is served any more. */
  #die(error: Error): void {
    this.#fatal = error;
    for (const request of [...this.#requests]) {
      try {
        this.#settle(request, error);
      } catch {
        request.fail(error); // what is wrong may be the scheduler
      }
    }
    this.onRoom();
  }
}

function requestOf(group: SequenceGroup): Request {
  return group.attachment as Request;
}
