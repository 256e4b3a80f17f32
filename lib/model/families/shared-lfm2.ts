/** Where tensors of short convolutions and what is beside them lie. */
import { GGUF_NAMES, HF_NAMES, type TensorNames, withLayer } from '../names.js';

const IN = ['mix_k', 'mix_q', 'mix_v'];
const HF_BASE = withLayer(HF_NAMES, {
  operator_norm: 'attn_norm',
  ffn_norm: 'mlp_norm',
  'self_attn.q_layernorm': 'q_norm',
  'self_attn.k_layernorm': 'k_norm',
  'self_attn.out_proj': 'o',
  'conv.in_proj': IN,
  'conv.conv': 'conv_v',
  'conv.out_proj': 'mix_out',
  'feed_forward.w1': 'gate',
  'feed_forward.w3': 'up',
  'feed_forward.w2': 'down',
});
export const HF: TensorNames = {
  ...HF_BASE,
  top: { ...HF_BASE.top, 'model.embedding_norm': 'final_norm' },
  spelling: (name) => name.replace(/^(?=(embed_tokens|layers|embedding_norm)\.)/, 'model.'),
};
const GGUF_BASE = withLayer(GGUF_NAMES, {
  'shortconv.in_proj': IN,
  'shortconv.conv': 'conv_v',
  'shortconv.out_proj': 'mix_out',
});
export const GGUF: TensorNames = {
  ...GGUF_BASE,
  top: { ...GGUF_BASE.top, token_embd_norm: 'final_norm' },
};
