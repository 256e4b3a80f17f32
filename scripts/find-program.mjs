import { accessSync, constants } from 'node:fs';
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
