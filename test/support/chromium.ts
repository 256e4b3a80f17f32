/** The browser that the live page is tried in: Debian's chromium, or what OCTAVO_CHROMIUM names. */
import { existsSync } from 'node:fs';
import { findProgram } from '../../scripts/find-program.mjs';

/** The program's path; undefined, with a line that says why, where there is none. */
export function chromium(): string | undefined {
  const { OCTAVO_CHROMIUM: given } = process.env;
  if (given !== undefined) {
    if (existsSync(given)) return given;
    throw new Error(`OCTAVO_CHROMIUM names ${given}, which is not there`);
  }
  const found = findProgram('chromium', '/usr/bin') ?? findProgram('chromium-browser', '/usr/bin');
  if (found !== undefined) return found;
  console.log(
    'skipped, the live page in a browser: there is no chromium (apt-get install chromium)',
  );
  return undefined;
}
