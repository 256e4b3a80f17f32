/** How a call gets into the engine's queue: a place is taken first, then its texts are encoded. */
import { queueFull } from '../core/admission.js';
import { type CallOptions, callOptions, encodeOptions } from './call-options.js';
import { Deadline } from './deadline.js';
import type { Engine } from './engine.js';
import type { Call, EncodedCall, Gate } from './gate.js';
import { OpenCalls } from './open-calls.js';
import type { Request } from './request.js';

export class Intake {
  readonly gate: Gate;
  readonly engine: Engine;
  readonly #maxNumWaiting: number;
  /** Calls that have a place in the queue, and whose texts are being encoded. */
  #numEntering = 0;
  readonly calls = new OpenCalls();
  /** Called when there may be room in the queue, or the engine has closed. */
  onRoom: () => void = () => {};

  constructor(gate: Gate, engine: Engine, maxNumWaiting: number) {
    this.gate = gate;
    this.engine = engine;
    this.#maxNumWaiting = maxNumWaiting;
    engine.onRoom = () => this.onRoom();
  }

  get hasRoom(): boolean {
    return this.engine.numWaiting + this.#numEntering < this.#maxNumWaiting;
  }

  /**
   * From the arguments of a call to a request in the queue. Its deadline is cleared when the
   * request has ended.
   * @param left aborts when the caller has gone before this is done
   * @throws ERR_CLOSED, ERR_DRAINING, ERR_OVERLOADED and ERR_ABORTED before anything is done for
   * the call, and what the gate and `Engine.submit` throw; then nothing is left of it
   */
  async open(
    prompt: unknown,
    params: unknown,
    options: unknown,
    left?: AbortSignal,
  ): Promise<Request> {
    this.checkOpen();
    const checked = callOptions(options);
    const deadline = new Deadline(checked);
    this.calls.begin(deadline);
    left?.addEventListener('abort', () => deadline.end(left.reason), { once: true });
    try {
      deadline.check();
      return await this.#enter(prompt, params, checked, deadline);
    } catch (error) {
      this.#ended(deadline);
      throw error;
    }
  }

  /**
   * The ids of a prompt. A place in the queue is taken while they are made, as for a request.
   * @throws as {@link open}
   */
  async encode(prompt: unknown, options: unknown): Promise<number[]> {
    this.checkOpen();
    const { signal, timeoutMs, ...wishes } = encodeOptions(options);
    const deadline = new Deadline({ signal, timeoutMs });
    this.calls.begin(deadline);
    try {
      deadline.check();
      this.checkRoom();
      this.#numEntering++;
      try {
        const ids = await deadline.race(this.gate.tokenize(prompt, wishes, deadline));
        this.engine.checkOpen();
        return ids;
      } finally {
        this.#numEntering--;
        this.onRoom();
      }
    } finally {
      this.#ended(deadline);
    }
  }

  /** @throws ERR_OVERLOADED */
  checkRoom(): void {
    if (!this.hasRoom) throw queueFull(this.engine.numWaiting + this.#numEntering);
  }

  /** @throws ERR_CLOSED, ERR_DRAINING, or what killed the engine */
  checkOpen(): void {
    this.engine.checkOpen();
    this.calls.check();
  }

  #ended(deadline: Deadline): void {
    deadline.clear();
    this.calls.end(deadline);
  }

  async #enter(
    prompt: unknown,
    params: unknown,
    options: CallOptions,
    deadline: Deadline,
  ): Promise<Request> {
    this.checkRoom();
    const call = this.gate.check(prompt, this.gate.checkParams(params, options), options);
    this.checkFeasible(call);
    this.#numEntering++;
    try {
      const request = this.gate.request(await deadline.race(this.gate.encode(call, deadline)));
      deadline.check();
      this.engine.submit(request);
      deadline.onEnd((error) => this.end(request, error));
      request.onSettled(() => this.#ended(deadline));
      return request;
    } finally {
      this.#numEntering--;
      this.onRoom();
    }
  }

  /**
   * Refuses what could never run. Asked before texts are encoded it counts a text as one token.
   * @throws ERR_REQUEST_TOO_LARGE, ERR_PROMPT_TOO_LONG, ERR_INVALID_PARAM
   */
  checkFeasible({ prompt, params, priority }: Call, encoded?: EncodedCall): void {
    const ids = encoded?.prompt.tokenIds ?? (prompt.kind === 'ids' ? prompt.ids : null);
    const numPromptTokens = ids?.length ?? 1;
    this.engine.checkFeasible({ numPromptTokens, params: params.extent, priority });
  }

  /** Ends a request wherever it is, with an error that its caller gets. */
  end(request: Request, error: Error): void {
    this.engine.abort(request, error);
  }
}
