/**
 * What takes minutes stands in `npm run test:all` only (it sets OCTAVO_TEST_ALL=1); `npm test` has
 * a small sample of it, drawn from the run's seed. OCTAVO_TEST_ALL=0.25 runs a quarter of it, drawn
 * so: every seed another one.
 */
import { describe, it } from 'vitest';
import { random } from './random.js';
import { SEED } from './seed.js';

const SHARE = Number(process.env.OCTAVO_TEST_ALL ?? 0);
if (!(SHARE >= 0 && SHARE <= 1)) throw new Error('OCTAVO_TEST_ALL must be from 0 to 1');

/** Whether tests of every kind are to run. */
export const ALL = SHARE > 0;

/** Whether all of every kind is run: what only so many draws surely have may be asserted. */
export const WHOLE = SHARE === 1;

/** Tests that `npm test` passes over. */
export const itAll = it.runIf(ALL);
export const describeAll = describe.runIf(ALL);

/** How many of something random: `few` in `npm test`, `all` in `npm run test:all`. */
export function sample(few: number, all: number): number {
  return Math.round(few + (all - few) * SHARE);
}

const rng = random(SEED);

/** `few` items of a list, drawn at random, in its order; all of it in `npm run test:all`. */
export function someOf<T>(list: readonly T[], few: number): T[] {
  const rest = list.map((_, i) => i);
  const count = Math.max(few, Math.ceil(list.length * SHARE));
  while (rest.length > count) rest.splice(rng.integer(rest.length), 1);
  return rest.map((i) => list[i]);
}
