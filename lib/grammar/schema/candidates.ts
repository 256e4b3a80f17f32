import type { Keywords } from './keywords.js';
import type { Node } from './node.js';

/** References that are followed. */
const MAX_DEEP = 32;

/**
 * Values among which all values of a node are, from its enums, consts and booleans. Undefined where
 * there is no such list.
 */
export function candidates(node: Node, keywords: Keywords, deep = 0): unknown[] | undefined {
  if (deep > MAX_DEEP) return undefined;
  keywords.space.spend();
  const within = (part: Node) => candidates(part, keywords, deep + 1);
  switch (node.kind) {
    case 'none':
      return [];
    case 'values':
      return [...node.values];
    case 'all':
      return first(node.parts, within);
    case 'some':
    case 'one': {
      const found = node.parts.map(within);
      return found.some((list) => list === undefined) ? undefined : found.flatMap((list) => list!);
    }
    case 'schema': {
      for (const part of keywords.parts(node.place)) {
        const { set } = part;
        const found = part.node === undefined ? undefined : within(part.node);
        if (found !== undefined) return found;
        if (set === undefined || set.objects.length + set.arrays.length > 0) continue;
        const { none } = keywords.space;
        if (set.strings !== none.strings || set.numbers !== none.numbers) continue;
        const booleans = [false, true].filter((value) => set.booleans & (value ? 2 : 1));
        return [...(set.nulls ? [null] : []), ...booleans];
      }
      return undefined;
    }
    default:
      return undefined;
  }
}

function first<T>(parts: readonly Node[], of: (part: Node) => T | undefined): T | undefined {
  for (const part of parts) {
    const found = of(part);
    if (found !== undefined) return found;
  }
  return undefined;
}
