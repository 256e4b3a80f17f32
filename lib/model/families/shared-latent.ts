/** What families with latent attention have in common: sizes, rope, names, layers with experts. */
import {
  type NativeExperts,
  type NativeLatent,
  type NativeNorm,
  type NativeRouter,
  type NativeTemperature,
  ROUTER_SCORES,
} from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { unsupported } from '../files.js';
import { Harmless } from '../harmless.js';
import { GGUF_NAMES, HF_NAMES, type Layout, type TensorNames, withLayer } from '../names.js';
import { type Rope, yarnMscale } from '../rope.js';
import { ggufRope, hfRope } from '../rope-config.js';
import { expertsOf, ggufExperts, hfExperts, sharedOutSize } from './experts.js';
import {
  hiddenAct,
  layerOf,
  modelOf,
  NO_TEMPERATURE,
  rmsNorm,
  type Sizes,
  sizesOf,
} from './shared.js';

/** DeepSeek-V2 (arXiv 2405.04434), section 2.1: what config.json and GGUF files say of it. */
export interface LatentSizes {
  readonly sizes: Sizes;
  readonly latent: NativeLatent;
  /** Of each head of q and of the row: what rotates. */
  readonly ropeSize: number;
}

export function latentSizes(c: Config): LatentSizes {
  const { f } = c;
  const rank = f.integer(c.name('kv_lora_rank', 'attention.kv_lora_rank'), 2, 4094);
  const ropeSize = f.integer(c.name('qk_rope_head_dim', 'rope.dimension_count'), 2, 4094);
  const queryName = c.name('q_lora_rank', 'attention.q_lora_rank');
  const queryRank = f.has(queryName) ? f.integer(queryName, 1, 2 ** 24) : 0;
  const rowSize = rank + ropeSize;
  if (rank % 2 !== 0 || rowSize > 4096) {
    throw unsupported(f.file, `latent rows of ${rank} + ${ropeSize} values`);
  }
  const [nopeSize, valueSize] = c.gguf ? ggufHead(c, ropeSize) : hfHead(c, ropeSize);
  return {
    sizes: sizesOf(c, { rowSize }),
    latent: { rank, queryRank, nopeSize, valueSize, norm: latentNorm(c) },
    ropeSize,
  };
}

/** The norms of latents have an epsilon of their own, which no file names. */
function latentNorm(c: Config): NativeNorm {
  const norm = rmsNorm(c);
  return c.gguf ? norm : { ...norm, eps: LATENT_EPS };
}
const LATENT_EPS = 1e-6;

function hfHead({ f }: Config, ropeSize: number): [nope: number, value: number] {
  const nopeSize = f.integer('qk_nope_head_dim', 1, 4096);
  const whole = f.integer('qk_head_dim', 2, 8192, nopeSize + ropeSize);
  if (whole !== nopeSize + ropeSize) {
    f.fail('qk_head_dim', `is ${whole}, not ${nopeSize} + ${ropeSize}`);
  }
  return [nopeSize, f.integer('v_head_dim', 1, 4096)];
}

/** Where k_b and v_b are not apart, as in the first files, heads say their sizes as usual ones. */
function ggufHead({ f }: Config, ropeSize: number): [nope: number, value: number] {
  const isApart = f.has('attention.key_length_mla');
  const suffix = isApart ? '_mla' : '';
  const whole = f.integer(`attention.key_length${suffix}`, 2, 8192);
  if (whole <= ropeSize) f.fail(`attention.key_length${suffix}`, `is not above ${ropeSize}`);
  return [whole - ropeSize, f.integer(`attention.value_length${suffix}`, 1, 4096)];
}

/** How the row turns, and what scores are multiplied by. */
export interface LatentRope {
  readonly rope: Rope;
  readonly scale: number;
  readonly temperature: NativeTemperature;
}

const BETA = 'llama_4_scaling_beta';

/**
 * Yarn that says mscale_all_dim multiplies scores by its square, and cos and sin by mscale divided
 * by it. GGUF files have one factor for both, a tenth of it.
 */
export function latentRope(c: Config, { sizes, latent, ropeSize }: LatentSizes): LatentRope {
  const usual = (latent.nopeSize + ropeSize) ** -0.5;
  const read = c.gguf ? ofGguf(c, sizes, ropeSize) : ofHf(c, sizes, latent, ropeSize);
  const { scaling } = read.rope;
  const factor = scaling.type === 'yarn' ? scaling.factor : 1;
  const scale = usual * yarnMscale(factor, read.mscaleAll) ** 2;
  return { rope: read.rope, scale, temperature: temperatureOf(c, read.rope) };
}

interface ReadRope {
  readonly rope: Rope;
  readonly mscaleAll: number;
}

function ofHf(c: Config, sizes: Sizes, latent: NativeLatent, ropeSize: number): ReadRope {
  const { f } = c;
  const settings = f.within('rope_parameters') ?? f.within('rope_scaling');
  // Below 1 of a whole head, else of the part that turns.
  const part = 'partial_rotary_factor';
  const turning = (settings?.has(part) ? settings : f).number(part, 0, 1, 1);
  const headSize = turning < 1 ? latent.nopeSize + ropeSize : ropeSize;
  const beside = [BETA, 'max_position_embeddings'];
  const rope = hfRope(f, headSize, sizes.maxPositionEmbeddings, { partial: true, beside });
  if (rope.size !== ropeSize) {
    f.fail('partial_rotary_factor', `turns ${rope.size} values, qk_rope_head_dim ${ropeSize}`);
  }
  return { rope, mscaleAll: settings?.number('mscale_all_dim', 0, 1e3, 0) ?? 0 };
}

function ofGguf(c: Config, sizes: Sizes, ropeSize: number): ReadRope {
  const { f } = c;
  const rope = ggufRope(f, ropeSize, sizes.maxPositionEmbeddings, c.gguf?.factors ?? new Map());
  const mscaleAll = 10 * f.number('rope.scaling.yarn_log_multiplier', 0, 100, 0);
  const { scaling } = rope;
  if (scaling.type !== 'yarn' || mscaleAll === 0) return { rope, mscaleAll };
  const attentionFactor = scaling.attentionFactor / yarnMscale(scaling.factor);
  return { rope: { ...rope, scaling: { ...scaling, attentionFactor } }, mscaleAll };
}

function temperatureOf(c: Config, { scaling }: Rope): NativeTemperature {
  const settings = c.gguf ? c.f : (c.f.within('rope_parameters') ?? c.f.within('rope_scaling'));
  const beta = settings?.number(c.name(BETA, 'attention.temperature_scale'), 0, 1e6, 0) ?? 0;
  if (beta === 0) return NO_TEMPERATURE;
  if (scaling.type !== 'yarn') c.f.fail('rope', `is ${scaling.type}: no step for a temperature`);
  const name = 'attention.temperature_length';
  const length = c.gguf ? c.f.integer(name, 1, 2 ** 30, scaling.originalMaxLen) : undefined;
  return { beta, length: length ?? scaling.originalMaxLen, offset: 0 };
}

/** Of a model whose heads are so many. */
export function latentNames(c: Config, numHeads: number): TensorNames {
  const heads = (...parts: string[]) =>
    Array.from({ length: numHeads }, (_, h) => parts.map((part) => `heads.${h}.${part}`)).flat();
  const both: Layout = {
    of: heads('k_b', 'v_b'),
    slices: numHeads,
    stacked: true,
    turned: [true, false],
  };
  if (!c.gguf) return withLayer(HF_NAMES, { ...HF, 'self_attn.kv_b_proj': both });
  return withLayer(GGUF_NAMES, {
    ...GGUF,
    attn_k_b: { of: heads('k_b'), slices: numHeads },
    attn_v_b: { of: heads('v_b'), slices: numHeads },
    attn_kv_b: both,
  });
}

const HF = {
  'self_attn.q_a_proj': 'q_a',
  'self_attn.q_a_layernorm': 'q_a_norm',
  'self_attn.q_b_proj': 'q',
  'self_attn.kv_a_proj_with_mqa': ['kv_a', 'k_rope'],
  'self_attn.kv_a_layernorm': 'kv_a_norm',
};
const GGUF = {
  attn_q_a: 'q_a',
  attn_q_a_norm: 'q_a_norm',
  attn_q_b: 'q',
  attn_kv_a_mqa: ['kv_a', 'k_rope'],
  attn_kv_a_norm: 'kv_a_norm',
};

/** What files say of heads that nobody has; of training, and of sharing experts out. */
export const LATENT_HARMLESS = new Harmless([
  ['any', 'head_dim num_key_value_heads'],
  ['any', 'attention.key_length attention.value_length attention.head_count_kv'],
  ['any', 'output_router_logits router_aux_loss_coef router_jitter_noise for_llm_compressor'],
  ['any', 'aux_loss_alpha seq_aux ep_size'],
  [[1], 'moe_layer_freq'],
]);

/** What sets families of this kind apart, in config.json. */
export interface LatentKind {
  readonly router: (c: Config) => Partial<NativeRouter>;
  /** Layers before the first with experts, where no file says. */
  readonly firstDense: number;
  readonly interleaved: boolean;
  /** What config.json leaves out. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /** Of GGUF files, by what groups of experts rank that a softmax scores. */
  readonly ggufGroupBest: number;
}

export const USUAL = { firstDense: 0, interleaved: true, ggufGroupBest: 1 };

/** Dense layers in front, then layers of experts and a shared one. */
export function latentMoe(c: Config, kind: LatentKind): FamilySpec {
  const { f } = c;
  if (!c.gguf) f.defaults(f.has('rope_scaling') ? withoutRope(kind.defaults) : kind.defaults);
  const all = latentSizes(c);
  const { sizes, latent } = all;
  const norm = rmsNorm(c);
  const act = hiddenAct(c, 'silu');
  const { rope, scale, temperature } = latentRope(c, all);
  const [{ numHeads }] = sizes.layers;
  const hasBias = c.flag('attention_bias');
  const own = latent.queryRank > 0 ? ['q', 'k', 'o'] : ['k', 'o'];
  const attentionBiases = hasBias ? own : [];
  const choices = { latent, scale, temperature, attentionBiases, hiddenAct: act };
  const isDense = denseLayers(c, sizes.layers.length, kind.firstDense);
  const frame = modelOf(c, sizes, { norm, rope, interleaved: kind.interleaved });
  const names = latentNames(c, numHeads);
  const intermediateSize = sharedOutSize(c, sizes);
  const shared = c.name('n_shared_experts', 'expert_shared_count');
  const numShared = f.has(shared) ? f.integer(shared, 0, 4096) : 0;
  const experts = expertsOf(c, {
    ...{ intermediateSize, hiddenAct: act },
    router: { choiceBias: hasChoiceBias(c), ...kind.router(c) },
  });
  const groupBest = ggufGroupBest(experts, kind.ggufGroupBest);
  const router = c.gguf ? { ...experts.router, groupBest } : experts.router;
  const beside = { intermediateSize: numShared * intermediateSize };
  return {
    ...frame,
    layers: sizes.layers.map((size, i) =>
      isDense[i]
        ? layerOf(size, norm, choices)
        : layerOf({ ...size, ...beside }, norm, { ...choices, experts: { ...experts, router } }),
    ),
    names: (c.gguf ? ggufExperts : hfExperts)(names, experts.numExperts),
    harmless: LATENT_HARMLESS,
  };
}

function withoutRope({
  rope_parameters: _,
  ...rest
}: LatentKind['defaults']): LatentKind['defaults'] {
  return rest;
}

/** By a list of words, or so many in front. */
function denseLayers({ f, gguf }: Config, count: number, usual: number): boolean[] {
  const types = gguf ? undefined : (f.raw('mlp_layer_types') ?? undefined);
  const name = gguf ? 'leading_dense_block_count' : 'first_k_dense_replace';
  const first = f.integer(name, 0, 4096, usual);
  if (types === undefined) {
    return Array.from({ length: count }, (_, i) => i < first);
  }
  const list = Array.isArray(types) ? types : [];
  if (list.length !== count || list.some((type) => type !== 'dense' && type !== 'sparse')) {
    f.fail('mlp_layer_types', `must say dense or sparse for each of the ${count} layers`);
  }
  return list.map((type) => type === 'dense');
}

function hasChoiceBias({ gguf }: Config): boolean {
  return [...(gguf?.names ?? [])].some((name) => /\.exp_probs_b(\.bias)?$/.test(name));
}

/** V2's groups rank by the best of each, as in Hugging Face; llama.cpp adds the best two. */
function ggufGroupBest({ router }: NativeExperts, ofSoftmax: number): number {
  if (router.numGroups === 1) return 1;
  return router.score === ROUTER_SCORES.sigmoid ? 2 : ofSoftmax;
}
