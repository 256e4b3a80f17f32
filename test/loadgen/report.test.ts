import { describe, expect, it } from 'vitest';
import type { BenchRun, RequestResult } from '../../lib/loadgen/bench.js';
import { computeMetrics } from '../../lib/loadgen/metrics.js';
import { plotOf, spread } from '../../lib/loadgen/plot.js';
import { fileNameOf, type RunSettings, recordOf, tableOf } from '../../lib/loadgen/report.js';

const one: RequestResult = {
  success: true,
  startTime: 1,
  ttft: 0.1,
  itl: [0.05, 0.1],
  latency: 0.25,
  promptTokens: 8,
  outputTokens: 3,
  error: '',
  text: 'abc',
  queueTime: 0.001,
};
const bad: RequestResult = {
  ...one,
  success: false,
  outputTokens: 0,
  error: 'HTTP 500: boom',
  text: '',
};
const run: BenchRun = { duration: 2, results: [one, bad], usageMissing: 0 };
const settings: RunSettings = {
  backend: 'openai',
  label: null,
  model: 'org/name',
  tokenizer: null,
  numPrompts: 2,
  requestRate: 4,
  burstiness: 1,
  maxConcurrency: Infinity,
  metrics: ['ttft', 'tpot'],
  percentiles: [50, 99.9],
  metadata: { host: 'h' },
};
const metrics = computeMetrics(run.results, {
  duration: 2,
  percentiles: [50, 99.9],
  goodput: { ttft: 100 },
});
const date = new Date(2026, 10, 9, 8, 7, 6);

describe('the table', () => {
  it('reads as that of vllm bench serve', () => {
    expect(tableOf(metrics, run, settings).split('\n')).toEqual([
      '============ Serving Benchmark Result ============',
      'Successful requests:                     1',
      'Failed requests:                         1',
      'Request rate configured (RPS):           4.00',
      'Benchmark duration (s):                  2.00',
      'Total input tokens:                      8',
      'Total generated tokens:                  3',
      'Request throughput (req/s):              0.50',
      'Request goodput (req/s):                 0.50',
      'Output token throughput (tok/s):         1.50',
      'Peak output token throughput (tok/s):    3.00',
      'Peak concurrent requests:                1.00',
      'Total token throughput (tok/s):          5.50',
      '---------------Time to First Token----------------',
      'Mean TTFT (ms):                          100.00',
      'Median TTFT (ms):                        100.00',
      'P50 TTFT (ms):                           100.00',
      'P99.9 TTFT (ms):                         100.00',
      '-----Time per Output Token (excl. 1st token)------',
      'Mean TPOT (ms):                          75.00',
      'Median TPOT (ms):                        75.00',
      'P50 TPOT (ms):                           75.00',
      'P99.9 TPOT (ms):                         75.00',
      '==================================================',
      '',
    ]);
  });
});

describe('the record', () => {
  it("has vLLM's members; those of each request when asked for, errors always", () => {
    const record = recordOf(metrics, run, settings, date, true);
    expect(record).toMatchObject({
      date: '20261109-080706',
      backend: 'openai',
      model_id: 'org/name',
      num_prompts: 2,
      host: 'h',
      request_rate: 4,
      max_concurrency: null,
      completed: 1,
      failed: 1,
      request_goodput: 0.5,
      total_token_throughput: 5.5,
      input_lens: [8, 8],
      output_lens: [3, 0],
      itls: [one.itl, bad.itl],
      errors: ['', 'HTTP 500: boom'],
      generated_texts: ['abc', ''],
      p50_ttft_ms: 100,
      'p99.9_ttft_ms': 100,
      usage_missing: 0,
    });
    expect(record.mean_normalized_latency_ms).toBeCloseTo(250 / 3);
    expect(record).not.toHaveProperty('mean_e2el_ms');
    const short = recordOf(metrics, run, { ...settings, requestRate: Infinity }, date, false);
    expect(short).toMatchObject({ request_rate: 'inf', errors: ['', 'HTTP 500: boom'] });
    for (const name of ['ttfts', 'itls', 'generated_texts', 'input_lens']) {
      expect(short).not.toHaveProperty(name);
    }
    expect(JSON.parse(JSON.stringify(record))).toEqual(record);
  });

  it('is named as vLLM names it', () => {
    expect(fileNameOf(settings, date)).toBe('openai-4.0qps-name-20261109-080706.json');
    const other = { ...settings, label: 'x', requestRate: Infinity, maxConcurrency: 8 };
    expect(fileNameOf(other, date)).toBe('x-infqps-concurrency8-name-20261109-080706.json');
    const rampUp = { strategy: 'linear', startRps: 1, endRps: 9 } as const;
    const ramped = { ...settings, requestRate: Infinity, rampUp };
    expect(fileNameOf(ramped, date)).toBe(
      'openai-ramp-up-linear-1qps-9qps-name-20261109-080706.json',
    );
    expect(recordOf(metrics, run, ramped, date, false)).toMatchObject({
      ...{ ramp_up_strategy: 'linear', ramp_up_start_rps: 1, ramp_up_end_rps: 9 },
    });
    expect(recordOf(metrics, run, settings, date, false)).not.toHaveProperty('ramp_up_strategy');
    expect(tableOf(metrics, run, ramped)).toMatch(/Request rate ramped up \(RPS\): +1 to 9\n/);
  });
});

describe('the plot', () => {
  it('is an SVG with its curves', async () => {
    const svg = await plotOf(run, 'a title');
    expect(svg).toMatch(/^<svg[\s\S]*<\/svg>\s*$/);
    for (const word of ['a title', 'TTFT', 'ITL', 'E2EL', 'requests running']) {
      expect(svg).toContain(word);
    }
    expect(await plotOf({ ...run, results: [bad] }, 'all failed')).toMatch(/^<svg/);
  });

  it('a curve ends at 100 % and has no more points than needed', () => {
    const points = spread(Array.from({ length: 5000 }, (_, i) => i / 1000));
    expect(points).toHaveLength(200);
    expect(points.at(-1)).toEqual([4999, 100]);
    expect(points[99]).toEqual([2499, 50]);
    expect(spread([])).toEqual([]);
    expect(spread([0])).toEqual([[0.1, 100]]); // a log axis has no zero
  });
});
