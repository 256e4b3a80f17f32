/** What the CLI says on stderr. */
import { isOctavoError } from '../errors.js';

/** One sentence and an exit code: 2 for what the caller can mend in the call, else 1. */
export function reportError(error: unknown): void {
  const known = isOctavoError(error);
  const message = known ? error.message : `internal error: ${(error as Error)?.stack ?? error}`;
  process.stderr.write(`octavo: ${message}${known ? ` (${error.code})` : ''}\n`);
  process.exitCode = known && error.status === 400 ? 2 : 1;
}

/** Rows of name and value, aligned. */
export function printRows(rows: readonly (readonly [string, string])[], to: NodeJS.WritableStream) {
  const width = Math.max(...rows.map(([name]) => name.length));
  for (const [name, value] of rows) to.write(`${name.padEnd(width)}  ${value}\n`);
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export function bytes(n: number): string {
  let unit = 0;
  while (n >= 1024 && unit < UNITS.length - 1) {
    n /= 1024;
    unit++;
  }
  const digits = unit === 0 || n >= 100 ? 0 : n >= 10 ? 1 : 2;
  return `${n.toFixed(digits)} ${UNITS[unit]}`;
}

export const count = (n: number) => n.toLocaleString('en-US');
