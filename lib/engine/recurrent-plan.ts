/**
 * Memory for what recurrent layers keep of sequences: states and records, see
 * core/recurrent-states. It is sized by how many sequences run at once, or sizes that.
 */
import type { EngineConfig } from '../config/options.js';
import { CHUNK, leastSizes, type RecurrentSizes } from '../core/recurrent-states.js';
import { octavoError } from '../errors.js';
import { type NativeLayer, type NativeRecurrent, RECURRENT_KINDS } from '../native.js';

/** Tokens after which a state is kept for the prefix cache. */
const STATE_INTERVAL = 2048;
/** Of a float32, which all of it is. */
const FLOAT = 4;

export interface RecurrentPlan {
  readonly sizes: RecurrentSizes;
  /** Of a state, and of the record of a token, all layers together. */
  readonly stateBytes: number;
  readonly recordBytes: number;
  /** Most that a running sequence takes: one and a half states, and the records of a chunk. */
  readonly seqBytes: number;
  /** All states and records. */
  readonly bytes: number;
  /** Sequences that these are for. */
  readonly maxNumSeqs: number;
}

/**
 * What there is for `wantedSeqs` sequences at once, or for fewer, where that many was not asked for
 * and would take more than a quarter of the memory; null where no layer is recurrent.
 * @param room bytes that there are beside the weights
 * @throws ERR_INVALID_OPTION where the maxNumSeqs that was asked for takes more than half of it;
 * ERR_OUT_OF_MEMORY where one sequence does
 */
export function planRecurrent(
  layers: readonly Pick<NativeLayer, 'recurrent'>[],
  { maxNumSeqs: asked }: Pick<EngineConfig, 'maxNumSeqs'>,
  wantedSeqs: number,
  room: number,
): RecurrentPlan | null {
  const recurrent = layers.flatMap((layer) => layer.recurrent ?? []);
  if (recurrent.length === 0) return null;
  const stateBytes = sumOf(recurrent, stateFloats) * FLOAT;
  const recordBytes = sumOf(recurrent, recordFloats) * FLOAT;
  const of = (maxNumSeqs: number, numCached: number): RecurrentPlan => {
    const least = leastSizes(maxNumSeqs);
    const numSlots = least.numSlots + numCached;
    // A chunk more, so that queries end early for want of records only where several would.
    const numRecords = least.numRecords + CHUNK;
    return {
      sizes: { numSlots, numRecords, interval: STATE_INTERVAL },
      ...{ stateBytes, recordBytes, maxNumSeqs },
      seqBytes: Math.ceil(1.5 * stateBytes) + CHUNK * recordBytes,
      bytes: numSlots * stateBytes + numRecords * recordBytes,
    };
  };
  const usual = (maxNumSeqs: number) => of(maxNumSeqs, 4 + Math.ceil(maxNumSeqs / 4));
  if (asked === undefined) {
    let [fits, tooMany] = [0, wantedSeqs + 1];
    while (tooMany - fits > 1) {
      const middle = Math.floor((fits + tooMany) / 2);
      if (usual(middle).bytes <= room / 4) fits = middle;
      else tooMany = middle;
    }
    if (fits > 0) return usual(fits);
  }
  const numSeqs = asked ?? 1;
  const bare = of(numSeqs, 0);
  if (bare.bytes > room / 2) throw noRoom(asked, bare, room);
  const more = Math.floor((room / 2 - bare.bytes) / stateBytes);
  return of(numSeqs, Math.min(more, usual(numSeqs).sizes.numSlots - bare.sizes.numSlots));
}

function noRoom(asked: number | undefined, { bytes, seqBytes }: RecurrentPlan, room: number) {
  const gib = (size: number) => `${(size / 2 ** 30).toFixed(2)} GiB`;
  const takes = `what its recurrent layers keep takes ${gib(bytes)}`;
  const has = `and half of what the weights leave is ${gib(room / 2)}`;
  if (asked === undefined || asked === 1) {
    return octavoError(
      'ERR_OUT_OF_MEMORY',
      `of a single sequence of this model ${takes}, ${has}; use a smaller or more quantised ` +
        'model, or free memory',
      { param: 'model' },
    );
  }
  return octavoError(
    'ERR_INVALID_OPTION',
    `of maxNumSeqs (${asked}) sequences of this model ${takes}, ${gib(seqBytes)} each, ${has}; ` +
      'lower maxNumSeqs',
    { param: 'maxNumSeqs' },
  );
}

/** As native/base/recurrent.h has them: the heads' states, and the inputs that the convolution
 * still looks at. */
function stateFloats(layer: NativeRecurrent): number {
  const { numValueHeads, keySize, valueSize, convWidth } = layer;
  const heads = isConv(layer) ? 0 : numValueHeads * keySize * valueSize;
  return heads + (convWidth - 1) * channelsOf(layer);
}

/** The convolution's input, k, u, and how much of the state is kept. */
function recordFloats(layer: NativeRecurrent): number {
  if (isConv(layer)) return channelsOf(layer);
  const { numKeyHeads, keySize, numValueHeads, valueSize } = layer;
  return channelsOf(layer) + numKeyHeads * keySize + numValueHeads * (valueSize + 1);
}

function channelsOf(layer: NativeRecurrent): number {
  const { numKeyHeads, keySize, numValueHeads, valueSize } = layer;
  return (isConv(layer) ? 0 : 2 * numKeyHeads * keySize) + numValueHeads * valueSize;
}

function isConv({ kind }: NativeRecurrent): boolean {
  return kind === RECURRENT_KINDS.conv;
}

function sumOf<T>(values: readonly T[], of: (value: T) => number): number {
  return values.reduce((sum, value) => sum + of(value), 0);
}
