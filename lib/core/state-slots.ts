/**
 * The slots that states of recurrent layers are kept in: who uses them, and which the prefix cache
 * knows. A state is that after the first tokens of a sequence, all layers together; the cache knows
 * it by the identity of that prefix, see prefix-hash. A cached slot without a user stays as it is
 * until room is short: then the one goes that was used longest ago.
 *
 * Slot 0 is the state before the first token, the same for all: never taken, never dropped.
 */
import { assert } from '../errors.js';
import { FreeIds } from './free-ids.js';

/** Slot of the state before the first token. */
export const FIRST_STATE = 0;

export class StateSlots {
  readonly numSlots: number;
  readonly #counts: Int32Array;
  /** Identities of cached slots, else 0. */
  readonly #identities: Float64Array;
  readonly #cached = new Map<number, number>();
  /** Cached slots without a user, first those that were used longest ago. */
  readonly #idle = new Set<number>();
  /** Slots that are neither used nor cached. */
  readonly #free: FreeIds;
  #numPublished = 0;

  constructor(numSlots: number) {
    this.numSlots = numSlots;
    this.#free = new FreeIds(numSlots - 1, FIRST_STATE + 1);
    this.#counts = new Int32Array(numSlots);
    this.#identities = new Float64Array(numSlots);
  }

  /** Slots that {@link take} has to give. */
  get numAvailable(): number {
    return this.#free.numFree + this.#idle.size;
  }

  /** Slots with a user. */
  get numUsed(): number {
    return this.numSlots - 1 - this.numAvailable;
  }

  /** Slots that can be hit, used or not. */
  get numCached(): number {
    return this.#cached.size;
  }

  /** States that became known to the cache, ever. */
  get numPublished(): number {
    return this.#numPublished;
  }

  isShared(slot: number): boolean {
    return this.#counts[slot] > 1;
  }

  isCached(slot: number): boolean {
    return this.#identities[slot] !== 0;
  }

  /** The cached state after a prefix, or {@link FIRST_STATE}: there is none. */
  find(identity: number): number {
    return this.#cached.get(identity) ?? FIRST_STATE;
  }

  /** A slot for a new state, with one user: a free one, or of the idle ones the eldest. */
  take(): number {
    const slot = this.#free.numFree > 0 ? this.#free.take() : this.#takeEldest();
    this.#counts[slot] = 1;
    return slot;
  }

  /** One user more. */
  share(slot: number): void {
    if (slot === FIRST_STATE) return;
    assert(this.#counts[slot] > 0 || this.#idle.has(slot), 'a state is used that is not there');
    if (this.#counts[slot]++ === 0) this.#idle.delete(slot);
  }

  /** One user less. */
  drop(slot: number): void {
    if (slot === FIRST_STATE) return;
    assert(this.#counts[slot] > 0, 'a state was dropped too often');
    if (--this.#counts[slot] > 0) return;
    if (this.isCached(slot)) this.#idle.add(slot);
    else this.#free.give(slot);
  }

  /** A state that is used can be hit from now on, unless one after the same tokens can already. */
  publish(slot: number, identity: number): void {
    assert(this.#counts[slot] > 0 && identity !== 0, 'a state was published that nobody uses');
    if (this.isCached(slot) || this.#cached.has(identity)) return;
    this.#cached.set(identity, slot);
    this.#identities[slot] = identity;
    this.#numPublished++;
  }

  /** The cache knows the state no more: whoever uses it alone may write over it. */
  forget(slot: number): void {
    this.#cached.delete(this.#identities[slot]);
    this.#identities[slot] = 0;
  }

  /** Forgets all that can be hit. */
  forgetAll(): void {
    for (const slot of this.#cached.values()) {
      this.#identities[slot] = 0;
      if (this.#idle.delete(slot)) this.#free.give(slot);
    }
    this.#cached.clear();
  }

  /** `counts` are the users that there are. */
  checkInvariants(counts: Int32Array): void {
    let used = 0;
    for (let slot = 1; slot < this.numSlots; slot++) {
      assert(this.#counts[slot] === counts[slot], 'a state has other users than it counts');
      if (counts[slot] > 0) used++;
      const isIdle = counts[slot] === 0 && this.isCached(slot);
      assert(this.#idle.has(slot) === isIdle, 'an idle state is lost, or is not idle');
      const identity = this.#identities[slot];
      const isFound = identity === 0 || this.#cached.get(identity) === slot;
      assert(isFound, 'a cached state cannot be found');
    }
    assert(used === this.numUsed, 'slots were lost');
  }

  #takeEldest(): number {
    const [eldest] = this.#idle;
    assert(eldest !== undefined, 'no slot for a state is free');
    this.#idle.delete(eldest);
    this.forget(eldest);
    return eldest;
  }
}
