/** How far a model's own conditioning carries a rounding: weights that are off by one. */
import type { Weights } from '../reference/spec-interpreter.js';
import type { Random } from './random.js';

/** What one rounding is: of float32, and of the 16-bit numbers of the CUDA kernels' activations. */
export const ROUNDINGS = { float32: 2 ** -24, float16: 2 ** -11 };

/** Weights that are off by a rounding or two, at random. */
export function shaken(weights: Weights, rounding: number, rng: Random): Weights {
  const off = (value: number) => value * (1 + (rng.integer(3) - 1) * 2 * rounding);
  return new Map([...weights].map(([name, values]) => [name, values.map(off)]));
}
