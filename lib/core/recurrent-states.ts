/**
 * What recurrent layers keep of the sequences that run: a state, and records. Tokens lie in chunks
 * of {@link CHUNK}, counted from position 0; of a sequence that has computed p tokens there is the
 * state at its border, ⌊p / CHUNK⌋ · CHUNK, and one record for each token from there on. Whatever
 * has several users is never changed: so forks share states and records, and nothing is copied.
 *
 * A query of the tokens start … end − 1 reads the state at border(start) and the records from there
 * on. Where it crosses borders it writes the state at border(end), into a slot of its own or, where
 * nobody else uses the slot that it reads and the cache does not know it, into that; then the
 * records of the tokens from border(end) on are what is kept. States at borders between are not.
 *
 * Room cannot be short, so planning never fails for it: of slots, k sequences that share a state
 * use k + 1 while they cross the border, so 1.5 for each is enough; what is there beyond that is
 * for the cache, and for sequences that would otherwise write over a cached state. Of records,
 * CHUNK for each sequence is enough if a query ends early that would hold more; what is there
 * beyond that spares queries this.
 *
 * A prefix hit needs a state at its end, besides the KV. States become known to the cache at the
 * last border of a prompt that a longer one may hit, where prompts were seen to part, every
 * `interval` tokens, and where a sequence ends or is preempted. A query that would pass by such a
 * border ends there.
 *
 * Who is swapped out has state and records in the host's memory, what several share once; it comes
 * back with all of it, as shared as before. A host slot has room for a state and for the records of
 * a chunk, each of them named for itself: whatever k sequences keep fits into k host slots.
 */
import { assert } from '../errors.js';
import { CountedIds } from './counted-ids.js';
import { type HostedState, HostedStates, NO_STATE, type SwapSink } from './hosted-states.js';
import { NO_PREFIX } from './prefix-hash.js';
import { FIRST_STATE, StateSlots } from './state-slots.js';

/** Tokens of a chunk: with so many a token reads and writes the least. Bits depend on it. */
export const CHUNK = 16;

/** Where the chunk of a position begins. */
export function borderOf(position: number): number {
  return position - (position % CHUNK);
}

export interface RecurrentSizes {
  /** Slots for states, slot 0 included, which is all zeros. */
  readonly numSlots: number;
  /** Records, each of one token. */
  readonly numRecords: number;
  /** Every so many tokens a state is kept for the prefix cache. */
  readonly interval: number;
  /** Room for states in the host's memory, each with the records of a chunk. Default: 0. */
  readonly numHostSlots?: number;
}

/** The least that so many sequences need. */
export function leastSizes(maxNumSeqs: number): Pick<RecurrentSizes, 'numSlots' | 'numRecords'> {
  return { numSlots: 1 + Math.ceil(1.5 * maxNumSeqs), numRecords: maxNumSeqs * CHUNK };
}

/** What must be known of a sequence. */
export interface StateOwner {
  readonly row: number;
  readonly numComputed: number;
  readonly numPromptTokens: number;
}

/** Takes what a step reads and writes. */
export interface StateSink {
  /** Of the sequence that is added next. */
  addStates(stateIn: number, stateOut: number): void;
  /** Its records, those to be read and then those to be written: ids[from … to). */
  addRecords(ids: Int32Array, from: number, to: number): void;
}

export interface StateOptions extends RecurrentSizes {
  readonly maxNumSeqs: number;
  /** Tokens of a block of the coarsest KV group: a hit ends where all have a border. */
  readonly coarsest: number;
  /** Are states kept for the prefix cache at all? */
  readonly enablePrefixCaching: boolean;
  /** May a query end where it need not, to leave a state there? */
  readonly enableChunkedPrefill: boolean;
}

/** Records that a row has room for: those of a chunk not quite full, and of another. */
const ROW = 2 * CHUNK;

export class RecurrentStates {
  readonly slots: StateSlots;
  readonly records: CountedIds;
  readonly host: HostedStates;
  /** A state can be hit at multiples of this. */
  readonly unit: number;
  readonly #interval: number;
  readonly #publishes: boolean;
  readonly #stops: boolean;
  // Of each row: the slot of its state, the identity of the prefix there, its records; what the
  // query in the step writes: its slot, and how many records, which lie behind the others.
  readonly #states: Int32Array;
  readonly #identities: Float64Array;
  readonly #lists: Int32Array;
  readonly #numRecords: Uint8Array;
  readonly #outs: Int32Array;
  readonly #numNew: Uint8Array;
  /** A border where others were seen to part from it; 0 = none. */
  readonly #parts: Int32Array;
  // What of slots and records is more than the least, and how much of it the step has taken.
  readonly #spareSlots: number;
  readonly #spareRecords: number;
  #numBeside = 0;
  #numOver = 0;
  #numHits = 0;

  constructor(options: StateOptions) {
    const { numSlots, numRecords, maxNumSeqs, coarsest, interval } = options;
    const { numHostSlots = 0 } = options;
    const least = leastSizes(maxNumSeqs);
    this.#spareSlots = numSlots - least.numSlots;
    this.#spareRecords = numRecords - least.numRecords;
    assert(Math.min(this.#spareSlots, this.#spareRecords) >= 0, 'too few states or records');
    this.slots = new StateSlots(numSlots);
    this.records = new CountedIds(numRecords);
    this.host = new HostedStates(numHostSlots, numHostSlots * CHUNK);
    this.unit = leastMultiple(CHUNK, coarsest);
    this.#interval = this.unit * Math.ceil(interval / this.unit);
    this.#publishes = options.enablePrefixCaching;
    this.#stops = options.enablePrefixCaching && options.enableChunkedPrefill;
    this.#states = new Int32Array(maxNumSeqs);
    this.#identities = new Float64Array(maxNumSeqs);
    this.#lists = new Int32Array(maxNumSeqs * ROW);
    this.#numRecords = new Uint8Array(maxNumSeqs);
    this.#outs = new Int32Array(maxNumSeqs).fill(NO_STATE);
    this.#numNew = new Uint8Array(maxNumSeqs);
    this.#parts = new Int32Array(maxNumSeqs);
  }

  /** Sequences that began from a cached state, ever. */
  get numHits(): number {
    return this.#numHits;
  }

  stateOf(row: number): number {
    return this.#states[row];
  }

  /** The records of a sequence, without those that a step is writing; for tests and diagnosis. */
  recordsOf(row: number): number[] {
    return [...this.#lists.subarray(row * ROW, row * ROW + this.#numRecords[row])];
  }

  /**
   * A sequence begins from the cached state after a prefix. {@link NO_PREFIX}: from nothing.
   * @param partsAt up to here others had the same tokens, who left no state there
   */
  adopt(row: number, identity: number, partsAt: number): void {
    assert(this.#isEmpty(row), 'a sequence begins with a state of another');
    this.#parts[row] = partsAt;
    if (identity === NO_PREFIX) return;
    const slot = this.slots.find(identity);
    assert(slot !== FIRST_STATE, 'a hit whose state is gone');
    this.slots.share(slot);
    this.#states[row] = slot;
    this.#identities[row] = identity;
    this.#numHits++;
  }

  /** The child has computed what its parent has. */
  fork(parent: number, child: number): void {
    assert(this.#isEmpty(child) && !this.#isPlanned(parent), 'a fork of a state that is written');
    this.slots.share(this.#states[parent]);
    this.#states[child] = this.#states[parent];
    this.#identities[child] = this.#identities[parent];
    const count = this.#numRecords[parent];
    for (let i = 0; i < count; i++) {
      const record = this.#lists[parent * ROW + i];
      this.records.share(record);
      this.#lists[child * ROW + i] = record;
    }
    this.#numRecords[child] = count;
  }

  /** Nothing of the next step is planned yet. */
  startStep(): void {
    this.#numBeside = 0;
    this.#numOver = 0;
  }

  /**
   * Where a query that goes on to `end` ends, which is further than one token: there, or before, at
   * a border whose state is to be kept, or where it has as many records as there are for it.
   */
  endOf(owner: StateOwner, end: number): number {
    const { row, numComputed: start } = owner;
    const stop = this.#stops ? this.#nextStop(owner) : end;
    if (stop < end && borderOf(end) !== stop) return stop;
    const numNew = end - Math.max(start, borderOf(end));
    const over = this.#numRecords[row] + numNew - CHUNK;
    return over > 0 && this.#numOver + over > this.#spareRecords ? end - over : end;
  }

  /** Takes what the query up to `end` writes, and tells the step; it is added to that next. */
  plan({ row, numComputed: start }: StateOwner, end: number, step: StateSink): void {
    const held = this.#numRecords[row];
    assert(held === start % CHUNK && !this.#isPlanned(row), 'records and tokens disagree');
    const border = borderOf(end);
    const stateIn = this.#states[row];
    this.#outs[row] = border > start - held ? this.#takeOut(stateIn) : NO_STATE;
    const numNew = end - Math.max(start, border);
    const from = row * ROW;
    for (let i = held; i < held + numNew; i++) this.#lists[from + i] = this.records.take();
    this.#numNew[row] = numNew;
    this.#numOver += Math.max(0, held + numNew - CHUNK);
    step.addStates(stateIn, this.#outs[row]);
    step.addRecords(this.#lists, from, from + held + numNew);
  }

  /** What was planned is not to be after all; nothing of it was written. */
  undo(row: number): void {
    this.#dropPlanned(row);
    this.#outs[row] = NO_STATE;
    this.#numNew[row] = 0;
  }

  /** What was planned is written. True: the sequence has another state now. */
  commit(row: number): boolean {
    const out = this.#outs[row];
    const numNew = this.#numNew[row];
    this.#numNew[row] = 0;
    if (out === NO_STATE) {
      this.#numRecords[row] += numNew;
      return false;
    }
    const from = row * ROW;
    const held = this.#numRecords[row];
    for (let i = 0; i < held; i++) this.records.drop(this.#lists[from + i]);
    this.#lists.copyWithin(from, from + held, from + held + numNew);
    this.#numRecords[row] = numNew;
    if (out !== this.#states[row]) this.slots.drop(this.#states[row]);
    this.#states[row] = out;
    this.#outs[row] = NO_STATE;
    this.#identities[row] = NO_PREFIX;
    return true;
  }

  /** The prefix cache knows the first `length` tokens of a sequence under an identity. */
  identify({ row, numComputed }: StateOwner, length: number, identity: number): void {
    if (length === borderOf(numComputed)) this.#identities[row] = identity;
  }

  /** A sequence has another state: it can be hit from now on, if others may want it. */
  publishAtBorder(owner: StateOwner): void {
    const { row, numComputed, numPromptTokens } = owner;
    const border = borderOf(numComputed);
    const endsPrompt = border <= numPromptTokens && border >= this.#lastOf(numPromptTokens);
    const isWanted = endsPrompt || border === this.#parts[row] || border % this.#interval === 0;
    if (isWanted) this.publish(owner);
  }

  /** The state of a sequence can be hit from now on, if the cache knows its prefix. */
  publish({ row, numComputed }: StateOwner): void {
    const identity = this.#identities[row];
    const state = this.#states[row];
    if (!this.#publishes || identity === NO_PREFIX || state === FIRST_STATE) return;
    if (borderOf(numComputed) % this.unit === 0) this.slots.publish(state, identity);
  }

  /** A sequence gives all back, what it was to write as well. */
  release(row: number): void {
    this.undo(row);
    this.slots.drop(this.#states[row]);
    for (const record of this.recordsOf(row)) this.records.drop(record);
    this.#states[row] = FIRST_STATE;
    this.#identities[row] = NO_PREFIX;
    this.#numRecords[row] = 0;
    this.#parts[row] = 0;
  }

  /**
   * Moves what the sequences of some rows keep to the host's memory, what they share once. They
   * have it here, too, until they are released. null: there is no room, and nothing is moved.
   */
  swapOut(rows: readonly number[], step: SwapSink): HostedState[] | null {
    const stateAt = new Map<number, number>();
    const recordAt = new Map<number, number>();
    for (const row of rows) {
      assert(!this.#isPlanned(row), 'a state is swapped out that is written');
      if (this.#states[row] !== FIRST_STATE) stateAt.set(this.#states[row], NO_STATE);
      for (const record of this.recordsOf(row)) recordAt.set(record, NO_STATE);
    }
    if (!this.host.sendOut(stateAt, recordAt, step)) return null;
    return rows.map((row) => ({
      state: stateAt.get(this.#states[row]) ?? NO_STATE,
      records: Int32Array.from(this.recordsOf(row), (record) => recordAt.get(record)!),
      partsAt: this.#parts[row],
    }));
  }

  /** Sequences of a group have rows again: what went out comes back, shared as it was. */
  swapIn(rows: readonly number[], kept: readonly HostedState[], step: SwapSink): void {
    const back = this.host.bringer(this.slots, this.records, step);
    for (const [i, row] of rows.entries()) {
      assert(this.#isEmpty(row), 'a sequence comes back to a state of another');
      const { state, records, partsAt } = kept[i];
      if (state !== NO_STATE) {
        this.#states[row] = back.state(state);
      }
      for (const [k, host] of records.entries()) {
        this.#lists[row * ROW + k] = back.record(host);
      }
      this.#numRecords[row] = records.length;
      this.#parts[row] = partsAt;
    }
  }

  /** @param owners all that have a row and are not waiting to be forked */
  checkInvariants(owners: readonly StateOwner[]): void {
    const states = new Int32Array(this.slots.numSlots);
    const records = new Int32Array(this.records.length);
    for (let row = 0; row < this.#states.length; row++) {
      states[this.#states[row]]++;
      const out = this.#outs[row];
      if (out !== NO_STATE && out !== this.#states[row]) states[out]++;
      const count = this.#numRecords[row] + this.#numNew[row];
      for (let i = 0; i < count; i++) records[this.#lists[row * ROW + i]]++;
    }
    this.slots.checkInvariants(states);
    this.records.checkInvariants(records);
    const rows = new Set(owners.map(({ row }) => row));
    for (let row = 0; row < this.#states.length; row++) {
      assert(rows.has(row) || this.#isEmpty(row), 'a state belongs to nobody');
    }
    for (const { row, numComputed } of owners) {
      assert(this.#numRecords[row] === numComputed % CHUNK, 'records and tokens disagree');
      const isFirst = this.#states[row] === FIRST_STATE;
      assert(isFirst === numComputed < CHUNK, 'a state and its border disagree');
    }
  }

  #isEmpty(row: number): boolean {
    const isFirst = this.#states[row] === FIRST_STATE && this.#numRecords[row] === 0;
    return isFirst && !this.#isPlanned(row);
  }

  #isPlanned(row: number): boolean {
    return this.#outs[row] !== NO_STATE || this.#numNew[row] > 0;
  }

  /** The slot for the state after the one in a slot. */
  #takeOut(state: number): number {
    const { slots } = this;
    if (state === FIRST_STATE || slots.isShared(state)) return slots.take();
    if (slots.isCached(state)) {
      if (this.#numBeside < this.#spareSlots) {
        this.#numBeside++;
        return slots.take();
      }
      slots.forget(state);
    }
    return state;
  }

  #dropPlanned(row: number): void {
    const out = this.#outs[row];
    if (out !== NO_STATE && out !== this.#states[row]) this.slots.drop(out);
    const from = row * ROW + this.#numRecords[row];
    for (let i = from; i < from + this.#numNew[row]; i++) this.records.drop(this.#lists[i]);
  }

  /** The last border of a prompt that one with the same beginning may hit. */
  #lastOf(numPromptTokens: number): number {
    return this.unit * Math.floor((numPromptTokens - 1) / this.unit);
  }

  /** The next border at which a state is to be kept. */
  #nextStop({ row, numComputed, numPromptTokens }: StateOwner): number {
    let stop = this.#interval * (Math.floor(numComputed / this.#interval) + 1);
    for (const at of [this.#parts[row], this.#lastOf(numPromptTokens)]) {
      if (at > numComputed && at < stop) stop = at;
    }
    return stop;
  }
}

function leastMultiple(a: number, b: number): number {
  let [divisor, rest] = [a, b];
  while (rest > 0) [divisor, rest] = [rest, divisor % rest];
  return (a / divisor) * b;
}
