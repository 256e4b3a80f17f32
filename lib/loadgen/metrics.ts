/** Figures of a run, as `vllm bench serve` defines them. */

/** What is known of one request when the run is over; times in seconds. */
export interface Measured {
  readonly success: boolean;
  readonly startTime: number;
  readonly ttft: number;
  readonly itl: readonly number[];
  readonly latency: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
}

/** Metrics that an objective can be stated for, with the words they are printed under. */
export const METRICS = {
  ttft: ['TTFT', 'Time to First Token'],
  tpot: ['TPOT', 'Time per Output Token (excl. 1st token)'],
  itl: ['ITL', 'Inter-token Latency'],
  e2el: ['E2EL', 'End-to-end Latency'],
  normalized_latency: ['normalized latency', 'E2EL per Output Token'],
} as const;

export type MetricName = keyof typeof METRICS;

/** In milliseconds. */
export interface Summary {
  readonly mean: number;
  readonly median: number;
  readonly std: number;
  /** In the order they were asked for. */
  readonly percentiles: readonly number[];
}

export interface Metrics {
  readonly completed: number;
  readonly failed: number;
  readonly totalInput: number;
  readonly totalOutput: number;
  /** A second. */
  readonly requestThroughput: number;
  /** Requests a second that met all objectives; null where none is stated. */
  readonly requestGoodput: number | null;
  readonly outputThroughput: number;
  readonly totalTokenThroughput: number;
  /** Of the second with most of them. */
  readonly maxOutputTokensPerSecond: number;
  readonly maxConcurrentRequests: number;
  readonly summaries: Readonly<Record<MetricName, Summary>>;
}

/** Milliseconds that a request may take at most. */
export type Goodput = Partial<Record<'ttft' | 'tpot' | 'e2el', number>>;

export interface MetricsOptions {
  /** Seconds from the first request to the end of the last. */
  readonly duration: number;
  readonly percentiles: readonly number[];
  readonly goodput?: Goodput;
}

export function computeMetrics(all: readonly Measured[], options: MetricsOptions): Metrics {
  const { duration, percentiles, goodput = {} } = options;
  const done = all.filter(({ success }) => success);
  const totalInput = sum(done.map(({ promptTokens }) => promptTokens));
  const totalOutput = sum(done.map(({ outputTokens }) => outputTokens));
  const objectives = Object.entries(goodput) as [keyof Goodput, number][];
  const good = done.filter((one) => {
    const taken = { ttft: one.ttft, tpot: tpotOf(one), e2el: one.latency };
    return objectives.every(([name, ms]) => taken[name] * 1000 <= ms);
  });
  const several = done.filter(({ outputTokens }) => outputTokens > 1);
  const some = done.filter(({ outputTokens }) => outputTokens > 0);
  const values: Record<MetricName, number[]> = {
    ttft: done.map(({ ttft }) => ttft),
    tpot: several.map(tpotOf),
    itl: done.flatMap(({ itl }) => itl as number[]),
    e2el: done.map(({ latency }) => latency),
    normalized_latency: some.map(({ latency, outputTokens }) => latency / outputTokens),
  };
  return {
    completed: done.length,
    failed: all.length - done.length,
    totalInput,
    totalOutput,
    requestThroughput: done.length / duration,
    requestGoodput: objectives.length === 0 ? null : good.length / duration,
    outputThroughput: totalOutput / duration,
    totalTokenThroughput: (totalInput + totalOutput) / duration,
    maxOutputTokensPerSecond: tokensPerSecond(done).reduce((a, b) => Math.max(a, b), 0),
    maxConcurrentRequests: peakConcurrency(done),
    summaries: Object.fromEntries(
      Object.entries(values).map(([name, list]) => [name, summarize(list, percentiles)]),
    ) as Record<MetricName, Summary>,
  };
}

/** Seconds a token after the first; 0 of a single one, which any objective is met by. */
function tpotOf({ latency, ttft, outputTokens }: Measured): number {
  return outputTokens > 1 ? (latency - ttft) / (outputTokens - 1) : 0;
}

/** All zeros of nothing, as vLLM has it: a run where all failed still has its record. */
export function summarize(seconds: readonly number[], percentiles: readonly number[]): Summary {
  const sorted = Float64Array.from(seconds.length === 0 ? [0] : seconds).sort();
  const mean = sum(sorted) / sorted.length;
  let squares = 0;
  for (const value of sorted) squares += (value - mean) ** 2;
  return {
    mean: mean * 1000,
    median: percentile(sorted, 50) * 1000,
    std: Math.sqrt(squares / sorted.length) * 1000,
    percentiles: percentiles.map((p) => percentile(sorted, p) * 1000),
  };
}

/** Between the two neighbours, linearly: numpy's default. */
export function percentile(sorted: ArrayLike<number>, p: number): number {
  const at = (p / 100) * (sorted.length - 1);
  const below = Math.floor(at);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (at - below);
}

/** Chunks that brought tokens in each second since the first request was sent. */
export function tokensPerSecond(done: readonly Measured[]): number[] {
  return perSecond(done, ({ startTime, ttft, itl }, first, add) => {
    let time = startTime + ttft - first;
    add(Math.floor(time), 1);
    for (const gap of itl) {
      time += gap;
      add(Math.floor(time), 1);
    }
  });
}

/** Requests that ran in each second, on average. */
export function runningPerSecond(done: readonly Measured[]): number[] {
  return perSecond(done, ({ startTime, latency }, first, add) => {
    const start = startTime - first;
    const end = start + latency;
    for (let second = Math.floor(start); second < end; second++) {
      add(second, Math.min(end, second + 1) - Math.max(start, second));
    }
  });
}

function perSecond(
  done: readonly Measured[],
  each: (one: Measured, first: number, add: (second: number, amount: number) => void) => void,
): number[] {
  if (done.length === 0) return [];
  const first = minOf(done.map(({ startTime }) => startTime));
  const sums: number[] = [];
  const add = (second: number, amount: number) => {
    sums[second] = (sums[second] ?? 0) + amount;
  };
  for (const one of done) each(one, first, add);
  return Array.from(sums, (sum) => sum ?? 0);
}

/** Requests that ran at once; one that ends when another begins did not run with it. */
export function peakConcurrency(done: readonly Measured[]): number {
  const events = done.flatMap(({ startTime, latency }) => [
    [startTime, 1],
    [startTime + latency, -1],
  ]);
  events.sort(([a, x], [b, y]) => a - b || x - y);
  let now = 0;
  let peak = 0;
  for (const [, step] of events) {
    now += step;
    if (now > peak) peak = now;
  }
  return peak;
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/** Spreading a million arguments overflows the stack. */
function minOf(values: readonly number[]): number {
  return values.reduce((a, b) => Math.min(a, b));
}
