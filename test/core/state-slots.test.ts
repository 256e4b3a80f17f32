import { describe, expect, it } from 'vitest';
import { FIRST_STATE, StateSlots } from '../../lib/core/state-slots.js';

describe('slots of states', () => {
  it('are taken, shared and dropped; the first is always there', () => {
    const slots = new StateSlots(3);
    const [a, b] = [slots.take(), slots.take()];
    expect([a, b].sort()).toEqual([1, 2]);
    expect(() => slots.take()).toThrow(/no slot/);
    slots.share(a);
    expect(slots.isShared(a)).toBe(true);
    slots.drop(a);
    slots.drop(a);
    expect(slots.numUsed).toBe(1);
    expect(slots.take()).toBe(a);
    slots.share(FIRST_STATE);
    slots.drop(FIRST_STATE);
    slots.drop(FIRST_STATE);
    slots.checkInvariants(Int32Array.from([7, 1, 1]));
    slots.drop(b);
    expect(() => slots.drop(b)).toThrow(/too often/);
    expect(() => slots.share(b)).toThrow(/not there/);
  });

  it('can be hit while the cache knows them, used or not', () => {
    const slots = new StateSlots(4);
    const a = slots.take();
    slots.publish(a, 101);
    expect(slots.find(101)).toBe(a);
    expect(slots.find(102)).toBe(FIRST_STATE);
    slots.drop(a);
    expect(slots.find(101)).toBe(a);
    expect(slots.numUsed).toBe(0);
    slots.share(a);
    expect(slots.numUsed).toBe(1);
    // One is enough for a prefix, and a state has one prefix.
    const b = slots.take();
    slots.publish(b, 101);
    slots.publish(a, 103);
    expect([slots.find(101), slots.find(103), slots.isCached(b)]).toEqual([a, FIRST_STATE, false]);
    expect(slots.numPublished).toBe(1);
    slots.forget(a);
    expect([slots.find(101), slots.isCached(a)]).toEqual([FIRST_STATE, false]);
    slots.checkInvariants(Int32Array.from([0, 1, 1, 0]));
  });

  it('go in the order in which they were used last, and free ones before them', () => {
    const slots = new StateSlots(4);
    const [a, b, c] = [slots.take(), slots.take(), slots.take()];
    for (const slot of [a, b, c]) slots.publish(slot, 100 + slot);
    for (const slot of [a, b, c]) slots.drop(slot);
    slots.share(a);
    slots.drop(a);
    expect(slots.numAvailable).toBe(3);
    expect([slots.take(), slots.numCached]).toEqual([b, 2]);
    slots.drop(b);
    expect([slots.take(), slots.take(), slots.take()]).toEqual([b, c, a]);
    expect(slots.numCached).toBe(0);
    expect([101, 102, 103].map((identity) => slots.find(identity))).toEqual([0, 0, 0]);
  });

  it('that are used stay, though the cache forgets all', () => {
    const slots = new StateSlots(4);
    const [a, b] = [slots.take(), slots.take()];
    slots.publish(a, 101);
    slots.publish(b, 102);
    slots.drop(b);
    slots.forgetAll();
    expect([slots.numCached, slots.numUsed, slots.numAvailable]).toEqual([0, 1, 2]);
    slots.checkInvariants(Int32Array.from([0, 1, 0, 0]));
    slots.drop(a);
    expect(slots.numAvailable).toBe(3);
  });

  it('notice counts that are wrong, and what is published without a user', () => {
    const slots = new StateSlots(3);
    const a = slots.take();
    expect(() => slots.checkInvariants(Int32Array.from([0, 2, 0]))).toThrow(/other users/);
    slots.drop(a);
    expect(() => slots.publish(a, 5)).toThrow(/nobody uses/);
  });
});
