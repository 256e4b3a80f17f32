/** How a call gets into the engine's queue: a place is taken first, then its texts are encoded. */
import { type CallOptions, callOptions } from './call-options.js';
import { Deadline } from './deadline.js';
import type { Engine } from './engine.js';
import { Entrance } from './entrance.js';
import type { Call, CallExtras, EncodedCall, Gate } from './gate.js';
import type { Request } from './request.js';
import { traceParent, traceRequest } from './tracing.js';

export class Intake extends Entrance {
  readonly engine: Engine;

  constructor(gate: Gate, engine: Engine, maxNumWaiting: number) {
    super(gate, engine, maxNumWaiting);
    this.engine = engine;
  }

  /**
   * From the arguments of a call to a request in the queue. Its deadline is cleared when the
   * request has ended.
   * @param left aborts when the caller has gone before this is done
   * @param extras what else the call brings
   * @throws ERR_CLOSED, ERR_DRAINING, ERR_OVERLOADED and ERR_ABORTED before anything is done for
   * the call, and what the gate and `Engine.submit` throw; then nothing is left of it
   */
  async open(
    prompt: unknown,
    params: unknown,
    options: unknown,
    left?: AbortSignal,
    extras?: CallExtras,
  ): Promise<Request> {
    this.checkOpen();
    const checked = callOptions(options);
    const deadline = new Deadline(checked);
    this.calls.begin(deadline);
    left?.addEventListener('abort', () => deadline.end(left.reason), { once: true });
    try {
      deadline.check();
      return await this.#enter(prompt, params, checked, deadline, extras);
    } catch (error) {
      this.ended(deadline);
      throw error;
    }
  }

  async #enter(
    prompt: unknown,
    params: unknown,
    options: CallOptions,
    deadline: Deadline,
    extras?: CallExtras,
  ): Promise<Request> {
    this.checkRoom();
    const parent = traceParent(options.traceHeaders);
    const checked = this.gate.checkParams(params, options);
    const call = this.gate.check(prompt, checked, options, extras);
    this.checkFeasible(call);
    return this.holding(async () => {
      const request = this.gate.request(await deadline.race(this.gate.encode(call, deadline)));
      deadline.check();
      this.engine.submit(request);
      if (parent !== null) traceRequest(request, parent);
      deadline.onEnd((error) => this.end(request, error));
      request.onSettled(() => this.ended(deadline));
      return request;
    });
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
