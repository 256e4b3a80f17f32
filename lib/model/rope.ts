/**
 * Inverse frequencies of rotary embeddings with their scalings. Formulas: Su et al. 2021 (RoPE);
 * Chen et al. 2023 (linear); Llama 3.1's wavelength rule; Peng et al. 2023 (YaRN); Ding et al. 2024
 * (LongRoPE), all as Hugging Face's modeling_rope_utils spells them.
 */
import type { NativeRope } from '../native.js';

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
  | {
      /** Divisors by dimension; others for sequences longer than the context before scaling. */
      readonly type: 'longrope';
      readonly shortFactors: Float32Array;
      readonly longFactors: Float32Array;
      readonly originalMaxLen: number;
      readonly attentionFactor: number;
    }
  /** Only so many pairs turn, as if all did. */
  | { readonly type: 'proportional'; readonly factor: number; readonly numPairs: number }
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
    case 'proportional':
      return Float32Array.from(base, (f, i) => (i < scaling.numPairs ? f / scaling.factor : 0));
    case 'factors':
      return Float32Array.from(base, (f, i) => f / scaling.factors[i]);
    case 'longrope':
      return Float32Array.from(base, (f, i) => f / scaling.shortFactors[i]);
    case 'llama3':
      return Float32Array.from(base, (f) => llama3(f, scaling));
    case 'yarn':
      return yarn(base, size, theta, scaling);
  }
}

/** The same for sequences of more than {@link longRopeFrom} tokens; undefined: none differ. */
function longInverseFrequencies(rope: Rope): Float32Array | undefined {
  const { scaling } = rope;
  if (scaling.type !== 'longrope') return undefined;
  return inverseFrequencies({
    ...rope,
    scaling: { type: 'factors', factors: scaling.longFactors },
  });
}

/** What cos and sin are multiplied by. */
export function attentionFactor({ scaling }: Rope): number {
  return 'attentionFactor' in scaling ? scaling.attentionFactor : 1;
}

/** Up to so many tokens the short frequencies count; undefined: there are no others. */
export function longRopeFrom({ scaling }: Rope): number | undefined {
  return scaling.type === 'longrope' ? scaling.originalMaxLen : undefined;
}

/** The table that the native side turns heads by. */
export function ropeTable(rope: Rope, interleaved: boolean): NativeRope {
  const long = longInverseFrequencies(rope);
  return {
    inverseFrequencies: inverseFrequencies(rope),
    ...(long ? { longInverseFrequencies: long } : {}),
    interleaved,
    attentionFactor: attentionFactor(rope),
  };
}

/**
 * The longest context after scaling, in tokens, of a model with `maxLen` positions, as vLLM derives
 * it: yarn stretches the length before scaling, linear the one that the model names. Llama 3's rule
 * and factors by dimension stand in models that name their long length themselves.
 */
export function scaledLength({ scaling }: Rope, maxLen: number): number {
  const { type } = scaling;
  if (type !== 'yarn' && type !== 'linear') return maxLen;
  const original = type === 'yarn' ? scaling.originalMaxLen : maxLen;
  return Math.min(2 ** 30, Math.max(maxLen, Math.floor(original * scaling.factor)));
}

/** Long wavelengths are stretched, short ones kept, those between blended; there may be none. */
function llama3(f: number, s: Extract<RopeScaling, { type: 'llama3' }>): number {
  const wavelength = (2 * Math.PI) / f;
  const border = s.originalMaxLen / s.highFreqFactor;
  if (wavelength < border || (wavelength === border && s.highFreqFactor === s.lowFreqFactor))
    return f;
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
