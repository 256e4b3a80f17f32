/** Host memory for who is swapped out: blocks, and what recurrent layers keep. */
import type { EngineConfig } from '../config/options.js';
import { CHUNK } from '../core/recurrent-states.js';
import type { RecurrentPlan } from './recurrent-plan.js';

const GiB = 2 ** 30;
const MAX_BLOCKS = 2 ** 30;
/** Of what nobody asked for: no more than this. */
const USUAL_BYTES = 4 * GiB;

export interface SwapPlan {
  /** Blocks of the host pool. */
  readonly numHostBlocks: number;
  /** States there, each with the records of a chunk; 0 also where no layer is recurrent. */
  readonly numHostSlots: number;
}

export interface SwapNeeds {
  readonly blockBytes: number;
  /** Blocks that the pool itself has at most. */
  readonly numBlocks: number;
  readonly recurrent: RecurrentPlan | null;
  /** false: no layer does, and a block holds nothing. */
  readonly attends: boolean;
}

/**
 * What `swapSpace` holds. Up to half of it are places for states, no more than sequences run at
 * once, and the rest is blocks; where no layer attends a place comes with the one block that a
 * sequence keeps, and may take all.
 * @param space bytes of the host's memory; what nobody asked for takes a quarter of them at most
 */
export function planSwaps(config: EngineConfig, needs: SwapNeeds, space: number): SwapPlan {
  const { blockBytes, numBlocks, recurrent, attends } = needs;
  const { swapSpace } = config;
  if (config.preemptionPolicy === 'recompute') return NONE;
  const bytes = swapSpace === undefined ? Math.min(USUAL_BYTES, space / 4) : swapSpace * GiB;
  const most = swapSpace === undefined ? numBlocks - 1 : MAX_BLOCKS;
  const blocksIn = (size: number) => Math.min(most, Math.floor(size / blockBytes));
  if (recurrent === null) return { numHostBlocks: blocksIn(bytes), numHostSlots: 0 };
  const { stateBytes, recordBytes, maxNumSeqs } = recurrent;
  const placeBytes = stateBytes + CHUNK * recordBytes;
  const placesIn = (size: number, each: number) => Math.min(maxNumSeqs, Math.floor(size / each));
  if (!attends) {
    const places = placesIn(bytes, placeBytes + blockBytes);
    return { numHostBlocks: places, numHostSlots: places };
  }
  const places = placesIn(bytes / 2, placeBytes);
  // Blocks alone would swap nobody.
  if (places === 0) return NONE;
  return { numHostBlocks: blocksIn(bytes - places * placeBytes), numHostSlots: places };
}
const NONE: SwapPlan = { numHostBlocks: 0, numHostSlots: 0 };
