/** What every call of a loaded model passes: is it open, is there room, and who is inside. */
import { queueFull } from '../core/admission.js';
import { encodeOptions } from './call-options.js';
import { Deadline } from './deadline.js';
import type { Gate } from './gate.js';
import { OpenCalls } from './open-calls.js';

/** What an entrance asks of the engine behind it. */
export interface Queue {
  /** What waits to be started. */
  readonly numWaiting: number;
  /** Called when some of it may have left, and when the engine has ended. */
  onRoom: () => void;
  /** @throws ERR_CLOSED, or what killed the engine */
  checkOpen(): void;
}

export class Entrance {
  readonly gate: Gate;
  readonly #queue: Queue;
  readonly #maxNumWaiting: number;
  /** Calls that have a place in the queue, and whose texts are being encoded. */
  #numEntering = 0;
  readonly calls = new OpenCalls();
  /** Called when there may be room in the queue, or the engine has closed. */
  onRoom: () => void = () => {};

  constructor(gate: Gate, queue: Queue, maxNumWaiting: number) {
    this.gate = gate;
    this.#queue = queue;
    this.#maxNumWaiting = maxNumWaiting;
    queue.onRoom = () => this.onRoom();
  }

  get hasRoom(): boolean {
    return this.#queue.numWaiting + this.#numEntering < this.#maxNumWaiting;
  }

  /** @throws ERR_OVERLOADED */
  checkRoom(): void {
    if (!this.hasRoom) throw queueFull(this.#queue.numWaiting + this.#numEntering);
  }

  /** @throws ERR_CLOSED, ERR_DRAINING, or what killed the engine */
  checkOpen(): void {
    this.#queue.checkOpen();
    this.calls.check();
  }

  /** A place in the queue is taken while `work` runs. */
  async holding<T>(work: () => Promise<T>): Promise<T> {
    this.#numEntering++;
    try {
      return await work();
    } finally {
      this.#numEntering--;
      this.onRoom();
    }
  }

  /** A call begins: `work` is raced by nobody, and looks at its deadline itself. */
  async during<T>(deadline: Deadline, work: () => Promise<T>): Promise<T> {
    this.calls.begin(deadline);
    try {
      deadline.check();
      return await work();
    } finally {
      this.ended(deadline);
    }
  }

  /** Of a call that began. */
  ended(deadline: Deadline): void {
    deadline.clear();
    this.calls.end(deadline);
  }

  /**
   * The ids of a prompt. A place in the queue is taken while they are made, as for a request.
   * @throws as {@link LLM.encode}
   */
  async encode(prompt: unknown, options: unknown): Promise<number[]> {
    this.checkOpen();
    const { signal, timeoutMs, ...wishes } = encodeOptions(options);
    const deadline = new Deadline({ signal, timeoutMs });
    return this.during(deadline, async () => {
      this.checkRoom();
      return this.holding(async () => {
        const ids = await deadline.race(this.gate.tokenize(prompt, wishes, deadline));
        this.#queue.checkOpen();
        return ids;
      });
    });
  }
}
