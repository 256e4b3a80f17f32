/**
 * The part of the fake executor that stands for recurrent layers: a state holds the number for "the
 * tokens before this border", a record that of its token, with the number before it, so that
 * whoever reads them sees whether they follow each other.
 */
import { borderOf, CHUNK, type RecurrentSizes } from '../../lib/core/recurrent-states.js';
import { FIRST_STATE } from '../../lib/core/state-slots.js';
import type { DecodedRecurrent, DecodedStep, DecodedSwaps } from './decode-step.js';

/** Tells the content of a state from that of a slot of the KV. */
const MARK = 0x3c6ef372;

export class FakeStates {
  readonly #states: Int32Array;
  // Two numbers for each record: the content, and that of the token before.
  readonly #records: Int32Array;

  readonly #hostStates: Int32Array;
  readonly #hostRecords: Int32Array;

  constructor({ numSlots, numRecords, numHostSlots = 0 }: RecurrentSizes) {
    this.#states = new Int32Array(numSlots).fill(-1);
    this.#records = new Int32Array(2 * numRecords).fill(-1);
    this.#hostStates = new Int32Array(numHostSlots).fill(-1);
    this.#hostRecords = new Int32Array(2 * CHUNK * numHostSlots).fill(-1);
  }

  swap({ blockSwaps, stateSwaps, recordSwaps }: DecodedStep): void {
    const lists = [blockSwaps, stateSwaps, recordSwaps];
    const both = ['outs', 'ins'] as const;
    const used = both.filter((way) => lists.some((swaps) => swaps[way].length > 0));
    if (used.length > 1) throw new Error('swaps in both directions');
    for (const [slot] of [...stateSwaps.outs, ...stateSwaps.ins]) {
      if (slot === FIRST_STATE) throw new Error('the first state was swapped');
    }
    swapAll(this.#states, this.#hostStates, 1, stateSwaps);
    swapAll(this.#records, this.#hostRecords, 2, recordSwaps);
  }

  /** Sequences run side by side: nobody may read, or write, what another writes. */
  checkStep(seqs: readonly DecodedRecurrent[]): void {
    const read = new Set(seqs.flatMap(({ oldRecords }) => oldRecords));
    const written = seqs.flatMap(({ newRecords }) => newRecords);
    if (new Set(written).size < written.length) throw new Error('a record was written twice');
    for (const record of written) {
      if (read.has(record)) throw new Error('a record was read and written in a step');
      this.#checkRange(record, this.#records.length / 2);
    }
    for (const [i, { stateOut }] of seqs.entries()) {
      if (stateOut === null) continue;
      if (stateOut === FIRST_STATE) throw new Error('the first state was written');
      this.#checkRange(stateOut, this.#states.length);
      for (const [j, other] of seqs.entries()) {
        if (i === j || (other.stateIn !== stateOut && other.stateOut !== stateOut)) continue;
        throw new Error('a state was written that another reads or writes');
      }
    }
  }

  /** What the last of the tokens before a query has left. */
  last({ stateIn, oldRecords }: DecodedRecurrent, empty: number): number {
    const record = oldRecords.at(-1);
    if (record !== undefined) return this.#records[2 * record] ^ MARK;
    return stateIn === FIRST_STATE ? empty : this.#states[stateIn] ^ MARK;
  }

  /** Does a query from `start` on find what must be there, where that is `content`? */
  read(
    { stateIn, oldRecords }: DecodedRecurrent,
    start: number,
    content: number,
    empty: number,
  ): void {
    let expected = content;
    for (const record of oldRecords.toReversed()) {
      if (this.#records[2 * record] !== (expected ^ MARK)) throw new Error('a record of others');
      expected = this.#records[2 * record + 1];
    }
    if ((stateIn === FIRST_STATE) !== (borderOf(start) === 0)) throw new Error('a wrong border');
    const state = stateIn === FIRST_STATE ? empty : this.#states[stateIn] ^ MARK;
    if (state !== expected) throw new Error('a query reads the state of others');
  }

  /** @param contents after the token before the query, and after each of its own */
  write(
    { stateOut, newRecords }: DecodedRecurrent,
    start: number,
    contents: readonly number[],
  ): void {
    const end = start + contents.length - 1;
    if (stateOut !== null) this.#states[stateOut] = contents[borderOf(end) - start] ^ MARK;
    for (const [i, record] of newRecords.entries()) {
      const at = end - newRecords.length + i - start;
      this.#records[2 * record] = contents[at + 1] ^ MARK;
      this.#records[2 * record + 1] = contents[at];
    }
  }

  /** @param contents after the border, and after each token from there on */
  verify(state: number, records: readonly number[], contents: readonly number[]): void {
    if (state !== FIRST_STATE && this.#states[state] !== (contents[0] ^ MARK)) {
      throw new Error('the state of a sequence is not its own');
    }
    if (records.length !== contents.length - 1) throw new Error('records were lost');
    for (const [i, record] of records.entries()) {
      const isOwn =
        this.#records[2 * record] === (contents[i + 1] ^ MARK) &&
        this.#records[2 * record + 1] === contents[i];
      if (!isOwn) throw new Error('a record of a sequence is not its own');
    }
  }

  #checkRange(id: number, length: number): void {
    if (id < 0 || id >= length) throw new Error('a state or record outside the pool');
  }
}

/** Moves entries of `size` numbers, each to a place of its own; here the cache may hit them still. */
export function swapAll(
  here: Int32Array,
  host: Int32Array,
  size: number,
  { outs, ins }: DecodedSwaps,
): void {
  if (outs.length > 0 && ins.length > 0) throw new Error('swaps in both directions');
  for (const [ids, memory] of [
    [[...outs, ...ins].map(([id]) => id), here],
    [[...outs, ...ins].map(([, place]) => place), host],
  ] as const) {
    if (new Set(ids).size < ids.length) throw new Error('something was swapped twice');
    for (const id of ids) {
      if (id < 0 || (id + 1) * size > memory.length) throw new Error('a swap outside the memory');
    }
  }
  for (const [id, place] of outs) {
    host.set(here.subarray(id * size, (id + 1) * size), place * size);
  }
  for (const [id, place] of ins) {
    here.set(host.subarray(place * size, (place + 1) * size), id * size);
    host.fill(-1, place * size, (place + 1) * size);
  }
}
