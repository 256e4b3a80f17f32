import type { Config, FamilySpec } from '../config.js';
import { Harmless } from '../harmless.js';
import { ropeTable } from '../rope.js';
import { gemmaModel } from './gemma.js';
import { biases, hiddenAct, layerOf, MLP, rmsNorm, sizesOf, windowsOf } from './shared.js';
import { gemma4Names } from './shared-gemma4.js';
import { checkKv, kvChoices, kvLayers, layerSizes, ropesOf } from './shared-gemma4-layers.js';
import { expertsBeside, layerInputs } from './shared-gemma4-parts.js';

/**
 * Gemma 4: five of six layers slide, with heads smaller than those of the others, in which a
 * quarter of the pairs turns; V is normed, and may be K before its norm. The last layers may read
 * the KV of earlier ones, each layer may add what a table says of the token, and experts may stand
 * beside the FFN, with norms of their own.
 */
export function gemma4(c: Config): FamilySpec {
  c.f.defaults(c.gguf ? GGUF_DEFAULTS : HF_DEFAULTS);
  return specOf(c);
}

/** The 12B's text model: windows are wider, and there are neither tables nor experts. */
export function gemma4Unified(c: Config): FamilySpec {
  c.f.defaults({ ...HF_DEFAULTS, sliding_window: 1024, hidden_size_per_layer_input: 0 });
  return specOf(c);
}

function specOf(c: Config): FamilySpec {
  const norm = rmsNorm(c);
  const named = sizesOf(c);
  const count = named.layers.length;
  const windows = windowsOf(c, count, (i) => (i + 1) % 6 !== 0);
  if (!c.gguf) windows[count - 1] = 0; // whatever a list says, as in transformers
  const shared = kvLayers(c, windows);
  const sizes = { ...named, layers: layerSizes(c, named.layers, windows, shared) };
  checkKv(c, sizes.layers, shared);
  const act = hiddenAct(c, 'gelu_pytorch_tanh', 'hidden_activation');
  const experts = expertsBeside(c, norm, sizes, act);
  const inputs = layerInputs(c, norm, sizes, act);
  const choices = {
    ...{ postAttnNorm: norm, postMlpNorm: norm, qkNorm: norm, scale: 1, hiddenAct: act },
    mlpBiases: biases(c, MLP, false),
    scaled: c.gguf?.names.has('blk.0.layer_output_scale.weight') ?? true,
    ...(experts ? { experts } : {}),
  };
  const ropes = ropesOf(c, sizes, windows);
  const model = gemmaModel(c, sizes, { norm, rope: ropes[0] });
  return {
    ...model,
    // No longer rounded to the type of the weights.
    embedding: { ...model.embedding, scale: Math.sqrt(sizes.hiddenSize) },
    ropes: ropes.map((rope) => ropeTable(rope, false)),
    layers: sizes.layers.map((size, i) =>
      layerOf(size, norm, {
        ...choices,
        ...{ window: windows[i], rope: windows[i] > 0 ? 1 : 0 },
        ...kvChoices(c, norm, { layer: i, slides: windows[i] > 0, kvLayer: shared[i] }),
      }),
    ),
    ...(inputs ? { layerInputs: inputs } : {}),
    maxPositionEmbeddings: sizes.maxPositionEmbeddings,
    names: gemma4Names(c, sizes.layers.length, { experts, shared }),
    harmless: HARMLESS,
  };
}

/** As transformers has them, of files that leave them out. */
const HF_DEFAULTS = {
  ...{ num_key_value_heads: 4, head_dim: 256, sliding_window: 512, tie_word_embeddings: true },
  hidden_size_per_layer_input: 256,
  rope_parameters: {
    sliding_attention: { rope_type: 'default', rope_theta: 10_000 },
    full_attention: {
      ...{ rope_type: 'proportional', rope_theta: 1_000_000, partial_rotary_factor: 0.25 },
    },
  },
};
/** As llama.cpp has it. */
const GGUF_DEFAULTS = { final_logit_softcapping: 30 };
/** Images would see both sides; what belongs to experts or tables counts only where they are. */
const HARMLESS = new Harmless([
  [['vision'], 'use_bidirectional_attention'],
  ['any', 'moe_intermediate_size top_k_experts num_experts vocab_size_per_layer_input'],
]);
