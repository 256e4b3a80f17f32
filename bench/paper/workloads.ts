/**
 * Requests as the paper's traces have them. The traces themselves are not redistributed; their
 * lengths are drawn from log-normal distributions with the means that the paper prints (section
 * 6.1), ShareGPT's variances fitted to the memory split of its Fig. 2, Alpaca's (printed nowhere)
 * chosen so that hardly any prompt exceeds 60 tokens. Arrivals are a Poisson process.
 */

export type Random = () => number;

/** mulberry32: uniform in [0, 1). */
export function seeded(seed: number): Random {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let h = Math.imul(state ^ (state >>> 15), 1 | state);
    h = (h + Math.imul(h ^ (h >>> 7), 61 | h)) ^ h;
    return ((h ^ (h >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Box and Muller. */
function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** floor(e^(mu + sigma·N)), drawn again until it lies in [low, high]. */
export function logNormal(random: Random, mu: number, sigma: number, low: number, high: number) {
  for (;;) {
    const value = Math.floor(Math.exp(mu + sigma * normal(random)));
    if (value >= low && value <= high) return value;
  }
}

export interface Lengths {
  readonly prompt: number;
  readonly output: number;
}

export interface SimRequest extends Lengths {
  /** Seconds. */
  readonly arrival: number;
  /** Prompt tokens that all requests begin with. */
  readonly prefix?: number;
}

export type Trace = (random: Random) => Lengths;

/** Both at least 4, prompt at most 1024, together at most 2048, as the paper filters. */
export const shareGpt: Trace = (random) => {
  for (;;) {
    const prompt = logNormal(random, 4.6, 1.2, 4, 1024);
    const output = logNormal(random, 5.5, 0.88, 4, 2044);
    if (prompt + output <= 2048) return { prompt, output };
  }
};

export const alpaca: Trace = (random) => ({
  prompt: logNormal(random, 2.87, 0.45, 4, 1024),
  output: logNormal(random, 3.66, 0.92, 4, 1024),
});

/**
 * Fig. 17: the prompt is the chat so far and the question, its last 1024 tokens. Turns are
 * ShareGPT's; a chat has a geometric number of rounds, five on average.
 */
export const chat: Trace = (random) => {
  let prompt = shareGpt(random).prompt;
  while (random() < 0.8) {
    const turn = shareGpt(random);
    prompt += turn.prompt + turn.output;
  }
  return { prompt: Math.min(1024, prompt), output: Math.min(1024, shareGpt(random).output) };
};

/** Fig. 16: English to German, WMT16: sentences of some 25 words. The mean is our assumption. */
export const translation =
  (prefix: number): ((random: Random) => Lengths & { prefix: number }) =>
  (random) => ({
    prefix,
    prompt: prefix + logNormal(random, 3.3, 0.5, 4, 200),
    output: logNormal(random, 3.4, 0.5, 4, 250),
  });

/** Requests of `seconds` at `rate` a second. */
export function arrivals(
  trace: (random: Random) => Lengths,
  rate: number,
  seconds: number,
  seed: number,
): SimRequest[] {
  const random = seeded(seed);
  const requests: SimRequest[] = [];
  for (let time = 0; ; ) {
    time -= Math.log(1 - random()) / rate;
    if (time > seconds) return requests;
    requests.push({ arrival: time, ...trace(random) });
  }
}
