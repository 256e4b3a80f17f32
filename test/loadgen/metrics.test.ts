import { describe, expect, it } from 'vitest';
import {
  computeMetrics,
  type Goodput,
  type Measured,
  peakConcurrency,
  runningPerSecond,
  tokensPerSecond,
} from '../../lib/loadgen/metrics.js';
import { type Random, random } from '../support/random.js';

/** A request by hand: sent at `start`, its tokens at these times. */
function request(
  start: number,
  tokens: number[],
  promptTokens = 10,
  outputTokens = tokens.length,
): Measured {
  return {
    success: true,
    startTime: start,
    ttft: tokens[0] - start,
    itl: tokens.slice(1).map((time, i) => time - tokens[i]),
    latency: tokens.at(-1)! - start,
    promptTokens,
    outputTokens,
  };
}

const failed: Measured = { ...request(0, [1]), success: false, outputTokens: 0 };

describe('metrics of a hand-made run', () => {
  // Two chunks of the second bring two tokens each: outputTokens is what usage says.
  const run = [
    request(0, [0.25, 0.5, 0.75, 1.25]),
    request(0.5, [1.5, 2.5], 20, 4),
    request(1, [1.125]),
    failed,
  ];
  const metrics = computeMetrics(run, {
    duration: 4,
    percentiles: [50, 90, 99],
    goodput: { ttft: 300, tpot: 400 },
  });

  it('counts and rates', () => {
    expect(metrics).toMatchObject({
      completed: 3,
      failed: 1,
      totalInput: 40,
      totalOutput: 9,
      requestThroughput: 0.75,
      outputThroughput: 2.25,
      totalTokenThroughput: 12.25,
      requestGoodput: 0.5, // the first and third of four seconds
    });
  });

  it('TTFT, TPOT, ITL, E2EL and normalized latency', () => {
    const { ttft, tpot, itl, e2el, normalized_latency: normalized } = metrics.summaries;
    expect(ttft).toMatchObject({ mean: 1375 / 3, median: 250 });
    // (1.25 - 0.25) / 3 and (2 - 1) / 3; the third has no second token.
    expect(tpot.mean).toBeCloseTo(1000 / 3);
    expect(itl.mean).toBeCloseTo((250 + 250 + 500 + 1000) / 4);
    expect(itl.median).toBe(375);
    expect(e2el.percentiles[0]).toBe(1250);
    expect(e2el.percentiles[1]).toBeCloseTo(1250 + 0.8 * 750); // between the 2nd and 3rd
    expect(normalized.mean).toBeCloseTo((1250 / 4 + 2000 / 4 + 125) / 3);
  });

  it('a sole objective, none, and all failed', () => {
    const good = (goodput?: Goodput) =>
      computeMetrics(run, { duration: 1, percentiles: [], goodput }).requestGoodput;
    expect(good({ e2el: 1250 })).toBe(2); // exactly so long is good
    expect(good({ e2el: 1249 })).toBe(1);
    expect(good()).toBeNull();
    const none = computeMetrics([failed], { duration: 2, percentiles: [99] });
    expect(none).toMatchObject({
      completed: 0,
      failed: 1,
      requestThroughput: 0,
      maxConcurrentRequests: 0,
    });
    expect(none.summaries.ttft).toEqual({ mean: 0, median: 0, std: 0, percentiles: [0] });
  });

  it('seconds and peaks', () => {
    const done = run.slice(0, 3);
    expect(tokensPerSecond(done)).toEqual([3, 3, 1]);
    expect(runningPerSecond(done)).toEqual([1.5, 1.375, 0.5]);
    expect(peakConcurrency(done)).toBe(3);
    // One that ends when another begins does not run with it.
    expect(peakConcurrency([request(0, [1]), request(1, [2])])).toBe(1);
    expect(tokensPerSecond([request(0, [0.5]), request(0, [3.5])])).toEqual([1, 0, 0, 1]);
  });
});

/** What the definitions say, in the plainest way. */
function naive(run: readonly Measured[], duration: number, goodput: Goodput, p: number) {
  const done = run.filter((one) => one.success);
  const tpots = done.flatMap((one) =>
    one.outputTokens > 1 ? [((one.latency - one.ttft) * 1000) / (one.outputTokens - 1)] : [],
  );
  const stats = (values: number[]) => {
    const list = (values.length ? values : [0]).toSorted((a, b) => a - b);
    const mean = list.reduce((a, b) => a + b, 0) / list.length;
    const quantile = (q: number) => {
      const place = (q / 100) * (list.length - 1);
      const [low, high] = [list[Math.floor(place)], list[Math.ceil(place)]];
      return low * (1 - (place % 1)) + high * (place % 1);
    };
    const std = Math.sqrt(
      list.map((x) => (x - mean) ** 2).reduce((a, b) => a + b, 0) / list.length,
    );
    return { mean, median: quantile(50), std, percentile: quantile(p) };
  };
  let good = 0;
  for (const one of done) {
    const tpot =
      one.outputTokens > 1 ? ((one.latency - one.ttft) * 1000) / (one.outputTokens - 1) : 0;
    const { ttft = Infinity, tpot: most = Infinity, e2el = Infinity } = goodput;
    if (one.ttft * 1000 <= ttft && tpot <= most && one.latency * 1000 <= e2el) good++;
  }
  const alive = (t: number) =>
    done.filter((one) => one.startTime <= t && t < one.startTime + one.latency).length;
  return {
    good: good / duration,
    ttft: stats(done.map((one) => one.ttft * 1000)),
    tpot: stats(tpots),
    itl: stats(done.flatMap((one) => one.itl.map((gap) => gap * 1000))),
    e2el: stats(done.map((one) => one.latency * 1000)),
    normalized_latency: stats(
      done
        .filter((one) => one.outputTokens > 0)
        .map((one) => (one.latency * 1000) / one.outputTokens),
    ),
    peak: Math.max(0, ...done.map((one) => alive(one.startTime))),
  };
}

function randomRun(rng: Random): Measured[] {
  return Array.from({ length: rng.integer(30) }, () => {
    if (rng.integer(6) === 0) return failed;
    const start = rng.uniform() * 5;
    let time = start;
    // Now and then several at the same time, and starts on the grid of others' ends.
    const step = () => (rng.integer(4) === 0 ? 0 : rng.uniform());
    const tokens = Array.from({ length: 1 + rng.integer(8) }, () => (time += step()));
    return request(
      start,
      tokens,
      rng.integer(50),
      rng.integer(3) === 0 ? rng.integer(9) : tokens.length,
    );
  });
}

it('random timelines: the same as the plainest way', () => {
  for (let seed = 0; seed < 300; seed++) {
    const rng = random(seed);
    const run = randomRun(rng);
    const duration = 1 + rng.uniform() * 10;
    const p = rng.uniform() * 100;
    const goodput: Goodput = {
      ttft: rng.uniform() * 1000,
      ...(seed % 2 ? { tpot: 400 } : { e2el: 2500 }),
    };
    const got = computeMetrics(run, { duration, percentiles: [p], goodput });
    const want = naive(run, duration, goodput, p);
    expect(got.requestGoodput).toBeCloseTo(want.good, 9);
    expect(got.maxConcurrentRequests).toBe(want.peak);
    for (const name of ['ttft', 'tpot', 'itl', 'e2el', 'normalized_latency'] as const) {
      const { mean, median, std, percentiles } = got.summaries[name];
      expect(mean).toBeCloseTo(want[name].mean, 6);
      expect(median).toBeCloseTo(want[name].median, 6);
      expect(std).toBeCloseTo(want[name].std, 6);
      expect(percentiles[0]).toBeCloseTo(want[name].percentile, 6);
    }
  }
});
