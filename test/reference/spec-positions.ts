/** What a token's position does: how its heads turn, what q is multiplied by, what it sees. */
import type { NativeAttention, NativeRope, NativeTemperature } from '../../lib/native.js';

export function temperature({ beta, length, offset }: NativeTemperature, position: number): number {
  return 1 + beta * Math.log(1 + Math.floor((position + offset) / length));
}

/** The tokens that a query sees, of so many. */
export function rangeSeen(
  { causal, window, chunked }: NativeAttention,
  query: number,
  length: number,
): [first: number, end: number] {
  const end = causal ? query + 1 : window === 0 ? length : Math.min(length, query + window);
  if (window === 0) return [0, end];
  return [chunked ? query - (query % window) : Math.max(0, query - window + 1), end];
}

/** Turns the pairs of one head; what is behind the last pair stands still. */
export function rotate(head: Float64Array, rope: NativeRope, position: number): Float64Array {
  const out = head.slice();
  const pairs = rope.inverseFrequencies.length;
  for (let i = 0; i < pairs; i++) {
    const [a, b] = rope.interleaved ? [2 * i, 2 * i + 1] : [i, i + pairs];
    const angle = position * rope.inverseFrequencies[i];
    const cos = Math.cos(angle) * rope.attentionFactor;
    const sin = Math.sin(angle) * rope.attentionFactor;
    out[a] = head[a] * cos - head[b] * sin;
    out[b] = head[b] * cos + head[a] * sin;
  }
  return out;
}
