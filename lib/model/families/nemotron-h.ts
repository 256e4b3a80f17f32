import {
  HIDDEN_ACTS,
  type NativeExperts,
  type NativeLayer,
  type NativeNorm,
  ROUTER_SCORES,
} from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { unsupported } from '../files.js';
import { expertSize, expertsOf } from './experts.js';
import {
  ATTENTION,
  biases,
  hiddenAct,
  layerOf,
  MLP,
  modelOf,
  NO_NORM,
  type Sizes,
  sizesOf,
} from './shared.js';
import { MIXER, mambaOf, mixerNorm } from './shared-mamba.js';
import { defaultsOf, ggufKinds, HARMLESS, hfKinds, type Kind, namesOf } from './shared-nemotron.js';

/**
 * Nemotron H: each layer is one of Mamba 2, attention without positions, an MLP and experts, which
 * have no gate but the square of what is positive.
 */
export function nemotronH(c: Config): FamilySpec {
  const { f } = c;
  if (!c.gguf) f.defaults(defaultsOf(c));
  const sizes = sizesOf(c, { someAttend: true, someFeed: true });
  const kinds = c.gguf
    ? ggufKinds(c, sizes)
    : (hfKinds(c) ?? f.fail('layers_block_type', 'and hybrid_override_pattern are both missing'));
  if (kinds.length !== sizes.layers.length) {
    f.fail('num_hidden_layers', `is not the ${kinds.length} layers that are listed`);
  }
  const norm = mixerNorm(c);
  const model = modelOf(c, sizes, { norm });
  const make = layersOf(c, sizes, norm, kinds);
  return {
    ...model,
    layers: kinds.map((kind, i) => make[kind](i)),
    names: namesOf(c, kinds),
    harmless: HARMLESS,
  };
}

/** A layer of each kind, by its number. */
function layersOf(
  c: Config,
  { layers }: Sizes,
  norm: NativeNorm,
  kinds: readonly Kind[],
): Record<Kind, (i: number) => NativeLayer> {
  const relu2 = hiddenAct(c, 'relu2', 'mlp_hidden_act');
  if (hiddenAct(c, 'silu', 'mamba_hidden_act') !== HIDDEN_ACTS.silu) {
    throw unsupported(c.f.file, 'a mamba_hidden_act that is not silu');
  }
  const mlp = { hiddenAct: relu2, gated: false, mlpBiases: biases(c, MLP, c.flag('mlp_bias')) };
  const attentionBiases = biases(c, ATTENTION, c.flag('attention_bias'));
  const recurrent = kinds.includes('mamba') ? { recurrent: mambaOf(c, MIXER, norm) } : {};
  const experts = kinds.includes('moe') ? expertsOfLayer(c, relu2) : undefined;
  const mixing = (i: number, own: object) =>
    layerOf({ ...layers[i], intermediateSize: 0 }, norm, { mlpNorm: NO_NORM, ...own });
  const feeding = (i: number, intermediateSize: number, own: object) => {
    const { attention: _, ...layer } = layerOf({ ...layers[i], intermediateSize }, norm, {
      ...mlp,
      attnNorm: NO_NORM,
      ...own,
    });
    return layer;
  };
  return {
    mamba: (i) => mixing(i, recurrent),
    attention: (i) => mixing(i, { attentionBiases, rope: -1 }),
    mlp: (i) => feeding(i, layers[i].intermediateSize, {}),
    moe: (i) => feeding(i, sharedSize(c), { experts }),
  };
}

function expertsOfLayer(c: Config, relu2: NativeExperts['hiddenAct']): NativeExperts {
  const { f } = c;
  const latentSize = f.integer('moe_latent_size', 1, 2 ** 20, 0);
  if (c.flag('mlp_bias')) throw unsupported(f.file, 'mlp_bias beside experts');
  return expertsOf(c, {
    intermediateSize: expertSize(c),
    hiddenAct: relu2,
    gated: false,
    ...(latentSize > 0 ? { latentSize } : {}),
    router: {
      score: ROUTER_SCORES.sigmoid,
      choiceBias: true,
      normalize: f.boolean(c.name('norm_topk_prob', 'expert_weights_norm'), true),
      scale: f.number(c.name('routed_scaling_factor', ''), 1e-6, 1e6, 1),
      numGroups: f.integer(c.name('n_group', ''), 1, 4096, 1),
      topGroups: f.integer(c.name('topk_group', ''), 1, 4096, 1),
      groupBest: f.integer(c.name('n_group', ''), 1, 4096, 1) > 1 ? 2 : 1,
    },
  });
}

function sharedSize(c: Config): number {
  const name = c.name('moe_shared_expert_intermediate_size', 'expert_shared_feed_forward_length');
  return c.f.integer(name, 1, 2 ** 24);
}
