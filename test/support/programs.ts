/** The C++ test programs; `node scripts/install.mjs --testing` builds them. */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'vitest';
import { ROOT } from './addon.js';
import { ALL } from './all.js';

export function program(name: string, args: string[]): SpawnSyncReturns<string> {
  const path = name.includes('/') ? name : join(ROOT, 'build', 'testing', name);
  const timeout = ALL ? 3_600_000 : 600_000; // ends what hangs; the test's own cannot, meanwhile
  const result = spawnSync(path, args, { encoding: 'utf8', timeout });
  if (result.error) throw result.error;
  return result;
}

/** Runs a program that must find nothing wrong. */
export function run(name: string, args: string[]): void {
  const { status, stdout, stderr } = program(name, args);
  console.log(stdout);
  expect(stderr).toBe('');
  expect(status, stdout).toBe(0);
}
