/**
 * Writes a step into the one flat Int32Array that crosses to the native side, as STEP_LAYOUT says.
 * Two buffers take turns and grow when they must, so that encoding a step allocates nothing; the
 * array handed out may be longer than the step, its header says how much of it counts.
 */
import type { Sequence, SequenceGroup } from './sequence.js';
import { STEP_LAYOUT as L } from './step.js';
import type { Step } from './step-record.js';

const NO_EXTRAS = -1;

export class StepEncoder {
  #words: Int32Array;
  #floats: Float32Array;
  #other: Int32Array;
  /** End of what is written; extras are appended here. */
  #end = 0;
  readonly #banned: number[] = [];

  constructor(initialWords = 4096) {
    this.#words = new Int32Array(initialWords);
    this.#other = new Int32Array(initialWords);
    this.#floats = new Float32Array(this.#words.buffer);
  }

  /** Valid until the next but one call. Call it before the step is committed. */
  encode(step: Step): Int32Array {
    const words = this.#other;
    this.#other = this.#words;
    this.#words = words;
    this.#floats = new Float32Array(words.buffer);
    this.#header(step);
    this.#sequences(step);
    this.#words.set(step.swaps, this.#words[L.headerSwapsAt]);
    this.#copies(step);
    this.#promptRows(step);
    this.#samples(step);
    this.#words[L.headerTotalWords] = this.#end;
    return this.#words;
  }

  #header(step: Step): void {
    const tokensAt = L.headerWords + step.numSeqs * L.seqWords;
    const swapsAt = tokensAt + step.numTokens;
    const copiesAt = swapsAt + step.swaps.length;
    const samplesAt = copiesAt + step.numCopies * L.copyWords;
    const promptRowsAt = samplesAt + step.numSamples * L.sampleWords;
    const extrasAt = promptRowsAt + step.numPromptRows * L.promptRowWords;
    this.#end = extrasAt;
    this.#reserve(extrasAt);
    const words = this.#words;
    words.fill(0, 0, L.headerWords);
    words[L.headerVersion] = L.version;
    words[L.headerNumSeqs] = step.numSeqs;
    words[L.headerNumTokens] = step.numTokens;
    words[L.headerNumCopies] = step.numCopies;
    words[L.headerNumSamples] = step.numSamples;
    words[L.headerNumPromptRows] = step.numPromptRows;
    words[L.headerNumSwapOuts] = step.numSwapOuts;
    words[L.headerNumSwapIns] = step.numSwapIns;
    words[L.headerSeqsAt] = L.headerWords;
    words[L.headerTokensAt] = tokensAt;
    words[L.headerSwapsAt] = swapsAt;
    words[L.headerCopiesAt] = copiesAt;
    words[L.headerSamplesAt] = samplesAt;
    words[L.headerPromptRowsAt] = promptRowsAt;
    words[L.headerExtrasAt] = extrasAt;
  }

  #copies(step: Step): void {
    const words = this.#words;
    const at = words[L.headerCopiesAt];
    for (let i = 0; i < step.numCopies; i++) {
      words[at + i * L.copyWords + L.copySource] = step.copies[2 * i];
      words[at + i * L.copyWords + L.copyTarget] = step.copies[2 * i + 1];
    }
  }

  #sequences(step: Step): void {
    const words = this.#words;
    const { seqs, queryLens, numSeqs } = step;
    let at = words[L.headerSeqsAt];
    let tokenAt = words[L.headerTokensAt];
    for (let i = 0; i < numSeqs; i++) {
      const sequence = seqs[i];
      const queryLen = queryLens[i];
      const start = sequence.numComputed;
      const end = start + queryLen;
      words[at + L.seqQueryLen] = queryLen;
      words[at + L.seqContextLen] = end;
      words[at + L.seqRow] = sequence.row;
      words[at + L.seqNumBlocks] = sequence.numBlocks;
      at += L.seqWords;
      if (queryLen === 1 && end === sequence.numTokens) {
        words[tokenAt++] = sequence.lastToken;
        continue;
      }
      const { tokens } = sequence;
      for (let p = start; p < end; p++) words[tokenAt++] = tokens[p];
    }
  }

  #samples(step: Step): void {
    const { sampleSeqs, sampleTokenRows, numSamples } = step;
    let at = this.#words[L.headerSamplesAt];
    for (let i = 0; i < numSamples; i++) {
      const sequence = sampleSeqs[i];
      // Extras may move the buffer, so they come before this sample's words.
      const extra = sequence.needsExtras || sequence.allowedIds !== null;
      const extraAt = extra ? this.#extras(sequence) : NO_EXTRAS;
      const words = this.#words;
      words[at + L.sampleTokenRow] = sampleTokenRows[i];
      words[at + L.sampleSeqRow] = sequence.row;
      words[at + L.samplePosition] = sequence.numTokens;
      words[at + L.sampleExtra] = extraAt;
      at += L.sampleWords;
    }
  }

  #promptRows(step: Step): void {
    const words = this.#words;
    let at = words[L.headerPromptRowsAt];
    for (let i = 0; i < step.numPromptRows; i++) {
      words[at + L.promptRowTokenRow] = step.promptTokenRows[i];
      words[at + L.promptRowTarget] = step.promptTargets[i];
      words[at + L.promptRowNumTop] = step.promptSeqs[i].group.params.numPromptLogprobs;
      at += L.promptRowWords;
    }
  }

  /** Appends the extras of one sample; returns where, or −1 when there is nothing to say now. */
  #extras(sequence: Sequence): number {
    const { params } = sequence.group;
    const { allowedIds, numPromptTokens, numTokens } = sequence;
    const banned = this.#collectBanned(sequence, sequence.group);
    const numAllowed = allowedIds === null ? -1 : allowedIds.length;
    const promptLen = params.needsPrompt ? numPromptTokens : 0;
    const outputLen = params.needsOutput ? numTokens - numPromptTokens : 0;
    const numBias = params.biasIds.length;
    if (numAllowed < 0 && banned.length + numBias + promptLen + outputLen === 0) return NO_EXTRAS;
    const at = this.#end;
    let next = at + L.extraWords;
    this.#end =
      next + Math.max(0, numAllowed) + banned.length + 2 * numBias + promptLen + outputLen;
    this.#reserve(this.#end);
    const words = this.#words;
    words[at + L.extraNumAllowed] = numAllowed;
    words[at + L.extraNumBanned] = banned.length;
    words[at + L.extraNumBias] = numBias;
    words[at + L.extraPromptLen] = promptLen;
    words[at + L.extraOutputLen] = outputLen;
    if (allowedIds !== null) words.set(allowedIds, next);
    next += Math.max(0, numAllowed);
    words.set(banned, next);
    next += banned.length;
    words.set(params.biasIds, next);
    this.#floats.set(params.biasValues, next + numBias);
    next += 2 * numBias;
    words.set(sequence.tokens.subarray(0, promptLen), next);
    next += promptLen;
    words.set(sequence.tokens.subarray(numPromptTokens, numPromptTokens + outputLen), next);
    return at;
  }

  /** Ending ids before minTokens; the last id of each bad word whose others were just generated. */
  #collectBanned(sequence: Sequence, group: SequenceGroup): readonly number[] {
    const banned = this.#banned;
    const { endTokenIds, badWordIds } = group.params;
    banned.length = 0;
    if (sequence.numTokens < sequence.mayStopAt) {
      for (let i = 0; i < endTokenIds.length; i++) banned.push(endTokenIds[i]);
    }
    for (const word of badWordIds) {
      if (endsWithPrefixOf(sequence, word)) banned.push(word[word.length - 1]);
    }
    return banned;
  }

  #reserve(numWords: number): void {
    if (numWords <= this.#words.length) return;
    const larger = new Int32Array(Math.max(numWords, this.#words.length * 2));
    larger.set(this.#words);
    this.#words = larger;
    this.#floats = new Float32Array(larger.buffer);
  }
}

/** Does the output end with all of the word but its last id? */
function endsWithPrefixOf(sequence: Sequence, word: readonly number[]): boolean {
  const length = word.length - 1;
  if (sequence.numOutputTokens < length) return false;
  const from = sequence.numTokens - length;
  for (let i = 0; i < length; i++) {
    if (sequence.tokens[from + i] !== word[i]) return false;
  }
  return true;
}
