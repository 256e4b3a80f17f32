/** What the parts of the interpreter are made of, in float64. */
import { HIDDEN_ACTS, type NativeMlp, type NativeNorm, NORMS } from '../../lib/native.js';
import { erf } from './erf.js';

/** Values of every tensor by its canonical name, matrices as [out, in]. */
export type Weights = ReadonlyMap<string, Float64Array>;

/** Rows of equal length. */
export type Matrix = Float64Array[];

/** The weight of a tensor whose length is known. */
export function tensor(weights: Weights, name: string, length: number): Float64Array {
  const values = weights.get(name);
  if (values?.length !== length) {
    throw new Error(`${name}: ${values?.length ?? 'no'} values, not ${length}`);
  }
  return values;
}

export function scoped(weights: Weights, prefix: string): Weights {
  const inside = [...weights].filter(([name]) => name.startsWith(prefix));
  return new Map(inside.map(([name, values]) => [name.slice(prefix.length), values]));
}

export function norm(spec: NativeNorm, weights: Weights, name: string, rows: Matrix): Matrix {
  if (spec.kind === NORMS.none) return rows;
  const { length } = rows[0];
  const stored = spec.weight ? tensor(weights, name, length) : undefined;
  const bias = spec.kind === NORMS.layer && spec.bias;
  const shift = bias ? tensor(weights, `${name}.bias`, length) : undefined;
  return rows.map((row) => {
    const mean = spec.kind === NORMS.layer ? sum(row) / length : 0;
    const variance = sum(row.map((value) => (value - mean) ** 2)) / length;
    const deviation = Math.sqrt(variance + spec.eps);
    return row.map((value, i) => {
      const weight = stored ? ((spec.offset ? 1 : 0) + stored[i]) * (spec.scale ?? 1) : 1;
      return ((value - mean) / deviation) * weight + (shift ? shift[i] : 0);
    });
  });
}

/** x · weightᵀ + bias. */
export function product(
  weights: Weights,
  name: string,
  bias: boolean,
  x: Matrix,
  size: number,
): Matrix {
  const columns = x[0].length;
  const matrix = tensor(weights, name, size * columns);
  const shift = bias ? tensor(weights, `${name}.bias`, size) : undefined;
  return x.map((row) => {
    const out = new Float64Array(size);
    for (let r = 0; r < size; r++) {
      let total = shift ? shift[r] : 0;
      for (let c = 0; c < columns; c++) total += matrix[r * columns + c] * row[c];
      out[r] = total;
    }
    return out;
  });
}

export function activation(act: NativeMlp['hiddenAct']): (x: number) => number {
  switch (act) {
    case HIDDEN_ACTS.silu:
      return (x) => x / (1 + Math.exp(-x));
    case HIDDEN_ACTS.geluTanh:
      return (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    case HIDDEN_ACTS.gelu:
      return (x) => 0.5 * x * (1 + erf(x / Math.SQRT2));
    case HIDDEN_ACTS.relu2:
      return (x) => Math.max(x, 0) ** 2;
    case HIDDEN_ACTS.sigmoid:
      return (x) => 1 / (1 + Math.exp(-x));
    case HIDDEN_ACTS.tanh:
      return Math.tanh;
  }
}

export function capped(value: number, cap: number): number {
  return cap > 0 ? cap * Math.tanh(value / cap) : value;
}

export function softmax(scores: readonly number[]): number[] {
  const max = Math.max(...scores);
  const shares = scores.map((score) => Math.exp(score - max));
  const total = sum(shares);
  return shares.map((share) => share / total);
}

export function slices(row: Float64Array, size: number): Matrix {
  return Array.from({ length: row.length / size }, (_, i) =>
    row.subarray(i * size, (i + 1) * size),
  );
}

export function dot(a: Float64Array, b: Float64Array): number {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i] * b[i];
  return total;
}

export function sum(values: Float64Array | readonly number[]): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}
