/** A list of 32-bit integers that is filled and cleared again and again, and keeps its memory. */
export class IntList {
  length = 0;
  #items: Int32Array;

  constructor(room = 64) {
    this.#items = new Int32Array(room);
  }

  /** What it holds: a view, valid until the next change. */
  get view(): Int32Array {
    return this.#items.subarray(0, this.length);
  }

  at(index: number): number {
    return this.#items[index];
  }

  push(item: number): void {
    if (this.length === this.#items.length) this.#reserve(this.length + 1);
    this.#items[this.length++] = item;
  }

  /** Appends items[from … to). */
  append(items: ArrayLike<number>, from: number, to: number): void {
    this.#reserve(this.length + to - from);
    for (let i = from; i < to; i++) this.#items[this.length++] = items[i];
  }

  /** Forgets what came after the first `length`. */
  cut(length: number): void {
    this.length = length;
  }

  #reserve(length: number): void {
    if (length <= this.#items.length) return;
    const larger = new Int32Array(Math.max(length, 2 * this.#items.length));
    larger.set(this.view);
    this.#items = larger;
  }
}
