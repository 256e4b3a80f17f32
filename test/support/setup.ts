/** Runs once, before any test file; they see what it sets. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ALL } from './all.js';

/** @returns called behind the last test file */
export default function setup(): () => void {
  // Workers are killed, so none can be trusted to clean up behind itself.
  const folder = mkdtempSync(join(tmpdir(), 'octavo-'));
  process.env.TMPDIR = folder;
  if (!ALL) {
    process.env.OCTAVO_SAMPLE ??= `${Math.floor(Math.random() * 2 ** 31)}`;
    const { OCTAVO_SAMPLE: seed } = process.env;
    console.log(`A sample (OCTAVO_SAMPLE=${seed}) of what takes minutes; all: npm run test:all\n`);
  }
  return () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}
