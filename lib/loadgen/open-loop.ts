/** Sends requests at their times, at most so many at once. */

export interface Loop {
  /** Seconds from the start, ascending. */
  readonly arrivals: Float64Array;
  /** Requests that arrive while so many run wait on this side. */
  readonly maxConcurrency: number;
  /** Sends request `index` and resolves when it has ended, however it did. */
  readonly send: (index: number) => Promise<void>;
  /** Seconds of a clock that only goes forward. */
  readonly clock: () => number;
  /** No request is sent after it is aborted; what runs is the sender's to end. */
  readonly signal?: AbortSignal;
  /** Returns what takes the timer off again. */
  readonly setTimer?: (callback: () => void, ms: number) => () => void;
}

export interface LoopTimes {
  /** By the clock. */
  readonly start: number;
  readonly end: number;
}

function timerOf(callback: () => void, ms: number): () => void {
  const timer = setTimeout(callback, ms);
  return () => clearTimeout(timer);
}

/** Resolves when all requests have ended. */
export function runOpenLoop(loop: Loop): Promise<LoopTimes> {
  const { arrivals, maxConcurrency, send, clock, signal, setTimer = timerOf } = loop;
  const { promise, resolve } = withResolvers<LoopTimes>();
  const start = clock();
  let arrived = 0;
  let sent = 0;
  let running = 0;
  let clearTimer = () => {};
  const ended = () => {
    running--;
    pump();
  };
  const pump = () => {
    while (sent < arrived && running < maxConcurrency && !signal?.aborted) {
      running++;
      send(sent++).then(ended, ended);
    }
    const all = sent === arrivals.length || signal?.aborted;
    if (all && running === 0) resolve({ start, end: clock() });
  };
  const tick = () => {
    const now = clock() - start;
    while (arrived < arrivals.length && arrivals[arrived] <= now) arrived++;
    pump();
    if (arrived < arrivals.length && !signal?.aborted) {
      // A timer may fire up to a millisecond early by this clock: then it is set once more.
      clearTimer = setTimer(tick, Math.max(0, (arrivals[arrived] - (clock() - start)) * 1000));
    }
  };
  const stop = () => {
    clearTimer();
    pump();
  };
  signal?.addEventListener('abort', stop, { once: true });
  tick();
  return promise;
}

function withResolvers<T>() {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
