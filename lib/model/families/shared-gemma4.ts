/** Where the tensors of Gemma 4 lie. */
import type { NativeExperts } from '../../native.js';
import type { Config } from '../config.js';
import { GGUF_NAMES, HF_NAMES, type Layout, type TensorNames, withLayer } from '../names.js';
import { ggufExperts, ofAll } from './experts.js';

interface Parts {
  readonly experts: NativeExperts | undefined;
  /** By layer: whose KV it reads; undefined: its own. */
  readonly shared: readonly (number | undefined)[];
}

/** One table of a token's rows for all layers. */
const TABLE: Layout = { of: ['layer_inputs'], flat: true };

export function gemma4Names(c: Config, numLayers: number, parts: Parts): TensorNames {
  const numExperts = parts.experts?.numExperts ?? 0;
  const names = c.gguf ? ggufNames(numExperts) : hfNames(numExperts);
  const projections = Array.from({ length: numLayers }, (_, i) => `layers.${i}.input_proj`);
  const top: TensorNames['top'] = c.gguf
    ? {
        per_layer_token_embd: TABLE,
        per_layer_model_proj: projections,
        per_layer_proj_norm: 'layer_inputs_norm',
      }
    : {
        'model.embed_tokens_per_layer': TABLE,
        'model.per_layer_model_projection': projections,
        'model.per_layer_projection_norm': 'layer_inputs_norm',
      };
  return { ...names, top: { ...names.top, ...top }, ignored: ignored(c, names, parts) };
}

/** Checkpoints may hold K and V of layers that read those of others. */
function ignored(c: Config, { ignored }: TensorNames, { shared }: Parts): RegExp {
  const layers = shared.flatMap((source, i) => (source === undefined ? [] : [i]));
  if (layers.length === 0) return ignored as RegExp;
  const own = c.gguf
    ? `^blk\\.(${layers.join('|')})\\.attn_(k|v|k_norm)\\.weight$`
    : `^model\\.layers\\.(${layers.join('|')})\\.self_attn\\.(k_proj|v_proj|k_norm)\\.`;
  return new RegExp(`${ignored?.source}|${own}`);
}

function hfNames(numExperts: number): TensorNames {
  const apart: Record<string, string> = {};
  for (let e = 0; e < numExperts; e++) {
    for (const part of ['gate', 'up', 'down']) {
      apart[`experts.${e}.${part}_proj`] = `experts.${e}.${part}`;
    }
  }
  const experts = {
    'experts.gate_up_proj': { of: ofAll(numExperts, 'gate', 'up'), slices: numExperts },
    'experts.down_proj': { of: ofAll(numExperts, 'down'), slices: numExperts },
    'router.scale': 'router_norm',
    'router.per_expert_scale': 'router.expert_scale',
  };
  return withLayer(
    HF_NAMES,
    {
      post_attention_layernorm: 'post_attn_norm',
      pre_feedforward_layernorm: 'mlp_norm',
      post_feedforward_layernorm: 'post_mlp_norm',
      post_feedforward_layernorm_1: 'post_dense_norm',
      pre_feedforward_layernorm_2: 'experts_norm',
      post_feedforward_layernorm_2: 'post_experts_norm',
      per_layer_input_gate: 'input_gate',
      per_layer_projection: 'input_out',
      post_per_layer_input_norm: 'post_input_norm',
      ...(numExperts > 0 ? { 'router.proj': 'router', ...apart } : {}),
    },
    { layer_scalar: 'scale', ...(numExperts > 0 ? experts : {}) },
  );
}

function ggufNames(numExperts: number): TensorNames {
  const base = withLayer(GGUF_NAMES, {
    post_attention_norm: 'post_attn_norm',
    post_ffw_norm: 'post_mlp_norm',
    post_ffw_norm_1: 'post_dense_norm',
    pre_ffw_norm_2: 'experts_norm',
    post_ffw_norm_2: 'post_experts_norm',
    inp_gate: 'input_gate',
    proj: 'input_out',
    post_norm: 'post_input_norm',
    layer_output_scale: 'scale',
  });
  if (numExperts === 0) return base;
  return withLayer(
    ggufExperts(base, numExperts),
    {},
    { 'ffn_gate_inp.scale': 'router_norm', 'ffn_down_exps.scale': 'router.expert_scale' },
  );
}
