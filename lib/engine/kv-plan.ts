/** The layers of a model with KV of their own, as the KV pool has them. */
import { type KvGroup, type PlannedGroup, planGroups } from '../core/kv-groups.js';
import { attentionsOf, type CacheElement, layerKv, type ModelSpec, ownsKv } from '../model/spec.js';
import type { RecurrentPlan } from './recurrent-plan.js';

/**
 * Of a model in which no layer attends: its blocks hold nothing, but the prefix cache finds states
 * by them. Nobody looks at any but the one that is being written.
 */
const UNATTENDED = { window: 1, layers: [] };
/** Native's least, which keeps every block apart. */
const LEAST_PAGE = 256;

/**
 * Blocks of a pool that holds no KV: what the sequences write to at once, and for each state that
 * can be cached what lies between two of its kind.
 */
export function blocksWithoutKv(
  { sizes, maxNumSeqs }: Pick<RecurrentPlan, 'sizes' | 'maxNumSeqs'>,
  blocksOfSeq: number,
  blockSize: number,
): number {
  const perState = Math.ceil(sizes.interval / blockSize);
  return 1 + maxNumSeqs * (blocksOfSeq + 1) + sizes.numSlots * perState;
}

/** The layers of the model in groups; what no sequence of `maxLen` tokens outgrows is no window. */
export function groupsOf(
  { layers }: Pick<ModelSpec, 'layers'>,
  element: CacheElement,
  maxLen: number,
  blockSize: number,
) {
  const numbers = layers.flatMap((layer, i) => (ownsKv(layer) ? [i] : []));
  if (numbers.length === 0)
    return { groups: [{ ...UNATTENDED, blockSize }], pageBytes: LEAST_PAGE };
  const kept = attentionsOf(layers.filter(ownsKv)).map((attention) => ({
    window: attention.window < maxLen ? attention.window : 0,
    chunked: attention.chunked,
    ...layerKv(attention, element),
  }));
  const { groups, pageBytes } = planGroups(kept, blockSize);
  const named = groups.map((group) => ({ ...group, layers: group.layers.map((i) => numbers[i]) }));
  return { groups: named, pageBytes };
}

/** Groups of a context that came out shorter than they were planned for. */
export function keeping(
  groups: readonly PlannedGroup[],
  maxModelLen: number,
): readonly PlannedGroup[] {
  return groups.map((group) => {
    const { chunked: _, ...whole } = group;
    return group.window < maxModelLen ? group : { ...whole, window: 0 };
  });
}

export function ofScheduler({ layers: _, ...group }: PlannedGroup): KvGroup {
  return group;
}
