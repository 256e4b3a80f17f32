/** A model as data: what the native side runs, and what JS needs beside it. */
import {
  kindOf,
  type NativeAttention,
  type NativeLayer,
  type NativeModelSpec,
  type NativeTensor,
} from '../native.js';
import type { SkippedPart } from './names.js';

export interface ModelSpec extends NativeModelSpec {
  /** As config.json's model_type or GGUF's general.architecture names it. */
  readonly architecture: string;
  /** What people call its family. */
  readonly family: string;
  /** The longest context the model was made for, in tokens; what its scaling adds included. */
  readonly maxPositionEmbeddings: number;
  /** Sequences of more tokens use the ropes' long tables; undefined: there are none. */
  readonly longRopeFrom: number | undefined;
  readonly bosTokenId: number | undefined;
  readonly eosTokenIds: readonly number[];
  /** The type most weight bytes are stored in; set when the checkpoint is opened. */
  readonly dtype: string;
  /** Tensors passed over, by the part they belong to. */
  readonly skipped: Readonly<Partial<Record<SkippedPart, number>>>;
}

/** Does a layer keep KV? One may attend to that of another. */
export function ownsKv({ attention }: NativeLayer): boolean {
  return attention !== undefined && attention.kvLayer === undefined;
}

/** Of the layers that have any. */
export function attentionsOf(layers: readonly NativeLayer[]): NativeAttention[] {
  return layers.flatMap(({ attention }) => attention ?? []);
}

/** Is there a layer whose cache is of latent rows? */
export function hasLatent(layers: readonly NativeLayer[]): boolean {
  return attentionsOf(layers).some(({ latent }) => latent !== undefined);
}

/** Does a quantised matrix become F32 when it is loaded, since it is stored turned around? */
export function widensTurned({ dtype, transposed, parts }: NativeTensor): boolean {
  return transposed !== undefined && (kindOf(dtype) === 'quantised' || parts !== undefined);
}

/** Bytes of a cached value, and of the scale per token and head. */
export interface CacheElement {
  readonly value: number;
  readonly scale: number;
}

/** Bytes of K and V, or the latent row, of a token in a layer, and of the scales beside them. */
export function layerKv(
  { numKvHeads, headSize, latent }: Pick<NativeAttention, 'numKvHeads' | 'headSize' | 'latent'>,
  { value, scale }: CacheElement,
): { valueBytes: number; scaleBytes: number } {
  const numRows = (latent ? 1 : 2) * numKvHeads;
  return { valueBytes: numRows * headSize * value, scaleBytes: numRows * scale };
}

/**
 * Bytes of K and V of one token over all layers, scales included.
 * @param element default: F32
 */
export function kvBytesPerToken(
  { layers }: Pick<ModelSpec, 'layers'>,
  element: CacheElement = { value: 4, scale: 0 },
): number {
  return attentionsOf(layers.filter(ownsKv)).reduce((sum, attention) => {
    const { valueBytes, scaleBytes } = layerKv(attention, element);
    return sum + valueBytes + scaleBytes;
  }, 0);
}
