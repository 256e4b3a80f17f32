/** What a simulated service is judged by: latencies, and how its memory was used over time. */
import type { SimRequest } from './workloads.js';

/** Slots at one moment. */
export interface MemoryUse {
  /** Requests that run. */
  readonly running: number;
  /** Hold the KV of a token. */
  readonly tokens: number;
  /** Will hold one before the request ends. */
  readonly reserved: number;
  /** Belong to a request and never will. */
  readonly internal: number;
  /** tokens + reserved + internal. */
  readonly held: number;
  /** What would be held if nothing were shared. */
  readonly named: number;
  readonly total: number;
}

/** Averages over time, as long as requests arrive. */
export interface Served {
  /** Mean over requests of latency / output length, in seconds a token. */
  readonly normalizedLatency: number;
  readonly batched: number;
  /** Shares of the whole cache. */
  readonly tokens: number;
  readonly reserved: number;
  readonly internal: number;
  /** Share of the held slots that hold a token. */
  readonly ofHeld: number;
  /** Share of blocks that sharing saves. */
  readonly saved: number;
  readonly preemptions: number;
}

export class ServeLog {
  readonly #requests: readonly SimRequest[];
  readonly #until: number;
  #normalized = 0;
  #seconds = 0;
  readonly #sums = { running: 0, tokens: 0, reserved: 0, internal: 0, held: 0, named: 0, total: 0 };

  constructor(requests: readonly SimRequest[]) {
    this.#requests = requests;
    this.#until = requests[requests.length - 1].arrival;
  }

  sample(seconds: number, time: number, use: MemoryUse): void {
    if (time > this.#until) return;
    this.#seconds += seconds;
    for (const name of Object.keys(this.#sums) as (keyof MemoryUse)[]) {
      this.#sums[name] += seconds * use[name];
    }
  }

  end(index: number, time: number): void {
    const { arrival, output } = this.#requests[index];
    this.#normalized += (time - arrival) / output;
  }

  result({ preemptions }: { preemptions: number }): Served {
    const { running, tokens, reserved, internal, held, named, total } = this.#sums;
    return {
      normalizedLatency: this.#normalized / this.#requests.length,
      batched: running / this.#seconds,
      tokens: tokens / total,
      reserved: reserved / total,
      internal: internal / total,
      ofHeld: tokens / held,
      saved: named === 0 ? 0 : 1 - held / named,
      preemptions,
    };
  }
}
