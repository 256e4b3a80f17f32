/** Calls that were accepted and have not ended: what a drain waits for. */
import { takeOptions } from '../arguments.js';
import { octavoError } from '../errors.js';
import type { Deadline } from './deadline.js';

/** Of `drain()`. */
export interface DrainOptions {
  /** What has not ended after so many milliseconds ends with ERR_DRAINING. Default: no limit. */
  readonly timeoutMs?: number;
}

/** What a drain came to. */
export interface DrainResult {
  /** Calls that were ended because the time was up; a batch is one. */
  readonly numAborted: number;
}

const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** @throws ERR_INVALID_PARAM */
function timeoutOf(options: DrainOptions): number | undefined {
  const { timeoutMs } = takeOptions(options, 'drain()', ['timeoutMs']);
  if (timeoutMs === undefined) return undefined;
  if (typeof timeoutMs === 'number' && timeoutMs >= 0 && timeoutMs <= MAX_TIMEOUT_MS) {
    return timeoutMs;
  }
  const sentence = `timeoutMs must be a number from 0 to ${MAX_TIMEOUT_MS}`;
  throw octavoError('ERR_INVALID_PARAM', sentence, { param: 'timeoutMs' });
}

export class OpenCalls {
  /** Each has a deadline of its own, by which it can be ended wherever it is. */
  readonly #open = new Set<Deadline>();
  #isDraining = false;
  #numAborted = 0;
  #whenEmpty: (() => void)[] = [];

  /** @throws ERR_DRAINING */
  check(): void {
    if (this.#isDraining) {
      throw octavoError('ERR_DRAINING', 'the model finishes what it has and takes nothing new');
    }
  }

  begin(call: Deadline): void {
    this.#open.add(call);
  }

  /** Harmless a second time. */
  end(call: Deadline): void {
    this.#open.delete(call);
    if (this.#open.size > 0) return;
    for (const tell of this.#whenEmpty) tell();
    this.#whenEmpty = [];
  }

  /**
   * Nothing begins any more; resolves when all that began has ended. Of several drains the first
   * whose time is up ends what is left, and all say how many calls that were.
   * @throws ERR_INVALID_PARAM
   */
  async drain(options: DrainOptions = {}): Promise<DrainResult> {
    const timeoutMs = timeoutOf(options);
    this.#isDraining = true;
    if (this.#open.size > 0) {
      const empty = new Promise<void>((resolve) => this.#whenEmpty.push(resolve));
      const late = timeoutMs === undefined ? undefined : setTimeout(() => this.#abort(), timeoutMs);
      await empty;
      clearTimeout(late);
    }
    return { numAborted: this.#numAborted };
  }

  #abort(): void {
    const why = 'the request did not end before the drain had to';
    for (const call of [...this.#open]) {
      this.#numAborted++;
      call.end(octavoError('ERR_DRAINING', why));
    }
  }
}
