/**
 * Tokens a second of the whole engine: prefill of 128-token prompts and decode of what follows, at
 * 1/8/32 concurrent, beside what the machine could do at most, measured in the same run.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LLM } from '../lib/index.js';
import { randomModel, SMOLLM2_135M, type StoredType } from './support/random-models.js';
import { type BenchRow, jsonPath, report } from './support/report.js';

const PROMPT = 128;
const quick = process.argv.includes('--quick');
const OUTPUT = quick ? 32 : 64;
const REPEATS = quick ? 2 : 5;

interface Machine {
  /** Bytes a second that can be read from memory. */
  readonly read: number;
  /** Float32 operations a second. */
  readonly flops: number;
}

function machine(): Machine {
  const json = join(mkdtempSync(join(tmpdir(), 'octavo-bench-')), 'machine.json');
  spawnSync(join('build', 'testing', 'octavo_cpu_bench'), ['--only', 'machine', '--json', json]);
  const { rows } = JSON.parse(readFileSync(json, 'utf8')) as { rows: BenchRow[] };
  const value = (unit: string) => rows.find((row) => row.unit === unit)!.value;
  return { read: value('GB/s') * 1e9, flops: value('GFLOP/s') * 1e9 };
}

const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1];

/** Seconds for `n` prompts at once with so many tokens each. */
async function seconds(llm: LLM, n: number, maxTokens: number, salt: number): Promise<number> {
  const { vocabSize } = llm.info;
  const prompts = Array.from({ length: n }, (_, i) => ({
    promptTokenIds: Array.from(
      { length: PROMPT },
      (_, t) => (salt * 7919 + i * 104729 + t * 31) % vocabSize,
    ),
  }));
  const start = performance.now();
  await llm.generate(prompts, { maxTokens, ignoreEos: true, temperature: 0 });
  return (performance.now() - start) / 1000;
}

async function measure(llm: LLM, n: number): Promise<{ prefill: number[]; decode: number[] }> {
  const prefill: number[] = [];
  const decode: number[] = [];
  await seconds(llm, n, 2, 0);
  for (let r = 1; r <= REPEATS; r++) {
    const first = await seconds(llm, n, 1, r);
    const all = await seconds(llm, n, 1 + OUTPUT, r + 100);
    prefill.push((n * PROMPT) / first);
    decode.push((n * OUTPUT) / (all - first));
  }
  return { prefill, decode };
}

async function rowsOf(name: string, model: string | undefined, m: Machine): Promise<BenchRow[]> {
  const llm = await LLM.load({ ...(model ? { model } : {}), enablePrefixCaching: false });
  const { weightBytes, numParameters, dtype, isa, numThreads } = llm.info;
  const rows: BenchRow[] = [];
  for (const concurrent of [1, 8, 32]) {
    const { prefill, decode } = await measure(llm, concurrent);
    const arithmetic = m.flops / (2 * numParameters);
    const bandwidth = (m.read / weightBytes) * concurrent;
    const row = (what: string, values: number[], bound: number): BenchRow => {
      const value = median(values);
      const spread = { least: Math.min(...values), most: Math.max(...values) };
      return {
        name: what,
        model: name,
        dtype,
        isa,
        threads: numThreads,
        concurrent,
        prompt: PROMPT,
        output: OUTPUT,
        value,
        unit: 'tok/s',
        ...spread,
        reference: bound,
        ratio: value / bound,
      };
    };
    rows.push(row('prefill', prefill, arithmetic));
    rows.push(row('decode', decode, Math.min(arithmetic, bandwidth)));
  }
  await llm.close();
  return rows;
}

const bounds = machine();
const rows: BenchRow[] = [
  { name: 'machine: read', value: bounds.read / 1e9, unit: 'GB/s' },
  { name: 'machine: float32', value: bounds.flops / 1e9, unit: 'GFLOP/s' },
  ...(await rowsOf('octavo-demo', undefined, bounds)),
];
if (!quick) {
  for (const type of ['F32', 'BF16', 'Q8_0'] as StoredType[]) {
    rows.push(...(await rowsOf(SMOLLM2_135M.name, randomModel(SMOLLM2_135M, type), bounds)));
  }
}
report({ bench: 'engine', rows, json: jsonPath() });
console.log(
  'reference: the lower of read bandwidth / weight bytes and float32 rate / (2 · parameters)',
);
