/**
 * Beam search as Hugging Face's tensors do it (GenerationMixin._beam_search, transformers 5), for
 * one prompt: all rows at once, "not there" is a score of −1e9, a candidate is an index into
 * beams × vocabulary. Slow and plain, to compare with.
 */
export interface ReferenceParams {
  readonly width: number;
  readonly lengthPenalty: number;
  readonly earlyStopping: boolean | 'never';
  /** Generated tokens at most. */
  readonly maxNew: number;
  /** Ending ids end nothing before so many tokens. */
  readonly minNew: number;
  readonly endIds: readonly number[];
}

export interface ReferenceBeam {
  readonly tokens: number[];
  readonly score: number;
}

const ABSENT = -1e9;

interface Row {
  tokens: number[];
  score: number;
}

/** Indices of the k largest, best first, ties by lower index. */
function topK(values: readonly number[], k: number): number[] {
  const order = values.map((_, i) => i).sort((a, b) => values[b] - values[a] || a - b);
  return order.slice(0, k);
}

/** @param logprobsAfter log-softmax over the vocabulary after these generated tokens */
export function beamReference(
  logprobsAfter: (generated: readonly number[]) => ArrayLike<number>,
  { width, lengthPenalty, earlyStopping, maxNew, minNew, endIds }: ReferenceParams,
): ReferenceBeam[] {
  const keep = Math.max(2, 1 + endIds.length) * width;
  let running: Row[] = Array.from({ length: width }, (_, i) => ({
    tokens: [],
    score: i === 0 ? 0 : ABSENT,
  }));
  let done: (Row & { finished: boolean })[] = Array.from({ length: width }, () => ({
    tokens: [],
    score: ABSENT,
    finished: false,
  }));
  for (let length = 1; ; length++) {
    const rows = running.map((row) => Array.from(logprobsAfter(row.tokens), (l) => l + row.score));
    const vocab = rows[0].length;
    const flat = rows.flat();
    const candidates = topK(flat, keep).map((index) => {
      const token = index % vocab;
      const tokens = [...running[Math.floor(index / vocab)].tokens, token];
      const ends = length === maxNew || (length >= minNew && endIds.includes(token));
      return { tokens, score: flat[index], ends };
    });
    const going = candidates.map((c) => c.score + (c.ends ? ABSENT : 0));
    running = topK(going, width).map((i) => ({ tokens: candidates[i].tokens, score: going[i] }));
    const full = done.every((d) => d.finished) && earlyStopping === true;
    const merged = [
      ...done,
      ...candidates.map(({ tokens, score, ends }, rank) => {
        const counts = ends && rank < width && !full;
        const penalised = score / length ** lengthPenalty;
        return { tokens, score: penalised + (counts ? 0 : ABSENT), finished: counts };
      }),
    ];
    done = topK(
      merged.map((m) => m.score),
      width,
    ).map((i) => merged[i]);
    const attainable = earlyStopping === 'never' && lengthPenalty > 0 ? maxNew : length;
    const best = running[0].score / attainable ** lengthPenalty;
    const worst = Math.min(...done.map((d) => d.score));
    const improvable = done.some((d) => best > (d.finished ? worst : ABSENT));
    const open = !(done.every((d) => d.finished) && earlyStopping === true);
    const valid = !candidates.every((c) => c.ends);
    if (!(improvable && open && valid)) break;
  }
  return done.filter((d) => d.finished).map(({ tokens, score }) => ({ tokens, score }));
}
