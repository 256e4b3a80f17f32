/**
 * The words that both languages speak: the layout of one encoded step and of the slabs that steps
 * refer to, and that of texts to pool. `native.ts` compares these tables with the addon's own at
 * load, so they can never drift. All offsets are in 32-bit words from the start of the buffer.
 */
import { CHUNK } from '../core/recurrent-states.js';

/**
 * A step buffer is one Int32Array: header · sequences · tokens · records · swaps · copies · samples
 * · prompt rows · extras. Sequences, samples and prompt rows lie column by column: word k of entry
 * i of n is at k · n + i of its section. Order of execution: swap-outs, swap-ins, copies, the
 * forward pass. Per scheduled sequence: how many tokens it computes now (`queryLen` ≥ 1), how many
 * its cache holds after this step (`contextLen`), its row in the slabs, `longRope`: 1 where its
 * angles come from the model's long table, else 0; then, for each KV group, how many blocks its
 * table has, word `seqNumBlocks` + g; and last, where `headerHasStates` is 1, `stateWords` words
 * for recurrent layers: an entry has `seqWords` + `numGroups` − 1 words, with states `stateWords`
 * more. Positions and slots are not sent: position = contextLen − queryLen + i, slot from the
 * tables.
 *
 * Recurrent layers: tokens lie in chunks of `chunkTokens`, counted from position 0; the border of a
 * position is where its chunk begins. A query computes the tokens start … end − 1 (end =
 * contextLen, start = end − queryLen). It begins from the state slot `stateIn` (word `seqNumBlocks`
 * + `numGroups` + `stateIn`), the state at border(start); slot 0 is that of position 0, all zeros,
 * never written. Where border(end) > border(start) the state at border(end) goes to the slot
 * `stateOut`, which may be `stateIn`; else that is `noState`. The section of records has for each
 * sequence, one after the other: the record ids of its tokens border(start) … start − 1, which are
 * read, then those of its tokens max(start, border(end)) … end − 1, which are written, and not read
 * before. Of other tokens no record is kept.
 *
 * Copies and swaps name blocks of the pool, whichever group they belong to. Behind the swaps of
 * blocks are those of states, then those of records, each with the slot or record and its place in
 * the host's memory, those that go out first; the zero state is never among them.
 *
 * A row of the block-table slab has the tables of all groups one after the other, of a group with
 * blocks of s tokens ⌈blocksPerRow · blockSize / s⌉ entries: with one group it is an Int32Array
 * [maxNumSeqs][blocksPerRow]. Entries that no query's window looks at any more, from position
 * contextLen − queryLen on, are 0, the null block. The sampler slab is a Float64Array
 * [maxNumSeqs][samplerDoubles]; the mask slab an Int32Array [maxNumSeqs][⌈vocab / 32⌉], which goes
 * along only with steps that have a new mask. A row belongs to one running sequence from admission
 * to its end.
 *
 * A sample draws one token from the logits of one token row (several samples may name the same
 * row: the first tokens of n parallel samples). A row of the slabs has at most one sample a step.
 * `position` is the index the drawn token will have in its sequence; together with the seed it is
 * the counter of the random generator. `extra` is the word offset of this sample's extras, or
 * `nothingNew`. `mask` is `noMask`: every token may be drawn as far as masks go; `newMask`: only
 * those whose bit in its row of the mask slab is 1 (bit id % 32 of word ⌊id / 32⌋, which the native
 * side keeps); or `maskAsBefore`: those of the last new mask since the row began. `matcherMask`:
 * a new mask which the matcher makes that comes with the step for this sample (matchers come in the
 * order of such samples) while the step computes; `matcherMaskAndLists`: moreover the lists of best
 * tokens hold first what may be drawn, everything else with logprob −∞.
 *
 * The native side keeps for each row which tokens are allowed, the biases, and how often each token
 * occurs in what the penalties look at; a step sends what is new. Extras: counted, numAllowed,
 * numBanned, numBias, promptLen, outputLen, then the lists: allowed ids · banned ids · bias ids ·
 * bias values (float32 bits) · prompt ids · output ids. `counted` is how many ids the row has
 * counted so far, those of prompt and output come on top; or `rowBegins`: whatever the row had is
 * forgotten. That says the first sample of a row. `numAllowed` may be `asBefore` or `everyToken`;
 * biases are sent when a row begins; banned ids count for this sample only. Ids of prompt and
 * output are sent only where a penalty needs them.
 *
 * A prompt row asks for the logprob of `target` at a token row, with the `numTop` best beside it.
 */
export const STEP_LAYOUT = {
  version: 8,
  // header
  headerWords: 23,
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
  headerNumGroups: 16,
  headerHasStates: 17,
  headerRecordsAt: 18,
  headerNumStateOuts: 19,
  headerNumStateIns: 20,
  headerNumRecordOuts: 21,
  headerNumRecordIns: 22,
  // one scheduled sequence, with one KV group
  seqWords: 5,
  seqQueryLen: 0,
  seqContextLen: 1,
  seqRow: 2,
  seqLongRope: 3,
  seqNumBlocks: 4,
  // of it, behind the counts of all groups, where there are recurrent layers
  stateWords: 2,
  stateIn: 0,
  stateOut: 1,
  noState: -1,
  chunkTokens: CHUNK,
  // one swap of a block, a state or a record; of each the outs come first
  swapWords: 2,
  swapDevice: 0,
  swapHost: 1,
  // one block copy
  copyWords: 2,
  copySource: 0,
  copyTarget: 1,
  // one sample
  sampleWords: 5,
  sampleTokenRow: 0,
  sampleSeqRow: 1,
  samplePosition: 2,
  sampleExtra: 3,
  sampleMask: 4,
  // one prompt logprob
  promptRowWords: 3,
  promptRowTokenRow: 0,
  promptRowTarget: 1,
  promptRowNumTop: 2,
  // extras
  extraCounted: 0,
  extraNumAllowed: 1,
  extraNumBanned: 2,
  extraNumBias: 3,
  extraPromptLen: 4,
  extraOutputLen: 5,
  extraWords: 6,
  // in place of a number: of sampleExtra, of extraCounted, of extraNumAllowed (two)
  nothingNew: -1,
  rowBegins: -1,
  everyToken: -1,
  asBefore: -2,
  // of sampleMask
  noMask: 0,
  newMask: 1,
  maskAsBefore: 2,
  matcherMask: 3,
  matcherMaskAndLists: 4,
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

/** How the vectors of a text's tokens become one: their mean, the first, the last. */
export const POOLINGS = { mean: 0, cls: 1, last: 2 } as const;
export type Pooling = keyof typeof POOLINGS;

/**
 * Texts that are computed whole, without a cache: one Int32Array of header · texts · token ids ·
 * token types, where `hasTokenTypes` · ids that the head is asked for. The texts lie column by
 * column as sequences do; `textPooling` is one of POOLINGS, `textLongRope` as of a sequence. With
 * ids for the head a text's values are their logits at its last token, else what is pooled.
 */
export const POOLED_LAYOUT = {
  version: 1,
  headerWords: 6,
  headerVersion: 0,
  headerTotalWords: 1,
  headerNumTexts: 2,
  headerNumTokens: 3,
  headerHasTokenTypes: 4,
  headerNumTokenLogits: 5,
  textWords: 3,
  textLength: 0,
  textPooling: 1,
  textLongRope: 2,
  poolMean: POOLINGS.mean,
  poolCls: POOLINGS.cls,
  poolLast: POOLINGS.last,
} as const;
