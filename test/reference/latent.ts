/** Latent attention in float64 as its paper writes it: keys and values of every head, made anew. */
import type { NativeAttention, NativeRope } from '../../lib/native.js';
import {
  capped,
  dot,
  type Matrix,
  norm,
  product,
  slices,
  softmax,
  tensor,
  type Weights,
} from './spec-math.js';
import { rangeSeen, rotate, temperature } from './spec-positions.js';

export function latentAttention(
  spec: NativeAttention,
  weights: Weights,
  ropes: readonly NativeRope[],
  x: Matrix,
): Matrix {
  const { numHeads, headSize, biases } = spec;
  const { rank, queryRank, nopeSize, valueSize, norm: own } = spec.latent!;
  const ropeSize = headSize - rank;
  const turned = (row: Float64Array, position: number) =>
    spec.rope < 0 ? row : rotate(row, ropes[spec.rope], position);
  const project = (name: string, of: string, size: number) =>
    product(weights, name, biases.includes(of), x, size);
  const isDirect = queryRank === 0;
  const from = isDirect ? x : norm(own, weights, 'q_a_norm', project('q_a', 'q', queryRank));
  const size = nopeSize + ropeSize;
  const q = product(weights, 'q', isDirect && biases.includes('q'), from, numHeads * size).map(
    (row, position) => {
      const factor = temperature(spec.temperature, position);
      return slices(row, size).map((head) => {
        const rope = turned(head.slice(nopeSize), position);
        return Float64Array.from([...head.slice(0, nopeSize), ...rope], (value) => value * factor);
      });
    },
  );
  const latents = norm(own, weights, 'kv_a_norm', project('kv_a', 'k', rank));
  const turnedKeys = project('k_rope', 'k', ropeSize).map(turned);
  const mixed = x.map(() => new Float64Array(numHeads * valueSize));
  for (let h = 0; h < numHeads; h++) {
    // Stored as [rank, nope]: what q becomes is its product.
    const kB = tensor(weights, `heads.${h}.k_b`, rank * nopeSize);
    const keys = latents.map((latent, t) => {
      const nope = Float64Array.from({ length: nopeSize }, (_, n) =>
        latent.reduce((total, value, r) => total + value * kB[r * nopeSize + n], 0),
      );
      return Float64Array.from([...nope, ...turnedKeys[t]]);
    });
    const values = product(weights, `heads.${h}.v_b`, false, latents, valueSize);
    for (const [query, out] of mixed.entries()) {
      const [first, end] = rangeSeen(spec, query, x.length);
      const scores = keys
        .slice(first, end)
        .map((key) => capped(dot(q[query][h], key) * spec.scale, spec.softcap));
      softmax(scores).forEach((share, i) => {
        for (let d = 0; d < valueSize; d++) {
          out[h * valueSize + d] += share * values[first + i][d];
        }
      });
    }
  }
  return product(weights, 'o', biases.includes('o'), mixed, x[0].length);
}
