/** Objects and arrays of callers: taken once, and only where they are what they should be. */
import { isOctavoError, octavoError } from './errors.js';

/**
 * A copy of a plain object's own members, so that it is read once, whatever becomes of it later.
 * @param what the object's name in the sentence, "sampling parameters" say
 * @param param the error's `param`
 * @throws ERR_INVALID_PARAM for all else: null, arrays, maps, promises, what throws when read
 */
export function takeObject(value: unknown, what: string, param: string): Record<string, unknown> {
  const refusal = (cause?: unknown) =>
    octavoError('ERR_INVALID_PARAM', `${what} must be given as an object`, { param, cause });
  const taken = readArgument(() => (isPlainObject(value) ? { ...value } : null), refusal);
  if (taken === null) throw refusal();
  return taken;
}

/**
 * As {@link takeObject}, and every member has a known name.
 * @param call whose options these are: "encode()" say
 * @throws ERR_INVALID_PARAM naming the one that has not
 */
export function takeOptions(
  value: unknown,
  call: string,
  known: readonly string[],
): Record<string, unknown> {
  const given = takeObject(value, `options of ${call}`, 'options');
  const stranger = Object.keys(given).find((name) => !known.includes(name));
  if (stranger !== undefined) throw unknownName(`${call} has no option`, stranger, known);
  return given;
}

/**
 * A copy of an array, holes undefined, so that it is read once, whatever becomes of it later.
 * @throws ERR_INVALID_PARAM where reading it throws
 */
export function takeList(value: readonly unknown[], what: string): unknown[] {
  const refusal = (cause: unknown) =>
    octavoError('ERR_INVALID_PARAM', `${what} must be given as an array`, { param: what, cause });
  return readArgument(() => Array.from(value), refusal);
}

/** For a misspelt name: what there is none of, and which there are. */
export function unknownName(none: string, name: string, known: readonly string[]): Error {
  const sentence = `${none} ${shown(name)}; known are ${known.join(', ')}`;
  return octavoError('ERR_INVALID_PARAM', sentence, { param: name });
}

/** Written as {…}, in whatever realm. */
export function isPlainObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** A value that is no use, as a sentence may show it: short, and never by running its methods. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 60));
  const isPlain = value === null || !['object', 'function', 'symbol'].includes(typeof value);
  return isPlain ? String(value) : `of type ${typeof value}`;
}

/**
 * What `read` returns. A value may run its owner's code when it is looked at (getters, proxies),
 * and that may throw anything: then it is the argument that is wrong. A coded error says already
 * what is, and passes.
 */
export function readArgument<T>(read: () => T, error: (cause: unknown) => Error): T {
  try {
    return read();
  } catch (cause) {
    throw isOctavoError(cause) ? cause : error(cause);
  }
}
