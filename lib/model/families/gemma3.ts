import type { Config, FamilySpec } from '../config.js';
import { ropeTable } from '../rope.js';
import { gemmaLayer, gemmaModel } from './gemma.js';
import { layerOf, rmsNorm, ropeOf, sizesOf, slidingRope, windowStep, windowsOf } from './shared.js';

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
