import { octavoError } from '../errors.js';

/** The error of a grammar, regex or schema that cannot be used; the sentence says what to do. */
export function grammarError(message: string): Error {
  return octavoError('ERR_GRAMMAR', message);
}
