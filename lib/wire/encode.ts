/**
 * Writes a step into the one flat Int32Array that crosses to the native side, as STEP_LAYOUT says,
 * and brings the slabs that go with it up to date. Two buffers take turns and grow when they must,
 * so that encoding a step allocates nothing; the array handed out may be longer than the step, its
 * header says how much of it counts. Steps are encoded in the order in which they were scheduled.
 */
import { type KvGroup, tableOffsets } from '../core/kv-groups.js';
import { BEGINS, NO_UPDATE } from '../core/row-updates.js';
import { MASKS, type Step } from '../core/step.js';
import { assert } from '../errors.js';
import { STEP_LAYOUT as L } from './layout.js';
import { makeSamplerSlab, updateTables, writeSamplerRow } from './slabs.js';

const NO_IDS = new Int32Array(0);

export interface SlabSizes {
  readonly maxNumSeqs: number;
  readonly blockSize: number;
  readonly blocksPerRow: number;
  readonly groups: readonly KvGroup[];
}

export class StepEncoder {
  #words: Int32Array;
  #floats: Float32Array;
  #other: Int32Array;
  /** End of what is written; extras are appended here. */
  #end = 0;
  /** Int32Array [maxNumSeqs][tables of all KV groups]; goes with every step, as the next does. */
  readonly tableSlab: Int32Array;
  /** Float64Array [maxNumSeqs][samplerDoubles]. */
  readonly samplerSlab: Float64Array;
  /** Of {@link makeMaskSlab}, where there are masks; whoever makes them writes its rows. */
  maskSlab: Int32Array | undefined;
  #hasNewMask = false;
  /** Number of the step encoded last. */
  #last: number | null = null;

  constructor(sizes: SlabSizes, initialWords = 4096) {
    const { maxNumSeqs, blockSize, blocksPerRow, groups } = sizes;
    const { rowLength } = tableOffsets(groups, blockSize, blocksPerRow);
    this.tableSlab = new Int32Array(maxNumSeqs * rowLength);
    this.samplerSlab = makeSamplerSlab(maxNumSeqs);
    this.#words = new Int32Array(initialWords);
    this.#other = new Int32Array(initialWords);
    this.#floats = new Float32Array(this.#words.buffer);
  }

  /** The mask slab, where the step encoded last has a new mask: it goes with that step. */
  get newMasks(): Int32Array | undefined {
    assert(!this.#hasNewMask || this.maskSlab !== undefined, 'a new mask, but no slab of them');
    return this.#hasNewMask ? this.maskSlab : undefined;
  }

  /** Valid until the next but one call. */
  encode(step: Step): Int32Array {
    const isNext = this.#last === null || step.number - this.#last === 1;
    assert(isNext || step.number === this.#last, 'a step was passed over, with what it changed');
    this.#last = step.number;
    const words = this.#other;
    this.#other = this.#words;
    this.#words = words;
    this.#floats = new Float32Array(words.buffer);
    updateTables(this.tableSlab, step);
    this.#header(step);
    this.#sequences(step);
    if (step.numPromptRows > 0) this.#promptRows(step);
    this.#samples(step);
    this.#words[L.headerTotalWords] = this.#end;
    return this.#words;
  }

  #header(step: Step): void {
    const numGroups = step.numBlocks.length;
    const seqWords = L.seqWords + numGroups - 1 + (step.hasStates ? L.stateWords : 0);
    const tokensAt = L.headerWords + step.numSeqs * seqWords;
    const recordsAt = tokensAt + step.numTokens;
    const swapsAt = recordsAt + step.records.length;
    const { swaps, stateSwaps, recordSwaps } = step;
    const copiesAt = swapsAt + swaps.length + stateSwaps.length + recordSwaps.length;
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
    words[L.headerNumSwapOuts] = swaps.numOuts;
    words[L.headerNumSwapIns] = swaps.numIns;
    words[L.headerNumStateOuts] = stateSwaps.numOuts;
    words[L.headerNumStateIns] = stateSwaps.numIns;
    words[L.headerNumRecordOuts] = recordSwaps.numOuts;
    words[L.headerNumRecordIns] = recordSwaps.numIns;
    words[L.headerSeqsAt] = L.headerWords;
    words[L.headerTokensAt] = tokensAt;
    words[L.headerSwapsAt] = swapsAt;
    words[L.headerCopiesAt] = copiesAt;
    words[L.headerSamplesAt] = samplesAt;
    words[L.headerPromptRowsAt] = promptRowsAt;
    words[L.headerExtrasAt] = extrasAt;
    words[L.headerNumGroups] = numGroups;
    words[L.headerHasStates] = Number(step.hasStates);
    words[L.headerRecordsAt] = recordsAt;
  }

  #sequences(step: Step): void {
    const { numSeqs, numTokens, numCopies } = step;
    const at = this.#words[L.headerSeqsAt];
    this.#column(at, L.seqQueryLen, numSeqs, step.queryLens);
    this.#column(at, L.seqContextLen, numSeqs, step.contextLens);
    this.#column(at, L.seqRow, numSeqs, step.seqRows);
    this.#column(at, L.seqLongRope, numSeqs, step.longRope);
    for (let g = 0; g < step.numBlocks.length; g++) {
      this.#column(at, L.seqNumBlocks + g, numSeqs, step.numBlocks[g]);
    }
    if (step.hasStates) this.#states(step);
    this.#words.set(step.tokenIds.subarray(0, numTokens), this.#words[L.headerTokensAt]);
    this.#swaps(step);
    if (numCopies === 0) return;
    const copies = step.copies.subarray(0, numCopies * L.copyWords);
    this.#words.set(copies, this.#words[L.headerCopiesAt]);
  }

  #states({ numSeqs, numBlocks, stateIns, stateOuts, records }: Step): void {
    const at = this.#words[L.headerSeqsAt];
    const states = L.seqNumBlocks + numBlocks.length;
    this.#column(at, states + L.stateIn, numSeqs, stateIns);
    this.#column(at, states + L.stateOut, numSeqs, stateOuts);
    this.#words.set(records.view, this.#words[L.headerRecordsAt]);
  }

  #swaps({ swaps, stateSwaps, recordSwaps }: Step): void {
    let at = this.#words[L.headerSwapsAt];
    for (const list of [swaps, stateSwaps, recordSwaps]) {
      if (list.length > 0) this.#words.set(list.view, at);
      at += list.length;
    }
  }

  #promptRows(step: Step): void {
    const at = this.#words[L.headerPromptRowsAt];
    this.#column(at, L.promptRowTokenRow, step.numPromptRows, step.promptTokenRows);
    this.#column(at, L.promptRowTarget, step.numPromptRows, step.promptTargets);
    this.#column(at, L.promptRowNumTop, step.numPromptRows, step.promptNumTops);
  }

  #samples(step: Step): void {
    const { numSamples, sampleMasks, sampleUpdates } = step;
    const at = this.#words[L.headerSamplesAt];
    this.#column(at, L.sampleTokenRow, numSamples, step.sampleTokenRows);
    this.#column(at, L.sampleSeqRow, numSamples, step.sampleRows);
    this.#column(at, L.samplePosition, numSamples, step.samplePositions);
    this.#column(at, L.sampleMask, numSamples, sampleMasks);
    this.#hasNewMask = sampleMasks.subarray(0, numSamples).includes(MASKS.fresh);
    const extraAt = at + L.sampleExtra * numSamples;
    this.#words.fill(L.nothingNew, extraAt, extraAt + numSamples);
    for (let i = 0; i < numSamples && step.updates.length > 0; i++) {
      if (sampleUpdates[i] === NO_UPDATE) continue;
      // Extras may move the buffer.
      const extras = this.#extras(step, step.sampleRows[i], sampleUpdates[i]);
      this.#words[extraAt + i] = extras;
    }
  }

  /** Column k of a section that begins at `at`. */
  #column(at: number, k: number, count: number, values: Int32Array): void {
    this.#words.set(values.subarray(0, count), at + k * count);
  }

  /** Appends what a row must be told before a draw; returns where. */
  #extras({ updates }: Step, row: number, u: number): number {
    const params = updates.params[u];
    if (params !== null) writeSamplerRow(this.samplerSlab, row, params, updates.sampleIndexes[u]);
    const allowedIds = updates.allowed[u];
    const allowed = allowedIds ?? NO_IDS;
    const biasIds = params?.biasIds ?? NO_IDS;
    const idsAt = updates.idsAt[u];
    const historyAt = idsAt + updates.numBanned[u];
    const historyEnd = historyAt + updates.promptLen[u] + updates.outputLen[u];
    const at = this.#end;
    let next = at + L.extraWords;
    this.#end = next + allowed.length + 2 * biasIds.length + historyEnd - idsAt;
    this.#reserve(this.#end);
    const words = this.#words;
    const counted = updates.counted[u];
    words[at + L.extraCounted] = counted === BEGINS ? L.rowBegins : counted;
    words[at + L.extraNumAllowed] =
      allowedIds === undefined ? L.asBefore : allowedIds === null ? L.everyToken : allowed.length;
    words[at + L.extraNumBanned] = updates.numBanned[u];
    words[at + L.extraNumBias] = biasIds.length;
    words[at + L.extraPromptLen] = updates.promptLen[u];
    words[at + L.extraOutputLen] = updates.outputLen[u];
    words.set(allowed, next);
    next += allowed.length;
    for (let i = idsAt; i < historyAt; i++) words[next++] = updates.ids.at(i);
    words.set(biasIds, next);
    next += biasIds.length;
    if (params !== null) this.#floats.set(params.biasValues, next);
    next += biasIds.length;
    for (let i = historyAt; i < historyEnd; i++) words[next++] = updates.ids.at(i);
    return at;
  }

  #reserve(numWords: number): void {
    if (numWords <= this.#words.length) return;
    const larger = new Int32Array(Math.max(numWords, this.#words.length * 2));
    larger.set(this.#words);
    this.#words = larger;
    this.#floats = new Float32Array(larger.buffer);
  }
}
