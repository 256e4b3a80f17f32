import { describe, expect, it } from 'vitest';
import { BuddyAllocator, serveContiguous } from '../../bench/paper/contiguous.js';
import { OPT_13B, stepSeconds } from '../../bench/paper/cost.js';
import { servePaged } from '../../bench/paper/paged.js';
import { alpaca, arrivals, seeded, shareGpt, translation } from '../../bench/paper/workloads.js';
import { randomFrom } from '../support/fake-executor.js';

describe('the buddy allocator', () => {
  it('never hands out a slot twice, and merges to what it began with', () => {
    for (const slots of [1, 100, 4096, 15_700]) {
      const random = randomFrom(slots);
      const buddy = new BuddyAllocator(slots);
      const held: { at: number; size: number }[] = [];
      for (let i = 0; i < 3000; i++) {
        if (held.length > 0 && random(2) === 0) {
          const [{ at, size }] = held.splice(random(held.length), 1);
          buddy.free(at, size);
          continue;
        }
        const size = 1 + random(300);
        const at = buddy.allocate(size);
        if (at < 0) continue;
        const rounded = 2 ** Math.ceil(Math.log2(size));
        expect(at % rounded).toBe(0);
        expect(at + rounded).toBeLessThanOrEqual(slots);
        for (const other of held) {
          const end = other.at + 2 ** Math.ceil(Math.log2(other.size));
          expect(at + rounded <= other.at || end <= at).toBe(true);
        }
        held.push({ at, size });
      }
      for (const { at, size } of held) buddy.free(at, size);
      const largest = 2 ** Math.floor(Math.log2(slots));
      expect(buddy.allocate(largest)).toBe(0);
    }
  });

  it('holds seven contexts of 2048 in 15,700 slots, as the paper says', () => {
    const buddy = new BuddyAllocator(15_700);
    let count = 0;
    while (buddy.allocate(2048) >= 0) count++;
    expect(count).toBe(7);
  });
});

describe('workloads', () => {
  it('have the means that the paper prints', () => {
    const mean = (list: number[]) => list.reduce((sum, x) => sum + x, 0) / list.length;
    for (const [trace, prompt, output] of [
      [shareGpt, 161.31, 337.99],
      [alpaca, 19.31, 58.45],
    ] as const) {
      const random = seeded(3);
      const many = Array.from({ length: 40_000 }, () => trace(random));
      expect(Math.abs(mean(many.map((r) => r.prompt)) / prompt - 1)).toBeLessThan(0.06);
      expect(Math.abs(mean(many.map((r) => r.output)) / output - 1)).toBeLessThan(0.06);
    }
    const requests = arrivals(alpaca, 20, 500, 2);
    expect(requests.length / (20 * 500)).toBeCloseTo(1, 1);
    expect(requests.every((r, i) => i === 0 || r.arrival >= requests[i - 1].arrival)).toBe(true);
  });
});

describe('the simulated services', () => {
  it('take the same time where nothing is short: one request at a time', () => {
    const requests = arrivals(alpaca, 0.01, 4000, 5);
    const paged = servePaged(OPT_13B, requests);
    for (const reserve of ['max', 'pow2', 'oracle'] as const) {
      const contiguous = serveContiguous(OPT_13B, requests, { reserve });
      expect(paged.normalizedLatency / contiguous.normalizedLatency).toBeCloseTo(1, 2);
    }
    // A lone request of m tokens takes m steps of a lone sequence.
    const step = stepSeconds(OPT_13B, { sequences: 1, tokens: 1, context: 50 });
    expect(paged.normalizedLatency / step).toBeCloseTo(1, 1);
  });

  it('account for every slot', () => {
    const requests = arrivals(shareGpt, 2, 120, 6);
    for (const reserve of ['max', 'pow2', 'oracle'] as const) {
      const { tokens, reserved, internal } = serveContiguous(OPT_13B, requests, { reserve });
      expect(tokens + reserved + internal).toBeLessThanOrEqual(1);
      if (reserve === 'oracle') expect(internal).toBe(0);
    }
    const paged = servePaged(OPT_13B, requests);
    expect(paged.ofHeld).toBeGreaterThan(0.95);
    expect(paged.tokens).toBeLessThanOrEqual(1);
    expect(paged.saved).toBe(0);
  });

  it('share what can be shared', () => {
    const requests = arrivals(alpaca, 2, 60, 7);
    const samples = servePaged(OPT_13B, requests, { n: 4 }).saved;
    const beams = servePaged(OPT_13B, requests, { n: 4, beams: true }).saved;
    expect(samples).toBeGreaterThan(0.05);
    expect(beams).toBeGreaterThan(2 * samples);
    const prefixed = arrivals(translation(341), 4, 60, 8);
    const cached = servePaged(OPT_13B, prefixed, { prefixCache: true });
    expect(cached.saved).toBeGreaterThan(0.3);
    expect(servePaged(OPT_13B, prefixed).saved).toBe(0);
  });

  it('swap or compute again, and both end everything', () => {
    const requests = arrivals(shareGpt, 2.5, 120, 9);
    for (const preemptionPolicy of ['swap', 'recompute'] as const) {
      const served = servePaged(OPT_13B, requests, { preemptionPolicy });
      expect(served.preemptions).toBeGreaterThan(0);
      expect(Number.isFinite(served.normalizedLatency)).toBe(true);
    }
  });
});
