/** Recurrent layers in float64, token by token, as their papers write them. */
import { type NativeRecurrent, RECURRENT_KINDS } from '../../lib/native.js';

type Matrix = Float64Array[];

/** What the layer's projections make of its rows, and its small weights. */
export interface RecurrentInputs {
  /** Of the convolution, q | k | v: one row per token. */
  readonly mixed: Matrix;
  /** [channels, convWidth], the oldest input's first. */
  readonly conv: Float64Array;
  readonly convBias: Float64Array | undefined;
  /** Before their activations, [tokens][value heads]; ssm has no beta. */
  readonly beta: Matrix;
  readonly decay: Matrix;
  /** Of each value head: negative, and added before the softplus. */
  readonly rate: Float64Array;
  readonly shift: Float64Array;
  readonly skip?: Float64Array | undefined;
}

export const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const silu = (row: Float64Array) => row.map((x) => x * sigmoid(x));
export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Σ_j weight[c][j] · x[t − width + 1 + j][c] + bias[c]; before the text all is 0. */
export function convolve(
  x: Matrix,
  weight: Float64Array,
  bias: Float64Array | undefined,
  width: number,
): Matrix {
  return x.map((row, t) =>
    row.map((_, c) => {
      let sum = bias?.[c] ?? 0;
      for (let j = 0; j < width; j++) {
        const from = t - width + 1 + j;
        if (from >= 0) sum += weight[c * width + j] * x[from][c];
      }
      return sum;
    }),
  );
}

function unit(x: Float64Array): Float64Array {
  const length = Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) + 1e-6);
  return x.map((value) => value / length);
}

/** o of each token, [value heads · value size]; a conv has none. */
export function recur(r: NativeRecurrent, inputs: RecurrentInputs): Matrix {
  const { numKeyHeads, numValueHeads, keySize, valueSize } = r;
  const rows = convolve(inputs.mixed, inputs.conv, inputs.convBias, r.convWidth).map(silu);
  const keys = numKeyHeads * keySize;
  const out = rows.map(() => new Float64Array(numValueHeads * valueSize));
  for (let h = 0; h < numValueHeads; h++) {
    const key = r.tiled ? h % numKeyHeads : Math.floor((h * numKeyHeads) / numValueHeads);
    const state = new Float64Array(keySize * valueSize);
    rows.forEach((row, t) => {
      const q = row.subarray(key * keySize, (key + 1) * keySize);
      const k = row.subarray(keys + key * keySize, keys + (key + 1) * keySize);
      const v = row.subarray(2 * keys + h * valueSize, 2 * keys + (h + 1) * valueSize);
      const at = { t, h, state, q, k, v };
      const o = r.kind === RECURRENT_KINDS.delta ? delta(r, inputs, at) : select(r, inputs, at);
      out[t].set(o, h * valueSize);
    });
  }
  return out;
}

/** A token, a value head, and what there is of both. */
interface Place {
  readonly t: number;
  readonly h: number;
  readonly state: Float64Array;
  readonly q: Float64Array;
  readonly k: Float64Array;
  readonly v: Float64Array;
}

function delta(r: NativeRecurrent, inputs: RecurrentInputs, at: Place): Float64Array {
  const { t, h, state, v } = at;
  const [q, k] = [unit(at.q), unit(at.k)];
  const { keySize, valueSize } = r;
  const decay = Math.exp(inputs.rate[h] * softplus(inputs.decay[t][h] + inputs.shift[h]));
  const beta = sigmoid(inputs.beta[t][h]);
  for (let i = 0; i < state.length; i++) state[i] *= decay;
  return v.map((value, j) => {
    let known = 0;
    for (let d = 0; d < keySize; d++) known += state[d * valueSize + j] * k[d];
    const u = beta * (value - known);
    let o = 0;
    for (let d = 0; d < keySize; d++) {
      state[d * valueSize + j] += k[d] * u;
      o += (state[d * valueSize + j] * q[d]) / Math.sqrt(keySize);
    }
    return o;
  });
}

function select(r: NativeRecurrent, inputs: RecurrentInputs, at: Place): Float64Array {
  const { t, h, state, q, k, v } = at;
  const { keySize, valueSize, dtMin = 0, dtMax = Number.POSITIVE_INFINITY } = r;
  const raw = softplus(inputs.decay[t][h] + inputs.shift[h]);
  const step = Math.min(dtMax, Math.max(dtMin, raw));
  const decay = Math.exp(inputs.rate[h] * step);
  return v.map((value, j) => {
    let o = (inputs.skip?.[h] ?? 0) * value;
    for (let d = 0; d < keySize; d++) {
      const i = d * valueSize + j;
      state[i] = decay * state[i] + step * k[d] * value;
      o += state[i] * q[d];
    }
    return o;
  });
}
