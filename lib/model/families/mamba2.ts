import { HIDDEN_ACTS, type NativeLayer } from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { unsupported } from '../files.js';
import { Harmless } from '../harmless.js';
import { GGUF_NAMES, withLayer } from '../names.js';
import { hiddenAct, layerOf, modelOf, NO_NORM } from './shared.js';
import { BACKBONE, GGUF_MAMBA, MIXER, mambaOf, mixerNorm } from './shared-mamba.js';

/** Mamba 2 alone: no layer attends, and none has an MLP. */
export function mamba2(c: Config): FamilySpec {
  const { f } = c;
  if (!c.gguf) f.defaults(DEFAULTS);
  if (hiddenAct(c, 'silu') !== HIDDEN_ACTS.silu) {
    throw unsupported(f.file, 'a hidden_act that is not silu');
  }
  const count = f.integer(c.name('num_hidden_layers', 'block_count'), 1, 4096);
  const hiddenSize = f.integer(c.name('hidden_size', 'embedding_length'), 1, 2 ** 24);
  const norm = mixerNorm(c);
  const inner = f.integer(c.name('expand', ''), 1, 64, 2) * hiddenSize;
  const recurrent = mambaOf(c, NAMES, norm, c.gguf ? undefined : inner);
  const layer: NativeLayer = layerOf(NO_HEADS, norm, { recurrent, mlpNorm: NO_NORM });
  const sizes = {
    vocabSize: c.gguf?.vocabSize ?? f.integer('vocab_size', 1, 2 ** 24),
    hiddenSize,
    maxPositionEmbeddings: f.integer(c.name('', 'context_length'), 1, 2 ** 30, LONGEST),
    layers: [],
  };
  return {
    ...modelOf(c, sizes, { norm }),
    layers: Array(count).fill(layer),
    names: c.gguf ? withLayer(GGUF_NAMES, GGUF_MAMBA.layer, GGUF_MAMBA.bare) : BACKBONE,
    harmless: HARMLESS,
  };
}

const NO_HEADS = { numHeads: 0, numKvHeads: 0, headSize: 0, intermediateSize: 0 };

/** Nothing limits a context; GGUF files say so much. */
const LONGEST = 2 ** 20;

const NAMES = { ...MIXER, heads: 'num_heads', headSize: 'head_dim', state: 'state_size' };

/** Of files that leave them out. */
const DEFAULTS = {
  ...{ num_heads: 128, head_dim: 64, state_size: 128, n_groups: 8, conv_kernel: 4 },
  ...{ hidden_size: 4096, num_hidden_layers: 64, vocab_size: 32_768 },
};
/** Of training, and of how others compute. */
const HARMLESS = new Harmless([
  ['any', 'chunk_size rescale_prenorm_residual residual_in_fp32 intermediate_size'],
  ['any', 'time_step_min time_step_max time_step_floor time_step_rank num_logits_to_keep'],
  ['any', 'norm_before_gate'],
  [[true], 'rms_norm'],
  [[0], 'feed_forward_length attention.head_count attention.head_count_kv'],
]);
