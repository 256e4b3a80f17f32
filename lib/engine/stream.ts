/** The iterator behind `stream()`: leaving it frees the KV at once, also while a `next()` waits. */
import { octavoError } from '../errors.js';
import { Reader } from './reader.js';
import type { Request } from './request.js';

/** A `next()` that waits. */
interface Waiter<T> {
  resolve(result: IteratorResult<T, void>): void;
  reject(error: unknown): void;
}

const DONE: IteratorResult<never, void> = Object.freeze({ done: true, value: undefined });

/** @typeParam T what its reader gets; the last is finished */
export class OutputStream<T extends { readonly finished: boolean }> extends Reader<T> {
  readonly #start: (left: AbortSignal) => Promise<Request>;
  readonly #take: (request: Request) => T | null;
  readonly #abort: (request: Request) => void;
  #state: 'new' | 'open' | 'ended' = 'new';
  /** Null until it was accepted. */
  #request: Request | null = null;
  #waiters: Waiter<T>[] = [];
  /** Of the time before that. */
  readonly #left = new AbortController();

  /**
   * @param start checks and submits the request, or gives up when its signal aborts; called by the
   * first `next()`
   * @param take what is new of it, null for nothing
   * @param abort ends it; called when the reader leaves, and harmless after its end
   */
  constructor(
    start: (left: AbortSignal) => Promise<Request>,
    take: (request: Request) => T | null,
    abort: (request: Request) => void,
  ) {
    super();
    this.#start = start;
    this.#take = take;
    this.#abort = abort;
  }

  next(): Promise<IteratorResult<T, void>> {
    if (this.#state === 'ended') return Promise.resolve(DONE);
    const result = new Promise<IteratorResult<T, void>>((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
    });
    if (this.#state === 'new') this.#open();
    else this.#serve();
    return result;
  }

  async #open(): Promise<void> {
    this.#state = 'open';
    try {
      const request = await this.#start(this.#left.signal);
      if (this.#ended) return this.#abort(request);
      this.#request = request;
      request.onChange = () => this.#serve();
    } catch (error) {
      return this.#fail(error);
    }
    this.#serve();
  }

  get #ended(): boolean {
    return this.#state === 'ended';
  }

  /** Gives states to those who wait, while there are any. */
  #serve(): void {
    try {
      while (this.#request !== null && this.#waiters.length > 0) {
        const output = this.#take(this.#request);
        if (output === null) return;
        this.#waiters.shift()?.resolve({ done: false, value: output });
        if (output.finished) this.leave();
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /** One reader gets the error; there is nothing after it. */
  #fail(error: unknown): void {
    this.#waiters.shift()?.reject(error);
    this.leave();
  }

  /** Aborts at once; a `next()` that waits learns that there is nothing more. */
  protected leave(): void {
    this.#state = 'ended';
    const request = this.#request;
    this.#request = null;
    if (request === null) {
      this.#left.abort(octavoError('ERR_ABORTED', 'the reader of the stream has left'));
    } else {
      request.onChange = null;
      this.#abort(request);
    }
    for (const waiter of this.#waiters) waiter.resolve(DONE);
    this.#waiters = [];
  }
}
