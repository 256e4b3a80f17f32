/** What the CLI says on stderr. */
import type { RequestOutput } from '../engine/outputs.js';
import { isOctavoError } from '../errors.js';
import { shownControls } from './controls.js';

/** One sentence and an exit code: 2 for what the caller can mend in the call, else 1. */
export function reportError(error: unknown): void {
  process.stderr.write(errorLine(error));
  process.exitCode = isOctavoError(error) && error.status === 400 ? 2 : 1;
}

/** The sentence. */
export function errorLine(error: unknown): string {
  if (isOctavoError(error)) return `octavo: ${shownControls(error.message)} (${error.code})\n`;
  return `octavo: internal error: ${(error as Error)?.stack ?? error}\n`;
}

/**
 * What cannot be written. A reader of stdout that goes away (`octavo … | head`) ends the program,
 * not with an error; anything else there is one sentence and exit code 1. Of stderr that cannot be
 * written nobody can be told: the program goes on, and ends with 1 unless only its reader left.
 */
export function watchOutputs(): void {
  process.stdout.on('error', ({ code, message }: NodeJS.ErrnoException) => {
    if (code === 'EPIPE') process.exit(0);
    process.stderr.write(`octavo: cannot write to stdout: ${message}\n`);
    process.exit(1);
  });
  process.stderr.on('error', ({ code }: NodeJS.ErrnoException) => {
    if (code !== 'EPIPE') process.exitCode ??= 1;
  });
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

/** Several samples of one prompt, each under its number; beams with their score. */
export function samplesText(output: RequestOutput): string {
  if (output.outputs.length === 1) return `${output.outputs[0].text}\n`;
  return output.outputs
    .map(({ index, score, text }) => {
      const label = score === undefined ? `[${index}]` : `[${index}] (${score.toFixed(4)})`;
      return `${label} ${text}\n`;
    })
    .join('');
}
