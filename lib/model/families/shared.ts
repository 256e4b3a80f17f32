/** What families have in common: sizes, norms, ropes, windows, biases, and a layer's usual form. */
import { shown } from '../../arguments.js';
import {
  BRANCHES,
  HIDDEN_ACTS,
  type NativeAttention,
  type NativeLatent,
  type NativeLayer,
  type NativeNorm,
  type NativeRecurrent,
  type NativeTemperature,
  NORMS,
  QK_NORM_SPANS,
} from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { unsupported } from '../files.js';
import { GGUF_NAMES, HF_NAMES, type Layout } from '../names.js';
import { longRopeFrom, type Rope, ropeTable, scaledLength } from '../rope.js';
import { ggufRope, hfRope, type RopeWish, ropesByType } from '../rope-config.js';

const MAX_DIM = 2 ** 24;

export interface LayerSizes {
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headSize: number;
  readonly intermediateSize: number;
}

export interface Sizes {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  /** As the file says; scaling may add to it. */
  readonly maxPositionEmbeddings: number;
  readonly layers: readonly LayerSizes[];
}

/** Names in config.json that a family has of its own. */
export interface SizeNames {
  readonly hiddenSize?: string;
  readonly numLayers?: string;
  readonly numHeads?: string;
  readonly intermediateSize?: string;
  readonly maxPositionEmbeddings?: string;
  /** Layers may have no heads of keys, as GGUF files say that they do not attend. */
  readonly someAttend?: boolean;
  /** Layers may have no MLP; GGUF files say so by 0. */
  readonly someFeed?: boolean;
  /** Where no intermediate size is named: so many times the hidden one. */
  readonly intermediatePerHidden?: number;
  /** Of a row that all heads share, in families that cache one: no other size of heads is read. */
  readonly rowSize?: number;
}

/** Of models in which some layers keep a state instead. */
export const SOME_ATTEND: SizeNames = { someAttend: true };

export function sizesOf(c: Config, names: SizeNames = {}): Sizes {
  const { f } = c;
  const layersName = c.name(names.numLayers ?? 'num_hidden_layers', 'block_count');
  const blocks = f.integer(layersName, 1, 4096);
  const count = c.gguf ? blocks - c.numMtpLayers : blocks; // GGUF files count those too
  if (count < 1) f.fail(layersName, `(${blocks}) leaves no layer`);
  const headsName = c.name(names.numHeads ?? 'num_attention_heads', 'attention.head_count');
  const numHeads = f.integer(headsName, 1, 4096);
  const hidden = c.name(names.hiddenSize ?? 'hidden_size', 'embedding_length');
  const hiddenSize = f.integer(hidden, 1, MAX_DIM);
  const kvName = c.name('num_key_value_heads', 'attention.head_count_kv');
  const headName = c.name('head_dim', 'attention.key_length');
  const { rowSize } = names;
  const headSize = rowSize ?? f.integer(headName, 1, 4096, hiddenSize / numHeads);
  if (c.gguf && rowSize === undefined) {
    if (f.integer('attention.value_length', 1, 4096, headSize) !== headSize) {
      throw unsupported(f.file, 'a value head size that differs from the key head size');
    }
  }
  const kvHeads = rowSize
    ? Array<number>(count).fill(1)
    : f.perLayer(kvName, count, names.someAttend ? 0 : 1, 4096, numHeads);
  const ffnName = c.name(names.intermediateSize ?? 'intermediate_size', 'feed_forward_length');
  const ffnUsual = names.intermediatePerHidden && names.intermediatePerHidden * hiddenSize;
  const ffns = f.perLayer(ffnName, count, names.someFeed ? 0 : 1, MAX_DIM, ffnUsual);
  const maxName = c.name(
    names.maxPositionEmbeddings ?? 'max_position_embeddings',
    'context_length',
  );
  const own = c.gguf ? undefined : f.within('per_layer_config');
  const layers = kvHeads.map((numKvHeads, i) => {
    const layer = { numHeads, numKvHeads, headSize, intermediateSize: ffns[i] };
    return { ...layer, ...ownSizes(own, i, layer) };
  });
  const [noLayer] = own?.unread() ?? [];
  if (noLayer !== undefined) {
    own?.fail(noLayer, `is none of the ${count} layers`);
  }
  for (const layer of layers) {
    if (layer.numKvHeads > 0 && numHeads % layer.numKvHeads !== 0) {
      f.fail(kvName, `(${layer.numKvHeads}) does not divide the ${numHeads} query heads`);
    }
    if (layer.headSize % 2 !== 0) f.fail(headName, `is ${layer.headSize}, which is odd`);
  }
  return {
    vocabSize: c.gguf?.vocabSize ?? f.integer('vocab_size', 1, MAX_DIM),
    hiddenSize,
    maxPositionEmbeddings: f.integer(maxName, 1, 2 ** 30),
    layers,
  };
}

/** What config.json's per_layer_config says of one layer. */
function ownSizes(
  layers: Config['f'] | undefined,
  i: number,
  all: LayerSizes,
): Partial<LayerSizes> {
  const own = layers?.within(String(i));
  if (own === undefined) return {};
  const sizes = {
    numKvHeads: own.integer('num_key_value_heads', 1, 4096, all.numKvHeads),
    headSize: own.integer('head_dim', 1, 4096, all.headSize),
    intermediateSize: own.integer('intermediate_size', 1, MAX_DIM, all.intermediateSize),
  };
  const [unknown] = own.unread();
  if (unknown !== undefined) {
    throw unsupported(own.file, `the setting ${shown(unknown)} of one layer`);
  }
  return sizes;
}

export const NO_NORM: NativeNorm = {
  kind: NORMS.none,
  eps: 0,
  offset: false,
  weight: false,
  bias: false,
};

/**
 * @param offset in Hugging Face files the weight is 1 + w; GGUF files hold the sum
 * @param hf what config.json calls its epsilon
 */
export function rmsNorm(c: Config, offset = false, hf = 'rms_norm_eps'): NativeNorm {
  const name = c.name(hf, 'attention.layer_norm_rms_epsilon');
  const eps = c.f.known(name, 0, 1, c.gguf ? undefined : 1e-6);
  return { kind: NORMS.rms, eps, offset: offset && !c.gguf, weight: true, bias: false };
}

/** @param hf what config.json calls its epsilon */
export function layerNorm(c: Config, hf: string, bias = true): NativeNorm {
  const name = c.name(hf, 'attention.layer_norm_epsilon');
  const eps = c.f.known(name, 0, 1, 1e-5);
  return { kind: NORMS.layer, eps, offset: false, weight: true, bias };
}

type HiddenAct = NativeLayer['mlp']['hiddenAct'];

/** gelu_pytorch_tanh, gelu_new and gelu_fast are one tanh form. */
const ACTS: Readonly<Record<string, keyof typeof HIDDEN_ACTS>> = {
  silu: 'silu',
  swish: 'silu',
  gelu_pytorch_tanh: 'geluTanh',
  gelu_new: 'geluTanh',
  gelu_fast: 'geluTanh',
  gelu: 'gelu',
  relu2: 'relu2',
};

/** @param usual what the family has where the file does not say; GGUF files never do */
export function hiddenAct(c: Config, usual: string, name = 'hidden_act'): HiddenAct {
  const act = c.gguf ? usual : c.f.string(name, usual);
  if (!Object.hasOwn(ACTS, act)) throw unsupported(c.f.file, `${name} ${shown(act)}`);
  return HIDDEN_ACTS[ACTS[act]];
}

export const ATTENTION = ['q', 'k', 'v', 'o'];
export const MLP = ['gate', 'up', 'down'];

/** Which of `all` have a bias: those the family says; of a GGUF file those it holds. */
export function biases(c: Config, all: string[], said: readonly string[] | boolean): string[] {
  const { gguf } = c;
  if (gguf) return all.filter((name) => gguf.biases.has(name));
  return all.filter((name) => (typeof said === 'boolean' ? said : said.includes(name)));
}

export function ropeOf(c: Config, sizes: Sizes, wish: RopeWish = {}): Rope {
  const [{ headSize }] = sizes.layers;
  const { maxPositionEmbeddings } = sizes;
  return c.gguf
    ? ggufRope(c.f, headSize, maxPositionEmbeddings, c.gguf.factors)
    : hfRope(c.f, headSize, maxPositionEmbeddings, wish);
}

/**
 * Of layers that slide, unscaled where the others turn by `full`. A file names their theta, or it
 * is `usual`.
 */
export function slidingRope(c: Config, sizes: Sizes, { size }: Rope, usual: number): Rope {
  if (!c.gguf && ropesByType(c.f)) {
    const [{ headSize }] = sizes.layers;
    return hfRope(c.f, headSize, sizes.maxPositionEmbeddings, { layerType: 'sliding_attention' });
  }
  const name = c.name('rope_local_base_freq', 'rope.freq_base_swa');
  return { size, theta: c.f.number(name, 1, 1e12, usual), scaling: { type: 'default' } };
}

/**
 * By layer: tokens a query sees, itself included; 0 = all.
 * @param slides which layers have a window where the file has no list
 * @param on false: no layer has one, whatever size is named
 */
export function windowsOf(
  c: Config,
  count: number,
  slides: (layer: number) => boolean,
  on = true,
): number[] {
  const { f } = c;
  const sizeName = c.name('sliding_window', 'attention.sliding_window');
  const low = c.gguf || !on ? 0 : 1;
  const named = f.has(sizeName) ? f.integer(sizeName, low, 2 ** 30) : 0;
  const size = on ? named : 0;
  const listed = c.gguf ? ggufPattern(c, count) : hfPattern(c, count, size);
  return Array.from({ length: count }, (_, i) => ((listed?.[i] ?? slides(i)) ? size : 0));
}

function hfPattern({ f }: Config, count: number, size: number): boolean[] | undefined {
  const types = layerTypes(f, count, ['full_attention', 'sliding_attention']);
  const slide = types?.map((type) => type === 'sliding_attention');
  if (size === 0 && slide?.includes(true)) {
    f.fail('layer_types', 'has sliding_attention, but no sliding_window is in force');
  }
  return slide;
}

/** True for each layer that slides, or a number n: each n-th sees all. */
function ggufPattern({ f }: Config, count: number): boolean[] | undefined {
  const name = 'attention.sliding_window_pattern';
  if (!f.has(name)) return undefined;
  const value = f.raw(name);
  if (typeof value !== 'number') return f.perLayer(name, count, 0, 1).map((n) => n === 1);
  const nth = f.integer(name, 1, 4096);
  return Array.from({ length: count }, (_, i) => (i + 1) % nth !== 0);
}

/** Each so-manieth layer sees all, in a config.json without a list; two spellings. */
export function windowStep({ f }: Config, usual: number): number {
  const since453 = f.integer('_sliding_window_pattern', 1, 4096, usual);
  return f.integer('sliding_window_pattern', 1, 4096, since453);
}

/** config.json's layer_types, none but `known`; undefined where it has no such list. */
export function layerTypes(f: Config['f'], count: number, known: string[]): string[] | undefined {
  const types = f.raw('layer_types') ?? undefined;
  if (types === undefined) return undefined;
  if (!Array.isArray(types) || types.length !== count) {
    f.fail('layer_types', `must be a list with one word for each of the ${count} layers`);
  }
  for (const type of types) {
    if (!known.includes(type)) throw unsupported(f.file, `layer type ${shown(type)}`);
  }
  return types;
}

/** config.json of a text model inside another names it outside; a GGUF file just has no head. */
export function tiedHead(c: Config): boolean {
  if (c.gguf) return !c.gguf.names.has('output.weight');
  const inner = c.f.boolean('tie_word_embeddings', false);
  return c.top.boolean('tie_word_embeddings', inner);
}

type Attention = NativeAttention;

export const NO_TEMPERATURE: NativeTemperature = { beta: 0, length: 1, offset: 0 };

/** Where a layer differs from {@link layerOf}'s usual. */
export interface LayerChoices
  extends Partial<Pick<NativeLayer, 'attnNorm' | 'postAttnNorm' | 'mlpNorm' | 'postMlpNorm'>>,
    Partial<Pick<NativeLayer, 'branches' | 'residualScale' | 'scaled' | 'experts'>>,
    Partial<
      Pick<Attention, 'causal' | 'window' | 'chunked' | 'rope' | 'scale' | 'softcap' | 'sinks'>
    >,
    Partial<Pick<Attention, 'qkNorm' | 'qkNormSpan' | 'qkNormAfterRope' | 'temperature'>>,
    Partial<Pick<Attention, 'vNorm' | 'valueIsKey' | 'kvLayer'>> {
  readonly attentionGated?: boolean;
  readonly attentionBiases?: readonly string[];
  readonly mlpBiases?: readonly string[];
  readonly hiddenAct?: HiddenAct;
  readonly gated?: boolean;
  /** In place of attention. */
  readonly recurrent?: NativeRecurrent;
  readonly latent?: NativeLatent;
}

/** A norm before each branch, heads that turn by the first rope and see all, a gated MLP. */
export function layerOf(size: LayerSizes, norm: NativeNorm, own: LayerChoices = {}): NativeLayer {
  const { intermediateSize } = size;
  return {
    branches: own.branches ?? BRANCHES.serial,
    attnNorm: own.attnNorm ?? norm,
    postAttnNorm: own.postAttnNorm ?? NO_NORM,
    mlpNorm: own.mlpNorm ?? norm,
    postMlpNorm: own.postMlpNorm ?? NO_NORM,
    ...(own.recurrent ? { recurrent: own.recurrent } : { attention: attentionOf(size, own) }),
    mlp: {
      intermediateSize,
      hiddenAct: own.hiddenAct ?? HIDDEN_ACTS.silu,
      gated: own.gated ?? true,
      biases: own.mlpBiases ?? [],
    },
    ...(own.experts ? { experts: own.experts } : {}),
    residualScale: own.residualScale ?? 1,
    ...(own.scaled ? { scaled: true } : {}),
  };
}

function attentionOf(
  { numHeads, numKvHeads, headSize }: LayerSizes,
  own: LayerChoices,
): NativeAttention {
  return {
    ...{ numHeads, numKvHeads, headSize },
    causal: own.causal ?? true,
    window: own.window ?? 0,
    chunked: own.chunked ?? false,
    rope: own.rope ?? 0,
    scale: own.scale ?? 1 / Math.sqrt(headSize),
    softcap: own.softcap ?? 0,
    sinks: own.sinks ?? false,
    qkNorm: own.qkNorm ?? NO_NORM,
    qkNormSpan: own.qkNormSpan ?? QK_NORM_SPANS.head,
    qkNormAfterRope: own.qkNormAfterRope ?? false,
    temperature: own.temperature ?? NO_TEMPERATURE,
    gated: own.attentionGated ?? false,
    biases: own.attentionBiases ?? [],
    ...(own.vNorm ? { vNorm: own.vNorm } : {}),
    ...(own.valueIsKey ? { valueIsKey: true } : {}),
    ...(own.kvLayer === undefined ? {} : { kvLayer: own.kvLayer }),
    ...(own.latent ? { latent: own.latent } : {}),
  };
}

/** Of q and k, a weight of its own for each head, all in one tensor [heads, head size]. */
export function headNorms({ layers: [size] }: Sizes): Record<string, Layout> {
  const slices = (name: string, heads: number): Layout => ({
    of: Array.from({ length: heads }, (_, head) => `${name}.${head}`),
    slices: heads,
  });
  const q = slices('q_norm', size.numHeads);
  const k = slices('k_norm', size.numKvHeads);
  return { 'self_attn.q_norm': q, 'self_attn.k_norm': k, attn_q_norm: q, attn_k_norm: k };
}

export interface ModelParts {
  readonly norm: NativeNorm;
  /** None: positions are learned. */
  readonly rope?: Rope;
  readonly interleaved?: boolean;
}

/** A model without its layers. */
export type ModelFrame = Omit<FamilySpec, 'layers' | 'head'> & Required<Pick<FamilySpec, 'head'>>;

/** A model of such layers: one rope, plain embedding and logits, the usual names. */
export function modelOf(
  c: Config,
  sizes: Sizes,
  { norm, rope, interleaved }: ModelParts,
): ModelFrame {
  const { vocabSize, hiddenSize, maxPositionEmbeddings } = sizes;
  return {
    ...{ vocabSize, hiddenSize },
    embedding: { scale: 1, numPositions: 0, numTokenTypes: 0, norm: NO_NORM },
    ropes: rope ? [ropeTable(rope, interleaved ?? false)] : [],
    finalNorm: norm,
    head: { tied: tiedHead(c), scale: 1, softcap: 0 },
    maxPositionEmbeddings: rope ? scaledLength(rope, maxPositionEmbeddings) : maxPositionEmbeddings,
    longRopeFrom: rope && longRopeFrom(rope),
    names: c.gguf ? GGUF_NAMES : HF_NAMES,
  };
}
