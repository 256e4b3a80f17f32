/**
 * Tokens a second of the whole engine: prefill of prompts and decode of what follows, with several
 * concurrent requests, beside what the machine could do at most, measured in the same run. On the
 * CPU the demo model and SmolLM2-135M's shape; with `--device cuda` Llama-3-8B's shape.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EngineOptions, LLM } from '../lib/index.js';
import { machine, median } from './support/machine.js';
import { LLAMA3_8B, randomModel, SMOLLM2_135M, type StoredType } from './support/random-models.js';
import { type BenchReport, type BenchRow, jsonPath, report } from './support/report.js';

const quick = process.argv.includes('--quick');

/** What is measured: so many tokens of prompt and of output, so often. */
interface Load {
  readonly prompt: number;
  readonly output: number;
  readonly repeats: number;
}
const CPU_LOAD: Load = { prompt: 128, output: quick ? 32 : 64, repeats: quick ? 2 : 5 };
/** For what is compared with itself. */
const SHORT_LOAD: Load = { prompt: 128, output: 32, repeats: 2 };
/** Contexts of about 1k. Once: 256 prompts of it take a quarter of a minute. */
const GPU_LOAD: Load = { prompt: 896, output: quick ? 32 : 128, repeats: 1 };

/** Seconds for `n` prompts at once with so many tokens each. */
async function seconds(
  llm: LLM,
  { prompt }: Load,
  n: number,
  maxTokens: number,
  salt: number,
): Promise<number> {
  const { vocabSize } = llm.info;
  const prompts = Array.from({ length: n }, (_, i) => ({
    promptTokenIds: Array.from(
      { length: prompt },
      (_, t) => (salt * 7919 + i * 104729 + t * 31) % vocabSize,
    ),
  }));
  const start = performance.now();
  await llm.generate(prompts, { maxTokens, ignoreEos: true, temperature: 0 });
  return (performance.now() - start) / 1000;
}

async function measure(
  llm: LLM,
  load: Load,
  n: number,
): Promise<{ prefill: number[]; decode: number[] }> {
  const prefill: number[] = [];
  const decode: number[] = [];
  await seconds(llm, load, n, 2, 0);
  for (let r = 1; r <= load.repeats; r++) {
    const first = await seconds(llm, load, n, 1, r);
    const all = await seconds(llm, load, n, 1 + load.output, r + 100);
    prefill.push((n * load.prompt) / first);
    decode.push((n * load.output) / (all - first));
  }
  return { prefill, decode };
}

/**
 * Share of decode's wall time in which nothing is computed (scheduling, encoding, detokenizing,
 * handing over between threads, callers reading their streams), in percent, one for each repeat.
 */
async function outsideCompute(llm: LLM, load: Load, n: number): Promise<number[]> {
  const steps: { at: number; compute: number; sequences: number; tokens: number }[] = [];
  const watch = async () => {
    for await (const { step } of llm.events()) {
      const { computeMs: compute, numSeqs: sequences, numTokens: tokens } = step;
      steps.push({ at: performance.now(), compute, sequences, tokens });
    }
  };
  void watch();
  const params = { maxTokens: load.output, ignoreEos: true, temperature: 0 };
  const shares: number[] = [];
  for (let r = 0; r < load.repeats; r++) {
    steps.length = 0;
    const read = async (i: number) => {
      for await (const out of llm.stream({ promptTokenIds: [5 + r, 6 + i] }, params)) void out;
    };
    await Promise.all(Array.from({ length: n }, (_, i) => read(i)));
    const decode = steps.filter((s) => s.sequences === n && s.tokens === n);
    const wall = decode.at(-1)!.at - decode[0].at;
    const computed = decode.slice(1).reduce((sum, s) => sum + s.compute, 0);
    shares.push(100 * (1 - computed / wall));
  }
  return shares;
}

/** What is left of the rates, in percent, while another process keeps one core busy. */
async function besideNeighbour(llm: LLM, name: string, load: Load): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const concurrent of [1, 8, 32]) {
    const quiet = await measure(llm, load, concurrent);
    const neighbour = spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' });
    try {
      const busy = await measure(llm, load, concurrent);
      for (const what of ['prefill', 'decode'] as const) {
        const value = (100 * median(busy[what])) / median(quiet[what]);
        const label = `${what}: left beside a busy process`;
        rows.push({
          name: label,
          model: name,
          dtype: llm.info.dtype,
          concurrent,
          value,
          unit: '%',
        });
      }
    } finally {
      neighbour.kill();
    }
  }
  return rows;
}

/** Rows of one loaded model; `bounds` are tokens a second that the machine could do at most. */
async function rowsOf(
  llm: LLM,
  name: string,
  load: Load,
  concurrent: number,
  bounds: { prefill?: number; decode: number },
): Promise<BenchRow[]> {
  const { dtype, isa, numThreads: threads, device } = llm.info;
  const { prefill, decode } = await measure(llm, load, concurrent);
  const row = (what: string, values: number[], bound?: number): BenchRow => {
    const value = median(values);
    return {
      name: what,
      model: name,
      dtype,
      device,
      isa,
      threads,
      concurrent,
      prompt: load.prompt,
      output: load.output,
      value,
      unit: 'tok/s',
      least: Math.min(...values),
      most: Math.max(...values),
      ...(bound === undefined ? {} : { reference: bound, ratio: value / bound }),
    };
  };
  return [row('prefill', prefill, bounds.prefill), row('decode', decode, bounds.decode)];
}

async function onCpu(): Promise<BenchReport> {
  const m = machine();
  const rows: BenchRow[] = [
    { name: 'machine: read', value: m.read / 1e9, unit: 'GB/s' },
    { name: 'machine: float32', value: m.flops / 1e9, unit: 'GFLOP/s' },
  ];
  const add = async (name: string, model?: string) => {
    const llm = await LLM.load({
      ...(model ? { model } : {}),
      device: 'cpu',
      enablePrefixCaching: false,
    });
    const prefill = m.flops / (2 * llm.info.numParameters);
    for (const n of [1, 8, 32]) {
      const decode = Math.min(prefill, (m.read / llm.info.weightBytes) * n);
      rows.push(...(await rowsOf(llm, name, CPU_LOAD, n, { prefill, decode })));
    }
    for (const n of [1, 32]) {
      const shares = await outsideCompute(llm, CPU_LOAD, n);
      rows.push({
        name: 'decode: time outside compute',
        model: name,
        dtype: llm.info.dtype,
        concurrent: n,
        value: median(shares),
        unit: '%',
        least: Math.min(...shares),
        most: Math.max(...shares),
      });
    }
    if (model?.includes('Q8_0')) rows.push(...(await besideNeighbour(llm, name, SHORT_LOAD)));
    await llm.close();
  };
  await add('octavo-demo');
  if (!quick) {
    for (const type of ['F32', 'BF16', 'Q8_0'] as StoredType[]) {
      await add(SMOLLM2_135M.name, randomModel(SMOLLM2_135M, type));
    }
  }
  return { bench: 'engine', rows, json: jsonPath() };
}

/** Decode's bound: weights once, and each sequence's KV, at the rate of a copy on the device. */
async function onDevice(): Promise<BenchReport> {
  const json = join(mkdtempSync(join(tmpdir(), 'octavo-bench-')), 'machine.json');
  const program =
    process.env.OCTAVO_KERNEL_BENCH ?? join('build', 'testing', 'octavo_kernel_bench');
  spawnSync(program, ['--only', 'machine', '--json', json], { stdio: 'inherit' });
  if (!existsSync(json)) throw new Error('no CUDA device to measure');
  const { machine: m, device } = JSON.parse(readFileSync(json, 'utf8')) as {
    machine: { copyGBps: number };
    device: string;
  };
  const rows: BenchRow[] = [{ name: 'machine: copy', value: m.copyGBps, unit: 'GB/s' }];
  const shape = quick ? SMOLLM2_135M : LLAMA3_8B;
  const model = randomModel(shape, 'BF16');
  const modes: { name: string; options: EngineOptions; concurrent: number[] }[] = [
    { name: shape.name, options: {}, concurrent: [1, 8, 64, 256] },
    { name: `${shape.name}, no graphs`, options: { enableCudaGraphs: false }, concurrent: [1, 64] },
    { name: `${shape.name}, cuBLASLt`, options: { batchInvariant: false }, concurrent: [64, 256] },
  ];
  for (const { name, options, concurrent } of modes) {
    const start = performance.now();
    const llm = await LLM.load({
      model,
      device: 'cuda',
      enablePrefixCaching: false,
      ...options,
    });
    const took = (performance.now() - start) / 1000;
    rows.push({ name: 'load', model: name, value: took, unit: 's' });
    for (const n of concurrent) {
      const context = GPU_LOAD.prompt + GPU_LOAD.output / 2;
      const bytes = llm.info.weightBytes + n * context * llm.info.kvBytesPerToken;
      const decode = (n * m.copyGBps * 1e9) / bytes;
      rows.push(...(await rowsOf(llm, name, GPU_LOAD, n, { decode })));
    }
    await llm.close();
  }
  return { bench: 'engine', rows, json: jsonPath(), device };
}

const cuda = process.argv.some((arg, i) => arg === '--device' && process.argv[i + 1] === 'cuda');
if (cuda) {
  report(await onDevice());
} else {
  report(await onCpu());
  console.log(
    'reference: the lower of read bandwidth / weight bytes and float32 rate / (2 · parameters)',
  );
}
