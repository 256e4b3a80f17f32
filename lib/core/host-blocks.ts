/**
 * The second pool, in host memory, that blocks of preempted groups are swapped to: just ids, taken
 * and given back. A group's blocks have one user each, the group; what its sequences share is
 * swapped once.
 */
import { assert } from '../errors.js';

export class HostBlocks {
  readonly numBlocks: number;
  readonly #free: Int32Array;
  #numFree: number;

  constructor(numBlocks: number) {
    this.numBlocks = numBlocks;
    this.#free = Int32Array.from({ length: numBlocks }, (_, i) => numBlocks - 1 - i);
    this.#numFree = numBlocks;
  }

  get numFree(): number {
    return this.#numFree;
  }

  take(): number {
    assert(this.#numFree > 0, 'the swap space is full');
    return this.#free[--this.#numFree];
  }

  give(block: number): void {
    assert(this.#numFree < this.numBlocks, 'a swapped block was given back twice');
    this.#free[this.#numFree++] = block;
  }
}
