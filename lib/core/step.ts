/**
 * The words that both languages speak: the layout of one encoded step and of the two slabs that
 * steps refer to. `native.ts` compares this table with the addon's own at load, so it can never
 * drift. All offsets are in 32-bit words from the start of the buffer.
 *
 * A step buffer is one Int32Array: header · sequences · tokens · swaps · copies · samples · prompt
 * rows · extras. Order of execution: swap-outs, swap-ins, copies, the forward pass. Per scheduled
 * sequence: how many tokens it computes now (`queryLen` ≥ 1), how many its cache holds after this
 * step (`contextLen`), its row in the slabs, how many blocks its table has.
 * Positions and slots are not sent: position = contextLen − queryLen + i, slot from the table.
 *
 * The block-table slab is an Int32Array [maxNumSeqs][blocksPerRow]; the sampler slab a Float64Array
 * [maxNumSeqs][samplerDoubles]. A row belongs to one running sequence from admission to its end.
 *
 * A sample draws one token from the logits of one token row (several samples may name the same
 * row: the first tokens of n parallel samples). `position` is the index the drawn token will have
 * in its sequence; together with the seed it is the counter of the random generator. `extra` is
 * the word offset of this sample's extras, or −1.
 *
 * Extras: numAllowed (−1 = every token), numBanned, numBias, promptLen, outputLen, then the lists:
 * allowed ids · banned ids · bias ids · bias values (float32 bits) · prompt ids · output ids. The
 * ids of prompt and output are sent only where a penalty needs them.
 *
 * A prompt row asks for the logprob of `target` at a token row, with the `numTop` best beside it.
 */
export const STEP_LAYOUT = {
  version: 2,
  // header
  headerWords: 16,
  headerVersion: 0,
  headerTotalWords: 1,
  headerNumSeqs: 2,
  headerNumTokens: 3,
  headerNumCopies: 4,
  headerNumSamples: 5,
  headerNumPromptRows: 6,
  headerSeqsAt: 7,
  headerTokensAt: 8,
  headerCopiesAt: 9,
  headerSamplesAt: 10,
  headerPromptRowsAt: 11,
  headerExtrasAt: 12,
  headerNumSwapOuts: 13,
  headerNumSwapIns: 14,
  headerSwapsAt: 15,
  // one scheduled sequence
  seqWords: 4,
  seqQueryLen: 0,
  seqContextLen: 1,
  seqRow: 2,
  seqNumBlocks: 3,
  // one block swap; the outs come first
  swapWords: 2,
  swapDevice: 0,
  swapHost: 1,
  // one block copy
  copyWords: 2,
  copySource: 0,
  copyTarget: 1,
  // one sample
  sampleWords: 4,
  sampleTokenRow: 0,
  sampleSeqRow: 1,
  samplePosition: 2,
  sampleExtra: 3,
  // one prompt logprob
  promptRowWords: 3,
  promptRowTokenRow: 0,
  promptRowTarget: 1,
  promptRowNumTop: 2,
  // extras
  extraNumAllowed: 0,
  extraNumBanned: 1,
  extraNumBias: 2,
  extraPromptLen: 3,
  extraOutputLen: 4,
  extraWords: 5,
  // one row of the sampler slab (doubles); numLogprobs −1 = none asked, 0 = the drawn token only
  samplerDoubles: 10,
  samplerTemperature: 0,
  samplerTopP: 1,
  samplerMinP: 2,
  samplerRepetition: 3,
  samplerFrequency: 4,
  samplerPresence: 5,
  samplerTopK: 6,
  samplerNumLogprobs: 7,
  samplerSeedLow: 8,
  samplerSeedHigh: 9,
} as const;

/**
 * What a backend hands back for one step. S samples, P prompt rows, both in the step's order.
 * `tokenIds[i]` is −1 where the row had no finite logit to draw from. `logprobs` are raw
 * log-softmax values of the drawn (or target) token, `ranks` its rank (1 = most likely), 0 where
 * logprobs were not asked for. The top lists of all samples, then of all prompt rows, follow each
 * other without gaps, each as long as was asked (at most the vocabulary), best first, ties by
 * lower id.
 */
export interface StepResult {
  readonly tokenIds: Int32Array; // [S]
  readonly logprobs: Float64Array; // [S]
  readonly ranks: Int32Array; // [S]
  readonly promptLogprobs: Float64Array; // [P]
  readonly promptRanks: Int32Array; // [P]
  readonly topTokenIds: Int32Array; // [sum of list lengths]
  readonly topLogprobs: Float64Array; // [sum of list lengths]
}
