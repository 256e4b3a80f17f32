import { isOctavoError, octavoError } from '../errors.js';

/** The error of a grammar, regex or schema that cannot be used; the sentence says what to do. */
export function grammarError(message: string): Error {
  return octavoError('ERR_GRAMMAR', message);
}

const late = new WeakSet<object>();

/** Time was too short: another time it may suffice. */
export function markLate(error: Error): void {
  late.add(error);
}

/** Reading has not ended within so many ms. */
export function tooSlow(ms: number): Error {
  const error = grammarError(
    `reading it takes longer than ${ms} ms: make the schema or grammar simpler or smaller`,
  );
  markLate(error);
  return error;
}

/** An error of this kind as data, which may be kept, and sent to another thread. */
export interface GrammarFailure {
  readonly message: string;
  readonly param?: string;
  /** JSON pointer of the place in a schema. */
  readonly pointer?: string;
  readonly isLate: boolean;
}

/** Null: the error is of another kind. */
export function grammarFailure(error: unknown): GrammarFailure | null {
  if (!isOctavoError(error) || error.code !== 'ERR_GRAMMAR') return null;
  const { message, param } = error;
  const { pointer } = error as { readonly pointer?: unknown };
  return {
    message,
    ...(param === undefined ? {} : { param }),
    ...(typeof pointer === 'string' ? { pointer } : {}),
    isLate: late.has(error),
  };
}

/** The error that a failure was made of, anew: its owner may add to it. */
export function errorOf({ message, param, pointer, isLate }: GrammarFailure): Error {
  const error = octavoError('ERR_GRAMMAR', message, param === undefined ? {} : { param });
  if (pointer !== undefined) {
    Object.defineProperty(error, 'pointer', { value: pointer, enumerable: true });
  }
  if (isLate) markLate(error);
  return error;
}
