import { isOctavoError } from '../../lib/errors.js';

/** The code of the error that a call ends with; errors that have none are thrown on. */
export async function codeOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'no error',
    (error: unknown) => {
      if (isOctavoError(error)) return error.code;
      throw error;
    },
  );
}
