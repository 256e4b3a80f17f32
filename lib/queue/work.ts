/**
 * What a worker does with jobs: answers them as `octavo run-batch` does, and says of those that it
 * cannot answer whether another try may help. How often a job is tried is decided here, by who has
 * it then, so that each ends with a line, whatever became of its workers.
 */
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { newId, type OutputLine } from '../batch/output.js';
import { type BatchRequest, parseRequest } from '../batch/request-line.js';
import { type BatchReply, type BatchTarget, UNREACHABLE } from '../batch/target.js';
import { isOctavoError } from '../errors.js';
import { describe } from '../loadgen/http.js';
import type { Broker, Delivery, Outcome } from './queue.js';

/** What is told of a job that has ended here, or was given back. */
export interface Told {
  readonly job: string;
  readonly custom_id: string | null;
  readonly attempt: number;
  readonly ms?: number;
  /** Of its answer. */
  readonly status?: number;
  /** Why it has none. */
  readonly error?: string;
}

export interface WorkOptions {
  readonly broker: Broker;
  readonly target: BatchTarget;
  readonly concurrency: number;
  readonly maxAttempts: number;
  readonly ackWaitMs: number;
  /** Nothing is taken once it is aborted; what runs is finished. */
  readonly stop: AbortSignal;
  /** What runs is given back as well. */
  readonly kill: AbortSignal;
  onJob(level: 'info' | 'warn', told: Told, message: string): void;
  onTrouble(message: string): void;
  /** Nobody answers where requests go (then it waits), or somebody does again. */
  onServer(state: 'gone' | 'back', why: string): void;
  /** First pause between tries that a server or engine failed, and between looks for a server. */
  readonly pauseMs?: number;
}

export interface WorkTotals {
  answered: number;
  failed: number;
  /** Given back to the queue. */
  returned: number;
  /** Answered here though somebody else's line counts. */
  repeated: number;
}

/** Longest pause before another try. */
const MAX_PAUSE_MS = 30_000;

/**
 * Works until it is stopped.
 * @throws ERR_DEVICE_LOST and others that no line can mend: what ran was given back
 */
export async function work(options: WorkOptions): Promise<WorkTotals> {
  const work = new Work(options);
  await work.run();
  return work.totals;
}

class Work {
  readonly totals: WorkTotals = { answered: 0, failed: 0, returned: 0, repeated: 0 };
  readonly #running = new Map<string, Promise<Outcome>>();
  readonly #repeated = new Set<string>();
  readonly #stopped: Promise<void>;
  #failure: Error | null = null;
  #fail: () => void = () => {};
  #isServerGone = false;

  constructor(readonly options: WorkOptions) {
    const { stop, kill } = options;
    // All lines listen to them.
    setMaxListeners(0, stop, kill);
    this.#stopped = new Promise((resolve) => {
      this.#fail = resolve;
      if (stop.aborted) resolve();
      else stop.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  async run(): Promise<void> {
    const { broker, concurrency, ackWaitMs, onTrouble } = this.options;
    const taking = await broker.take({
      ...{ concurrency, ackWaitMs, onTrouble },
      handle: (delivery) => this.#handle(delivery),
      onRepeated: (id) => this.#onRepeated(id),
    });
    await this.#stopped;
    await taking.stop();
    if (this.#failure) throw this.#failure;
  }

  /** Whom the broker took for dead gets its job a second time: that is still one. */
  #handle(delivery: Delivery): Promise<Outcome> {
    const { id } = delivery;
    const there = this.#running.get(id);
    if (there) return there;
    const outcome = this.#answer(delivery).finally(() => this.#running.delete(id));
    this.#running.set(id, outcome);
    return outcome;
  }

  async #answer(delivery: Delivery): Promise<Outcome> {
    const { id: job, attempt } = delivery;
    const request = parseRequest(delivery.text);
    const told = { job, custom_id: request.customId, attempt };
    if (this.options.stop.aborted || this.#failure) return this.#giveBack(told, 0);
    if ('problem' in request) return this.#end(told, failure('invalid_request', request.problem));
    const { maxAttempts } = this.options;
    if (attempt > maxAttempts) {
      const sentence = `given up after ${maxAttempts} tries: its workers were lost or gave it back`;
      return this.#end(told, failure('attempts_exhausted', sentence));
    }
    if (attempt > 1) this.options.onJob('warn', told, 'tried again');
    const started = performance.now();
    try {
      const reply = await this.#ask(request);
      const ended = { ...told, ms: Math.round(performance.now() - started), status: reply.status };
      if (reply.status >= 500 && attempt < maxAttempts) {
        return this.#giveBack({ ...ended, error: `status ${reply.status}` }, this.#pause(attempt));
      }
      return this.#end(ended, answered(reply));
    } catch (error) {
      return this.#failed(told, error as Error);
    }
  }

  #failed(told: Told, error: Error): Outcome {
    const { kill, stop, maxAttempts } = this.options;
    const isGone = stop.aborted && UNREACHABLE.has((error as NodeJS.ErrnoException).code);
    if (kill.aborted || isGone) return this.#giveBack(told, 0);
    const isEnd = isOctavoError(error);
    const message = isEnd ? error.message : describe(error);
    if (isEnd) {
      this.#failure ??= error;
      this.#fail();
    }
    if (told.attempt < maxAttempts) {
      return this.#giveBack({ ...told, error: message }, isEnd ? 0 : this.#pause(told.attempt));
    }
    return this.#end(told, failure('request_failed', message));
  }

  /** While nobody is there to answer, lines wait here: it is none of their faults. */
  async #ask({ url, body }: BatchRequest): Promise<BatchReply> {
    const { target, kill, stop, onServer, pauseMs = 1000 } = this.options;
    for (;;) {
      try {
        const reply = await target(url, body, kill);
        if (this.#isServerGone) onServer('back', '');
        this.#isServerGone = false;
        return reply;
      } catch (error) {
        const isGone = UNREACHABLE.has((error as NodeJS.ErrnoException).code);
        if (!isGone || isOctavoError(error) || stop.aborted) throw error;
        if (!this.#isServerGone) onServer('gone', describe(error as NodeJS.ErrnoException));
        this.#isServerGone = true;
        await sleep(pauseMs, undefined, { signal: kill });
      }
    }
  }

  #pause(attempt: number): number {
    return Math.min((this.options.pauseMs ?? 1000) * 2 ** (attempt - 1), MAX_PAUSE_MS);
  }

  #giveBack(told: Told, againInMs: number): Outcome {
    this.totals.returned++;
    this.options.onJob('warn', told, 'given back');
    return { againInMs };
  }

  #end(told: Told, made: Pick<OutputLine, 'response' | 'error'>): Outcome {
    const { maxBytes } = this.options.broker;
    const { custom_id, attempt } = told;
    const lineOf = ({ response, error }: Pick<OutputLine, 'response' | 'error'>) =>
      JSON.stringify({
        ...{ id: newId(), custom_id, response, error },
        ...(attempt > 1 ? { metadata: { attempts: attempt } } : {}),
      } satisfies OutputLine);
    let line = lineOf(made);
    let { error } = made;
    if (Buffer.byteLength(line) > maxBytes) {
      const message = `the answer is longer than the ${maxBytes} bytes that the queue takes`;
      ({ error } = failure('answer_too_long', message));
      line = lineOf({ response: null, error });
    }
    const isFailed = error !== null || (told.status ?? 0) >= 400;
    this.totals[isFailed ? 'failed' : 'answered']++;
    const { onJob } = this.options;
    onJob(isFailed ? 'warn' : 'info', error ? { ...told, error: error.message } : told, 'answered');
    return { line };
  }

  #onRepeated(job: string): void {
    if (this.#repeated.has(job)) return;
    this.#repeated.add(job);
    this.totals.repeated++;
    const told = { job, custom_id: null, attempt: 0 };
    this.options.onJob('warn', told, 'it was taken from here: the answer of who has it counts');
  }
}

function answered({ status, requestId, body }: BatchReply): Pick<OutputLine, 'response' | 'error'> {
  return { response: { status_code: status, request_id: requestId, body }, error: null };
}

function failure(code: string, message: string) {
  return { response: null, error: { code, message } };
}
