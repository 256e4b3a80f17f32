import { shown } from '../../arguments.js';
import type { Config } from '../config.js';
import { unsupported } from '../files.js';
import { Harmless } from '../harmless.js';
import { GGUF_NAMES, HF_NAMES, withLayer } from '../names.js';
import {
  ATTENTION,
  biases,
  hiddenAct,
  type LayerChoices,
  MLP,
  type ModelFrame,
  type ModelParts,
  modelOf,
  rmsNorm,
  type Sizes,
} from './shared.js';

/**
 * Of all Gemmas: norms of 1 + w before and behind each branch, a gated GELU. config.json names the
 * scale of scores. GGUF files do not; llama.cpp takes the head's size, but hidden / heads at the
 * number of layers of the 27B model.
 */
export function gemmaLayer(c: Config, sizes: Sizes, layersOf27b: number): LayerChoices {
  const norm = rmsNorm(c, true);
  const [{ headSize, numHeads }] = sizes.layers;
  const perHead = sizes.layers.length === layersOf27b ? sizes.hiddenSize / numHeads : headSize;
  const scaled = c.gguf ? perHead : c.f.number('query_pre_attn_scalar', 1e-6, 1e6);
  return {
    postAttnNorm: norm,
    postMlpNorm: norm,
    scale: scaled ** -0.5,
    softcap: c.f.number('attn_logit_softcapping', 0, 1e6, 0),
    hiddenAct: hiddenAct(c, 'gelu_pytorch_tanh', 'hidden_activation'),
    attentionBiases: biases(c, ATTENTION, c.flag('attention_bias')),
    mlpBiases: biases(c, MLP, false),
  };
}

/** Of all Gemmas: an embedding that is scaled, perhaps capped logits, names of four norms. */
export function gemmaModel(c: Config, sizes: Sizes, parts: ModelParts): ModelFrame {
  const model = modelOf(c, sizes, parts);
  return {
    ...model,
    embedding: { ...model.embedding, scale: embeddingScale(c, sizes.hiddenSize) },
    head: { ...model.head, softcap: c.f.number('final_logit_softcapping', 0, 1e6, 0) },
    names: c.gguf ? GGUF : HF,
    harmless: HARMLESS,
  };
}

/** √hidden; Hugging Face keeps it in the type of the weights that config.json names. */
function embeddingScale(c: Config, hiddenSize: number): number {
  const exact = Math.sqrt(hiddenSize);
  const dtype = c.dtype();
  if (!Object.hasOwn(BITS, dtype)) throw unsupported(c.f.file, `dtype ${shown(dtype)}`);
  const bits = BITS[dtype];
  const step = 2 ** (Math.floor(Math.log2(exact)) + 1 - bits);
  return Math.round(exact / step) * step;
}

/** Of a mantissa, with the one that is not stored; where no type is named, floats are single. */
const BITS: Readonly<Record<string, number>> = { '': 24, float32: 24, bfloat16: 8, float16: 11 };

const HF = withLayer(HF_NAMES, {
  post_attention_layernorm: 'post_attn_norm',
  pre_feedforward_layernorm: 'mlp_norm',
  post_feedforward_layernorm: 'post_mlp_norm',
});
const GGUF = withLayer(GGUF_NAMES, {
  post_attention_norm: 'post_attn_norm',
  post_ffw_norm: 'post_mlp_norm',
});
const HARMLESS = new Harmless([['any', 'hidden_act sliding_window_size']]);
