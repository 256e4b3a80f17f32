/** Programs and files of Go modules that the tests compare with: fetched once, by Go itself. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { findProgram } from '../../scripts/find-program.mjs';
import { ALL } from './all.js';
import { CACHE } from './real-model.js';

const MINUTES = 60_000;

function go(args: readonly string[], env: Record<string, string> = {}): string {
  const program = findProgram('go', '/usr/local/go/bin');
  if (program === undefined) throw new Error('there is no go');
  return execFileSync(program, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 4 * MINUTES,
    env: { ...process.env, ...env },
  });
}

/** In `npm run test:all`, what this gives; undefined, with a line that says why, where it fails. */
function fetched<T>(what: string, fetch: () => T): T | undefined {
  if (!ALL) return undefined;
  try {
    return fetch();
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    const why = stderr?.trim().split('\n').at(-1) || message.split('\n')[0];
    console.log(`skipped, what needs ${what}: ${why}`);
    return undefined;
  }
}

/** The path of a program that a module has. */
export function goProgram(path: string, version: string): string | undefined {
  return fetched(`${path}@${version}`, () => {
    const folder = join(CACHE, `go-${path.replaceAll('/', '-')}-${version}`);
    const program = join(folder, path.split('/').findLast((one) => !/^v\d+$/.test(one)) as string);
    if (!existsSync(program)) {
      mkdirSync(folder, { recursive: true });
      go(['install', `${path}@${version}`], { GOBIN: folder });
    }
    return program;
  });
}

/** The folder of a module's files. */
export function goModule(path: string, version: string): string | undefined {
  return fetched(`${path}@${version}`, () => {
    return JSON.parse(go(['mod', 'download', '-json', `${path}@${version}`])).Dir;
  });
}
