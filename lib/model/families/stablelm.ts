import { BRANCHES, QK_NORM_SPANS } from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { GGUF_NAMES, HF_NAMES, type TensorNames, withLayer } from '../names.js';
import {
  ATTENTION,
  biases,
  headNorms,
  hiddenAct,
  layerNorm,
  layerOf,
  MLP,
  modelOf,
  NO_NORM,
  ropeOf,
  type Sizes,
  sizesOf,
} from './shared.js';

/** StableLM: LayerNorm, a quarter of each head turns; in some, both branches read one norm. */
export function stablelm(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults({ num_key_value_heads: 32, partial_rotary_factor: 0.25 });
  const sizes = sizesOf(c);
  const norm = layerNorm(c, 'layer_norm_eps');
  const parallel = c.gguf
    ? !c.gguf.names.has('blk.0.ffn_norm.weight')
    : c.flag('use_parallel_residual');
  const normed = c.gguf ? c.gguf.names.has('blk.0.attn_q_norm.weight') : c.flag('qk_layernorm');
  const qkNorm = { ...norm, bias: false };
  const choices = {
    ...(normed ? { qkNorm, qkNormSpan: QK_NORM_SPANS.ownHead } : {}),
    ...(parallel ? { branches: BRANCHES.shared, mlpNorm: NO_NORM } : {}),
    attentionBiases: biases(c, ATTENTION, c.flag('use_qkv_bias') ? ['q', 'k', 'v'] : []),
    mlpBiases: biases(c, MLP, false),
    hiddenAct: hiddenAct(c, 'silu'),
  };
  return {
    ...modelOf(c, sizes, { norm, rope: ropeOf(c, sizes, { partial: true }) }),
    layers: sizes.layers.map((size) => layerOf(size, norm, choices)),
    names: c.gguf ? withLayer(GGUF_NAMES, headNorms(sizes)) : hfNames(sizes),
  };
}

/** A tensor for each head. */
function hfNames(sizes: Sizes): TensorNames {
  const [{ numHeads }] = sizes.layers;
  const layer: Record<string, string> = {};
  for (let head = 0; head < numHeads; head++) {
    for (const name of ['q', 'k']) {
      layer[`self_attn.${name}_layernorm.norms.${head}`] = `${name}_norm.${head}`;
    }
  }
  return withLayer(HF_NAMES, layer);
}
