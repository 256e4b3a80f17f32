/**
 * The second pool, in host memory, that blocks of preempted groups are swapped to: just ids, taken
 * and given back. A group's blocks have one user each, the group; what its sequences share is
 * swapped once.
 */
import { assert } from '../errors.js';

export class HostBlocks {
  readonly numBlocks: number;
  /** Blocks that came back, last first; those from `#numTaken` on were never taken. */
  readonly #returned: number[] = [];
  #numTaken = 0;

  constructor(numBlocks: number) {
    this.numBlocks = numBlocks;
  }

  get numFree(): number {
    return this.#returned.length + this.numBlocks - this.#numTaken;
  }

  take(): number {
    assert(this.numFree > 0, 'the swap space is full');
    return this.#returned.pop() ?? this.#numTaken++;
  }

  give(block: number): void {
    assert(this.#returned.length < this.#numTaken, 'a swapped block was given back twice');
    this.#returned.push(block);
  }
}
