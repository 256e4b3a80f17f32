/** Which rates to try, and what they say: pure, so that a test can play the server. */

export interface Point {
  /** Requests a second. */
  readonly rate: number;
  /** Normalized latency, in ms a token. */
  readonly latency: number;
}

/** Rates are those of a ladder that all engines climb, so that their points can be compared. */
const STEP = 1.5;

/** Times the limit from which on it is far exceeded. */
const FAR = 4;

/** Points of a curve at most. */
const POINTS = 9;

export function rung(index: number): number {
  return Number((2 * STEP ** index).toPrecision(2));
}

/** The highest rung that is no higher than a rate. */
export function rungBelow(rate: number): number {
  return Math.floor(heightOf(rate));
}

const heightOf = (rate: number) => Math.log(rate / 2) / Math.log(STEP);
const rungOf = ({ rate }: Point) => Math.round(heightOf(rate));

/**
 * The rate to try next: up or down the ladder (three rungs at a time where the limit is far
 * exceeded: a server that is overloaded takes long to say so) until the limit lies between two
 * neighbours, then once between them, where the limit should be; null when that is done.
 */
export function nextRate(tried: readonly Point[], limit: number, start: number): number | null {
  if (tried.length === 0) return rung(start);
  if (tried.length >= POINTS) return null;
  const { under, over } = bracket(tried, limit);
  if (!over) return rung(rungOf(under!) + 1);
  if (!under) return rung(rungOf(over) - (over.latency > FAR * limit ? 3 : 1));
  // Rungs have two digits, so they are not quite as far apart.
  if (over.rate / under.rate < 0.95 * STEP) return null;
  const apart = rungOf(over) - rungOf(under);
  if (apart > 1) return rung(rungOf(under) + Math.floor(apart / 2));
  const rate = Number(between(under, over, limit).toPrecision(2));
  return rate === under.rate || rate === over.rate ? null : rate;
}

/** Requests a second at the limit; null where it lies between no two rates that were tried. */
export function sustained(tried: readonly Point[], limit: number): number | null {
  const { under, over } = bracket(tried, limit);
  return under && over ? between(under, over, limit) : null;
}

/** The lowest rate above the limit, and the highest below that rate that keeps it. */
function bracket(tried: readonly Point[], limit: number) {
  const sorted = [...tried].sort((a, b) => a.rate - b.rate);
  const at = sorted.findIndex(({ latency }) => latency > limit);
  const kept = at < 0 ? sorted : sorted.slice(0, at);
  return { under: kept.at(-1), over: at < 0 ? undefined : sorted[at] };
}

function between(under: Point, over: Point, limit: number): number {
  const share = (limit - under.latency) / (over.latency - under.latency);
  return under.rate + share * (over.rate - under.rate);
}
