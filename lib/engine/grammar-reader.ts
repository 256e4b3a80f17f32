/**
 * Makes programs of schemas and grammars without holding the event loop: what a moment does not
 * suffice for is read in a thread of its own.
 */
import { existsSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { octavoError } from '../errors.js';
import { Budget, type BudgetLimits } from '../grammar/budget.js';
import { errorOf, grammarError, tooSlow } from '../grammar/problem.js';
import {
  type GrammarJob,
  type GrammarSource,
  type Program,
  readProgram,
} from '../grammar/reading.js';
import type { WorkerAnswer, WorkerTask } from './grammar-worker.js';

/** How long reading may hold the event loop, of one source, and of several in one turn of it. */
const TRY_MS = 15;
const TURN_MS = 10;
/** Of what cannot be sent to another thread. */
const HERE_MS = 200;
/** A thread that has not given up itself so long after its time is ended. */
const GRACE_MS = 1_000;
/** Sources that wait for the thread. */
const MAX_WAITING = 256;

/** Of the thread; one that needs more ends its source alone. */
const MAX_HEAP_MB = 512;

/** What runs from sources, as tests do, takes the compiled file. */
const WORKER =
  [
    new URL('./grammar-worker.js', import.meta.url),
    new URL('../../dist/engine/grammar-worker.js', import.meta.url),
  ].find((url) => existsSync(url)) ?? null;

interface Task {
  readonly job: GrammarJob;
  readonly resolve: (program: Program) => void;
  readonly reject: (error: unknown) => void;
  /** Reads it in this thread. */
  readonly here: () => void;
}

interface ReaderOptions {
  readonly file?: URL | null;
  readonly tryMs?: number;
}

export class GrammarReader {
  readonly #limits: Required<BudgetLimits>;
  readonly #file: URL | null;
  readonly #tryMs: number;
  readonly #waiting: Task[] = [];
  #running: Task | null = null;
  #worker: Worker | null = null;
  #timer: NodeJS.Timeout | undefined;
  /** Ends when the last source that was asked for has had its try. */
  #tries: Promise<unknown> = Promise.resolve();
  /** What tries took of this turn of the event loop. */
  #usedMs = 0;
  #isClosed = false;

  /**
   * @param limits of one source
   * @param file of the thread; null: there is none, and all is read here
   * @param tryMs how long a source may hold the event loop
   */
  constructor(limits: Required<BudgetLimits>, options: ReaderOptions = {}) {
    const { file = WORKER, tryMs = TRY_MS } = options;
    this.#limits = limits;
    this.#file = file;
    this.#tryMs = Math.min(limits.maxMs, tryMs);
  }

  /**
   * Whether it suffices is decided by the work that the source takes, not by where it is done.
   * A source without `job`, or whose job cannot be sent, is read on the event loop, in 200 ms.
   * @throws ERR_GRAMMAR, ERR_OVERLOADED where too many wait, ERR_CLOSED
   */
  async read(source: GrammarSource): Promise<Program> {
    const tried = await this.#try(source);
    if (tried !== undefined) return tried;
    if (this.#isClosed) throw closed();
    if (this.#file === null || source.job === undefined) return this.#readHere(source);
    return this.#readElsewhere(source.job(), source);
  }

  /** Ends the thread, and whatever waits for it, with ERR_CLOSED. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const tasks = [...(this.#running === null ? [] : [this.#running]), ...this.#waiting];
    this.#waiting.length = 0;
    for (const { reject } of tasks) reject(closed());
    await this.#stop();
  }

  /** One after another. Undefined where the moment does not suffice. */
  #try(source: GrammarSource): Promise<Program | undefined> {
    const attempt = async () => {
      if (this.#usedMs >= TURN_MS) await new Promise((resolve) => setImmediate(resolve));
      if (this.#isClosed) throw closed();
      const { maxWork } = this.#limits;
      const budget = new Budget({ maxWork, maxMs: this.#tryMs });
      const started = performance.now();
      try {
        return readProgram(source, budget);
      } catch (error) {
        if (!budget.isLate) throw error;
        return undefined;
      } finally {
        this.#use(performance.now() - started);
      }
    };
    const result = this.#tries.then(attempt);
    this.#tries = result.catch(() => {});
    return result;
  }

  #use(ms: number): void {
    if (this.#usedMs === 0) {
      setImmediate(() => {
        this.#usedMs = 0;
      });
    }
    this.#usedMs += ms;
  }

  #readHere(source: GrammarSource): Program {
    const { maxMs, maxWork } = this.#limits;
    return readProgram(source, new Budget({ maxWork, maxMs: Math.min(maxMs, HERE_MS) }));
  }

  #readElsewhere(job: GrammarJob, source: GrammarSource): Promise<Program> {
    if (this.#waiting.length >= MAX_WAITING) {
      throw octavoError(
        'ERR_OVERLOADED',
        `${MAX_WAITING} schemas and grammars wait to be read; try again later`,
      );
    }
    return new Promise((resolve, reject) => {
      const here = () => {
        try {
          resolve(this.#readHere(source));
        } catch (error) {
          reject(error);
        }
      };
      this.#waiting.push({ job, resolve, reject, here });
      this.#next();
    });
  }

  #next(): void {
    if (this.#running !== null) return;
    const task = this.#waiting.shift();
    if (task === undefined) {
      // Nobody waits for it: the process may end.
      this.#worker?.unref();
      return;
    }
    const worker = this.#started();
    const message: WorkerTask = { job: task.job, limits: this.#limits };
    try {
      worker.postMessage(message);
    } catch {
      task.here(); // it has parts that cannot be sent
      this.#next();
      return;
    }
    this.#running = task;
    worker.ref();
    const { maxMs } = this.#limits;
    this.#timer = setTimeout(() => {
      this.#end((running) => running.reject(tooSlow(maxMs)));
    }, maxMs + GRACE_MS);
  }

  /** The running task has come to an end, and perhaps the thread with it. */
  #settle(settle: (task: Task) => void): void {
    clearTimeout(this.#timer);
    const task = this.#running;
    this.#running = null;
    if (task !== null) settle(task);
    this.#next();
  }

  #end(settle: (task: Task) => void): void {
    void this.#stop();
    this.#settle(settle);
  }

  async #stop(): Promise<void> {
    const worker = this.#worker;
    this.#worker = null;
    clearTimeout(this.#timer);
    await worker?.terminate();
  }

  #started(): Worker {
    if (this.#worker !== null) return this.#worker;
    const worker = new Worker(this.#file as URL, {
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
    });
    const isOwn = () => worker === this.#worker;
    worker.on('message', (answer: WorkerAnswer) => {
      if (isOwn()) this.#settle((task) => finish(task, answer));
    });
    worker.on('error', (error: NodeJS.ErrnoException) => {
      if (isOwn()) this.#end((task) => fail(task, error));
    });
    this.#worker = worker;
    return worker;
  }
}

function finish({ resolve, reject }: Task, answer: WorkerAnswer): void {
  if ('program' in answer) resolve(answer.program);
  else reject('failure' in answer ? errorOf(answer.failure) : answer.error);
}

/** The thread has died. */
function fail({ reject }: Task, error: NodeJS.ErrnoException): void {
  if (error.code !== 'ERR_WORKER_OUT_OF_MEMORY') reject(error);
  else {
    reject(
      grammarError(
        `reading it takes more than ${MAX_HEAP_MB} MB of memory: make the schema smaller`,
      ),
    );
  }
}

function closed(): Error {
  return octavoError('ERR_CLOSED', 'the model is closed, and reads no grammars any more');
}
