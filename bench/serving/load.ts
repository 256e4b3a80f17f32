/** What servers are asked: `octavo bench serve` in a process of its own, and single requests. */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { logNormal, seeded } from '../paper/workloads.js';
import { OCTAVO, SERVED_NAME } from './engines.js';
import type { Server } from './server.js';

const FOLDER = join('.bench', 'serving');

export interface Load {
  /** Requests a second; null = one after the other. */
  readonly rate: number | null;
  readonly requests: number;
}

/** In seconds, milliseconds where it says so. */
export interface Measured extends Load {
  readonly normalizedMs: number;
  readonly normalizedP90Ms: number;
  readonly ttftMs: number;
  readonly e2eMs: number;
  readonly seconds: number;
  readonly failed: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly outputPerSecond: number;
  /** How late a request was sent at most. */
  readonly latestMs: number;
  /** Of one core, by the server while it was asked, and by who asked, its start included. */
  readonly serverCores: number;
  readonly clientCores: number;
}

/**
 * ShareGPT's shape, the paper's parameters for prompts (mean 161 tokens), outputs of 140 tokens on
 * average in place of 338, so that a run of a quarter of a minute sees its first requests end.
 */
function lengths(random: () => number) {
  const prompt = logNormal(random, 4.6, 1.2, 4, 1024);
  return { prompt, output: logNormal(random, 4.62, 0.8, 4, 768) };
}

/**
 * Conversations for `--dataset-name sharegpt`: the lengths are those of the seed, words are drawn
 * anew for each load, since a prompt that came before would be in the servers' caches.
 */
export function writeDataset(load: Load, words: readonly string[], seed: number): string {
  mkdirSync(FOLDER, { recursive: true });
  const path = join(FOLDER, 'requests.json');
  const randomLength = seeded(seed);
  const randomWord = seeded(seed + Math.round(1000 * (load.rate ?? 0)) + 1);
  const words1 = (n: number) =>
    Array.from({ length: n }, () => words[Math.floor(randomWord() * words.length)]).join('');
  const conversations = Array.from({ length: load.requests }, () => {
    const { prompt, output } = lengths(randomLength);
    return { conversations: [{ value: words1(prompt) }, { value: words1(output) }] };
  });
  writeFileSync(path, JSON.stringify(conversations));
  return path;
}

export interface BenchServe {
  readonly load: Load;
  readonly dataset: string;
  /** Whose tokenizer counts. */
  readonly folder: string;
  readonly seed: number;
}

/** One run of `octavo bench serve`, with its command's own JSON. */
export async function benchServe(server: Server, what: BenchServe): Promise<Measured> {
  const { load, dataset, folder, seed } = what;
  // The first run also shows the server several requests at once, before it is measured.
  const pace =
    load.rate === null
      ? ['--max-concurrency', '1', '--num-warmups', '16']
      : ['--request-rate', `${load.rate}`];
  const args = [
    ...['bench', 'serve', '--base-url', server.url, '--model', SERVED_NAME, '--tokenizer', folder],
    ...['--dataset-name', 'sharegpt', '--dataset-path', dataset, '--seed', `${seed}`, ...pace],
    ...['--num-prompts', `${load.requests}`, '--ignore-eos', '--temperature', '0'],
    ...['--metric-percentiles', '90', '--save-result', '--result-dir', FOLDER],
    ...['--result-filename', 'result.json'],
  ];
  const cpuBefore = server.cpuSeconds();
  const begin = performance.now();
  const clientSeconds = await runOctavo(args);
  const wall = (performance.now() - begin) / 1000;
  const result = JSON.parse(readFileSync(join(FOLDER, 'result.json'), 'utf8'));
  return {
    ...load,
    normalizedMs: result.mean_normalized_latency_ms,
    normalizedP90Ms: result.p90_normalized_latency_ms,
    ttftMs: result.mean_ttft_ms,
    e2eMs: result.mean_e2el_ms,
    seconds: result.duration,
    failed: result.failed,
    promptTokens: result.total_input_tokens,
    outputTokens: result.total_output_tokens,
    outputPerSecond: result.output_throughput,
    latestMs: load.rate === null ? 0 : result.max_client_queue_time_ms,
    serverCores: (server.cpuSeconds() - cpuBefore) / wall,
    clientCores: clientSeconds / wall,
  };
}

/** Tells on descriptor 3 what a process took of its processors. */
const TELL_CPU = `data:text/javascript,import { writeSync } from 'node:fs';
process.on('exit', () => {
  const { user, system } = process.cpuUsage();
  writeSync(3, String((user + system) / 1e6));
});`;

/** Resolves to the seconds of processors that it took. */
function runOctavo(args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, ['--import', TELL_CPU, OCTAVO, ...args], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  });
  let said = '';
  let cpu = '';
  child.stdio[2]!.on('data', (chunk) => (said += chunk));
  child.stdio[3]!.on('data', (chunk) => (cpu += chunk));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(Number(cpu));
      else reject(new Error(`octavo bench serve ended with ${code}: ${said.slice(-1000)}`));
    });
  });
}

export interface Several {
  readonly name: string;
  readonly outputs: number;
  readonly body: Readonly<Record<string, unknown>>;
}

const SEVERAL = { prompt: 512, output: 64 };

export const PARALLEL: Several = {
  name: '8 samples of a prompt of 512 tokens, 64 each',
  outputs: 8,
  body: { n: 8, temperature: 1, seed: 1 },
};

export const BEAMS: Several = {
  name: '4 beams of a prompt of 512 tokens, 64 each',
  outputs: 4,
  body: { n: 4, use_beam_search: true, temperature: 0 },
};

/**
 * Seconds until the whole answer is there.
 * @throws with the server's sentence where it refuses, or answers with fewer
 */
export async function askSeveral(
  server: Server,
  { outputs, body }: Several,
  words: readonly string[],
  seed: number,
): Promise<number> {
  const random = seeded(seed);
  const prompt = Array.from(
    { length: SEVERAL.prompt },
    () => words[Math.floor(random() * words.length)],
  ).join('');
  const asked = { model: SERVED_NAME, prompt, max_tokens: SEVERAL.output, ignore_eos: true };
  const start = performance.now();
  const response = await fetch(`${server.url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...asked, ...body }),
    signal: AbortSignal.timeout(120_000),
  });
  const text = await response.text();
  const seconds = (performance.now() - start) / 1000;
  if (!response.ok) throw new Error(`HTTP ${response.status}: ${text.slice(0, 200)}`);
  const { choices, usage } = JSON.parse(text);
  const tokens = usage?.completion_tokens;
  if (choices?.length !== outputs || tokens !== outputs * SEVERAL.output) {
    throw new Error(`${choices?.length} answers of ${tokens} tokens for ${outputs}`);
  }
  return seconds;
}
