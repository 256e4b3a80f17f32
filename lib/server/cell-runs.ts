/**
 * The cells of a pool as text, for a page that knows how they were: runs of equal ones, each a
 * number in base 128 (low digits first, high bit: another follows) of which the lowest 5 bits say
 * the state and the others how many more than one. The state 16 is whatever was there before. A
 * pool in which little happens costs some bytes, however large it is.
 */

const STATE_BITS = 5;

/** Of runs that are as they were. */
export const SAME = 16;

/** @param before what the reader has; null: nothing */
export function encodeCells(cells: Uint8Array, before: Uint8Array | null): Uint8Array {
  // Longest: a byte for each cell.
  const bytes = new Uint8Array(cells.length + 1);
  let length = 0;
  const stateAt = (i: number) => (before !== null && before[i] === cells[i] ? SAME : cells[i]);
  for (let i = 0, next = 0; i < cells.length; i = next) {
    const state = stateAt(i);
    next = i + 1;
    while (next < cells.length && stateAt(next) === state) next++;
    let rest = (next - i - 1) * 2 ** STATE_BITS + state;
    while (rest >= 128) {
      bytes[length++] = (rest % 128) + 128;
      rest = Math.floor(rest / 128);
    }
    bytes[length++] = rest;
  }
  return bytes.subarray(0, length);
}

/** Into the cells as they were before; they are as they are now then. */
export function decodeCells(bytes: Uint8Array, cells: Uint8Array): void {
  let at = 0;
  for (let i = 0; i < bytes.length; i++) {
    let run = 0;
    let digit = 1;
    for (; bytes[i] >= 128; i++) {
      run += (bytes[i] - 128) * digit;
      digit *= 128;
    }
    run += bytes[i] * digit;
    const state = run % 2 ** STATE_BITS;
    const count = Math.floor(run / 2 ** STATE_BITS) + 1;
    if (state !== SAME) cells.fill(state, at, at + count);
    at += count;
  }
}
