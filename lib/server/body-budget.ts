/** Bytes of bodies that the requests of a server may hold together. */
import { Problem } from './problem.js';

export class BodyBudget {
  readonly #maxBytes: number;
  #numBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get numBytes(): number {
    return this.#numBytes;
  }

  /**
   * Nothing is set aside for bytes that are only announced, or who announces much and sends nothing
   * would keep others out.
   * @throws Problem 503 where so many more cannot be held now
   */
  check(numBytes: number): void {
    if (this.#numBytes + numBytes <= this.#maxBytes) return;
    const sentence = `the bodies of all requests have ${this.#maxBytes} bytes, which is the limit`;
    // Unlike other refusals with this status it always passes, which clients are told.
    throw new Problem(503, `${sentence}; try again later`, null, { 'x-should-retry': 'true' });
  }

  /** @throws Problem 503 */
  take(numBytes: number): void {
    this.check(numBytes);
    this.#numBytes += numBytes;
  }

  giveBack(numBytes: number): void {
    this.#numBytes -= numBytes;
  }
}
