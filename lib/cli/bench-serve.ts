/** `octavo bench serve`: load on any server that speaks OpenAI's words, measured as vLLM does. */
import { constants } from 'node:os';
import { join } from 'node:path';
import { Presets, SingleBar } from 'cli-progress';
import { Command } from 'commander';
import { octavoError } from '../errors.js';
import { type BenchPlan, type BenchRun, runBench } from '../loadgen/bench.js';
import { describe, HttpClient } from '../loadgen/http.js';
import { computeMetrics } from '../loadgen/metrics.js';
import { plotOf } from '../loadgen/plot.js';
import { Random } from '../loadgen/random.js';
import { untilReady } from '../loadgen/ready.js';
import { fileNameOf, type RunSettings, recordOf, tableOf } from '../loadgen/report.js';
import { sampleRequests } from './bench-dataset.js';
import { addBenchFlags, type BenchFlags, baseUrlOf, checkFlags, headersOf } from './bench-flags.js';
import { checkResults, isSaved, writeOrSay } from './bench-results.js';

export function benchCommand(): Command {
  const serve = new Command('serve').description(
    "load on a server with OpenAI's API: latencies, throughput, goodput, as `vllm bench serve`",
  );
  addBenchFlags(serve).action(benchServe);
  return new Command('bench').description('benches').addCommand(serve);
}

async function benchServe(values: BenchFlags): Promise<void> {
  const flags = checkFlags(values);
  const client = new HttpClient({
    baseUrl: baseUrlOf(flags),
    headers: headersOf(flags),
    insecure: flags.insecure,
  });
  await checkResults(flags);
  const interrupt = new AbortController();
  const onSignal = (signal: NodeJS.Signals) => interrupt.abort(signal);
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  try {
    const run = await measure(client, flags, interrupt.signal);
    if (interrupt.signal.aborted) {
      process.exitCode = 128 + constants.signals[interrupt.signal.reason as NodeJS.Signals];
    } else if (run.results.every(({ success }) => !success)) process.exitCode = 1;
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
    client.close();
  }
}

async function measure(
  client: HttpClient,
  flags: BenchFlags,
  signal: AbortSignal,
): Promise<BenchRun> {
  const readyEnd = performance.now() + flags.readyCheckTimeoutSec * 1000;
  await untilReady(client, readyEnd, signal);
  if (signal.aborted) throw octavoError('ERR_ABORTED', 'interrupted before the first request');
  const model = flags.model ?? (await firstModel(client));
  const { requests, tokens } = await sampleRequests(client, model, flags);
  const plan: BenchPlan = {
    backend: flags.backend,
    endpoint: flags.endpoint,
    model: flags.servedModelName ?? model,
    requests,
    extraBody: extraBodyOf(flags),
    traffic: flags,
    maxConcurrency: flags.maxConcurrency,
    requestIdPrefix: flags.requestIdPrefix,
    numWarmups: Math.max(1, flags.numWarmups),
    readyTimeoutMs: Math.max(0, readyEnd - performance.now()),
  };
  const settings = settingsOf(flags, model, requests.length);
  const bar = new SingleBar(
    {
      format: '{bar} {value}/{total} requests | {duration_formatted} | ETA {eta_formatted}',
      stream: process.stderr,
      clearOnComplete: true,
      noTTYOutput: false,
      hideCursor: true,
    },
    Presets.shades_classic,
  );
  let run: BenchRun;
  try {
    run = await runBench(client, plan, {
      random: new Random(flags.seed + 1),
      tokens,
      signal,
      onWarm: () => {
        if (!flags.disableTqdm) bar.start(requests.length, 0);
      },
      onEnd: () => bar.increment(),
    });
  } finally {
    bar.stop();
  }
  await tell(run, flags, settings);
  return run;
}

async function tell(run: BenchRun, flags: BenchFlags, settings: RunSettings): Promise<void> {
  const { duration } = run;
  const { metricPercentiles: percentiles, goodput } = flags;
  const metrics = computeMetrics(run.results, { duration, percentiles, goodput });
  process.stdout.write(tableOf(metrics, run, settings));
  const errors = new Map<string, number>();
  for (const { error } of run.results) {
    if (error !== '') errors.set(error, (errors.get(error) ?? 0) + 1);
  }
  for (const [error, times] of [...errors].slice(0, 10)) {
    process.stderr.write(`octavo: ${times} failed: ${error}\n`);
  }
  if (run.usageMissing > 0) {
    process.stderr.write(
      `octavo: ${run.usageMissing} answers had no usage; their tokens were counted on this side\n`,
    );
  }
  const date = new Date();
  if (isSaved(flags)) {
    const path = join(flags.resultDir, flags.resultFilename ?? fileNameOf(settings, date));
    const record = recordOf(metrics, run, settings, date, flags.saveDetailed ?? false);
    await writeOrSay(path, `${JSON.stringify(record)}\n`, flags.appendResult);
  }
  if (flags.plot !== undefined) {
    const { rampUp, requestRate } = settings;
    const fixed = Number.isFinite(requestRate) ? `${requestRate}` : 'inf';
    const rate = rampUp ? `${rampUp.startRps} to ${rampUp.endRps}` : fixed;
    const title = `${settings.model}: ${metrics.completed} requests at ${rate} requests/s`;
    await writeOrSay(flags.plot, await plotOf(run, title));
  }
}

/** What each request's body has besides; --extra-body has the last word. */
function extraBodyOf(flags: BenchFlags): Record<string, string> {
  const { temperature, topP, topK, minP, extraBody } = flags;
  // vLLM does so as well: random prompts are there for their lengths.
  const ignoreEos = flags.ignoreEos ?? flags.datasetName === 'random';
  const sampling = {
    ...{ temperature, top_p: topP, top_k: topK, min_p: minP },
    frequency_penalty: flags.frequencyPenalty,
    presence_penalty: flags.presencePenalty,
    repetition_penalty: flags.repetitionPenalty,
    ...logprobsOf(flags),
  };
  const given = Object.entries({ ...(ignoreEos ? { ignore_eos: true } : {}), ...sampling })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => [name, JSON.stringify(value)]);
  return { ...Object.fromEntries(given), ...extraBody };
}

function logprobsOf({ backend, logprobs }: BenchFlags) {
  if (logprobs === undefined) return {};
  return backend === 'openai' ? { logprobs } : { logprobs: true, top_logprobs: logprobs };
}

function settingsOf(flags: BenchFlags, model: string, numPrompts: number): RunSettings {
  return {
    backend: flags.backend,
    label: flags.label ?? null,
    model,
    tokenizer: flags.tokenizer ?? null,
    numPrompts,
    requestRate: flags.requestRate,
    burstiness: flags.burstiness,
    rampUp: flags.rampUp,
    maxConcurrency: flags.maxConcurrency,
    metrics: flags.percentileMetrics,
    percentiles: flags.metricPercentiles,
    metadata: flags.metadata,
  };
}

async function firstModel(client: HttpClient): Promise<string> {
  const refusal = (why: string) =>
    octavoError('ERR_INVALID_PARAM', `/v1/models names no model (${why}); name one with --model`, {
      param: 'model',
    });
  const reply = await client.json('GET', '/v1/models').catch((error: NodeJS.ErrnoException) => {
    throw refusal(describe(error));
  });
  const { data } = (reply.body ?? {}) as { data?: { id?: unknown }[] };
  const id = Array.isArray(data) ? data[0]?.id : undefined;
  if (typeof id !== 'string') throw refusal(`HTTP ${reply.status}`);
  return id;
}
