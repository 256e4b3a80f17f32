/**
 * The paper's baseline: Orca's iteration-level scheduling over contiguous KV memory, which a buddy
 * allocator hands out per sequence at admission. How much is reserved is what tells the three
 * apart: `max` the model's whole context, `pow2` the output rounded up to a power of two, `oracle`
 * exactly what will be needed (it knows). First come, first served; who is in stays in.
 */
import { type SimModel, stepSeconds } from './cost.js';
import { type Served, ServeLog } from './log.js';
import type { SimRequest } from './workloads.js';

export type Reserve = 'max' | 'pow2' | 'oracle';

const MAX_LEN = 2048;
const BUDGET = 2560;

/** Sizes are powers of two; a freed block merges with its buddy. */
export class BuddyAllocator {
  /** Addresses of free blocks by the logarithm of their size. */
  readonly #free: Set<number>[] = Array.from({ length: 31 }, () => new Set<number>());

  constructor(slots: number) {
    let at = 0;
    for (let order = 30; order >= 0; order--) {
      const size = 2 ** order;
      if (slots - at < size) continue;
      this.#free[order].add(at);
      at += size;
    }
  }

  /** An address for `size` slots, or −1. */
  allocate(size: number): number {
    const wanted = Math.ceil(Math.log2(Math.max(1, size)));
    let order = wanted;
    while (order < this.#free.length && this.#free[order].size === 0) order++;
    if (order === this.#free.length) return -1;
    const [address] = this.#free[order];
    this.#free[order].delete(address);
    while (order > wanted) {
      order--;
      this.#free[order].add(address + 2 ** order);
    }
    return address;
  }

  free(address: number, size: number): void {
    let at = address;
    let order = Math.ceil(Math.log2(Math.max(1, size)));
    for (; order < this.#free.length - 1; order++) {
      const buddy = at % 2 ** (order + 1) === 0 ? at + 2 ** order : at - 2 ** order;
      if (!this.#free[order].delete(buddy)) break;
      at = Math.min(at, buddy);
    }
    this.#free[order].add(at);
  }
}

interface Running {
  readonly index: number;
  readonly addresses: readonly number[];
  readonly reserve: number;
  generated: number;
}

export function serveContiguous(
  model: SimModel,
  requests: readonly SimRequest[],
  { reserve, n = 1 }: { reserve: Reserve; n?: number },
): Served {
  const log = new ServeLog(requests);
  const buddy = new BuddyAllocator(model.slots);
  let running: Running[] = [];
  let time = 0;
  let arrived = 0;
  let head = 0;
  const admit = (index: number): Running | null => {
    const size = reserved(requests[index], reserve);
    const addresses: number[] = [];
    for (let i = 0; i < n; i++) {
      const address = buddy.allocate(size);
      if (address < 0) {
        for (const other of addresses) buddy.free(other, size);
        return null;
      }
      addresses.push(address);
    }
    return { index, addresses, reserve: size, generated: 0 };
  };
  while (head < requests.length || running.length > 0) {
    while (arrived < requests.length && requests[arrived].arrival <= time) arrived++;
    let tokens = running.length * n;
    while (head < arrived && tokens < BUDGET) {
      const entry = admit(head);
      if (entry === null) break;
      tokens += requests[head++].prompt;
      running.push(entry);
    }
    if (running.length === 0) {
      if (head === arrived) time = requests[head].arrival;
      else throw new Error('a request that can never fit');
      continue;
    }
    const use = memory(model, requests, running, n);
    const sequences = running.length * n;
    const seconds = stepSeconds(model, { sequences, tokens, context: use.tokens });
    log.sample(seconds, time, use);
    time += seconds;
    running = running.filter((entry) => {
      if (++entry.generated < requests[entry.index].output) return true;
      for (const address of entry.addresses) buddy.free(address, entry.reserve);
      log.end(entry.index, time);
      return false;
    });
  }
  return log.result({ preemptions: 0 });
}

function reserved({ prompt, output }: SimRequest, how: Reserve): number {
  if (how === 'max') return MAX_LEN;
  if (how === 'oracle') return prompt + output;
  return Math.min(MAX_LEN, prompt + 2 ** Math.ceil(Math.log2(output)));
}

function memory(
  model: SimModel,
  requests: readonly SimRequest[],
  running: readonly Running[],
  n: number,
) {
  const use = { running: running.length, tokens: 0, reserved: 0, internal: 0, held: 0 };
  for (const { index, generated, reserve } of running) {
    const { prompt, output } = requests[index];
    use.tokens += n * (prompt + generated);
    use.reserved += n * (output - generated);
    use.internal += n * (reserve - prompt - output);
    use.held += n * reserve;
  }
  return { ...use, named: use.held, total: model.slots };
}
