/**
 * What the server costs beside the library: tokens a second of 32 requests at once through HTTP and
 * through calls in the same process, alternating; and how long its event loop keeps others waiting
 * while 256 streams run. Clients are a process of their own. Flags: --quick
 */
import { readFileSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { LLM } from '../lib/index.js';
import { createServer } from '../lib/server/index.js';
import { median } from './support/machine.js';
import { randomModel, SMOLLM2_135M } from './support/random-models.js';
import { type BenchRow, jsonPath, report } from './support/report.js';
import { Clients } from './support/stream-client.js';

const quick = process.argv.includes('--quick');
const PROMPT = 32;
const OUTPUT = quick ? 48 : 128;
const ROUNDS = quick ? 3 : 9;
/** Of the timer that watches the loop, in ms; what it finds beyond it is delay. */
const RESOLUTION = 1;

let salt = 0;

/** New ids each time: nothing is found in a cache. */
function promptsOf({ info: { vocabSize } }: LLM, count: number): number[][] {
  salt++;
  return Array.from({ length: count }, (_, i) =>
    Array.from({ length: PROMPT }, (_, t) => (salt * 7919 + i * 104_729 + t * 31) % vocabSize),
  );
}

const params = { maxTokens: OUTPUT, ignoreEos: true, temperature: 0 };

/** Ways to have `count` requests answered at once; each returns its seconds. */
type Way = (llm: LLM, count: number) => Promise<number>;

async function timed(work: Promise<unknown>[]): Promise<number> {
  const began = performance.now();
  await Promise.all(work);
  return (performance.now() - began) / 1000;
}

const byCalls: Way = (llm, count) =>
  timed(promptsOf(llm, count).map((ids) => llm.generate({ promptTokenIds: ids }, params)));

const byStreams: Way = (llm, count) =>
  timed(
    promptsOf(llm, count).map(async (promptTokenIds) => {
      for await (const output of llm.streamDeltas({ promptTokenIds }, params)) void output;
    }),
  );

function byHttp(clients: Clients, port: number, stream: boolean): Way {
  return async (llm, count) => {
    const wish = { max_tokens: OUTPUT, ignore_eos: true, temperature: 0, stream };
    const bodies = promptsOf(llm, count).map((prompt) => JSON.stringify({ prompt, ...wish }));
    const end = stream ? 'data: [DONE]\n\n' : '"usage":';
    const { ms } = await clients.run({ port, path: '/v1/completions', bodies, end });
    return ms / 1000;
  };
}

/** Nanoseconds that the event loop's thread has computed; the engine's own are others. */
function loopTime(): number {
  return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]);
}

async function overhead(llm: LLM, model: string, ways: Record<string, Way>): Promise<BenchRow[]> {
  const count = 32;
  const rates: Record<string, number[]> = {};
  const costs: Record<string, number[]> = {};
  for (let round = -1; round < ROUNDS; round++) {
    for (const [name, way] of Object.entries(ways)) {
      const before = loopTime();
      const rate = (count * OUTPUT) / (await way(llm, count));
      const cost = (loopTime() - before) / 1000 / (count * OUTPUT);
      // The first round warms up.
      if (round < 0) continue;
      (rates[name] ??= []).push(rate);
      (costs[name] ??= []).push(cost);
    }
  }
  const shape = { model, concurrent: count, prompt: PROMPT, output: OUTPUT };
  const rowsOf = (lists: Record<string, number[]>, what: string, unit: string) =>
    Object.entries(lists).map(([name, list]): BenchRow => {
      const reference = median(lists[name.replace('server', 'library').replace(/, 4.*/, '')]);
      const value = median(list);
      const spread = { least: Math.min(...list), most: Math.max(...list) };
      const ratio = value / reference;
      return { name: `${name}${what}`, ...shape, value, unit, ...spread, reference, ratio };
    });
  return [...rowsOf(rates, '', 'tok/s'), ...rowsOf(costs, ': CPU of the loop', 'us/token')];
}

const ms = (histogram: IntervalHistogram, percentile: number) =>
  Math.max(0, histogram.percentile(percentile) / 1e6 - RESOLUTION);

/** How long what is due waits for the loop, while so many stream. */
async function delay(llm: LLM, model: string, way: Way, name: string): Promise<BenchRow[]> {
  const count = 256;
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION });
  await way(llm, count);
  histogram.enable();
  for (let round = 0; round < (quick ? 1 : 3); round++) await way(llm, count);
  histogram.disable();
  return [50, 99, 100].map((percentile) => ({
    name: `event loop, ${name}: p${percentile}`,
    ...{ model, concurrent: count, output: OUTPUT },
    value: ms(histogram, percentile),
    unit: 'ms',
  }));
}

async function listening(llm: LLM, streamInterval: number) {
  const handler = createServer(llm, { streamInterval });
  const http = createHttp(handler);
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const close = () => {
    http.closeAllConnections();
    http.close();
    handler.close();
  };
  return { port: (http.address() as AddressInfo).port, close };
}

async function measure(model: string, path: string | undefined): Promise<BenchRow[]> {
  const llm = await LLM.load({
    ...(path === undefined ? {} : { model: path }),
    ...{ device: 'cpu', enablePrefixCaching: false },
  });
  const each = await listening(llm, 1);
  const four = await listening(llm, 4);
  const clients = new Clients();
  const streams = byHttp(clients, each.port, true);
  const rows = await overhead(llm, model, {
    'library, whole': byCalls,
    'server, whole': byHttp(clients, each.port, false),
    'library, streams': byStreams,
    'server, streams': streams,
    'server, streams, 4 tokens a frame': byHttp(clients, four.port, true),
  });
  if (path === undefined) {
    rows.push(...(await delay(llm, model, byStreams, 'library')));
    rows.push(...(await delay(llm, model, streams, 'server')));
  }
  clients.close();
  each.close();
  four.close();
  await llm.close();
  return rows;
}

const rows = await measure('octavo-demo', undefined);
if (!quick) rows.push(...(await measure(SMOLLM2_135M.name, randomModel(SMOLLM2_135M, 'Q8_0'))));
report({ bench: 'server', rows, json: jsonPath() });
