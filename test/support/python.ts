/**
 * Pythons with a package of PyPI that the tests compare with. Each lies in a folder of its own, and
 * stays there for the next run.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ALL } from './all.js';
import { CACHE } from './real-model.js';

export interface Python {
  readonly path: string;
  /** Where the commands of packages lie. */
  readonly bin: string;
}

const SHOW = 'import importlib.metadata as m, sys; print(m.version(sys.argv[1]))';

/** In `npm run test:all`, a Python with this package; undefined, with a line that says why, else. */
export function pythonWith(name: string, version: string): Python | undefined {
  if (!ALL) return undefined;
  const folder = join(CACHE, `${name}-${version}`);
  const bin = join(folder, 'bin');
  const path = join(bin, 'python');
  const has = () => {
    const found = execFileSync(path, ['-c', SHOW, name], { encoding: 'utf8', stdio: 'pipe' });
    return found.trim() === version;
  };
  try {
    if (!existsSync(path)) execFileSync('python3', ['-m', 'venv', folder], { stdio: 'pipe' });
    try {
      if (has()) return { path, bin };
    } catch {
      // It is not there yet.
    }
    const install = ['-m', 'pip', 'install', '--quiet', `${name}==${version}`];
    execFileSync(path, install, { stdio: 'pipe' });
    if (has()) return { path, bin };
    throw new Error('another version was installed');
  } catch (error) {
    const [why] = (error as Error).message.split('\n');
    console.log(`skipped, the comparison with ${name} ${version}: ${why}`);
    return undefined;
  }
}
