/** The table that `vllm bench serve` prints and the record that it writes. */

import type { RampUp } from './arrivals.js';
import type { Backend, BenchRun } from './bench.js';
import { METRICS, type MetricName, type Metrics, summarize } from './metrics.js';

export interface RunSettings {
  readonly backend: Backend;
  readonly label: string | null;
  readonly model: string;
  readonly tokenizer: string | null;
  readonly numPrompts: number;
  readonly requestRate: number;
  readonly burstiness: number;
  readonly rampUp?: RampUp;
  /** Infinity = no limit. */
  readonly maxConcurrency: number;
  readonly metrics: readonly MetricName[];
  readonly percentiles: readonly number[];
  /** KEY=VALUE pairs of the caller's. */
  readonly metadata: Readonly<Record<string, string>>;
}

export function tableOf(metrics: Metrics, run: BenchRun, settings: RunSettings): string {
  const lines: string[] = [];
  const title = (text: string, fill: string) => {
    const left = Math.floor((50 - text.length) / 2);
    lines.push(text.padStart(text.length + left, fill).padEnd(50, fill));
  };
  const row = (name: string, value: string | number) => lines.push(`${name.padEnd(40)} ${value}`);
  const figure = (name: string, value: number) => row(name, value.toFixed(2));
  title(' Serving Benchmark Result ', '=');
  row('Successful requests:', metrics.completed);
  row('Failed requests:', metrics.failed);
  const { maxConcurrency, requestRate } = settings;
  if (Number.isFinite(maxConcurrency)) row('Maximum request concurrency:', maxConcurrency);
  if (Number.isFinite(requestRate)) figure('Request rate configured (RPS):', requestRate);
  const { rampUp } = settings;
  if (rampUp) row('Request rate ramped up (RPS):', `${rampUp.startRps} to ${rampUp.endRps}`);
  figure('Benchmark duration (s):', run.duration);
  row('Total input tokens:', metrics.totalInput);
  row('Total generated tokens:', metrics.totalOutput);
  figure('Request throughput (req/s):', metrics.requestThroughput);
  if (metrics.requestGoodput !== null) figure('Request goodput (req/s):', metrics.requestGoodput);
  figure('Output token throughput (tok/s):', metrics.outputThroughput);
  figure('Peak output token throughput (tok/s):', metrics.maxOutputTokensPerSecond);
  figure('Peak concurrent requests:', metrics.maxConcurrentRequests);
  figure('Total token throughput (tok/s):', metrics.totalTokenThroughput);
  for (const name of settings.metrics) {
    const [short, long] = METRICS[name];
    const { mean, median, percentiles } = metrics.summaries[name];
    title(long, '-');
    figure(`Mean ${short} (ms):`, mean);
    figure(`Median ${short} (ms):`, median);
    settings.percentiles.forEach((p, i) => {
      figure(`P${p} ${short} (ms):`, percentiles[i]);
    });
  }
  lines.push('='.repeat(50), '');
  return lines.join('\n');
}

/**
 * vLLM's result JSON, member by member, then what it has not: normalized latency, the delay of
 * sends, answers without usage. Figures of each request only with `detailed`, errors always.
 */
export function recordOf(
  metrics: Metrics,
  run: BenchRun,
  settings: RunSettings,
  date: Date,
  detailed: boolean,
): Record<string, unknown> {
  const { results } = run;
  const finite = (value: number, otherwise: unknown) =>
    Number.isFinite(value) ? value : otherwise;
  const each = {
    input_lens: results.map((one) => one.promptTokens),
    output_lens: results.map((one) => one.outputTokens),
    ttfts: results.map((one) => one.ttft),
    itls: results.map((one) => one.itl),
    latencies: results.map((one) => one.latency),
    start_times: results.map((one) => one.startTime),
    queue_times: results.map((one) => one.queueTime),
    generated_texts: results.map((one) => one.text),
  };
  return {
    date: stamp(date),
    endpoint_type: settings.backend,
    backend: settings.backend,
    label: settings.label,
    model_id: settings.model,
    tokenizer_id: settings.tokenizer,
    num_prompts: settings.numPrompts,
    ...settings.metadata,
    request_rate: finite(settings.requestRate, 'inf'),
    burstiness: finite(settings.burstiness, 'inf'),
    max_concurrency: finite(settings.maxConcurrency, null),
    ...rampOf(settings),
    duration: run.duration,
    completed: metrics.completed,
    failed: metrics.failed,
    total_input_tokens: metrics.totalInput,
    total_output_tokens: metrics.totalOutput,
    request_throughput: metrics.requestThroughput,
    request_goodput: metrics.requestGoodput,
    output_throughput: metrics.outputThroughput,
    total_token_throughput: metrics.totalTokenThroughput,
    ...(detailed ? each : {}),
    errors: results.map((one) => one.error),
    max_output_tokens_per_s: metrics.maxOutputTokensPerSecond,
    max_concurrent_requests: metrics.maxConcurrentRequests,
    ...summariesOf(metrics, settings),
    ...queueOf(run, settings.percentiles),
    usage_missing: run.usageMissing,
  };
}

function rampOf({ rampUp }: RunSettings) {
  if (rampUp === undefined) return {};
  const { strategy, startRps, endRps } = rampUp;
  return { ramp_up_strategy: strategy, ramp_up_start_rps: startRps, ramp_up_end_rps: endRps };
}

/** The metrics that were asked for; normalized latency, the paper's, always. */
function summariesOf(metrics: Metrics, { metrics: names, percentiles }: RunSettings) {
  const members: Record<string, number> = {};
  for (const name of new Set<MetricName>([...names, 'normalized_latency'])) {
    const summary = metrics.summaries[name];
    members[`mean_${name}_ms`] = summary.mean;
    members[`median_${name}_ms`] = summary.median;
    members[`std_${name}_ms`] = summary.std;
    percentiles.forEach((p, i) => {
      members[`p${p}_${name}_ms`] = summary.percentiles[i];
    });
  }
  return members;
}

/** How late requests were sent: beyond a few milliseconds, the load was not the one asked for. */
function queueOf({ results }: BenchRun, percentiles: readonly number[]) {
  const times = results.map(({ queueTime }) => queueTime);
  const summary = summarize(times, percentiles);
  return {
    mean_client_queue_time_ms: summary.mean,
    max_client_queue_time_ms: times.reduce((a, b) => Math.max(a, b), 0) * 1000,
  };
}

/** vLLM's name of a result file. */
export function fileNameOf(settings: RunSettings, date: Date): string {
  const { label, backend, requestRate, maxConcurrency, model, rampUp } = settings;
  const fixed = `${Number.isFinite(requestRate) ? withPoint(requestRate) : 'inf'}qps`;
  const rate = rampUp
    ? `ramp-up-${rampUp.strategy}-${rampUp.startRps}qps-${rampUp.endRps}qps`
    : fixed;
  const limit = Number.isFinite(maxConcurrency) ? `-concurrency${maxConcurrency}` : '';
  const name = model.split('/').at(-1);
  return `${label ?? backend}-${rate}${limit}-${name}-${stamp(date)}.json`;
}

/** As Python prints a float. */
function withPoint(value: number): string {
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}

/** YYYYMMDD-HHMMSS of the local time. */
function stamp(date: Date): string {
  const two = (n: number) => String(n).padStart(2, '0');
  const day = `${date.getFullYear()}${two(date.getMonth() + 1)}${two(date.getDate())}`;
  return `${day}-${two(date.getHours())}${two(date.getMinutes())}${two(date.getSeconds())}`;
}
