/**
 * Many prompts in one call, however many: what finds no room in the queue waits outside. Batches
 * together hold only a share of the queue, so that others still get in, and get in soon. Prompts
 * are encoded two at a time, ahead of generation, which starts with the first.
 */
import { randomUUID } from 'node:crypto';
import { takeList } from '../arguments.js';
import { octavoError } from '../errors.js';
import { Pacer } from '../text/pacer.js';
import { type BatchOptions, type CallOptions, callOptions } from './call-options.js';
import { Deadline } from './deadline.js';
import type { Call, CheckedParams, EncodedCall } from './gate.js';
import type { Intake } from './intake.js';
import type { RequestOutput } from './outputs.js';
import { ofPrompt } from './prompts.js';
import type { Request } from './request.js';
import { type TraceParent, traceParent, traceRequest } from './tracing.js';

/** Texts of one batch that are encoded at once. */
const NUM_ENCODING = 2;

/** The batches of an engine; they take turns in feeding the queue. */
export class Batches {
  readonly #intake: Intake;
  readonly #share: number;
  /** In the order of their turns. */
  readonly #feeding = new Set<Batch>();
  /** Requests of theirs that wait, as of the last step. */
  #numWaiting = 0;

  /** @param share most requests of batches that wait in the queue */
  constructor(intake: Intake, share: number) {
    this.#intake = intake;
    this.#share = share;
    intake.onRoom = () => {
      this.#numWaiting = 0;
      for (const batch of this.#feeding) this.#numWaiting += batch.countWaiting();
      this.#feed();
    };
  }

  /**
   * Outputs in the order of the prompts.
   * @throws before anything is accepted: what is wrong with options, params, or what of a prompt
   * can be told without tokenizing it; then, aborting what runs: the first error of any of them
   */
  async run(prompts: readonly unknown[], params: unknown, options: unknown) {
    this.#intake.checkOpen();
    const checked = callOptions(options, 'batch');
    // The caller may use its arrays for something else as soon as it has the promise.
    const taken = takeList(prompts, 'prompts');
    const each = Array.isArray(params) ? takeList(params, 'params') : null;
    const deadline = new Deadline(checked);
    const parent = traceParent(checked.traceHeaders);
    this.#intake.calls.begin(deadline);
    try {
      deadline.check();
      const calls = await this.#check(taken, each ?? params, checked, deadline);
      const batch = new Batch(this.#intake, calls, checked.onOutput, deadline, parent);
      this.#feeding.add(batch);
      return await batch.outputs(() => this.#feed()).finally(() => this.#feeding.delete(batch));
    } finally {
      deadline.clear();
      this.#intake.calls.end(deadline);
    }
  }

  async #check(
    prompts: readonly unknown[],
    params: unknown,
    options: CallOptions,
    deadline: Deadline,
  ): Promise<Call[]> {
    const { gate } = this.#intake;
    const each = Array.isArray(params) ? params : null;
    if (each !== null && each.length !== prompts.length) throw unequal(prompts, each);
    const forAll = each === null ? gate.checkParams(params, options) : null;
    const base = options.requestId ?? randomUUID();
    const pacer = new Pacer(1);
    const calls: Call[] = [];
    for (let i = 0; i < prompts.length; i++) {
      try {
        const own: CheckedParams = forAll ?? gate.checkParams(each?.[i], options);
        const call = gate.check(prompts[i], own, { ...options, requestId: `${base}-${i}` });
        this.#intake.checkFeasible(call);
        await gate.checkLength(call);
        if (call.grammar !== null) await deadline.race(gate.compile(call));
        calls.push(call);
      } catch (error) {
        throw ofPrompt(error, i);
      }
      if (pacer.due()) await pacer.turn();
      deadline.check();
    }
    return calls;
  }

  /** Fills the batches' share of the queue, a request of each in turn. */
  #feed(): void {
    while (this.#numWaiting < this.#share && this.#intake.hasRoom) {
      const batch = this.#next();
      if (batch === undefined) return;
      this.#numWaiting++;
      this.#feeding.delete(batch);
      this.#feeding.add(batch);
      batch.feed();
    }
  }

  #next(): Batch | undefined {
    for (const batch of this.#feeding) if (batch.canFeed) return batch;
    return undefined;
  }
}

class Batch {
  readonly #intake: Intake;
  readonly #calls: readonly Call[];
  readonly #onOutput: BatchOptions['onOutput'];
  readonly #deadline: Deadline;
  readonly #parent: TraceParent | null;
  /** By place; an entry goes when it is fed. */
  readonly #encoded = new Map<number, EncodedCall>();
  readonly #outputs: RequestOutput[] = [];
  readonly #running = new Set<Request>();
  /** Of those that run: not started when last looked at. */
  #waiting: Request[] = [];
  #numTaken = 0;
  #numFed = 0;
  #numDone = 0;
  #failed = false;
  #settle: { resolve: (outputs: RequestOutput[]) => void; reject: (error: unknown) => void };

  constructor(
    intake: Intake,
    calls: readonly Call[],
    onOutput: BatchOptions['onOutput'],
    deadline: Deadline,
    parent: TraceParent | null,
  ) {
    this.#parent = parent;
    this.#intake = intake;
    this.#calls = calls;
    this.#onOutput = onOutput;
    this.#deadline = deadline;
    this.#settle = { resolve: () => {}, reject: () => {} };
  }

  /** @param onEncoded called when there is something to feed */
  outputs(onEncoded: () => void): Promise<RequestOutput[]> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      if (this.#calls.length === 0) return resolve([]);
      this.#deadline.onEnd((error) => this.#fail(error));
      for (let i = 0; i < NUM_ENCODING; i++) void this.#encodeAll(onEncoded);
    });
  }

  async #encodeAll(onEncoded: () => void): Promise<void> {
    const { gate } = this.#intake;
    const pacer = new Pacer(1);
    while (!this.#failed && this.#numTaken < this.#calls.length) {
      const i = this.#numTaken++;
      const call = this.#calls[i];
      try {
        const encoded = await gate.encode(call, this.#deadline);
        this.#intake.checkFeasible(call, encoded);
        this.#encoded.set(i, encoded);
      } catch (error) {
        this.#fail(ofPrompt(error, i));
      }
      onEncoded();
      if (pacer.due()) await pacer.turn();
    }
  }

  countWaiting(): number {
    this.#waiting = this.#waiting.filter(({ group }) => group.state === 'waiting');
    return this.#waiting.length;
  }

  get canFeed(): boolean {
    return !this.#failed && this.#encoded.has(this.#numFed);
  }

  /** Submits the next request. */
  feed(): void {
    const i = this.#numFed++;
    const encoded = this.#encoded.get(i) as EncodedCall;
    this.#encoded.delete(i);
    try {
      const request = this.#intake.gate.request(encoded);
      this.#intake.engine.submit(request);
      if (this.#parent !== null) traceRequest(request, this.#parent);
      this.#running.add(request);
      this.#waiting.push(request);
      void this.#await(request, i);
    } catch (error) {
      this.#fail(ofPrompt(error, i));
    }
  }

  async #await(request: Request, i: number): Promise<void> {
    try {
      const output = await request.result();
      this.#running.delete(request);
      if (this.#failed) return;
      this.#outputs[i] = output;
      await this.#onOutput?.(output, i);
      if (this.#failed) return;
      if (++this.#numDone === this.#calls.length) this.#settle.resolve(this.#outputs);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** One error ends all of it. */
  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#waiting = []; // each that ends makes room, and who waits is counted again
    for (const request of this.#running) this.#intake.end(request, error as Error);
    this.#encoded.clear();
    this.#settle.reject(error);
  }
}

function unequal(prompts: readonly unknown[], params: readonly unknown[]): Error {
  return octavoError(
    'ERR_INVALID_PARAM',
    `there are ${prompts.length} prompts but ${params.length} sets of params; ` +
      'give one for all or one for each',
    { param: 'params' },
  );
}
