import type { Config, FamilySpec } from '../config.js';
import { Harmless } from '../harmless.js';
import { GGUF_NAMES, HF_NAMES } from '../names.js';
import { allExperts, expertsOf, ggufExperts, hfExperts } from './experts.js';
import {
  ATTENTION,
  biases,
  hiddenAct,
  modelOf,
  rmsNorm,
  ropeOf,
  sizesOf,
  windowsOf,
} from './shared.js';

/** Mixtral: Mistral with experts in each layer. GGUF files call it a Llama. */
export function mixtral(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults(HF_DEFAULTS);
  const sizes = sizesOf(c);
  const norm = rmsNorm(c);
  const windows = windowsOf(c, sizes.layers.length, () => true);
  const act = hiddenAct(c, 'silu');
  const experts = expertsOf(c, { hiddenAct: act, router: { normalize: true } });
  const choices = { attentionBiases: biases(c, ATTENTION, false), hiddenAct: act };
  return {
    ...modelOf(c, sizes, { norm, rope: ropeOf(c, sizes), interleaved: c.gguf !== undefined }),
    layers: allExperts(sizes, norm, experts, (i) => ({ ...choices, window: windows[i] })),
    names: c.gguf
      ? ggufExperts(GGUF_NAMES, experts.numExperts)
      : hfExperts(HF_NAMES, experts.numExperts, 'block_sparse_moe', MATRICES),
    harmless: TRAINING,
  };
}

/** As Mixtral and MiniMax call the matrices of an expert. */
export const MATRICES = { gate: 'w1', up: 'w3', down: 'w2' };

/** Of files that leave them out. */
const HF_DEFAULTS = {
  ...{ num_key_value_heads: 8, num_local_experts: 8, num_experts_per_tok: 2 },
  ...{ rms_norm_eps: 1e-5, rope_theta: 1_000_000 },
};

/** Of training a router. */
export const TRAINING = new Harmless([
  ['any', 'router_aux_loss_coef router_jitter_noise output_router_logits for_llm_compressor'],
]);
