import { octavoError } from '../../errors.js';

/** A place of a schema that cannot be enforced. Caught where schemas need not be strict. */
export class Refusal extends Error {
  /** JSON pointer of the keyword, or of the schema where no one keyword is to blame. */
  readonly pointer: string;

  constructor(pointer: string, message: string) {
    super(message);
    this.pointer = pointer;
  }
}

/** The error a caller sees: ERR_GRAMMAR with the place as `pointer`. */
export function schemaError(pointer: string, message: string, what = 'the schema'): Error {
  const where = pointer === '' ? what : `${what} at ${pointer}`;
  const error = octavoError('ERR_GRAMMAR', `${where}: ${message}`);
  Object.defineProperty(error, 'pointer', { value: pointer, enumerable: true });
  return error;
}

export function escapePointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}
