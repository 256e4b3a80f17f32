/**
 * What an engine does, recorded for those who watch: what each request did when, durations, the
 * state of every block. It exists while somebody watches; the engine asks once a step whether it
 * does. Everybody who watches is told what is new to him when he asks for it: who asks seldom gets
 * fewer and larger frames, and holds nothing up.
 */
import type { Scheduler } from '../core/scheduler.js';
import type { Sequence, SequenceGroup } from '../core/sequence.js';
import type { Step } from '../core/step.js';
import { isOctavoError } from '../errors.js';
import type { GrammarCounts } from '../grammar/compile.js';
import { cellsOf } from './block-cells.js';
import type { GrammarConstraint } from './constraint.js';
import { Durations } from './durations.js';
import type { EngineStats } from './outputs.js';
import type { Request } from './request.js';
import { endOf } from './request-ends.js';
import { ACTS, type Act, type BlockUse, type WatchFrame } from './watch-frames.js';
import { WatchedPrefixes } from './watch-prefixes.js';
import { Span, ToldSpan } from './watch-span.js';

/** Requests that are shown, waiting and ended ones among them where not so many run. */
const MOST_SPANS = 200;

/** Users of a block that are named. */
const MOST_USERS = 16;

/** To a hundredth of a ms: what follows goes over the wire as text. */
const clock = () => Math.round(performance.now() * 100) / 100;

/** Of an engine. */
interface HasStats {
  stats(): EngineStats;
}

export interface WatchedGrammars {
  readonly counts: GrammarCounts;
  /** Told how long one took that was compiled, in ms. */
  onCompiled: ((ms: number) => void) | null;
}

export interface AtHand {
  /** Those that are under way. */
  readonly requests: Iterable<Request>;
  readonly grammars: WatchedGrammars;
}

/** A sequence in the step that runs; read before, for who ends by it is found no more. */
interface Worker {
  readonly span: Span;
  readonly sequence: Sequence;
  readonly act: Act;
  readonly numTokens: number;
}

export class Watch {
  version = 0;
  isClosed = false;
  readonly durations = {
    queue: new Durations(),
    ttft: new Durations(),
    itl: new Durations(),
    step: new Durations(),
  };
  readonly #compileMs = new Durations();
  readonly #maskUs = new Durations();
  readonly steps = { numSteps: 0, ms: 0, computeMs: 0, numTokens: 0, numSeqs: 0 };
  readonly #scheduler: Scheduler;
  readonly #engine: HasStats;
  readonly #grammars: WatchedGrammars;
  readonly #watchers = new Set<Watcher>();
  /** Of requests that have not ended. */
  readonly #open = new Map<SequenceGroup, Span>();
  /** Those of them that have begun. */
  readonly #begun = new Set<Span>();
  /** Those that are shown, the eldest first. */
  readonly #shown = new Set<Span>();
  /** The version since which they are those. */
  #shownSince = 0;
  readonly #prefixes: WatchedPrefixes;
  /** The version since which they are known so. */
  #prefixesSince = 0;
  #goesOn: NodeJS.Timeout | null = null;
  /** Requests that began to run or ended. */
  #numTurns = 0;
  #nextKey = 0;
  #workers: Worker[] = [];
  #plannedAt = 0;
  #cells: { readonly version: number; readonly cells: Uint8Array } | null = null;

  constructor(scheduler: Scheduler, engine: HasStats, { requests, grammars }: AtHand) {
    this.#grammars = grammars;
    this.#scheduler = scheduler;
    this.#engine = engine;
    this.#prefixes = new WatchedPrefixes(scheduler);
    grammars.onCompiled = (ms) => this.#compileMs.add(ms);
    for (const request of requests) {
      const span = this.begin(request);
      if (span.wasBegun) this.#begun.add(span);
    }
  }

  get isWatched(): boolean {
    return this.#watchers.size > 0;
  }

  /** @param onLast called when nobody is left */
  enter(onLast: () => void): Watcher {
    const watcher = new Watcher(this, () => {
      this.#watchers.delete(watcher);
      if (this.isWatched) return;
      this.#leave();
      onLast();
    });
    this.#watchers.add(watcher);
    return watcher;
  }

  /** A request was accepted. */
  begin(request: Request): Span {
    const span = new Span(this.#nextKey++, request, clock());
    this.#open.set(request.group, span);
    this.#show(span);
    this.#touch(span);
    this.#wake();
    return span;
  }

  /** A request has ended, by itself or by an error. */
  end(request: Request, error: Error | null): void {
    const span = this.#open.get(request.group);
    if (span === undefined) return;
    this.#open.delete(request.group);
    this.#begun.delete(span);
    this.#numTurns++;
    this.#touch(span);
    span.end(clock(), isOctavoError(error) ? error.code : endOf(request, error));
    this.#wake();
  }

  /** A step is about to run. */
  plan(step: Step): void {
    const scheduler = this.#scheduler;
    const now = clock();
    this.#plannedAt = now;
    this.#workers = [];
    for (let i = 0; i < step.numSeqs; i++) {
      const sequence = scheduler.sequenceAt(step.seqRows[i])!;
      const span = this.#open.get(sequence.group);
      if (span === undefined) continue;
      if (!this.#begun.has(span)) this.#start(span, now);
      span.lastStep = step.number;
      const { waitingForks, index, numPromptTokens, numTokens } = sequence;
      if (waitingForks !== null) span.expectForks(index, waitingForks);
      const numComputed = step.contextLens[i] - step.queryLens[i];
      const isDecode = numComputed >= numPromptTokens && step.contextLens[i] === numTokens;
      const act = isDecode ? ACTS.decode : ACTS.prefill;
      this.#workers.push({ span, sequence, act, numTokens: step.queryLens[i] });
    }
    this.#timeMask(step);
    for (const span of this.#begun) {
      const { state } = span.group;
      if (span.lastStep === step.number || (state !== 'waiting' && state !== 'swapped')) continue;
      this.#touch(span);
      span.wait(state === 'swapped' ? ACTS.swapped : ACTS.preempted, now);
    }
  }

  /** The step has been committed. @param drawn who drew in it, one for each sample */
  note(step: Step, drawn: readonly Sequence[], ms: number, computeMs: number): void {
    const now = clock();
    const searches = new Set<Span>();
    for (const { span, sequence, act, numTokens } of this.#workers) {
      if (span.ended !== null) continue;
      this.#touch(span);
      span.work(sequence.index, act, this.#plannedAt, now, numTokens);
      if (span.head.isBeamSearch) searches.add(span);
    }
    for (const span of searches) span.search(now);
    for (const { finishReason, group, index } of drawn) {
      const span = this.#open.get(group);
      if (span === undefined) continue;
      this.#noteToken(span, now);
      if (finishReason !== null && group.beams === null) span.endLane(index, now, finishReason);
    }
    this.#workers = [];
    this.durations.step.add(ms);
    this.steps.numSteps++;
    this.steps.ms += ms;
    this.steps.computeMs += computeMs;
    this.steps.numTokens += step.numTokens;
    this.steps.numSeqs += step.numSeqs;
    this.#wake();
  }

  close(): void {
    this.isClosed = true;
    this.#leave();
    this.#wake();
  }

  #leave(): void {
    this.#grammars.onCompiled = null;
    if (this.#goesOn !== null) clearTimeout(this.#goesOn);
    this.#goesOn = null;
  }

  /** What is new to one who knows `told`. */
  frame(since: number, told: WeakMap<Span, ToldSpan>): WatchFrame {
    const { pool, config, numFreeHostBlocks } = this.#scheduler;
    const { queue, ttft, itl, step } = this.durations;
    this.#survey();
    for (const span of this.#begun) if (!this.#shown.has(span)) this.#show(span);
    const { found } = this.#prefixes;
    const spans = [...this.#shown].filter(({ version }) => version > since);
    return {
      now: clock(),
      stats: this.#engine.stats(),
      pool: {
        numBlocks: pool.numUsable,
        numFree: pool.numFree,
        numCached: pool.prefixes.numPublished,
        numHostBlocks: config.numHostBlocks,
        numHostUsed: config.numHostBlocks - numFreeHostBlocks,
      },
      grammars: this.#grammars.counts,
      grammarTimes: { compileMs: [...this.#compileMs.counts], maskUs: [...this.#maskUs.counts] },
      steps: { ...this.steps },
      durations: {
        ...{ queue: [...queue.counts], ttft: [...ttft.counts] },
        ...{ itl: [...itl.counts], step: [...step.counts] },
      },
      spans: spans.map((span) => {
        let known = told.get(span);
        // One that was not shown for a while is not known any more.
        const isKnown = known !== undefined && known.version >= span.shownSince;
        if (!isKnown) told.set(span, (known = new ToldSpan()));
        return span.frame(known!);
      }),
      ...(this.#shownSince > since ? { shown: [...this.#shown].map(({ key }) => key) } : {}),
      numHidden: [...this.#open.values()].filter((span) => !this.#shown.has(span)).length,
      ...(found !== null && this.#prefixesSince > since ? { prefixes: found } : {}),
      cells: this.#cellsNow(),
    };
  }

  /** Who uses a block now; null: there is no such block. */
  describe(block: number): BlockUse | null {
    const scheduler = this.#scheduler;
    const { pool, config } = scheduler;
    if (!Number.isInteger(block) || block < 1 || block >= pool.numBlocks) return null;
    const users: BlockUse['users'][number][] = [];
    const refCount = pool.refCounts[block];
    const most = Math.min(refCount, MOST_USERS);
    for (let row = 0; row < config.maxNumSeqs && users.length < most; row++) {
      const sequence = scheduler.sequenceAt(row);
      if (sequence === null) continue;
      for (let group = 0; group < config.groups.length; group++) {
        const at = scheduler.tableOf(sequence, group).indexOf(block);
        if (at < 0) continue;
        const size = config.groups[group].blockSize;
        const { group: request, index } = sequence;
        users.push({ id: request.id, index, group, from: at * size, to: (at + 1) * size });
      }
    }
    const isCached = pool.prefixes.isPublished(block);
    return { block, refCount, isCached, users };
  }

  #start(span: Span, now: number): void {
    this.#begun.add(span);
    this.#numTurns++;
    if (!this.#shown.has(span)) this.#show(span);
    this.durations.queue.add(now - span.arrived);
  }

  /** A step drew for it: once, however many of its samples did. */
  #noteToken(span: Span, now: number): void {
    if (span.firstTokenAt === null) {
      span.firstTokenAt = now;
      this.durations.ttft.add(now - span.arrived);
    } else if (span.lastTokenAt < now) {
      this.durations.itl.add(now - span.lastTokenAt);
    }
    span.lastTokenAt = now;
  }

  /** Of too many, one that has ended makes room; for one that runs, else one that waits. */
  #show(span: Span): void {
    if (this.#shown.size >= MOST_SPANS) {
      const all = [...this.#shown];
      const waits = (one: Span) => one.ended === null && !this.#begun.has(one);
      const ended = all.find((one) => one.ended !== null);
      const other = ended ?? (this.#begun.has(span) ? all.findLast(waits) : undefined);
      if (other === undefined) return;
      this.#shown.delete(other);
    }
    this.#shown.add(span);
    this.#touch(span);
    span.shownSince = this.version;
    this.#shownSince = this.version;
  }

  /** That of one of the step's draws, as every fill delays it; each has its turn. */
  #timeMask({ constraints, number }: Step): void {
    if (constraints.length === 0) return;
    const one = constraints[number % constraints.length] as GrammarConstraint;
    this.#maskUs.add(1000 * one.timeMask());
  }

  /** Prefixes are found out in parts, also while nothing else happens. */
  #survey(): void {
    const now = performance.now();
    if (this.#prefixes.goOn(now, this.#numTurns)) {
      this.#wake();
      this.#prefixesSince = this.version;
    }
    const wait = this.#prefixes.waitOf(now, this.#numTurns);
    if (wait === null || this.#goesOn !== null || !this.isWatched) return;
    this.#goesOn = setTimeout(() => {
      this.#goesOn = null;
      this.#wake();
    }, wait).unref();
  }

  #touch(span: Span): void {
    span.version = ++this.version;
  }

  #wake(): void {
    this.version++;
    for (const watcher of this.#watchers) watcher.wake();
  }

  #cellsNow(): Uint8Array {
    if (this.#cells?.version !== this.version) {
      this.#cells = { version: this.version, cells: cellsOf(this.#scheduler.pool) };
    }
    return this.#cells.cells;
  }
}

/** One who watches. Costs until {@link leave}. */
export class Watcher {
  readonly #watch: Watch;
  readonly #onLeave: () => void;
  readonly #told = new WeakMap<Span, ToldSpan>();
  #version = -1;
  #wake: (() => void) | null = null;
  #hasLeft = false;

  constructor(watch: Watch, onLeave: () => void) {
    this.#watch = watch;
    this.#onLeave = onLeave;
  }

  /** Waits until there is something that was not taken; false: nothing will come any more. */
  async changed(): Promise<boolean> {
    const isOver = () => this.#hasLeft || this.#watch.isClosed;
    while (!isOver() && this.#watch.version === this.#version) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return !isOver();
  }

  /** What is new since the last one. */
  take(): WatchFrame {
    const frame = this.#watch.frame(this.#version, this.#told);
    this.#version = this.#watch.version;
    return frame;
  }

  describe(block: number): BlockUse | null {
    return this.#watch.describe(block);
  }

  wake(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  leave(): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    this.#onLeave();
    this.wake();
  }
}
