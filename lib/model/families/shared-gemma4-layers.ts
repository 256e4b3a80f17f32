/** Gemma 4's layers of two kinds: their sizes, ropes, and where their K and V come from. */
import type { NativeNorm } from '../../native.js';
import type { Config } from '../config.js';
import { unsupported } from '../files.js';
import type { Rope } from '../rope.js';
import { ggufRope, hfRope } from '../rope-config.js';
import { ATTENTION, biases, type LayerChoices, type LayerSizes, type Sizes } from './shared.js';

/** Of the last layers: the last of those before them that looks as far, whose KV they read. */
export function kvLayers(c: Config, windows: readonly number[]): (number | undefined)[] {
  const name = c.name('num_kv_shared_layers', 'attention.shared_kv_layers');
  const shared = c.f.integer(name, 0, 4096, 0);
  const first = windows.length - shared;
  if (first < 1) c.f.fail(name, `(${shared}) leaves no layer with KV of its own`);
  return windows.map((window, i) => {
    if (i < first) return undefined;
    const source = windows.slice(0, first).lastIndexOf(window);
    if (source < 0) c.f.fail(name, `(${shared}) leaves no layer whose KV layer ${i} could read`);
    return source;
  });
}

/** Layers that see all have sizes of their own; those without KV may have twice the FFN. */
export function layerSizes(
  c: Config,
  layers: readonly LayerSizes[],
  windows: readonly number[],
  shared: readonly (number | undefined)[],
): LayerSizes[] {
  const { f } = c;
  const [{ headSize, numHeads }] = layers;
  if (c.gguf) {
    const slides = f.integer('attention.key_length_swa', 2, 4096, headSize);
    if (f.integer('attention.value_length_swa', 2, 4096, slides) !== slides) {
      throw unsupported(f.file, 'a value head size that differs from the key head size');
    }
    if (slides % 2 !== 0) f.fail('attention.key_length_swa', `is ${slides}, which is odd`);
    return layers.map((layer, i) => (windows[i] > 0 ? { ...layer, headSize: slides } : layer));
  }
  const wide = f.boolean('use_double_wide_mlp', false) ? 2 : 1;
  const isOwn = f.has('per_layer_config');
  const global = isOwn ? undefined : f.integer('global_head_dim', 2, 4096, 512);
  const kvHeads = globalKvHeads(c, numHeads);
  if (global !== undefined && global % 2 !== 0) {
    f.fail('global_head_dim', `is ${global}, which is odd`);
  }
  return layers.map((layer, i) => ({
    ...layer,
    headSize: windows[i] > 0 ? layer.headSize : (global ?? layer.headSize),
    numKvHeads: windows[i] > 0 ? layer.numKvHeads : (kvHeads ?? layer.numKvHeads),
    intermediateSize: layer.intermediateSize * (shared[i] === undefined ? 1 : wide),
  }));
}

/** Of layers that see all; it counts only where their V is made of K. */
function globalKvHeads({ f }: Config, numHeads: number): number | undefined {
  const name = 'num_global_key_value_heads';
  if (!f.has(name)) return undefined;
  const heads = f.integer(name, 1, 4096);
  if (!f.boolean('attention_k_eq_v', false)) return undefined;
  if (numHeads % heads !== 0)
    f.fail(name, `(${heads}) does not divide the ${numHeads} query heads`);
  return heads;
}

export function checkKv(
  c: Config,
  layers: readonly LayerSizes[],
  shared: readonly (number | undefined)[],
): void {
  shared.forEach((source, i) => {
    if (source === undefined) return;
    const [own, its] = [layers[i], layers[source]];
    if (own.numKvHeads === its.numKvHeads && own.headSize === its.headSize) return;
    const name = c.name('num_kv_shared_layers', 'attention.shared_kv_layers');
    c.f.fail(name, `has layer ${i} read the KV of layer ${source}, whose heads are others`);
  });
}

/** Where a layer's K and V come from. */
export function kvChoices(
  c: Config,
  vNorm: NativeNorm,
  own: { layer: number; slides: boolean; kvLayer: number | undefined },
): LayerChoices {
  const all = biases(c, ATTENTION, c.flag('attention_bias'));
  const { layer, slides, kvLayer } = own;
  if (kvLayer !== undefined) {
    return { kvLayer, attentionBiases: all.filter((name) => name === 'q' || name === 'o') };
  }
  const valueIsKey = c.gguf
    ? ['attn_v', 'attn_qkv'].every((name) => !c.gguf?.names.has(`blk.${layer}.${name}.weight`))
    : c.flag('attention_k_eq_v') && !slides;
  return {
    vNorm: { ...vNorm, weight: false },
    ...(valueIsKey ? { valueIsKey } : {}),
    attentionBiases: valueIsKey ? all.filter((name) => name !== 'v') : all,
  };
}

/** Of layers that see all, and of those that slide. */
export function ropesOf(c: Config, sizes: Sizes, windows: readonly number[]): [Rope, Rope] {
  const { f, gguf } = c;
  const { layers, maxPositionEmbeddings: maxLen } = sizes;
  const headSize = (slides: boolean) =>
    (layers.find((_, i) => windows[i] > 0 === slides) ?? layers[0]).headSize;
  const [full, sliding] = [headSize(false), headSize(true)];
  if (!gguf) {
    return [
      hfRope(f, full, maxLen, { layerType: 'full_attention' }),
      hfRope(f, sliding, maxLen, { layerType: 'sliding_attention' }),
    ];
  }
  const size = f.integer('rope.dimension_count_swa', 2, 4096, sliding);
  if (size > sliding || size % 2 !== 0)
    f.fail('rope.dimension_count_swa', 'does not fit the heads');
  const theta = f.number('rope.freq_base_swa', 1, 1e12, 10_000);
  return [ggufRope(f, full, maxLen, gguf.factors), { size, theta, scaling: { type: 'default' } }];
}
