/** From what files say about rotary embeddings to {@link Rope}. */
import { isDeepStrictEqual } from 'node:util';
import { shown } from '../arguments.js';
import { Fields } from './fields.js';
import { damaged, unsupported } from './files.js';
import { Harmless } from './harmless.js';
import { type Rope, type RopeScaling, yarnMscale } from './rope.js';

/** Of config.json: how layers of one type turn. */
export interface RopeWish {
  /** Key of rope_parameters, where those go by type; none: all types must turn alike. */
  readonly layerType?: 'full_attention' | 'sliding_attention';
  /** May only a part of each head turn? */
  readonly partial?: boolean;
  /** Settings beside those of the rope that the family reads itself. */
  readonly beside?: readonly string[];
  /** Does "dynamic" stand for a theta that an alpha stretches once and for all? */
  readonly alpha?: boolean;
}

/**
 * config.json, in the old style (rope_theta beside rope_scaling, whose type may be called `type`)
 * and in the new (rope_parameters holds all, or all for each type of layer). Files for both carry a
 * setting twice: the one inside rope_parameters counts, as in transformers 5; of the length before
 * scaling both must be the same.
 */
export function hfRope(f: Fields, headSize: number, maxLen: number, wish: RopeWish = {}): Rope {
  const value = ropeSettings(f, wish.layerType);
  const s = new Fields(f.file, value, 'rope_parameters.');
  for (const name of TWICE) f.raw(name);
  const inner = (name: string) => (s.has(name) ? s : f);
  const named = ropesByType(f)
    ? s.number('rope_theta', 1, 1e12)
    : inner('rope_theta').known('rope_theta', 1, 1e12, 10_000);
  const part = inner('partial_rotary_factor').number('partial_rotary_factor', 0, 1, 1);
  const proportional = typeOf(s) === 'proportional';
  if (part !== 1 && !wish.partial && !proportional) {
    throw unsupported(f.file, 'partial_rotary_factor below 1');
  }
  const size = proportional ? headSize : Math.trunc(headSize * part);
  if (size < 2 || size % 2 !== 0) {
    f.fail('partial_rotary_factor', `turns ${size} of ${headSize} values, not an even number`);
  }
  const stretched = wish.alpha && typeOf(s) === 'dynamic' && s.has('alpha');
  const theta = stretched ? stretchedTheta(s, named, size) : named;
  const scaling = stretched
    ? ({ type: 'default' } as const)
    : proportional
      ? proportionalOf(s, Math.floor((headSize * part) / 2))
      : hfScaling(s, typeOf(s), f, maxLen, size);
  for (const name of wish.beside ?? []) s.raw(name);
  const unknown = s.unread(SCALING_HARMLESS);
  if (unknown.length > 0) throw unsupported(f.file, `the rope setting ${shown(unknown[0])}`);
  return { size, theta, scaling };
}

/** Does config.json say for each type of layer how it turns? */
export function ropesByType(f: Fields): boolean {
  return byType(f.raw('rope_parameters'));
}

function byType(parameters: unknown): boolean {
  if (typeof parameters !== 'object' || parameters === null) return false;
  return LAYER_TYPES.some((type) => Object.hasOwn(parameters, type));
}
const LAYER_TYPES = ['full_attention', 'sliding_attention'];

/** Settings that may stand inside and outside. */
const TWICE = ['rope_theta', 'partial_rotary_factor', 'original_max_position_embeddings'];

/** The sections of M-RoPE part positions in space and time, which are one for text. */
const SCALING_HARMLESS = new Harmless([
  ['any', 'type rope_type factor finetuned original_max_position_embeddings'],
  ['any', 'mrope_section mrope_interleaved'],
]);

/** "su" was longrope's first name; early files say "yarn" beside its factors. */
function typeOf(s: Fields): string {
  const type = s.string('rope_type', s.string('type', 'default'));
  if (type === 'mrope') return 'default';
  return type === 'su' || (type === 'yarn' && s.has('long_factor')) ? 'longrope' : type;
}

/** What rope_parameters or rope_scaling says; both only if they name the same type. */
function ropeSettings(f: Fields, layerType?: string): Record<string, unknown> {
  const parameters = f.object('rope_parameters');
  const scaling = f.object('rope_scaling');
  if (parameters !== undefined && byType(parameters)) {
    const inner = new Fields(f.file, parameters, 'rope_parameters.');
    const other = Object.keys(parameters).find((type) => !LAYER_TYPES.includes(type));
    if (other !== undefined) throw unsupported(f.file, `rope_parameters of ${shown(other)}`);
    const types = layerType === undefined ? Object.keys(parameters) : [layerType];
    const [first, ...others] = types.map(
      (type) => inner.object(type) ?? inner.fail(type, 'is missing'),
    );
    if (others.some((other) => !isDeepStrictEqual(other, first))) {
      throw unsupported(f.file, 'rope_parameters that differ by type of layer');
    }
    return first;
  }
  if (parameters === undefined || scaling === undefined) return parameters ?? scaling ?? {};
  const types = [parameters, scaling].map((value) => typeOf(new Fields(f.file, value, 'rope_')));
  if (types[0] !== types[1]) {
    f.fail('rope_scaling', `says ${shown(types[1])}, rope_parameters ${shown(types[0])}`);
  }
  return { ...scaling, ...parameters };
}

/** What stands beside alpha is of types of scaling that this is not. */
function stretchedTheta(s: Fields, theta: number, size: number): number {
  for (const name of ['beta_fast', 'beta_slow', 'mscale', 'mscale_all_dim']) s.raw(name);
  return theta * s.number('alpha', 1e-6, 1e6) ** (size / (size - 2));
}

/** Pairs that turn do so as if all of the head's did. */
function proportionalOf(s: Fields, numPairs: number): RopeScaling {
  return { type: 'proportional', factor: s.number('factor', 1e-6, 1e6, 1), numPairs };
}

function hfScaling(s: Fields, type: string, f: Fields, maxLen: number, size: number): RopeScaling {
  const original = (fallback = maxLen) => lengthBefore(s, f, fallback);
  switch (type) {
    case 'default':
      if (s.number('factor', 0, 1e6, 1) !== 1) s.fail('factor', 'stands without a type of scaling');
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
      if (scaling.highFreqFactor < scaling.lowFreqFactor) {
        s.fail('high_freq_factor', 'must not be below low_freq_factor');
      }
      return scaling;
    }
    case 'yarn':
      return hfYarn(s, original(), maxLen);
    case 'longrope':
      if (original(0) === 0) s.fail('original_max_position_embeddings', 'is missing');
      return hfLongRope(s, original(), maxLen, size);
    default:
      throw unsupported(f.file, `rope type ${shown(type)}`);
  }
}

/** Inside and outside alike: transformers prefers now the one, now the other. */
function lengthBefore(s: Fields, f: Fields, fallback: number): number {
  const name = 'original_max_position_embeddings';
  const outside = f.integer(name, 1, 2 ** 30, fallback);
  const length = s.integer(name, 1, 2 ** 30, outside);
  if (f.has(name) && length !== outside) s.fail(name, `is ${length}, but ${outside} outside of it`);
  return length;
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

/** The attention factor that Ding et al. found: √(1 + ln(factor) / ln(length before scaling)). */
function hfLongRope(s: Fields, originalMaxLen: number, maxLen: number, size: number): RopeScaling {
  const factor = s.has('factor') ? factorOf(s, 'factor') : maxLen / originalMaxLen;
  const byDefault =
    factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(Math.max(2, originalMaxLen)));
  const factors = (name: string) => {
    const list = s.raw(name);
    if (!Array.isArray(list) || !areFactors(list, size)) {
      s.fail(name, `must be a list of ${size / 2} factors`);
    }
    return Float32Array.from(list);
  };
  return {
    type: 'longrope',
    shortFactors: factors('short_factor'),
    longFactors: factors('long_factor'),
    originalMaxLen,
    attentionFactor: s.number('attention_factor', 1e-6, 1e6, byDefault),
  };
}

function areFactors(list: ArrayLike<unknown>, size: number, most = 1e6): boolean {
  const fits = (x: unknown) => typeof x === 'number' && x > 1e-6 && x < most;
  return list.length === size / 2 && Array.from(list).every(fits);
}

function factorOf(s: Fields, name: string): number {
  return s.number(name, 1e-6, 1e6);
}

/** Tensors of a GGUF file that divide frequencies. */
export const GGUF_FACTORS = {
  /** Llama 3's rule, precomputed. */
  all: 'rope_freqs.weight',
  short: 'rope_factors_short.weight',
  long: 'rope_factors_long.weight',
} as const;

/** GGUF metadata; `factors` are the values of {@link GGUF_FACTORS} that the file has. */
export function ggufRope(
  f: Fields,
  headSize: number,
  maxLen: number,
  factors: ReadonlyMap<string, Float32Array>,
): Rope {
  const size = f.integer('rope.dimension_count', 2, 4096, headSize);
  if (size > headSize || size % 2 !== 0) f.fail('rope.dimension_count', 'does not fit the heads');
  const theta = f.number('rope.freq_base', 1, 1e12, 10_000);
  return { size, theta, scaling: ggufScaling(f, size, maxLen, factors) };
}

/** As llama.cpp reads it: a factor without a type is linear. */
function ggufScaling(
  f: Fields,
  size: number,
  maxLen: number,
  factors: ReadonlyMap<string, Float32Array>,
): RopeScaling {
  const factor = f.number('rope.scaling.factor', 1e-6, 1e6, 1);
  const type = f.string('rope.scaling.type', factor === 1 ? 'none' : 'linear');
  const original = f.integer('rope.scaling.original_context_length', 1, 2 ** 30, maxLen);
  const attention = f.number('rope.scaling.attn_factor', 1e-6, 1e5, 1);
  const stored = (name: string, typed: string) => {
    const values = factors.get(name);
    if (values === undefined) return undefined;
    if (type !== 'none' && type !== typed) {
      throw unsupported(f.file, `${name} beside rope type ${shown(type)}`);
    }
    // Of pairs that stand still it is 1e30.
    if (!areFactors(values, size, name === GGUF_FACTORS.all ? 1e31 : 1e6)) {
      throw damaged(f.file, name, 'has factors that cannot be');
    }
    return values;
  };
  const all = stored(GGUF_FACTORS.all, 'none');
  const shortFactors = stored(GGUF_FACTORS.short, 'longrope');
  const longFactors = stored(GGUF_FACTORS.long, 'longrope');
  if (all && (shortFactors || longFactors)) {
    throw unsupported(f.file, `${GGUF_FACTORS.all} beside factors of LongRoPE`);
  }
  if (shortFactors && longFactors) {
    return {
      type: 'longrope',
      shortFactors,
      longFactors,
      originalMaxLen: original,
      attentionFactor: attention,
    };
  }
  if (shortFactors || longFactors) {
    f.fail('rope.scaling', `has ${shortFactors ? 'short' : 'long'} factors only`);
  }
  if (attention !== 1 && type !== 'yarn') {
    throw unsupported(f.file, `rope.scaling.attn_factor beside rope type ${shown(type)}`);
  }
  if (all) return { type: 'factors', factors: all };
  if (type === 'none') return { type: 'default' };
  if (type === 'linear') return { type, factor };
  if (type !== 'yarn') throw unsupported(f.file, `rope type ${shown(type)}`);
  return {
    type,
    factor,
    originalMaxLen: original,
    betaFast: f.number('rope.scaling.yarn_beta_fast', 1e-6, 1e6, 32),
    betaSlow: f.number('rope.scaling.yarn_beta_slow', 1e-6, 1e6, 1),
    attentionFactor: attention * yarnMscale(factor),
    truncate: true,
  };
}
