import { statSync } from 'node:fs';
import { expect, it } from 'vitest';
import { ERRORS } from '../../lib/errors.js';
import { type Checkpoint, openCheckpoint } from '../../lib/model/checkpoint.js';
import type { NativeTensor, StoredParts } from '../../lib/native.js';
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
  NVFP4: [64, 36],
  ...{ IQ2_XXS: [256, 66], IQ2_XS: [256, 74], IQ2_S: [256, 82], IQ3_XXS: [256, 98] },
  ...{ IQ3_S: [256, 110], IQ1_S: [256, 50], IQ1_M: [256, 56], TQ1_0: [256, 54] },
  ...{ TQ2_0: [256, 66], Q1_0: [128, 18], Q2_0: [64, 18] },
} as const;

function check({ files, tensors, spec }: Checkpoint): void {
  const names = new Set<string>();
  for (const t of tensors) {
    names.add(t.name);
    if (t.parts) {
      checkParts(files, t, t.parts);
      continue;
    }
    expect(t.offset + t.bytes).toBeLessThanOrEqual(statSync(files[t.file]).size);
    const [values, bytes] = BLOCKS[t.dtype as keyof typeof BLOCKS];
    const step = t.step ?? 1;
    // What is stored: of a turned matrix all columns, of rows in turn up to its last.
    const spanned = (n: number) => (n - 1) * step + 1;
    const [rows, cols] = t.rows === 1 ? [1, spanned(t.cols)] : [spanned(t.rows), t.cols];
    expect(t.bytes).toBe((((t.transposed?.of ?? rows) * cols) / values) * bytes);
    const end = (t.transposed?.from ?? 0) + spanned(t.rows);
    expect(end).toBeLessThanOrEqual(t.transposed?.of ?? rows);
  }
  expect(names.size).toBe(tensors.length);
  for (const { inverseFrequencies, longInverseFrequencies } of spec.ropes) {
    for (const table of [inverseFrequencies, longInverseFrequencies ?? []]) {
      expect(table.every((f) => f >= 0 && f < 1e9)).toBe(true);
    }
  }
}

/** Every part lies in its file, and the rows in what is stored. */
function checkParts(files: readonly string[], t: NativeTensor, parts: StoredParts): void {
  const { codes, scales, factor, zeros, groupOf, values, book, bookScales } = parts;
  for (const part of [codes, scales, factor, zeros, groupOf, values, book, bookScales]) {
    if (part === undefined) continue;
    expect(part.offset + part.bytes).toBeLessThanOrEqual(statSync(files[part.file]).size);
  }
  expect(parts.from + (t.rows - 1) * (t.step ?? 1)).toBeLessThan(parts.rows);
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
