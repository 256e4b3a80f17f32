/**
 * Ids of things that have several users at once: taken with one, shared, dropped; with the last
 * user an id comes free.
 */
import { assert } from '../errors.js';
import { FreeIds } from './free-ids.js';

export class CountedIds {
  readonly length: number;
  readonly #free: FreeIds;
  readonly #counts: Int32Array;

  constructor(length: number) {
    this.length = length;
    this.#free = new FreeIds(length);
    this.#counts = new Int32Array(length);
  }

  get numFree(): number {
    return this.#free.numFree;
  }

  /** One that is free, with one user from now on. */
  take(): number {
    const id = this.#free.take();
    this.#counts[id] = 1;
    return id;
  }

  share(id: number): void {
    assert(this.#counts[id] > 0, 'an id is shared that nobody uses');
    this.#counts[id]++;
  }

  /** True: that was its last user. */
  drop(id: number): boolean {
    assert(this.#counts[id] > 0, 'an id was dropped too often');
    if (--this.#counts[id] > 0) return false;
    this.#free.give(id);
    return true;
  }

  /** `counts` are the users that there are. */
  checkInvariants(counts: Int32Array): void {
    let used = 0;
    for (let id = 0; id < this.length; id++) {
      assert(this.#counts[id] === counts[id], 'a count is not the number of users');
      if (counts[id] > 0) used++;
    }
    assert(used + this.numFree === this.length, 'ids were lost');
  }
}
