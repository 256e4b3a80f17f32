/** What checkpoints call their tensors, and what the native side calls them (lib/native.ts). */

const HF_TOP: Readonly<Record<string, string>> = {
  'model.embed_tokens.weight': 'embed',
  'model.norm.weight': 'final_norm',
  'lm_head.weight': 'head',
};

const HF_LAYER: Readonly<Record<string, string>> = {
  'input_layernorm.weight': 'attn_norm',
  'post_attention_layernorm.weight': 'mlp_norm',
  'self_attn.q_norm.weight': 'q_norm',
  'self_attn.k_norm.weight': 'k_norm',
};
const HF_PROJECTIONS: Readonly<Record<string, string>> = {
  'self_attn.q_proj': 'q',
  'self_attn.k_proj': 'k',
  'self_attn.v_proj': 'v',
  'self_attn.o_proj': 'o',
  'mlp.gate_proj': 'gate',
  'mlp.up_proj': 'up',
  'mlp.down_proj': 'down',
};

const GGUF_TOP: Readonly<Record<string, string>> = {
  'token_embd.weight': 'embed',
  'output_norm.weight': 'final_norm',
  'output.weight': 'head',
};
const GGUF_LAYER: Readonly<Record<string, string>> = {
  'attn_norm.weight': 'attn_norm',
  'ffn_norm.weight': 'mlp_norm',
  'attn_q_norm.weight': 'q_norm',
  'attn_k_norm.weight': 'k_norm',
};
const GGUF_PROJECTIONS: Readonly<Record<string, string>> = {
  attn_q: 'q',
  attn_k: 'k',
  attn_v: 'v',
  attn_output: 'o',
  ffn_gate: 'gate',
  ffn_up: 'up',
  ffn_down: 'down',
};

/** Tensors that files carry but nobody needs: '' is the canonical name of none. */
const IGNORED = /(^|\.)rotary_emb\.inv_freq$|^rope_freqs\.weight$/;

function canonical(
  name: string,
  top: Readonly<Record<string, string>>,
  layer: Readonly<Record<string, string>>,
  projections: Readonly<Record<string, string>>,
  pattern: RegExp,
): string | undefined {
  if (IGNORED.test(name)) return '';
  if (Object.hasOwn(top, name)) return top[name];
  const [, index, rest] = pattern.exec(name) ?? [];
  if (rest === undefined) return undefined;
  const at = `layers.${Number(index)}.`;
  if (Object.hasOwn(layer, rest)) return at + layer[rest];
  const [, base, kind] = /^(.*)\.(weight|bias)$/.exec(rest) ?? [];
  if (base === undefined || !Object.hasOwn(projections, base)) return undefined;
  return at + projections[base] + (kind === 'bias' ? '.bias' : '');
}

/** The canonical name, '' for a tensor that is not needed, undefined for an unknown one. */
export function fromHfName(name: string): string | undefined {
  return canonical(name, HF_TOP, HF_LAYER, HF_PROJECTIONS, /^model\.layers\.(\d{1,4})\.(.+)$/);
}

export function fromGgufName(name: string): string | undefined {
  return canonical(name, GGUF_TOP, GGUF_LAYER, GGUF_PROJECTIONS, /^blk\.(\d{1,4})\.(.+)$/);
}
