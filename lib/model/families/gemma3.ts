import type { NativeAttention, NativeDense } from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { ropeTable } from '../rope.js';
import { checkBothSides } from './encoders.js';
import { gemmaLayer, gemmaModel } from './gemma.js';
import {
  layerOf,
  NO_NORM,
  rmsNorm,
  ropeOf,
  sizesOf,
  slidingRope,
  windowStep,
  windowsOf,
} from './shared.js';

/** What text_config leaves out where it is as in the class: the 4B model's names seven settings. */
const HF_DEFAULTS = {
  vocab_size: 262_208,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 256,
  max_position_embeddings: 131_072,
  query_pre_attn_scalar: 256,
  sliding_window: 4096,
  rope_theta: 1_000_000,
  tie_word_embeddings: true,
};

/**
 * Gemma 3: as Gemma 2 with norms of q and k instead of caps; five of six layers slide, and those
 * turn by a rope of their own. Its context is the one that files name: scaling is in it.
 */
export function gemma3(c: Config): FamilySpec {
  if (!c.gguf) c.f.defaults(HF_DEFAULTS);
  return c.flag('use_bidirectional_attention') ? bidirectional(c) : causal(c);
}

/** EmbeddingGemma as GGUF: with the two layers behind the pooling, if it was made with them. */
export function embeddingGemma(c: Config): FamilySpec {
  const { f, gguf } = c;
  checkBothSides(c);
  const model = bidirectional(c);
  const layers: NativeDense[] = [];
  const top: Record<string, string> = {};
  let width = model.hiddenSize;
  for (const name of ['dense_2', 'dense_3']) {
    const outSize = f.integer(`${name}_feat_out`, 1, 2 ** 24, width);
    const inSize = f.integer(`${name}_feat_in`, 1, 2 ** 24, width);
    if (!gguf?.names.has(`${name}.weight`)) continue;
    if (inSize !== width) f.fail(`${name}_feat_in`, `is ${inSize}, not ${width}`);
    top[name] = `pooled.${layers.length}`;
    layers.push({ outSize, bias: false, norm: NO_NORM });
    width = outSize;
  }
  if (layers.length === 0) return model;
  return {
    ...model,
    pooler: { layers },
    names: { ...model.names, top: { ...model.names.top, ...top } },
  };
}

/** Sees both sides; half of `sliding_window` to either, and no head makes tokens of it. */
function bidirectional(c: Config): FamilySpec {
  const { head: _, layers, ...model } = causal(c);
  return {
    ...model,
    layers: layers.map((layer) => {
      const attention = layer.attention as NativeAttention;
      const { window } = attention;
      const both = window > 0 ? Math.floor(window / 2) + 1 : 0;
      return { ...layer, attention: { ...attention, causal: false, window: both } };
    }),
  };
}

function causal(c: Config): FamilySpec {
  const sizes = sizesOf(c);
  const norm = rmsNorm(c, true);
  c.f.integer(c.name('sliding_window', 'attention.sliding_window'), 1, 2 ** 30);
  const every = c.gguf ? 6 : windowStep(c, 6);
  const windows = windowsOf(c, sizes.layers.length, (i) => (i + 1) % every !== 0);
  const choices = { ...gemmaLayer(c, sizes, 62), qkNorm: norm };
  const rope = ropeOf(c, sizes, { layerType: 'full_attention' });
  const model = gemmaModel(c, sizes, { norm, rope });
  return {
    ...model,
    ropes: [...model.ropes, ropeTable(slidingRope(c, sizes, rope, 10_000), false)],
    layers: sizes.layers.map((size, i) =>
      layerOf(size, norm, { ...choices, window: windows[i], rope: windows[i] > 0 ? 1 : 0 }),
    ),
    maxPositionEmbeddings: sizes.maxPositionEmbeddings,
  };
}
