/**
 * Ids of what there is a fixed number of, rows or blocks or slots: taken and given back, the last
 * that came back first. What was never taken costs nothing.
 */
import { assert } from '../errors.js';

export class FreeIds {
  /** How many there are in all. */
  readonly length: number;
  readonly #returned: number[] = [];
  readonly #end: number;
  /** Those from here on were never taken. */
  #next: number;

  constructor(length: number, first = 0) {
    this.length = length;
    this.#next = first;
    this.#end = first + length;
  }

  get numFree(): number {
    return this.#returned.length + this.#end - this.#next;
  }

  take(): number {
    assert(this.numFree > 0, 'none is free');
    return this.#returned.pop() ?? this.#next++;
  }

  give(id: number): void {
    this.#returned.push(id);
    assert(id < this.#next && this.numFree <= this.length, 'one was given back twice');
  }
}
