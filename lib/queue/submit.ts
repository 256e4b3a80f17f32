/** The lines of a batch as jobs of a queue: put in, waited for, removed when they are written. */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { newId, type OutputLine } from '../batch/output.js';
import type { BatchRequest } from '../batch/request-line.js';
import type { LineTarget } from '../batch/target.js';
import { isOctavoError } from '../errors.js';
import { type Broker, type Found, type Job, queueError } from './queue.js';

/** How often jobs that nobody has told of are looked for; brokers tell of almost all. */
const LOOK_MS = 5000;

/** How long who gives up still waits for a broker to remove what is written. */
const PATIENCE_MS = 500;

/** Of one question. */
const BULK = 200;

export interface SubmitOptions {
  readonly broker: Broker;
  /** Whose lines they are: the same custom_id of another run is another job. */
  readonly run: string;
  readonly lookMs?: number;
  /** So many jobs were gone from the broker, without a result, and were put in again. */
  onLost(count: number): void;
}

interface Waiting extends Job {
  readonly customId: string;
  isIn: boolean;
  resolve(line: OutputLine): void;
  reject(error: Error): void;
}

export class Submitter implements LineTarget {
  /** Lines that were tried more than once, and results that came when there was one already. */
  readonly totals = { repeated: 0, late: 0 };
  readonly #options: SubmitOptions;
  readonly #prefix: string;
  readonly #waiting = new Map<string, Waiting>();
  /** custom_ids whose lines are being written, and their jobs. */
  readonly #answered = new Map<string, string>();
  /** Jobs whose lines are on the disk. */
  readonly #past = new Set<string>();
  /** Jobs that have a result before they are asked for. */
  readonly #held = new Set<string>();
  #unsent: Waiting[] = [];
  readonly #sending = this.#pump(() => this.#unsent.length > 0 && this.#send());
  readonly #told = new Set<string>();
  readonly #looking = this.#pump(() => this.#told.size > 0 && this.#lookTold());
  #unneeded: string[] = [];
  readonly #forgetting = this.#pump(() => this.#unneeded.length > 0 && this.#forgetSome());
  #timer: NodeJS.Timeout | null = null;
  #isDue = false;
  readonly #sweeping = this.#pump(() => this.#isDue && this.#sweep());
  #signal: AbortSignal | null = null;
  #failure: Error | null = null;
  readonly #givenUp = deferred();

  constructor(options: SubmitOptions) {
    this.#options = options;
    this.#prefix = `${digest(options.run, 16)}-`;
  }

  /** To be called once, before anything is answered. */
  async start(): Promise<void> {
    const { broker, lookMs = LOOK_MS } = this.#options;
    await broker.listen((id) => this.#onDone(id));
    // Lines may have been written by a process that did not live to remove them here.
    for (const id of await broker.done()) if (id.startsWith(this.#prefix)) this.#held.add(id);
    this.#timer = setInterval(() => {
      this.#isDue = true;
      void this.#sweeping();
    }, lookMs);
  }

  answer(request: BatchRequest, signal: AbortSignal): Promise<OutputLine> {
    if (this.#failure) return Promise.reject(this.#failure);
    this.#heed(signal);
    const { customId } = request;
    const text = textOf(request);
    const { maxBytes } = this.#options.broker;
    if (Buffer.byteLength(text) > maxBytes) {
      const message = `the line is longer than the ${maxBytes} bytes that the queue takes`;
      return Promise.resolve(failed(customId, 'line_too_long', message));
    }
    return new Promise((resolve, reject) => {
      const id = this.#idOf(text);
      const waiting = { id, text, customId, isIn: false, resolve, reject };
      this.#waiting.set(id, waiting);
      this.#unsent.push(waiting);
      void this.#sending();
    });
  }

  async written(customId: string): Promise<void> {
    const id = this.#answered.get(customId);
    if (id === undefined) return;
    this.#answered.delete(customId);
    // Who gives up does not wait for a broker that may be gone: the next start removes it.
    await Promise.race([this.#forget(id), this.#givenUp.promise]);
    this.#past.add(id);
  }

  had(request: BatchRequest): void {
    const id = this.#idOf(textOf(request));
    this.#past.add(id);
    if (this.#held.delete(id)) void this.#forget(id);
  }

  /** What waits stays in the queue. */
  async close(): Promise<void> {
    if (this.#timer) clearInterval(this.#timer);
    const patience = this.#givenUp.promise.then(() => sleep(PATIENCE_MS));
    await Promise.race([this.#forgetting(), patience]);
  }

  #idOf(text: string): string {
    return `${this.#prefix}${digest(text, 32)}`;
  }

  /** All lines have one signal. */
  #heed(signal: AbortSignal): void {
    if (this.#signal === signal) return;
    this.#signal = signal;
    const give = () => this.#giveUp(new Error('given up'));
    if (signal.aborted) give();
    else signal.addEventListener('abort', give, { once: true });
  }

  #giveUp(error: Error): void {
    this.#givenUp.resolve();
    this.#unsent = [];
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  /**
   * A loop that runs while there is work, and one at a time: to call it is to say that there may be
   * some. Resolves when there is none; what the broker refuses for good ends the batch.
   */
  #pump(step: () => false | Promise<void>): () => Promise<void> {
    let running: Promise<void> | null = null;
    const run = async () => {
      // What comes in the same turn goes with the same question.
      await new Promise((resolve) => setImmediate(resolve));
      try {
        for (let work = step(); work; work = step()) await work;
      } catch (error) {
        const sentence = `the queue refuses: ${(error as Error).message}`;
        this.#failure ??= isOctavoError(error)
          ? error
          : queueError(`${sentence}; the same command goes on from here`, error);
        this.#giveUp(this.#failure);
      } finally {
        running = null;
      }
    };
    return () => {
      running ??= run();
      return running;
    };
  }

  async #send(): Promise<void> {
    const jobs = this.#unsent.splice(0, BULK);
    await this.#options.broker.put(jobs.filter(({ id }) => !this.#held.has(id)));
    for (const job of jobs) job.isIn = true;
    // One that was there before may have its result.
    await this.#look(jobs.map(({ id }) => id));
  }

  #onDone(id: string): void {
    if (!id.startsWith(this.#prefix)) return;
    // Its line may be one that was not read yet.
    if (!this.#waiting.has(id) && !this.#past.has(id)) this.#held.add(id);
    this.#told.add(id);
    void this.#looking();
  }

  async #lookTold(): Promise<void> {
    const ids = [...this.#told].slice(0, BULK);
    for (const id of ids) this.#told.delete(id);
    await this.#look(ids);
    await this.#drop(ids.filter((id) => this.#past.has(id)));
  }

  /** A worker that was taken for dead may answer when the line is written long since. */
  async #drop(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    const found = await this.#options.broker.look(ids);
    const late = ids.filter((_, i) => found[i].state === 'done');
    this.totals.late += late.length;
    await this.#options.broker.forget(late);
  }

  async #look(ids: readonly string[]): Promise<Job[]> {
    const sought = ids.filter((id) => this.#waiting.has(id));
    const found = sought.length > 0 ? await this.#options.broker.look(sought) : [];
    const lost: Job[] = [];
    sought.forEach((id, i) => {
      const waiting = this.#waiting.get(id);
      if (waiting === undefined) return;
      const { state } = found[i];
      if (state === 'absent' && waiting.isIn) lost.push(waiting);
      else if (state === 'done' || state === 'failed') this.#resolve(waiting, found[i]);
    });
    return lost;
  }

  #resolve(waiting: Waiting, found: Found): void {
    const { id, customId } = waiting;
    this.#waiting.delete(id);
    this.#answered.set(customId, id);
    const line = lineOf(customId, found);
    if ((line.metadata?.attempts ?? 1) > 1) this.totals.repeated++;
    waiting.resolve(line);
  }

  /** Finds what was not told of, and what a broker that lost its memory no longer has. */
  async #sweep(): Promise<void> {
    this.#isDue = false;
    const ids = [...this.#waiting.values()].filter(({ isIn }) => isIn).map(({ id }) => id);
    let numLost = 0;
    for (let at = 0; at < ids.length; at += BULK) {
      const lost = await this.#look(ids.slice(at, at + BULK));
      if (lost.length > 0) await this.#options.broker.put(lost);
      numLost += lost.length;
    }
    if (numLost > 0) this.#options.onLost(numLost);
  }

  #forget(id: string): Promise<void> {
    this.#unneeded.push(id);
    return this.#forgetting();
  }

  async #forgetSome(): Promise<void> {
    await this.#options.broker.forget(this.#unneeded.splice(0, BULK));
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((then) => {
    resolve = then;
  });
  return { promise, resolve };
}

function digest(text: string, length: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, length);
}

/** Its members as they were written, in one order: the same request is the same text. */
function textOf({ customId, url, body }: BatchRequest): string {
  const [id, path] = [JSON.stringify(customId), JSON.stringify(url)];
  // A line has no end in it; between members of JSON one is as good as a blank.
  const inOne = body.replace(/[\r\n]+/g, ' ');
  return `{"custom_id":${id},"method":"POST","url":${path},"body":${inOne}}`;
}

function failed(customId: string, code: string, message: string): OutputLine {
  return { id: newId(), custom_id: customId, response: null, error: { code, message } };
}

function lineOf(customId: string, found: Found): OutputLine {
  if (found.state === 'failed') return failed(customId, 'worker_lost', found.message);
  try {
    const { line } = found as { line: string };
    const value = JSON.parse(line) as OutputLine;
    const { id, custom_id, response, error, metadata } = value;
    if (custom_id === customId && typeof id === 'string' && (response || error)) {
      return { id, custom_id, response, error, ...(metadata ? { metadata } : {}) };
    }
  } catch {
    // The same as for what is no line.
  }
  return failed(customId, 'invalid_result', 'what a worker answered is no line of this request');
}
