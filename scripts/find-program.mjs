import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';

/** The path of a program in PATH, or in one of `more` folders; undefined if there is none. */
export function findProgram(name, ...more) {
  for (const folder of [...(process.env.PATH ?? '').split(':'), ...more]) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {}
  }
  return undefined;
}

/**
 * Debian's chromium, or what OCTAVO_CHROMIUM names; undefined if there is none.
 * @throws where OCTAVO_CHROMIUM names nothing
 */
export function findChromium() {
  const { OCTAVO_CHROMIUM: given } = process.env;
  if (given === undefined) {
    return findProgram('chromium', '/usr/bin') ?? findProgram('chromium-browser', '/usr/bin');
  }
  if (existsSync(given)) return given;
  throw new Error(`OCTAVO_CHROMIUM names ${given}, which is not there`);
}
