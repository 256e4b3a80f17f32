/**
 * What takes minutes stands in `npm run test:all` only (it sets OCTAVO_TEST_ALL=1); `npm test` has
 * a small sample of it, drawn from the run's seed.
 */
import { describe, it } from 'vitest';
import { random } from './random.js';
import { SEED } from './seed.js';

/** Whether everything is to run. */
export const ALL = process.env.OCTAVO_TEST_ALL === '1';

/** Tests that `npm test` passes over. */
export const itAll = it.runIf(ALL);
export const describeAll = describe.runIf(ALL);

/** How many of something random: `few` in `npm test`, `all` in `npm run test:all`. */
export function sample(few: number, all: number): number {
  return ALL ? all : few;
}

const rng = random(SEED);

/** `few` items of a list, drawn at random, in its order; all of it in `npm run test:all`. */
export function someOf<T>(list: readonly T[], few: number): T[] {
  const rest = list.map((_, i) => i);
  while (!ALL && rest.length > few) rest.splice(rng.integer(rest.length), 1);
  return rest.map((i) => list[i]);
}
