/** How long a pacer lets synchronous work run before it gives the event loop a turn, in ms. */
const TURN_MS = 3;

/** How many calls of `due` pass between two looks at the clock. */
const STRIDE = 256;

/**
 * Cuts long synchronous work into turns of the event loop:
 * `for (…) { …; if (pacer.due()) await pacer.turn(); }` blocks nobody for longer than about 4 ms,
 * as long as 256 rounds of the loop stay well below that.
 */
export class Pacer {
  #calls = 0;
  #since = performance.now();

  /** True when about 3 ms have passed since the last turn; looks at the clock every 256th call. */
  due(): boolean {
    return ++this.#calls % STRIDE === 0 && performance.now() - this.#since > TURN_MS;
  }

  /** Resolves in a later turn of the event loop. */
  async turn(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.#since = performance.now();
  }
}
