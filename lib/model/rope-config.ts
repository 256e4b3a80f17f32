/** From what files say about rotary embeddings to {@link Rope}. */
import { Fields } from './fields.js';
import { damaged, unsupported } from './files.js';
import { type Rope, type RopeScaling, yarnMscale } from './rope.js';

/**
 * config.json, in the old style (rope_theta beside rope_scaling, whose type may be called `type`)
 * and in the new (rope_parameters holds all).
 */
export function hfRope(f: Fields, headSize: number, maxLen: number): Rope {
  const value = f.raw('rope_parameters') ?? f.raw('rope_scaling') ?? {};
  f.raw('rope_scaling');
  if (typeof value !== 'object' || Array.isArray(value)) {
    f.fail('rope_parameters', 'must be an object');
  }
  const s = new Fields(f.file, value as Record<string, unknown>, 'rope_parameters.');
  const theta = s.has('rope_theta')
    ? s.number('rope_theta', 1, 1e12)
    : f.number('rope_theta', 1, 1e12, 10_000);
  const partial = s.has('partial_rotary_factor') ? s : f;
  if (partial.number('partial_rotary_factor', 0, 1, 1) !== 1) {
    throw unsupported(f.file, 'partial_rotary_factor below 1');
  }
  const type = s.string('rope_type', s.string('type', 'default'));
  const scaling = hfScaling(s, type, f, maxLen);
  const unknown = s.unread(new Set(['type', 'rope_type', 'factor']));
  if (unknown.length > 0) throw unsupported(f.file, `the rope setting "${unknown[0]}"`);
  return { size: headSize, theta, scaling };
}

function hfScaling(s: Fields, type: string, f: Fields, maxLen: number): RopeScaling {
  const original = () =>
    s.has('original_max_position_embeddings')
      ? s.number('original_max_position_embeddings', 1, 2 ** 30)
      : f.number('original_max_position_embeddings', 1, 2 ** 30, maxLen);
  switch (type) {
    case 'default':
      return { type };
    case 'linear':
      return { type, factor: factorOf(s, 'factor') };
    case 'llama3': {
      const scaling = {
        type,
        factor: factorOf(s, 'factor'),
        lowFreqFactor: s.number('low_freq_factor', 1e-6, 1e6),
        highFreqFactor: s.number('high_freq_factor', 1e-6, 1e6),
        originalMaxLen: original(),
      } as const;
      if (scaling.highFreqFactor <= scaling.lowFreqFactor) {
        s.fail('high_freq_factor', 'must be above low_freq_factor');
      }
      return scaling;
    }
    case 'yarn':
      return hfYarn(s, original(), maxLen);
    default:
      throw unsupported(f.file, `rope type "${type}"`);
  }
}

function hfYarn(s: Fields, originalMaxLen: number, maxLen: number): RopeScaling {
  const factor = s.has('factor') ? factorOf(s, 'factor') : maxLen / originalMaxLen;
  const mscale = s.number('mscale', 0, 1e3, 0);
  const mscaleAll = s.number('mscale_all_dim', 0, 1e3, 0);
  const byDefault =
    mscale && mscaleAll
      ? yarnMscale(factor, mscale) / yarnMscale(factor, mscaleAll)
      : yarnMscale(factor);
  return {
    type: 'yarn',
    factor,
    originalMaxLen,
    betaFast: s.number('beta_fast', 1e-6, 1e6, 32),
    betaSlow: s.number('beta_slow', 1e-6, 1e6, 1),
    attentionFactor: s.number('attention_factor', 1e-6, 1e6, byDefault),
    truncate: s.boolean('truncate', true),
  };
}

function factorOf(s: Fields, name: string): number {
  return s.number(name, 1e-6, 1e6);
}

/** GGUF metadata; `factors` are the values of rope_freqs.weight (Llama 3's rule, precomputed). */
export function ggufRope(
  f: Fields,
  headSize: number,
  maxLen: number,
  factors: Float32Array | undefined,
): Rope {
  const size = f.integer('rope.dimension_count', 2, 4096, headSize);
  if (size > headSize || size % 2 !== 0) f.fail('rope.dimension_count', 'does not fit the heads');
  const theta = f.number('rope.freq_base', 1, 1e12, 10_000);
  const type = f.string('rope.scaling.type', 'none');
  const factor = f.number('rope.scaling.factor', 1e-6, 1e6, 1);
  const original = f.number('rope.scaling.original_context_length', 1, 2 ** 30, maxLen);
  const attention = f.number('rope.scaling.attn_factor', 1e-6, 1e6, 1);
  if (factors) {
    if (type !== 'none') throw unsupported(f.file, `rope_freqs.weight beside rope type "${type}"`);
    if (factors.length !== size / 2 || !factors.every((x) => x > 1e-6 && x < 1e6)) {
      throw damaged(f.file, 'rope_freqs.weight', 'has factors that cannot be');
    }
    return { size, theta, scaling: { type: 'factors', factors } };
  }
  if (type === 'none') return { size, theta, scaling: { type: 'default' } };
  if (type === 'linear') return { size, theta, scaling: { type, factor } };
  if (type !== 'yarn') throw unsupported(f.file, `rope type "${type}"`);
  const scaling: RopeScaling = {
    type,
    factor,
    originalMaxLen: original,
    betaFast: f.number('rope.scaling.yarn_beta_fast', 1e-6, 1e6, 32),
    betaSlow: f.number('rope.scaling.yarn_beta_slow', 1e-6, 1e6, 1),
    attentionFactor: attention * yarnMscale(factor),
    truncate: true,
  };
  return { size, theta, scaling };
}
