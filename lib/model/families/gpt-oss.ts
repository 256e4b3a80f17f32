import { ROUTER_SCORES } from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { Harmless } from '../harmless.js';
import { GGUF_NAMES, HF_NAMES, type TensorNames, withLayer } from '../names.js';
import type { Rope } from '../rope.js';
import { allExperts, expertSize, expertsOf, ggufExperts, ofAll } from './experts.js';
import {
  ATTENTION,
  biases,
  hiddenAct,
  MLP,
  modelOf,
  rmsNorm,
  ropeOf,
  type Sizes,
  sizesOf,
  windowsOf,
} from './shared.js';

/** gpt-oss: sinks, every second layer slides, biases everywhere, a clamped SwiGLU of its own. */
export function gptOss(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults(c.f.has('rope_scaling') ? HF_DEFAULTS : { ...HF_DEFAULTS, ...ROPE });
  const sizes = sizesOf(c);
  const norm = rmsNorm(c);
  const windows = windowsOf(c, sizes.layers.length, (i) => i % 2 === 0);
  const act = hiddenAct(c, 'silu');
  const experts = expertsOf(c, {
    ...{ hiddenAct: act, biases: MLP, upOffset: 1 },
    alpha: c.f.number('swiglu_alpha', 1e-3, 1e6, 1.702),
    limit: c.f.number('swiglu_limit', 1e-6, 1e6, 7),
    router: { score: ROUTER_SCORES.chosenSoftmax, bias: true },
  });
  const attentionBiases = biases(c, ATTENTION, c.flag('attention_bias'));
  const choices = { attentionBiases, hiddenAct: act, sinks: true };
  const inner = c.gguf && expertSize(c);
  return {
    ...modelOf(c, sizes, { norm, rope: unrounded(c, sizes) }),
    layers: allExperts(sizes, norm, experts, (i) => ({ ...choices, window: windows[i] }), inner),
    names: c.gguf ? ggufExperts(GGUF, experts.numExperts) : hfNames(experts.numExperts),
    hasMxfp4: true,
    harmless: HARMLESS,
  };
}

/** YaRN's ramp ends between two dimensions, which GGUF files do not say. */
function unrounded(c: Config, sizes: Sizes): Rope {
  const rope = ropeOf(c, sizes);
  if (!c.gguf || rope.scaling.type !== 'yarn') return rope;
  return { ...rope, scaling: { ...rope.scaling, truncate: false } };
}

/** Matrices lie turned around, gate and up take turns; in four bits as they are computed. */
function hfNames(numExperts: number): TensorNames {
  const slices = numExperts;
  const inner = { of: ofAll(slices, 'gate', 'up'), slices, runs: [1, 1] } as const;
  const outer = { of: ofAll(slices, 'down'), slices };
  const biasOf = (names: readonly string[]) => names.map((name) => `${name}.bias`);
  return withLayer(
    HF_NAMES,
    { 'mlp.router': 'router' },
    {
      'self_attn.sinks': 'sinks',
      'mlp.experts.gate_up_proj': { ...inner, transposed: true },
      'mlp.experts.gate_up_proj_bias': { ...inner, of: biasOf(inner.of) },
      'mlp.experts.gate_up_proj_mxfp4': inner,
      'mlp.experts.down_proj': { ...outer, transposed: true },
      'mlp.experts.down_proj_bias': { ...outer, of: biasOf(outer.of) },
      'mlp.experts.down_proj_mxfp4': outer,
    },
  );
}

/** Of files that leave them out. */
const HF_DEFAULTS = {
  ...{ num_local_experts: 128, num_experts_per_tok: 4, num_key_value_heads: 8, head_dim: 64 },
  ...{ sliding_window: 128, rms_norm_eps: 1e-5, rope_theta: 150_000, attention_bias: true },
};
const ROPE = {
  rope_parameters: {
    ...{ rope_type: 'yarn', factor: 32, beta_fast: 32, beta_slow: 1, truncate: false },
    original_max_position_embeddings: 4096,
  },
};

const GGUF = withLayer(GGUF_NAMES, { post_attention_norm: 'mlp_norm', attn_sinks: 'sinks' });
const HARMLESS = new Harmless([
  ['any', 'router_aux_loss_coef output_router_logits experts_per_token initial_context_length'],
]);
