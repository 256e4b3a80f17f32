/**
 * How each running sequence wants its tokens drawn: rows of a Float64Array [maxNumSeqs]
 * [samplerDoubles] that goes to the native side beside the block tables. A row is written when it
 * is given to a sequence, so a step costs nothing here.
 */
import type { Sequence } from './sequence.js';
import { STEP_LAYOUT as L } from './step.js';

const TWO_32 = 2 ** 32;

export function makeSamplerSlab(numRows: number): Float64Array {
  return new Float64Array(numRows * L.samplerDoubles);
}

export function writeSamplerRow(slab: Float64Array, sequence: Sequence): void {
  const { params } = sequence.group;
  const at = sequence.row * L.samplerDoubles;
  slab[at + L.samplerTemperature] = params.temperature;
  slab[at + L.samplerTopP] = params.topP;
  slab[at + L.samplerMinP] = params.minP;
  slab[at + L.samplerRepetition] = params.repetitionPenalty;
  slab[at + L.samplerFrequency] = params.frequencyPenalty;
  slab[at + L.samplerPresence] = params.presencePenalty;
  slab[at + L.samplerTopK] = params.topK;
  slab[at + L.samplerNumLogprobs] = params.numLogprobs;
  // seed + index in two halves: the sum may leave the range of exact integers.
  const low = (params.seed % TWO_32) + sequence.index;
  slab[at + L.samplerSeedLow] = low % TWO_32;
  slab[at + L.samplerSeedHigh] = Math.floor(params.seed / TWO_32) + Math.floor(low / TWO_32);
}
