/**
 * Figures of the KV pool and the scheduler as they change: one event after each step, for whoever
 * listens. Counters count since load, so a reader that is slow misses events but no counts.
 */
import { takeOptions } from '../arguments.js';
import { octavoError } from '../errors.js';
import type { EngineEvent } from './outputs.js';
import { Reader } from './reader.js';

/** Of `events()`. */
export interface EventOptions {
  /** At most one event in so many milliseconds. Default 0: after every step. */
  readonly intervalMs?: number;
}

/** The longest that a timer waits; it would fire at once where more is asked. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** @throws ERR_INVALID_PARAM */
function intervalOf(options: EventOptions): number {
  const { intervalMs = 0 } = takeOptions(options, 'events()', ['intervalMs']);
  const isNumber = typeof intervalMs === 'number';
  if (isNumber && intervalMs >= 0 && intervalMs <= MAX_TIMER_MS) return intervalMs;
  const sentence = 'intervalMs must be a number of at least 0 and below 2^31';
  throw octavoError('ERR_INVALID_PARAM', sentence, { param: 'intervalMs' });
}

export class EventFeed {
  /** Called once each, by the next event or the end. */
  #wakers = new Set<() => void>();
  #numReaders = 0;
  latest: EngineEvent | null = null;
  isClosed = false;
  /** Readers that nobody ended, and that nobody holds any more, are not counted for ever. */
  readonly #forgotten = new FinalizationRegistry<EventFeed>((feed) => {
    feed.#numReaders--;
  });

  /** Does anybody listen? If not, an event need not be made. */
  get isHeard(): boolean {
    return this.#numReaders > 0;
  }

  publish(event: EngineEvent): void {
    this.latest = event;
    this.#wake();
  }

  close(): void {
    this.isClosed = true;
    this.#wake();
  }

  /**
   * The newest event, whenever there is one that was not given yet; ends when the engine closes.
   * Leaving the loop ends the subscription.
   */
  subscribe(options: EventOptions = {}): AsyncGenerator<EngineEvent, void, void> {
    return new EventReader(this, options);
  }

  enter(reader: object): void {
    this.#numReaders++;
    this.#forgotten.register(reader, this, reader);
  }

  leave(reader: object): void {
    if (this.#forgotten.unregister(reader)) this.#numReaders--;
  }

  /** Calls back once, at the next event or the end; returns what takes that back. */
  once(waker: () => void): () => void {
    this.#wakers.add(waker);
    return () => this.#wakers.delete(waker);
  }

  #wake(): void {
    const wakers = this.#wakers;
    this.#wakers = new Set();
    for (const waker of wakers) waker();
  }
}

type Result = IteratorResult<EngineEvent, void>;

const DONE: Result = Object.freeze({ done: true, value: undefined });

/**
 * One subscription. The feed knows it only while its `next()` waits, and until the next event: who
 * leaves without a word costs nothing from then on.
 */
class EventReader extends Reader<EngineEvent> {
  readonly #feed: EventFeed;
  readonly #options: EventOptions;
  #intervalMs = 0;
  #state: 'new' | 'open' | 'ended' = 'new';
  #given: EngineEvent | null = null;
  /** When the next event may be given, by performance.now(). */
  #dueAt = 0;
  /** The last `next()`; each begins when the one before has its event. */
  #last: Promise<unknown> = Promise.resolve();
  /** Ends what a `next()` waits for. */
  #wake: () => void = () => {};

  constructor(feed: EventFeed, options: EventOptions) {
    super();
    this.#feed = feed;
    this.#options = options;
  }

  next(): Promise<Result> {
    if (this.#state === 'new') {
      try {
        this.#intervalMs = intervalOf(this.#options);
      } catch (error) {
        this.#state = 'ended';
        return Promise.reject(error);
      }
      this.#state = 'open';
      this.#feed.enter(this);
    }
    const result = this.#last.then(() => this.#take());
    this.#last = result;
    return result;
  }

  async #take(): Promise<Result> {
    const feed = this.#feed;
    while (this.#state === 'open' && !feed.isClosed) {
      const isNew = feed.latest !== null && feed.latest !== this.#given;
      const restMs = this.#dueAt - performance.now();
      if (isNew && restMs <= 0) break;
      await this.#pause(isNew ? restMs : Number.POSITIVE_INFINITY);
    }
    const event = this.#state === 'open' ? feed.latest : null;
    if (event === null || event === this.#given) {
      this.leave();
      return DONE;
    }
    this.#given = event;
    this.#dueAt = performance.now() + this.#intervalMs;
    return { done: false, value: event };
  }

  /** Until the next event or the end, or for so long; keeps no process alive. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = Number.isFinite(ms) ? setTimeout(() => this.#wake(), ms) : undefined;
      timer?.unref();
      const forget = this.#feed.once(() => this.#wake());
      this.#wake = () => {
        clearTimeout(timer);
        forget();
        resolve();
      };
    });
  }

  protected leave(): void {
    if (this.#state === 'open') this.#feed.leave(this);
    this.#state = 'ended';
    this.#wake();
  }
}
