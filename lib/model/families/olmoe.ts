import { QK_NORM_SPANS } from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { Harmless } from '../harmless.js';
import { GGUF_NAMES, HF_NAMES } from '../names.js';
import { allExperts, expertsOf, ggufExperts, hfExperts } from './experts.js';
import { ATTENTION, biases, hiddenAct, modelOf, rmsNorm, ropeOf, sizesOf } from './shared.js';

/** OLMoE: norms of q and k over the whole projection, experts whose weights need not sum to one. */
export function olmoe(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults(HF_DEFAULTS);
  const sizes = sizesOf(c);
  const norm = rmsNorm(c);
  const act = hiddenAct(c, 'silu');
  const router = { normalize: c.flag('norm_topk_prob') };
  const experts = expertsOf(c, { hiddenAct: act, router });
  const choices = {
    ...{ qkNorm: norm, qkNormSpan: QK_NORM_SPANS.projection, hiddenAct: act },
    attentionBiases: biases(c, ATTENTION, c.flag('attention_bias')),
  };
  return {
    ...modelOf(c, sizes, { norm, rope: ropeOf(c, sizes) }),
    layers: allExperts(sizes, norm, experts, () => choices),
    names: c.gguf
      ? ggufExperts(GGUF_NAMES, experts.numExperts)
      : hfExperts(HF_NAMES, experts.numExperts),
    harmless: HARMLESS,
  };
}

/** Of files that leave them out. */
const HF_DEFAULTS = { num_experts: 64, num_experts_per_tok: 8, rms_norm_eps: 1e-5 };

const HARMLESS = new Harmless([
  ['any', 'router_aux_loss_coef output_router_logits'],
  [[], 'clip_qkv'],
]);
