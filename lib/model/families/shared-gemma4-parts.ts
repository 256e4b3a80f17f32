/** What Gemma 4 may have beside its layers' branches: experts, and inputs of each layer. */
import type { NativeExperts, NativeLayerInputs, NativeNorm } from '../../native.js';
import type { Config } from '../config.js';
import { unsupported } from '../files.js';
import { expertSize, expertsOf } from './experts.js';
import type { Sizes } from './shared.js';

/** The router reads what the FFN does, over √hidden, by a norm of its own. */
export function expertsBeside(
  c: Config,
  norm: NativeNorm,
  { hiddenSize }: Sizes,
  act: NativeExperts['hiddenAct'],
): NativeExperts | undefined {
  const any = c.gguf
    ? c.f.integer('expert_count', 0, 4096, 0) > 0
    : c.f.boolean('enable_moe_block', false);
  if (!any) return undefined;
  const routerNorm = { ...norm, scale: hiddenSize ** -0.5 };
  return expertsOf(
    c,
    {
      intermediateSize: expertSize(c),
      hiddenAct: act,
      router: { normalize: true, expertScale: true },
      beside: { routerNorm, norm, postNorm: norm, postMlpNorm: norm },
    },
    'top_k_experts',
  );
}

/**
 * (norm(proj · e / √hidden) + √size · t) / √2: a norm of what is divided by √hidden is one with an
 * epsilon times hidden.
 */
export function layerInputs(
  c: Config,
  norm: NativeNorm,
  { hiddenSize, vocabSize }: Sizes,
  act: NativeLayerInputs['hiddenAct'],
): NativeLayerInputs | undefined {
  const name = c.name('hidden_size_per_layer_input', 'embedding_length_per_layer_input');
  const size = c.f.integer(name, 0, 2 ** 20, 0);
  if (!c.gguf && size > 0) {
    const rows = c.f.integer('vocab_size_per_layer_input', 1, 2 ** 24, vocabSize);
    if (rows !== vocabSize) {
      throw unsupported(c.f.file, `vocab_size_per_layer_input ${rows} beside ${vocabSize} tokens`);
    }
  }
  if (size === 0) return undefined;
  return {
    size,
    scale: Math.sqrt(size / 2),
    hiddenAct: act,
    norm: { ...norm, eps: norm.eps * hiddenSize, scale: Math.SQRT1_2 },
    postNorm: norm,
  };
}
