import { QK_NORM_SPANS, ROUTER_SCORES } from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { unsupported } from '../files.js';
import { Harmless } from '../harmless.js';
import { GGUF_NAMES, HF_NAMES, withLayer } from '../names.js';
import { allExperts, expertSize, expertsOf, ggufExperts, hfExperts } from './experts.js';
import { MATRICES } from './mixtral.js';
import { ATTENTION, biases, hiddenAct, modelOf, rmsNorm, ropeOf, sizesOf } from './shared.js';

/** MiniMax M2: norms of q and k over the whole projection, a part of each head turns, experts. */
export function minimaxM2(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults(HF_DEFAULTS);
  const sizes = sizesOf(c);
  const [{ headSize }] = sizes.layers;
  if (!c.gguf && c.f.has('rotary_dim')) {
    const turning = c.f.integer('rotary_dim', 2, headSize);
    c.f.defaults({ partial_rotary_factor: turning / headSize });
  }
  if (!c.gguf) {
    c.countMtpLayers('num_mtp_modules', 'mtp_transformer_layers');
    checkKinds(c, sizes.layers.length);
  }
  const norm = rmsNorm(c);
  const act = hiddenAct(c, 'silu');
  const experts = expertsOf(c, {
    hiddenAct: act,
    router: { score: ROUTER_SCORES.sigmoid, choiceBias: true, normalize: true },
  });
  const choices = {
    ...{ qkNorm: norm, qkNormSpan: QK_NORM_SPANS.projection, hiddenAct: act },
    attentionBiases: biases(c, ATTENTION, false),
  };
  const inner = c.gguf && expertSize(c);
  return {
    ...modelOf(c, sizes, { norm, rope: ropeOf(c, sizes, { partial: true }) }),
    layers: allExperts(sizes, norm, experts, () => choices, inner),
    names: c.gguf
      ? ggufExperts(GGUF_NAMES, experts.numExperts)
      : withLayer(hfExperts(HF_NAMES, experts.numExperts, BLOCK, MATRICES), {}, BARE),
    harmless: HARMLESS,
  };
}

/** Of each layer's attention, as the files of MiniMax's models say it: 1, or 0 = a linear one. */
function checkKinds({ f }: Config, count: number): void {
  const kinds = f.perLayer('attn_type_list', count, 0, 1, 1);
  if (kinds.includes(0)) throw unsupported(f.file, 'attn_type_list of 0');
}

const BLOCK = 'block_sparse_moe';
const BARE = { [`${BLOCK}.e_score_correction_bias`]: 'router.choice_bias' };

/** Of files that leave them out. */
const HF_DEFAULTS = {
  ...{ num_key_value_heads: 8, head_dim: 128, num_local_experts: 256, num_experts_per_tok: 8 },
  rope_theta: 5_000_000,
};

/** What the published files say and the class has no switch for. */
const HARMLESS = new Harmless([
  ['any', 'router_aux_loss_coef router_jitter_noise output_router_logits use_mtp'],
  [[true], 'use_routing_bias'],
  [['per_layer'], 'qk_norm_type'],
  [['sigmoid'], 'scoring_func'],
  [[0], 'shared_intermediate_size'],
]);
