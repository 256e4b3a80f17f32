/** Ids of calls that a format does not write itself. */
import { randomBytes } from 'node:crypto';
import type { IdStyle } from './format.js';

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

function randomId(length: number): string {
  // 248 is a multiple of 62: no letter comes more often than another.
  let id = '';
  while (id.length < length) {
    for (const byte of randomBytes(length)) {
      if (byte < 248 && id.length < length) id += LETTERS[byte % 62];
    }
  }
  return id;
}

/** @param index the call's number in its answer */
export function makeId(style: IdStyle, name: string, index: number): string {
  if (style === 'kimi') return `functions.${name}:${index}`;
  return style === 'nine' ? randomId(9) : `call_${randomId(24)}`;
}
