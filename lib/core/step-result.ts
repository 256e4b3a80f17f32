/**
 * What a step gave, cut into what its samples (S of them) and prompt rows (P) got, in the step's
 * order. A sample gets tokens (T in all): none where its row had no finite logit to draw from.
 * `logprobs` are raw log-softmax values of the drawn (or target) token, `ranks` its rank (1 = most
 * likely), 0 where logprobs were not asked for. Each token and each prompt row has a list of the
 * best beside it, as long as was asked, best first, ties by lower id.
 */
export interface StepResult {
  /** Sample i got the tokens tokensAt[i] … tokensAt[i + 1]. */
  readonly tokensAt: Int32Array; // [S + 1]
  readonly tokenIds: Int32Array; // [T]
  readonly logprobs: Float64Array; // [T]
  readonly ranks: Int32Array; // [T]
  readonly promptLogprobs: Float64Array; // [P]
  readonly promptRanks: Int32Array; // [P]
  /** Where in the lists those of a token, or of a prompt row, begin and end. */
  readonly topAt: Int32Array; // [T + 1]
  readonly promptTopAt: Int32Array; // [P + 1]
  readonly topTokenIds: Int32Array; // [sum of list lengths]
  readonly topLogprobs: Float64Array; // [sum of list lengths]
}

/** Where `count` lists of these lengths begin that follow each other, and where the last ends. */
export function offsetsOf(lengths: ArrayLike<number>, count: number, start = 0): Int32Array {
  const offsets = new Int32Array(count + 1);
  offsets[0] = start;
  for (let i = 0; i < count; i++) offsets[i + 1] = offsets[i] + lengths[i];
  return offsets;
}

/** A result of these tokens, −1 for none; what is not given is zero, or empty. */
export function resultOfTokens(
  drawn: ArrayLike<number>,
  numPromptRows = 0,
  /** Of the tokens only, one after the other. */
  lists: Partial<Pick<StepResult, 'topAt' | 'topTokenIds' | 'topLogprobs'>> = {},
): StepResult {
  const tokenIds = Int32Array.from(drawn).filter((id) => id >= 0);
  const { length } = tokenIds;
  const counts = Array.from(drawn, (id) => (id >= 0 ? 1 : 0));
  return {
    tokensAt: offsetsOf(counts, counts.length),
    tokenIds,
    logprobs: new Float64Array(length),
    ranks: new Int32Array(length),
    promptLogprobs: new Float64Array(numPromptRows),
    promptRanks: new Int32Array(numPromptRows),
    topAt: new Int32Array(length + 1),
    promptTopAt: new Int32Array(numPromptRows + 1),
    topTokenIds: new Int32Array(0),
    topLogprobs: new Float64Array(0),
    ...lists,
  };
}

/** A result in which each sample has these tokens behind its own, without logprobs and lists. */
export function appendTokens(result: StepResult, more: readonly (readonly number[])[]): StepResult {
  const { tokensAt, topAt } = result;
  const counts = more.map((ids, i) => tokensAt[i + 1] - tokensAt[i] + ids.length);
  const to = offsetsOf(counts, counts.length);
  const length = to[counts.length];
  const tokenIds = new Int32Array(length);
  const logprobs = new Float64Array(length);
  const ranks = new Int32Array(length);
  const lists = new Int32Array(length + 1);
  for (const [i, ids] of more.entries()) {
    const [from, end] = [tokensAt[i], tokensAt[i + 1]];
    const own = end - from;
    tokenIds.set(result.tokenIds.subarray(from, end), to[i]);
    tokenIds.set(ids, to[i] + own);
    logprobs.set(result.logprobs.subarray(from, end), to[i]);
    ranks.set(result.ranks.subarray(from, end), to[i]);
    lists.set(topAt.subarray(from, end), to[i]);
    lists.fill(topAt[end], to[i] + own, to[i + 1] + 1);
  }
  return { ...result, tokensAt: to, tokenIds, logprobs, ranks, topAt: lists };
}
