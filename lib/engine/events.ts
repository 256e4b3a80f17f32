/**
 * Figures of the KV pool and the scheduler as they change: one event after each step, for whoever
 * listens. Counters count since load, so a reader that is slow misses events but no counts.
 */
import { octavoError } from '../errors.js';
import type { EngineEvent } from './outputs.js';

export interface EventOptions {
  /** At most one event in so many milliseconds. Default 0: after every step. */
  readonly intervalMs?: number;
}

export class EventFeed {
  readonly #wakers = new Set<() => void>();
  #latest: EngineEvent | null = null;
  #closed = false;

  /** Does anybody listen? If not, an event need not be made. */
  get isHeard(): boolean {
    return this.#wakers.size > 0;
  }

  publish(event: EngineEvent): void {
    this.#latest = event;
    this.#wake();
  }

  close(): void {
    this.#closed = true;
    this.#wake();
  }

  /**
   * The newest event, whenever there is one that was not given yet; ends when the engine closes.
   * Leaving the loop ends the subscription.
   */
  async *subscribe({ intervalMs = 0 }: EventOptions = {}): AsyncGenerator<EngineEvent, void, void> {
    if (!(intervalMs >= 0 && intervalMs < 2 ** 31)) {
      throw octavoError('ERR_INVALID_PARAM', 'intervalMs must be a number of at least 0', {
        param: 'intervalMs',
      });
    }
    let wake = () => {};
    const waker = () => wake();
    // Ends early when the engine closes, so that nobody waits for a timer then.
    const pause = (ms: number) =>
      new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        timer.unref();
        wake = () => {
          if (!this.#closed) return;
          clearTimeout(timer);
          resolve();
        };
      });
    this.#wakers.add(waker);
    let given: EngineEvent | null = null;
    try {
      while (!this.#closed) {
        if (this.#latest !== null && this.#latest !== given) {
          given = this.#latest;
          yield given;
          if (intervalMs > 0) await pause(intervalMs);
          continue;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      if (this.#latest !== null && this.#latest !== given) yield this.#latest;
    } finally {
      this.#wakers.delete(waker);
    }
  }

  #wake(): void {
    for (const waker of this.#wakers) waker();
  }
}
