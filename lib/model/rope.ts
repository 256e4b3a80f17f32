/**
 * Inverse frequencies of rotary embeddings with their scalings. Formulas: Su et al. 2021 (RoPE);
 * Chen et al. 2023 (linear); Llama 3.1's wavelength rule; Peng et al. 2023 (YaRN), all as Hugging
 * Face's modeling_rope_utils spells them.
 */

export type RopeScaling =
  | { readonly type: 'default' }
  | { readonly type: 'linear'; readonly factor: number }
  | {
      readonly type: 'llama3';
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      /** Context length before scaling, in tokens. */
      readonly originalMaxLen: number;
    }
  | {
      readonly type: 'yarn';
      readonly factor: number;
      readonly originalMaxLen: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      /** Multiplies cos and sin. */
      readonly attentionFactor: number;
      /** Are the borders of the ramp rounded to whole dimensions? */
      readonly truncate: boolean;
    }
  /** Divisors by dimension, as GGUF files carry them (rope_freqs.weight). */
  | { readonly type: 'factors'; readonly factors: Float32Array };

export interface Rope {
  /** Dimensions of a head that rotate. */
  readonly size: number;
  readonly theta: number;
  readonly scaling: RopeScaling;
}

/** [size / 2] radians per position. */
export function inverseFrequencies({ size, theta, scaling }: Rope): Float32Array {
  const half = size / 2;
  const base = Float64Array.from({ length: half }, (_, i) => theta ** (-(2 * i) / size));
  switch (scaling.type) {
    case 'default':
      return Float32Array.from(base);
    case 'linear':
      return Float32Array.from(base, (f) => f / scaling.factor);
    case 'factors':
      return Float32Array.from(base, (f, i) => f / scaling.factors[i]);
    case 'llama3':
      return Float32Array.from(base, (f) => llama3(f, scaling));
    case 'yarn':
      return yarn(base, size, theta, scaling);
  }
}

/** What cos and sin are multiplied by. */
export function attentionFactor({ scaling }: Rope): number {
  return scaling.type === 'yarn' ? scaling.attentionFactor : 1;
}

/** Long wavelengths are stretched, short ones kept, those between blended. */
function llama3(f: number, s: Extract<RopeScaling, { type: 'llama3' }>): number {
  const wavelength = (2 * Math.PI) / f;
  if (wavelength < s.originalMaxLen / s.highFreqFactor) return f;
  if (wavelength > s.originalMaxLen / s.lowFreqFactor) return f / s.factor;
  const smooth =
    (s.originalMaxLen / wavelength - s.lowFreqFactor) / (s.highFreqFactor - s.lowFreqFactor);
  return (1 - smooth) * (f / s.factor) + smooth * f;
}

/** A ramp over the dimensions from extrapolation (kept) to interpolation (stretched). */
function yarn(
  base: Float64Array,
  size: number,
  theta: number,
  s: Extract<RopeScaling, { type: 'yarn' }>,
): Float32Array {
  const dimOf = (rotations: number) =>
    (size * Math.log(s.originalMaxLen / (rotations * 2 * Math.PI))) / (2 * Math.log(theta));
  const round = s.truncate;
  const low = Math.max(round ? Math.floor(dimOf(s.betaFast)) : dimOf(s.betaFast), 0);
  let high = Math.min(round ? Math.ceil(dimOf(s.betaSlow)) : dimOf(s.betaSlow), size - 1);
  if (high === low) high += 0.001;
  return Float32Array.from(base, (f, i) => {
    const ramp = Math.min(1, Math.max(0, (i - low) / (high - low)));
    return (f / s.factor) * ramp + f * (1 - ramp);
  });
}

/** YaRN's default: 0.1 · mscale · ln(factor) + 1. */
export function yarnMscale(factor: number, mscale = 1): number {
  return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
}
