/** What this machine can do at most with the ops' own instructions: cpu_ops_bench.cc. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchRow } from './report.js';

export interface Machine {
  /** Bytes a second from memory, beyond the caches. */
  readonly read: number;
  /** Multiplications and additions of F32 a second. */
  readonly flops: number;
  /** The same of int8. */
  readonly int8: number;
}

export function machine(): Machine {
  const json = join(mkdtempSync(join(tmpdir(), 'octavo-bench-')), 'machine.json');
  spawnSync(join('build', 'testing', 'octavo_cpu_bench'), ['--only', 'machine', '--json', json]);
  const { rows } = JSON.parse(readFileSync(json, 'utf8')) as { rows: BenchRow[] };
  const value = (name: string) => rows.find((row) => row.name === name)!.value * 1e9;
  return {
    read: value('machine: read 1 GB'),
    flops: value('machine: multiply-adds'),
    int8: value('machine: int8 dot products'),
  };
}

export function machineRows(m: Machine): BenchRow[] {
  return [
    { name: 'machine: read', value: m.read / 1e9, unit: 'GB/s' },
    { name: 'machine: float32', value: m.flops / 1e9, unit: 'GFLOP/s' },
    { name: 'machine: int8', value: m.int8 / 1e9, unit: 'GOP/s' },
  ];
}

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1];
