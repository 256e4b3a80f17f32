/** Counts of durations by size: cheap to add to, small to send. */

/** Upper bounds in ms: half octaves from 0.1 ms to about 3 minutes. */
export const DURATION_BOUNDS_MS: readonly number[] = Array.from(
  { length: 43 },
  (_, i) => 0.1 * 2 ** (i / 2),
);

export class Durations {
  /** One for each bound, and one for what is beyond. */
  readonly counts: number[] = new Array(DURATION_BOUNDS_MS.length + 1).fill(0);

  add(ms: number): void {
    const i = ms <= DURATION_BOUNDS_MS[0] ? 0 : Math.ceil(2 * Math.log2(ms * 10) - 1e-9);
    this.counts[Math.min(i, DURATION_BOUNDS_MS.length)]++;
  }
}

/** Below which a part (0 … 1) of them lies, between bounds in proportion; null: there are none. */
export function quantileMs(counts: readonly number[], part: number): number | null {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  let left = part * total;
  for (let i = 0; i < counts.length; i++) {
    if (counts[i] === 0 || left > counts[i]) {
      left -= counts[i];
      continue;
    }
    const from = i === 0 ? 0 : DURATION_BOUNDS_MS[i - 1];
    const to = DURATION_BOUNDS_MS[i] ?? from;
    return from + (to - from) * Math.max(0, left / counts[i]);
  }
  return DURATION_BOUNDS_MS[DURATION_BOUNDS_MS.length - 1];
}
