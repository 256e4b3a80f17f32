import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { changes } from '../../scripts/compare-bench.mjs';
import { ROOT } from '../support/addon.js';
import { temporaryFolder, write } from '../support/write-model.js';

/** A result of gpu-check in which attention takes `us` microseconds. */
const kernels = (copyGBps: number, us: number) => ({
  machine: { copyGBps },
  rows: [
    { bench: 'machine', name: 'copy device to device', us: 1, gbps: copyGBps },
    { bench: 'decode', name: '32/8 64 x 8k', us, gbps: 1 },
    { bench: 'prefill', name: '32/8 8k', us: 1000, tflops: 300 },
  ],
});

function compare(before: object, after: object, ...flags: string[]) {
  const folder = temporaryFolder();
  const old = write(folder, 'old.json', JSON.stringify(before));
  const now = write(folder, 'new.json', JSON.stringify(after));
  const script = join(ROOT, 'scripts', 'compare-bench.mjs');
  return spawnSync(process.execPath, [script, old, now, ...flags], { encoding: 'utf8' });
}

it('compares in units of each run’s own copy rate', () => {
  // A device twice as fast does everything in half the time: no change.
  const twice = { ...kernels(8000, 50), rows: kernels(8000, 50).rows.map((r) => ({ ...r })) };
  twice.rows[2].us = 500;
  for (const { change } of changes(kernels(4000, 100), twice)) expect(change).toBeCloseTo(0);
});

it('fails when a row is slower than the limit, and names it', () => {
  const { status, stdout } = compare(kernels(4000, 100), kernels(4000, 110));
  expect(status).toBe(1);
  expect(stdout).toContain('slower  decode 32/8 64 x 8k: -9.1 %');
  expect(compare(kernels(4000, 100), kernels(4000, 110), '--limit', '10').status).toBe(0);
  expect(compare(kernels(4000, 100), kernels(4000, 104)).status).toBe(0);
  expect(compare(kernels(4000, 100), kernels(4000, 80)).stdout).toContain('faster  decode');
});

it('reads results of the engine’s bench', () => {
  const engine = (value: number) => ({
    rows: [
      { name: 'machine: copy', value: 4000, unit: 'GB/s' },
      { name: 'decode', model: 'llama3-8b', concurrent: 64, value, unit: 'tok/s' },
    ],
  });
  expect(compare(engine(6000), engine(5000)).stdout).toContain('slower  decode llama3-8b x 64');
  expect(compare(engine(6000), engine(5990)).status).toBe(0);
});

it('fails on results that share nothing, or lack a copy rate', () => {
  expect(compare(kernels(4000, 1), { machine: { copyGBps: 1 }, rows: [] }).status).toBe(1);
  expect(compare({ rows: [] }, kernels(1, 1)).status).not.toBe(0);
  expect(compare({ rows: [] }, { rows: [] }, '--limit', 'x').status).toBe(2);
});
