import { statSync } from 'node:fs';
import { expect, it } from 'vitest';
import { ERRORS } from '../../lib/errors.js';
import { type Checkpoint, openCheckpoint } from '../../lib/model/checkpoint.js';
import { sample } from '../support/all.js';
import { mutants } from '../support/mutants.js';

const RUNS = Number(process.env.FUZZ_RUNS ?? sample(600, 3000));

/** Values and bytes of a block. */
const BLOCKS = {
  F32: [1, 4],
  F16: [1, 2],
  BF16: [1, 2],
  Q8_0: [32, 34],
  Q4_0: [32, 18],
  Q4_1: [32, 20],
  Q5_0: [32, 22],
  Q5_1: [32, 24],
  Q2_K: [256, 84],
  Q3_K: [256, 110],
  Q4_K: [256, 144],
  Q5_K: [256, 176],
  Q6_K: [256, 210],
  IQ4_NL: [32, 18],
  IQ4_XS: [256, 136],
  MXFP4: [32, 17],
} as const;

function check({ files, tensors, spec }: Checkpoint): void {
  const names = new Set<string>();
  for (const t of tensors) {
    expect(t.offset + t.bytes).toBeLessThanOrEqual(statSync(files[t.file]).size);
    const [values, bytes] = BLOCKS[t.dtype];
    const step = t.step ?? 1;
    // What is stored: of a turned matrix all columns, of rows in turn up to its last.
    const spanned = (n: number) => (n - 1) * step + 1;
    const [rows, cols] = t.rows === 1 ? [1, spanned(t.cols)] : [spanned(t.rows), t.cols];
    const whole = t.scales ? bytes - 1 : bytes; // its scales lie elsewhere
    expect(t.bytes).toBe((((t.transposed?.of ?? rows) * cols) / values) * whole);
    const end = (t.transposed?.from ?? 0) + spanned(t.rows);
    expect(end).toBeLessThanOrEqual(t.transposed?.of ?? rows);
    if (t.scales) {
      const size = statSync(files[t.scales.file]).size;
      expect(t.scales.offset + (rows * cols) / values).toBeLessThanOrEqual(size);
    }
    names.add(t.name);
  }
  expect(names.size).toBe(tensors.length);
  for (const { inverseFrequencies, longInverseFrequencies } of spec.ropes) {
    for (const table of [inverseFrequencies, longInverseFrequencies ?? []]) {
      expect(table.every((f) => f >= 0 && f < 1e9)).toBe(true);
    }
  }
}

it(`${RUNS} damaged models open whole, or are refused with a code and a name`, async () => {
  const counts: Record<string, number> = {};
  let slowest = 0;
  const before = process.memoryUsage.rss();
  for (const { path, what, run } of mutants(RUNS)) {
    const started = performance.now();
    let outcome = 'opened';
    try {
      check(await openCheckpoint(path));
    } catch (error) {
      const { code, message } = error as Error & { code: string };
      if (!(code in ERRORS)) throw new Error(`run ${run} (${what})`, { cause: error });
      expect(code, message).toMatch(/^ERR_MODEL_/);
      expect(message).toContain(path.endsWith('.gguf') ? path : '/folder-');
      outcome = code;
    }
    counts[outcome] = (counts[outcome] ?? 0) + 1;
    slowest = Math.max(slowest, performance.now() - started);
  }
  const grown = (process.memoryUsage.rss() - before) >> 20;
  console.log(`fuzz: ${JSON.stringify(counts)}, slowest ${slowest.toFixed(0)} ms, +${grown} MiB`);
  expect(Object.keys(counts).length).toBeGreaterThanOrEqual(3);
  expect(grown).toBeLessThan(600);
});
