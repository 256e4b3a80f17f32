import type { Config, FamilySpec } from '../config.js';
import { Harmless } from '../harmless.js';
import { GGUF_NAMES, HF_NAMES, withLayer } from '../names.js';
import {
  ATTENTION,
  biases,
  hiddenAct,
  layerOf,
  MLP,
  modelOf,
  rmsNorm,
  ropeOf,
  sizesOf,
} from './shared.js';

/** HunYuan dense: norms of q and k in each head once they have turned. */
export function hunyuan(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults({ rms_norm_eps: 1e-5 });
  const sizes = sizesOf(c);
  const norm = rmsNorm(c);
  const choices = {
    ...{ qkNorm: norm, qkNormAfterRope: true },
    attentionBiases: biases(c, ATTENTION, c.flag('attention_bias')),
    mlpBiases: biases(c, MLP, false),
    hiddenAct: hiddenAct(c, 'silu'),
  };
  return {
    ...modelOf(c, sizes, { norm, rope: ropeOf(c, sizes, { alpha: true }) }),
    layers: sizes.layers.map((size) => layerOf(size, norm, choices)),
    names: c.gguf ? GGUF_NAMES : HF,
    harmless: HARMLESS,
  };
}

const HF = withLayer(HF_NAMES, {
  'self_attn.query_layernorm': 'q_norm',
  'self_attn.key_layernorm': 'k_norm',
});
const HARMLESS = new Harmless([
  [
    'any',
    `eod_token_id attention_head_dim cla_share_factor class_num dense_list im_start_id im_end_id
    im_newline_id mask_init_id org_vocab_size pad_id pool_type text_start_id text_end_id`,
  ],
  [[true], 'use_rotary_pos_emb'],
  [[false], 'use_cla add_classification_head'],
  [['rms'], 'norm_type'],
]);
