/**
 * How many texts are tokenized at once, and which is next. Tokenizing runs on libuv's pool, whose
 * few threads also serve file access and DNS: one of them stays free. And texts are of all sizes, a
 * megabyte takes seconds: the longer a text, the fewer of its like may be under way, so that there
 * is always a thread that no long text holds.
 */
import { poolThreads } from '../config/options.js';
import type { Deadline } from './deadline.js';

/** Characters up to which a text counts as short (milliseconds), and as long; beyond it is huge. */
const SIZES = [16_384, 524_288, Number.POSITIVE_INFINITY];

/** More than so many threads is more than memory and cores like. */
const MAX_SLOTS = 8;

interface Task {
  readonly arrival: number;
  /** Null once its deadline has passed. */
  start: (() => Promise<void>) | null;
}

export class EncodingQueue {
  readonly #waiting: Task[][] = SIZES.map(() => []);
  readonly #running: number[] = SIZES.map(() => 0);
  readonly #numSlots: number;
  #arrivals = 0;

  /** @param numThreads of the pool that does the work */
  constructor(numThreads: number) {
    this.#numSlots = Math.max(1, Math.min(numThreads - 1, MAX_SLOTS));
  }

  /**
   * Runs `work` when it is its turn, and resolves to its result. When the deadline passes it
   * rejects at once; work that has begun keeps its slot to its end, other work is forgotten.
   * @param size characters of its text
   */
  async run<T>(size: number, work: () => Promise<T>, deadline: Deadline): Promise<T> {
    deadline.check();
    const kind = SIZES.findIndex((most) => size <= most);
    const result = new Promise<T>((resolve, reject) => {
      const forget = deadline.onEnd(() => {
        task.start = null;
      });
      const start = () => {
        forget();
        return work().then(resolve, reject);
      };
      const task: Task = { arrival: this.#arrivals++, start };
      this.#waiting[kind].push(task);
    });
    this.#next();
    return deadline.race(result);
  }

  #next(): void {
    for (let kind = this.#choose(); kind >= 0; kind = this.#choose()) {
      const task = this.#waiting[kind].shift() as Task;
      if (task.start === null) continue;
      this.#running[kind]++;
      const done = () => {
        this.#running[kind]--;
        this.#next();
      };
      task.start().then(done, done);
    }
  }

  /** The kind of the next task, −1 for none: the one with the fewest under way, then the oldest. */
  #choose(): number {
    const running = this.#running;
    let best = -1;
    for (let kind = 0; kind < SIZES.length; kind++) {
      if (this.#waiting[kind].length === 0 || !this.#mayStart(kind)) continue;
      if (best < 0 || running[kind] < running[best]) best = kind;
      else if (running[kind] === running[best]) best = this.#older(best, kind);
    }
    return best;
  }

  #older(a: number, b: number): number {
    return this.#waiting[a][0].arrival < this.#waiting[b][0].arrival ? a : b;
  }

  /** Texts of a kind and of all longer ones together leave a slot to each shorter kind. */
  #mayStart(kind: number): boolean {
    for (let k = 0; k <= kind; k++) {
      const underWay = this.#running.slice(k).reduce((sum, count) => sum + count, 0);
      if (underWay >= Math.max(1, this.#numSlots - k)) return false;
    }
    return true;
  }
}

/** One for the process, as the pool is. */
export const encodings = new EncodingQueue(poolThreads());
