/** How long a pacer lets synchronous work run before it gives the event loop a turn, in ms. */
const TURN_MS = 3;

/**
 * Cuts long synchronous work into turns of the event loop:
 * `for (…) { …; if (pacer.due()) await pacer.turn(); }` blocks nobody for longer than about 4 ms,
 * as long as a stride of rounds of the loop stays well below that.
 */
export class Pacer {
  #calls = 0;
  #since = performance.now();

  /** @param stride calls of `due` between two looks at the clock: 256, or 1 for costly rounds */
  constructor(readonly stride = 256) {}

  /** True when about 3 ms have passed since the last turn; looks at the clock once a stride. */
  due(): boolean {
    return ++this.#calls % this.stride === 0 && performance.now() - this.#since > TURN_MS;
  }

  /** Resolves in a later turn of the event loop. */
  async turn(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.#since = performance.now();
  }
}
