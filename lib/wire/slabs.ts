/**
 * What the native side is given beside a step: slabs with a row for each running sequence. They are
 * brought up to date by what a step says, so other steps cost nothing here. The block tables, an
 * Int32Array [maxNumSeqs][tables of all groups]: entries that have changed. How tokens are drawn, a
 * Float64Array [maxNumSeqs][samplerDoubles]: a row, before the first draw from it.
 */
import type { DrawParams } from '../core/sampling-params.js';
import type { Step } from '../core/step.js';
import { STEP_LAYOUT as L } from './layout.js';

const TWO_32 = 2 ** 32;

export function makeSamplerSlab(numRows: number): Float64Array {
  return new Float64Array(numRows * L.samplerDoubles);
}

/** An Int32Array [numRows][⌈vocabSize / 32⌉]; bit id % 32 of word ⌊id / 32⌋: it may be drawn. */
export function makeMaskSlab(numRows: number, vocabSize: number): Int32Array {
  return new Int32Array(numRows * Math.ceil(vocabSize / 32));
}

export function updateTables(slab: Int32Array, { tableChanges }: Step): void {
  for (let i = 0; i < tableChanges.length; i += 2)
    slab[tableChanges.at(i)] = tableChanges.at(i + 1);
}

/** @param sample which of the request's samples the row is of */
export function writeSamplerRow(
  slab: Float64Array,
  row: number,
  params: DrawParams,
  sample: number,
): void {
  const at = row * L.samplerDoubles;
  slab[at + L.samplerTemperature] = params.temperature;
  slab[at + L.samplerTopP] = params.topP;
  slab[at + L.samplerMinP] = params.minP;
  slab[at + L.samplerRepetition] = params.repetitionPenalty;
  slab[at + L.samplerFrequency] = params.frequencyPenalty;
  slab[at + L.samplerPresence] = params.presencePenalty;
  slab[at + L.samplerTopK] = params.topK;
  slab[at + L.samplerNumLogprobs] = params.numLogprobs;
  // seed + sample in two halves: the sum may leave the range of exact integers.
  const low = (params.seed % TWO_32) + sample;
  slab[at + L.samplerSeedLow] = low % TWO_32;
  slab[at + L.samplerSeedHigh] = Math.floor(params.seed / TWO_32) + Math.floor(low / TWO_32);
}
