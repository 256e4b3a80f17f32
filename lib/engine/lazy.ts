/** Members of an output that cost nothing until somebody reads them. */
import { inspect } from 'node:util';

/**
 * The prototype of outputs, for `console.log` alone: late members are accessors of the output's own
 * (so that spread, JSON and structuredClone see them), and would be printed as `[Getter]`.
 */
export const PRINTABLE = Object.freeze({
  [inspect.custom](this: object) {
    return { ...this };
  },
});

/** A function that computes once. */
export function once<T>(compute: () => T): () => T {
  let value: T;
  let isKnown = false;
  return () => {
    if (!isKnown) value = compute();
    isKnown = true;
    return value;
  };
}

/** Adds a member that is computed when it is first read. */
export function addLate<T extends object, K extends keyof T>(
  output: T,
  name: K,
  compute: () => T[K],
): void {
  Object.defineProperty(output, name, { enumerable: true, get: once(compute) });
}
