/** When a call has to end before it has ended by itself: by its signal, or because time is up. */
import { readArgument } from '../arguments.js';
import { octavoError } from '../errors.js';

type Listener = (error: Error) => void;

/** However many calls share a signal, it has one listener of ours. */
interface Watch {
  readonly listeners: Set<() => void>;
  readonly tell: () => void;
}

const watches = new WeakMap<AbortSignal, Watch>();

function newWatch(): Watch {
  const listeners = new Set<() => void>();
  const tell = () => {
    for (const listener of [...listeners]) listener();
  };
  return { listeners, tell };
}

/** Calls `listener` once the signal aborts. Returns what takes it off again. */
function watch(signal: AbortSignal, listener: () => void): () => void {
  const { listeners, tell } = watches.get(signal) ?? newWatch();
  if (listeners.size === 0) {
    readArgument(() => signal.addEventListener('abort', tell, { once: true }), unusable);
    watches.set(signal, { listeners, tell });
  }
  listeners.add(listener);
  return () => {
    if (!listeners.delete(listener) || listeners.size > 0) return;
    watches.delete(signal);
    try {
      signal.removeEventListener('abort', tell);
    } catch {
      // Of a signal that is not the platform's: whatever it throws, the call has ended as it has.
    }
  };
}

function unusable(cause: unknown): Error {
  const sentence = 'signal must be an AbortSignal; this one takes no listener';
  return octavoError('ERR_INVALID_PARAM', sentence, { param: 'signal', cause });
}

/** Named like the platform's own, so that callers who look for AbortError find it. */
export function abortedError(signal: AbortSignal, what = 'the request'): Error {
  const error = octavoError('ERR_ABORTED', `${what} was aborted`, { cause: signal.reason });
  error.name = 'AbortError';
  return error;
}

/**
 * Starts with the call, before any work is done for it. `clear()` it when the call has ended, or
 * its timer and its place at the signal stay.
 */
export class Deadline {
  readonly #listeners = new Set<Listener>();
  #error: Error | null = null;
  #unwatch: (() => void) | null = null;
  #timer: NodeJS.Timeout | undefined;

  /** @param timeoutMs from now; not checked here */
  constructor({ signal, timeoutMs }: { signal?: AbortSignal; timeoutMs?: number } = {}) {
    if (signal?.aborted) {
      this.#error = abortedError(signal);
      return;
    }
    if (signal) this.#unwatch = watch(signal, () => this.end(abortedError(signal)));
    if (timeoutMs === undefined) return;
    const late = () =>
      this.end(octavoError('ERR_TIMEOUT', `the request did not end within ${timeoutMs} ms`));
    this.#timer = setTimeout(late, timeoutMs);
  }

  /** @throws ERR_ABORTED or ERR_TIMEOUT if the call should have ended */
  check(): void {
    if (this.#error) throw this.#error;
  }

  /** Ends the call with this error, if nothing has ended it yet. */
  end(error: Error): void {
    if (this.#error) return;
    this.#error = error;
    const listeners = [...this.#listeners];
    this.clear();
    for (const listener of listeners) listener(error);
  }

  /**
   * Calls `listener` at most once, if the call has to end, or now if it had to already. Returns
   * what takes it off again.
   */
  onEnd(listener: Listener): () => void {
    if (this.#error) listener(this.#error);
    else this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The result of `work`, or the error that ends the call first; `work` itself goes on. */
  race<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const off = this.onEnd(reject);
      work.then(resolve, reject).finally(off);
    });
  }

  /** The call has ended: nobody is listened to any more. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#unwatch?.();
    this.#unwatch = null;
    this.#listeners.clear();
  }
}
