/** When requests arrive: an open loop, which no slow answer slows down. */
import type { Random } from './random.js';

export interface Traffic {
  /** Requests a second; Infinity = all at once. */
  readonly requestRate: number;
  /** Shape of the gamma distribution of intervals: 1 = Poisson, below burstier, above more even. */
  readonly burstiness: number;
  /** A rate that grows from the first request to the last, in place of requestRate. */
  readonly rampUp?: RampUp;
}

export interface RampUp {
  readonly strategy: 'linear' | 'exponential';
  /** Requests a second. */
  readonly startRps: number;
  readonly endRps: number;
}

/** The rate at which request `index` of `count` arrives. */
function rateOf({ requestRate, rampUp }: Traffic, index: number, count: number): number {
  if (rampUp === undefined) return requestRate;
  const { strategy, startRps, endRps } = rampUp;
  const progress = index / Math.max(1, count - 1);
  return strategy === 'linear'
    ? startRps + (endRps - startRps) * progress
    : startRps * (endRps / startRps) ** progress;
}

/**
 * Seconds from the start to each arrival. As in vLLM the last one falls on count / requestRate
 * exactly, so that seeds differ in order and bursts, not in the load they offer; while a rate grows
 * each interval is of the rate of its time, and nothing is fitted.
 */
export function arrivalTimes(count: number, traffic: Traffic, random: Random): Float64Array {
  const { requestRate, burstiness, rampUp } = traffic;
  const times = new Float64Array(count);
  if (requestRate === Number.POSITIVE_INFINITY && rampUp === undefined) return times;
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const interval = burstiness === Number.POSITIVE_INFINITY ? 1 : random.gamma(burstiness);
    sum += interval / rateOf(traffic, i, count);
    times[i] = sum;
  }
  if (rampUp !== undefined) return times;
  const scale = count / requestRate / sum;
  if (!Number.isFinite(scale)) return oneBurst(count, requestRate, random);
  return times.map((time) => time * scale);
}

/**
 * What is left of bursts so extreme that every interval is too small for a double: one of them is
 * larger than all others together, any as likely, and the requests around it come at once.
 */
function oneBurst(count: number, requestRate: number, random: Random): Float64Array {
  const largest = random.integer(0, count - 1);
  return new Float64Array(count).fill(count / requestRate, largest);
}
