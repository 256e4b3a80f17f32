/**
 * How long a grammar may take to build. Building is synchronous, so there is one clock; what makes
 * nodes asks it.
 */
import { grammarError } from './problem.js';

let deadline = Number.POSITIVE_INFINITY;
let limit = 0;
let numTicks = 0;

/** Calls of {@link tick} between two looks at the clock. */
const LOOKS = 64;

/**
 * Builds within so many milliseconds, or what is left of an outer call's.
 * @throws ERR_GRAMMAR where they do not suffice
 */
export function within<T>(maxMs: number, build: () => T): T {
  const outer = { deadline, limit };
  const own = performance.now() + maxMs;
  if (own < deadline) {
    deadline = own;
    limit = maxMs;
  }
  try {
    return build();
  } finally {
    deadline = outer.deadline;
    limit = outer.limit;
  }
}

/** A piece of work, of a few microseconds. @throws ERR_GRAMMAR where time is up */
export function tick(): void {
  numTicks++;
  if (numTicks % LOOKS !== 0 || performance.now() <= deadline) return;
  throw grammarError(
    `it takes longer than ${limit} ms to build: make the schema or grammar simpler or smaller`,
  );
}
