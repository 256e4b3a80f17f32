import { type NativeExperts, ROUTER_SCORES } from '../../native.js';
import type { Config, FamilySpec } from '../config.js';
import { Harmless } from '../harmless.js';
import { GGUF_NAMES, HF_NAMES, type TensorNames, withLayer } from '../names.js';
import { expertsOf, ggufExperts, ofAll } from './experts.js';
import { scaled } from './granite.js';
import { layerTypes, rmsNorm, sizesOf } from './shared.js';
import { GGUF_MAMBA, hfMamba, MAMBA, mambaOf } from './shared-mamba.js';

/**
 * Granite 4: layers may have Mamba in place of attention, and experts beside what is then a shared
 * one. Heads turn only if the file says so; GGUF files never do.
 */
export function graniteHybrid(c: Config): FamilySpec {
  const { f } = c;
  if (!c.gguf) f.defaults(HYBRID_DEFAULTS);
  const sizes = sizesOf(c, { intermediateSize: 'shared_intermediate_size', someAttend: true });
  const count = sizes.layers.length;
  const types = c.gguf ? undefined : layerTypes(f, count, Object.keys(KINDS));
  const isRecurrent = sizes.layers.map(({ numKvHeads }, i) =>
    c.gguf ? numKvHeads === 0 : KINDS[types?.[i] ?? 'mamba'],
  );
  const heads = Math.max(...sizes.layers.map(({ numKvHeads }) => numKvHeads));
  const shared = 'expert_shared_feed_forward_length';
  const besideExperts =
    c.gguf && f.has(shared) ? { intermediateSize: f.integer(shared, 1, 2 ** 24) } : {};
  const layers = sizes.layers.map((size) => {
    return { ...size, ...besideExperts, numKvHeads: size.numKvHeads || heads };
  });
  const numExperts = f.integer(c.name('num_local_experts', 'expert_count'), 0, 4096, 0);
  const turns = c.gguf === undefined && f.raw('position_embedding_type') === 'rope';
  const experts = numExperts > 0 ? { experts: expertsOfHybrid(c) } : {};
  const inner = f.integer(c.name('mamba_expand', ''), 1, 64, 2) * sizes.hiddenSize;
  const recurrent = isRecurrent.includes(true)
    ? { recurrent: mambaOf(c, MAMBA, rmsNorm(c), c.gguf ? undefined : inner) }
    : {};
  const own = (i: number) => ({ ...experts, ...(isRecurrent[i] ? recurrent : {}) });
  const plain = c.gguf ? HYBRID_GGUF : HYBRID;
  return {
    ...scaled(c, { ...sizes, layers }, turns, own),
    names: numExperts > 0 ? hybridNames(c, plain, numExperts) : plain,
    harmless: HARMLESS,
  };
}

/** What layer_types say, in two versions: whether it is Mamba. */
const KINDS: Readonly<Record<string, boolean>> = {
  ...{ attention: false, full_attention: false, mamba: true, linear_attention: true },
};

/** Weighed by a softmax over those chosen. */
function expertsOfHybrid(c: Config): NativeExperts {
  return expertsOf(c, {
    intermediateSize: c.f.integer(c.name('intermediate_size', 'feed_forward_length'), 1, 2 ** 24),
    router: { score: ROUTER_SCORES.chosenSoftmax },
  });
}

function hybridNames(c: Config, base: TensorNames, numExperts: number): TensorNames {
  if (c.gguf) return ggufExperts(base, numExperts);
  const at = 'block_sparse_moe';
  return withLayer(base, {
    [`${at}.router.layer`]: 'router',
    [`${at}.input_linear`]: { of: ofAll(numExperts, 'gate', 'up'), slices: numExperts },
    [`${at}.output_linear`]: { of: ofAll(numExperts, 'down'), slices: numExperts },
  });
}

const OF_MAMBA = hfMamba('mamba');
const HYBRID = withLayer(
  HF_NAMES,
  {
    ...OF_MAMBA.layer,
    'shared_mlp.input_linear': ['gate', 'up'],
    'shared_mlp.output_linear': 'down',
  },
  OF_MAMBA.bare,
);
const HYBRID_GGUF = withLayer(GGUF_NAMES, GGUF_MAMBA.layer, GGUF_MAMBA.bare);

/** Of files that leave them out. */
const HYBRID_DEFAULTS = {
  ...{ num_local_experts: 8, num_experts_per_tok: 2, shared_intermediate_size: 1024 },
  ...{ mamba_n_heads: 128, mamba_n_groups: 1, mamba_d_state: 256, mamba_d_conv: 4 },
};

/** Of training, and of how others compute. */
const HARMLESS = new Harmless([
  ['any', 'mamba_chunk_size output_router_logits router_aux_loss_coef init_method'],
  ['any', 'num_experts_per_tok intermediate_size'],
  ['any', 'mamba_conv_bias mamba_d_conv mamba_d_head mamba_d_state mamba_expand mamba_n_groups'],
  ['any', 'mamba_n_heads mamba_proj_bias time_step_limit'],
  [['rmsnorm'], 'normalization_function'],
]);
