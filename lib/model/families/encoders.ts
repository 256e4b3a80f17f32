/** What encoders have in common: both sides are seen, and a head of two layers may classify. */
import { shown } from '../../arguments.js';
import type { NativeDense } from '../../native.js';
import type { Config, GgufTensors } from '../config.js';
import { unsupported } from '../files.js';
import { GGUF_NAMES, type TensorNames, withLayer } from '../names.js';
import type { Rope } from '../rope.js';
import { ropesByType } from '../rope-config.js';
import { layerTypes, NO_NORM, ropeOf, type Sizes, slidingRope } from './shared.js';

/** What would make an encoder something else; it is spelt out in files, at one value as a rule. */
export function checkBothSides({ gguf, f }: Config): void {
  if (f.boolean(gguf ? 'attention.causal' : 'is_decoder', false)) {
    throw unsupported(f.file, 'causal attention of an encoder');
  }
  const positions = gguf ? 'absolute' : f.string('position_embedding_type', 'absolute');
  if (positions !== 'absolute') {
    throw unsupported(f.file, `position_embedding_type ${shown(positions)}`);
  }
}

/** By layer; a list, or each n-th from the first on sees all. */
export function slidingLayers(c: Config, everyName: string, count: number): boolean[] {
  const { f } = c;
  const name = c.name(everyName, 'attention.sliding_window_pattern');
  if (c.gguf && typeof f.raw(name) === 'object') {
    return f.perLayer(name, count, 0, 1).map((slides) => slides === 1);
  }
  const every = f.integer(name, 1, 4096, 3);
  const types = c.gguf ? undefined : layerTypes(f, count, ['full_attention', 'sliding_attention']);
  if (types) return types.map((type) => type === 'sliding_attention');
  return Array.from({ length: count }, (_, i) => i % every !== 0);
}

/** Of layers that see all, and of the others: two thetas, or all of a rope by type of layer. */
export function ropesByWindow(c: Config, sizes: Sizes): { full: Rope; sliding: Rope } {
  const { f } = c;
  if (c.gguf) {
    const full = ropeOf(c, sizes);
    return { full, sliding: slidingRope(c, sizes, full, 10_000) };
  }
  const names = { full: 'global_rope_theta', sliding: 'local_rope_theta' };
  const theta = f.number(names.full, 1, 1e12, 160_000);
  const local = f.raw(names.sliding) === null ? theta : f.number(names.sliding, 1, 1e12, 10_000);
  if (ropesByType(f)) {
    return {
      full: ropeOf(c, sizes, { layerType: 'full_attention' }),
      sliding: ropeOf(c, sizes, { layerType: 'sliding_attention' }),
    };
  }
  const [{ headSize: size }] = sizes.layers;
  const scaling = { type: 'default' } as const;
  return { full: { size, theta, scaling }, sliding: { size, theta: local, scaling } };
}

/** A layer, and the labels, which may stand alone in GGUF files; biases are as those hold them. */
export function classifierLayers(
  { gguf, numLabels }: Config,
  hiddenSize: number,
  dense: Omit<NativeDense, 'outSize'>,
): NativeDense[] {
  const has = (name: string, said: boolean) => gguf?.names.has(name) ?? said;
  const bias = has('cls.output.bias', true);
  const labels: NativeDense = { outSize: numLabels, bias, norm: NO_NORM };
  if (!has('cls.weight', true)) return [labels];
  const norm = has('cls.norm.weight', true) ? dense.norm : NO_NORM;
  return [{ ...dense, outSize: hiddenSize, bias: has('cls.bias', dense.bias), norm }, labels];
}

/** Names in GGUF files: of the embedding with its norm, a head, and what else there is. */
export function ggufEncoderNames(
  { names }: GgufTensors,
  top: TensorNames['top'],
  layer: TensorNames['layer'],
): TensorNames {
  const head: TensorNames['top'] = names.has('cls.weight')
    ? { cls: 'pooled.0', 'cls.norm': 'pooled.0.norm', 'cls.output': 'pooled.1' }
    : { 'cls.output': 'pooled.0' };
  const embed = { token_embd: 'embed', token_embd_norm: 'embed_norm' };
  return { ...withLayer(GGUF_NAMES, layer), top: { ...embed, ...top, ...head } };
}
