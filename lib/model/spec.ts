/** A model as data: what the native side runs, and what JS needs beside it. */
import {
  type NativeLayer,
  type NativeModelSpec,
  type NativeNorm,
  NORMS,
  QK_NORM_SPANS,
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

type Attention = NativeLayer['attention'];

/** Bytes of a cached value, and of the scale per token and head. */
export interface CacheElement {
  readonly value: number;
  readonly scale: number;
}

/** Bytes of K and V of one token in one layer, and of the scales beside them. */
export function layerKv(
  { numKvHeads, headSize }: Pick<Attention, 'numKvHeads' | 'headSize'>,
  { value, scale }: CacheElement,
): { valueBytes: number; scaleBytes: number } {
  const numRows = 2 * numKvHeads;
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
  return layers.reduce((sum, { attention }) => {
    const { valueBytes, scaleBytes } = layerKv(attention, element);
    return sum + valueBytes + scaleBytes;
  }, 0);
}

export type Shape = readonly [rows: number, cols: number];

/** Which tensors the native side binds, by canonical name; a vector is one row. */
export function tensorShapes(spec: NativeModelSpec): Map<string, Shape> {
  const { hiddenSize, vocabSize, embedding, head, pooler } = spec;
  const shapes = new Map<string, Shape>([['embed', [vocabSize, hiddenSize]]]);
  const norm = (name: string, { kind, weight, bias }: NativeNorm, size: number) => {
    if (kind === NORMS.none) return;
    if (weight) shapes.set(name, [1, size]);
    if (kind === NORMS.layer && bias) shapes.set(`${name}.bias`, [1, size]);
  };
  const matrix = (name: string, rows: number, cols: number, bias: boolean) => {
    shapes.set(name, [rows, cols]);
    if (bias) shapes.set(`${name}.bias`, [1, rows]);
  };
  if (embedding.numPositions > 0) shapes.set('positions', [embedding.numPositions, hiddenSize]);
  if (embedding.numTokenTypes > 0) {
    shapes.set('token_types', [embedding.numTokenTypes, hiddenSize]);
  }
  norm('embed_norm', embedding.norm, hiddenSize);
  norm('final_norm', spec.finalNorm, hiddenSize);
  if (head && !head.tied) shapes.set('head', [vocabSize, hiddenSize]);
  let width = hiddenSize;
  pooler?.layers.forEach((dense, i) => {
    matrix(`pooled.${i}`, dense.outSize, width, dense.bias);
    norm(`pooled.${i}.norm`, dense.norm, dense.outSize);
    width = dense.outSize;
  });
  spec.layers.forEach((layer, i) => {
    const { attention: a, mlp } = layer;
    const at = `layers.${i}.`;
    norm(`${at}attn_norm`, layer.attnNorm, hiddenSize);
    norm(`${at}post_attn_norm`, layer.postAttnNorm, hiddenSize);
    norm(`${at}mlp_norm`, layer.mlpNorm, hiddenSize);
    norm(`${at}post_mlp_norm`, layer.postMlpNorm, hiddenSize);
    const [q, kv] = [a.numHeads * a.headSize, a.numKvHeads * a.headSize];
    const whole = a.qkNormSpan === QK_NORM_SPANS.projection;
    for (const [name, heads] of [
      ['q_norm', a.numHeads],
      ['k_norm', a.numKvHeads],
    ] as const) {
      const own = a.qkNormSpan === QK_NORM_SPANS.ownHead;
      const names = own ? Array.from({ length: heads }, (_, h) => `${name}.${h}`) : [name];
      for (const each of names) norm(at + each, a.qkNorm, (whole ? heads : 1) * a.headSize);
    }
    if (a.sinks) shapes.set(`${at}sinks`, [1, a.numHeads]);
    if (a.gated) matrix(`${at}attn_gate`, q, hiddenSize, false);
    for (const [name, rows] of [
      ['q', q],
      ['k', kv],
      ['v', kv],
    ] as const) {
      matrix(at + name, rows, hiddenSize, a.biases.includes(name));
    }
    matrix(`${at}o`, hiddenSize, q, a.biases.includes('o'));
    const feed = (
      to: string,
      names: readonly string[],
      size: number,
      biases: readonly string[],
    ) => {
      for (const name of names) matrix(to + name, size, hiddenSize, biases.includes(name));
      matrix(`${to}down`, hiddenSize, size, biases.includes('down'));
    };
    const inner = mlp.gated ? ['gate', 'up'] : ['up'];
    if (mlp.intermediateSize > 0) feed(at, inner, mlp.intermediateSize, mlp.biases);
    const { experts } = layer;
    if (experts === undefined) return;
    const { numExperts, intermediateSize, biases, router } = experts;
    matrix(`${at}router`, numExperts, hiddenSize, router.bias);
    if (router.choiceBias) shapes.set(`${at}router.choice_bias`, [1, numExperts]);
    if (experts.sharedGate) shapes.set(`${at}shared_gate`, [1, hiddenSize]);
    for (let e = 0; e < numExperts; e++) {
      feed(`${at}experts.${e}.`, ['gate', 'up'], intermediateSize, biases);
    }
  });
  return shapes;
}
