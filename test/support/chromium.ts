/** The browser that pages are tried in: Debian's chromium, or what OCTAVO_CHROMIUM names. */
import { findChromium } from '../../scripts/find-program.mjs';

/** The program's path; undefined, with a line that says why, where there is none. */
export function chromium(): string | undefined {
  const found = findChromium();
  if (found === undefined) {
    console.log('skipped, pages in a browser: there is no chromium (apt-get install chromium)');
  }
  return found;
}
