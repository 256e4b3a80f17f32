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
  process.env.OCTAVO_SEED ??= `${Math.floor(Math.random() * 2 ** 31)}`;
  console.log(`OCTAVO_SEED=${process.env.OCTAVO_SEED} draws this run's inputs again.`);
  if (!ALL) console.log('Of what takes minutes a sample is run; all: npm run test:all');
  return () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}
