/**
 * The only importer of the .node file: a typed mirror of each symbol. At load it verifies that the
 * addon speaks the same step layout, dtypes and error codes as this package.
 */
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ERRORS, type ErrorCode, isOctavoError, octavoError } from './errors.js';
import type { DeviceProbe, NativeDevice } from './native-device.js';
import type { NativeGrammars, NativeMatcher } from './native-grammar.js';
import type { RawResult } from './wire/decode.js';
import { POOLED_LAYOUT, STEP_LAYOUT } from './wire/layout.js';

export type * from './native-device.js';
export type * from './native-grammar.js';

/** Stored types; the numbers are native/base/dtype.h's, compared at load. */
export const DTYPES = {
  F32: 0,
  F16: 1,
  BF16: 2,
  Q8_0: 3,
  Q4_0: 4,
  Q4_1: 5,
  Q5_0: 6,
  Q5_1: 7,
  Q2_K: 8,
  Q3_K: 9,
  Q4_K: 10,
  Q5_K: 11,
  Q6_K: 12,
  IQ4_NL: 13,
  IQ4_XS: 14,
  MXFP4: 15,
} as const;
export type DTypeName = keyof typeof DTYPES;

/** How exact a stored type is: what a few bits approximate, 16 bits, or float32 itself. */
export const DTYPE_KINDS: Readonly<Record<DTypeName, 'float32' | 'half' | 'quantised'>> = {
  F32: 'float32',
  ...{ F16: 'half', BF16: 'half' },
  ...{ Q8_0: 'quantised', Q4_0: 'quantised', Q4_1: 'quantised', Q5_0: 'quantised' },
  ...{ Q5_1: 'quantised', Q2_K: 'quantised', Q3_K: 'quantised', Q4_K: 'quantised' },
  ...{ Q5_K: 'quantised', Q6_K: 'quantised', IQ4_NL: 'quantised', IQ4_XS: 'quantised' },
  MXFP4: 'quantised',
};

/** One tensor of a checkpoint, by the canonical name that native/model/weights.h binds. */
export interface NativeTensor {
  /** `embed`, `positions`, `token_types`, `embed_norm`, `head`, `final_norm`, `pooled.<i>`,
   * `pooled.<i>.norm`, `layers.<i>.` and attn_norm, post_attn_norm, mlp_norm, post_mlp_norm,
   * q_norm, k_norm (or of each head `q_norm.<head>`), sinks, attn_gate, q, k, v, o, gate, up, down,
   * router, shared_gate, experts.<e>.gate, .up, .down; `<name>.bias`, `router.choice_bias`. */
  readonly name: string;
  readonly dtype: DTypeName;
  /** Rows of the matrix (output features); 1 for a vector. */
  readonly rows: number;
  /** Columns of the matrix (input features); the length of a vector. */
  readonly cols: number;
  /** Index into `files`. */
  readonly file: number;
  /** Byte offset of the first value in that file. */
  readonly offset: number;
  /** Length in bytes: rows · row bytes of the dtype; where transposed, of all that is stored. */
  readonly bytes: number;
  /**
   * The file holds the matrix turned around, [cols, of] of a plain type, and its rows are the
   * stored columns from `from` on (GPT-2's Conv1D).
   */
  readonly transposed?: { readonly of: number; readonly from: number };
  /**
   * Rows (of a vector: values; where transposed: columns) lie so many stored ones apart, as where
   * gate and up take turns. `bytes` then reach from the first to the end of the last. Default: 1.
   */
  readonly step?: number;
  /**
   * Of MXFP4 that is stored in two tensors: at `offset` codes alone, neighbours in one byte, the
   * first in its low half; here the scales, a byte for each 32. `bytes` are those of the codes.
   */
  readonly scales?: { readonly file: number; readonly offset: number };
}

/** native/ops.h's NormKind. */
export const NORMS = { none: 0, rms: 1, layer: 2 } as const;
/** native/ops.h's HiddenAct; geluTanh is GELU in its tanh form, gelu by erf, relu2 ReLU squared. */
export const HIDDEN_ACTS = {
  silu: 0,
  geluTanh: 1,
  gelu: 2,
  relu2: 3,
  sigmoid: 4,
  tanh: 5,
} as const;
/**
 * native/model/spec.h's Branches: one after the other; both of the layer's input, each by its own
 * norm; both of what attnNorm makes of it; x = attnNorm(x + attention(x)), x = mlpNorm(x + mlp(x)).
 */
export const BRANCHES = { serial: 0, parallel: 1, shared: 2, post: 3 } as const;
/** native/model/spec.h's QkNormSpan: each head, the whole projection, each by its own weight. */
export const QK_NORM_SPANS = { head: 0, projection: 1, ownHead: 2 } as const;

/** native/ops.h's RouterScore: softmax of all, sigmoid of each, softmax of those chosen. */
export const ROUTER_SCORES = { softmax: 0, sigmoid: 1, chosenSoftmax: 2 } as const;

export interface NativeNorm {
  readonly kind: (typeof NORMS)[keyof typeof NORMS];
  readonly eps: number;
  /** The weight is 1 + what is stored. */
  readonly offset: boolean;
  /** There is one; without it as if all were 1. Of kind none: false. */
  readonly weight: boolean;
  /** Of kind layer: there is one. */
  readonly bias: boolean;
}

/** One table of angles. */
export interface NativeRope {
  /** [rotary size / 2] radians per position, scaling already applied. */
  readonly inverseFrequencies: Float32Array;
  /** The same for sequences that a step marks as long (longrope). */
  readonly longInverseFrequencies?: Float32Array;
  /** Pairs are neighbours, not halves. */
  readonly interleaved: boolean;
  /** Multiplies cos and sin (yarn, longrope); 1 otherwise. */
  readonly attentionFactor: number;
}

/** q · (1 + beta · ln(1 + ⌊(position + offset) / length⌋)); beta 0 = as it is. */
export interface NativeTemperature {
  readonly beta: number;
  /** Positions that have the same factor. */
  readonly length: number;
  readonly offset: number;
}

export interface NativeAttention {
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headSize: number;
  /** False: a query sees the tokens behind it too, as far as those before it. */
  readonly causal: boolean;
  /** A query sees itself and window − 1 tokens before it; 0 = all. */
  readonly window: number;
  /** Of these only the tokens of its own chunk of `window`, counted from position 0. */
  readonly chunked: boolean;
  /** Index into `ropes`; −1 = no positions. */
  readonly rope: number;
  /** Of q·k before the softmax: 1/√headSize as a rule. */
  readonly scale: number;
  /** Scores become softcap · tanh(score / softcap); 0 = as they are. */
  readonly softcap: number;
  /** A logit per head (tensor `sinks`) stands in the softmax's denominator, and nowhere else. */
  readonly sinks: boolean;
  /** Of q and k, before they rotate. */
  readonly qkNorm: NativeNorm;
  readonly qkNormSpan: (typeof QK_NORM_SPANS)[keyof typeof QK_NORM_SPANS];
  /** It comes after they have rotated: an RMS norm of span head only. */
  readonly qkNormAfterRope: boolean;
  /** Of q, after all that. */
  readonly temperature: NativeTemperature;
  /** What comes out is multiplied by sigmoid(attn_gate · x), x being what q is made of; then o. */
  readonly gated: boolean;
  /** Which of q, k, v, o have a bias. */
  readonly biases: readonly string[];
}

export interface NativeMlp {
  /** 0 = there is none, only experts. */
  readonly intermediateSize: number;
  readonly hiddenAct: (typeof HIDDEN_ACTS)[keyof typeof HIDDEN_ACTS];
  /** down · (act(gate · x) ⊙ (up · x)), else down · act(up · x). */
  readonly gated: boolean;
  /** Which of gate, up, down have a bias. */
  readonly biases: readonly string[];
}

/** How experts are chosen: the best by score, ties to the lower id. */
export interface NativeRouter {
  readonly score: (typeof ROUTER_SCORES)[keyof typeof ROUTER_SCORES];
  /** There is a `router.bias`, added to the logits. */
  readonly bias: boolean;
  /** There is a `router.choice_bias`, added to the scores for the choice only. */
  readonly choiceBias: boolean;
  /** Weights are divided by the sum of those chosen. */
  readonly normalize: boolean;
  /** Multiplies the weights then. */
  readonly scale: number;
  /** Experts lie in so many groups of neighbours; 1 = all in one. */
  readonly numGroups: number;
  /** So many groups may be chosen from: those of the highest sums... */
  readonly topGroups: number;
  /** ...of so many best scores in each. */
  readonly groupBest: number;
}

/**
 * Of each row `topK` experts, down · glu(gate · x, up · x), times their weights. The layer's `mlp`,
 * if it has one, is added to that: a shared expert.
 */
export interface NativeExperts {
  readonly numExperts: number;
  readonly topK: number;
  readonly intermediateSize: number;
  /** glu(g, u) = act(alpha · g) / alpha · (u + upOffset). */
  readonly hiddenAct: (typeof HIDDEN_ACTS)[keyof typeof HIDDEN_ACTS];
  readonly alpha: number;
  /** g is at most this, u between minus this and this; 0 = no limit. */
  readonly limit: number;
  readonly upOffset: number;
  /** Which of gate, up, down have a bias. */
  readonly biases: readonly string[];
  readonly router: NativeRouter;
  /** A weight multiplies what goes into its expert, not what comes out. */
  readonly scalesInput: boolean;
  /** The mlp is multiplied by sigmoid(shared_gate · x), a tensor of one row. */
  readonly sharedGate: boolean;
}

export interface NativeLayer {
  readonly branches: (typeof BRANCHES)[keyof typeof BRANCHES];
  readonly attnNorm: NativeNorm;
  /** Of the branch, before it is added. */
  readonly postAttnNorm: NativeNorm;
  readonly mlpNorm: NativeNorm;
  readonly postMlpNorm: NativeNorm;
  readonly attention: NativeAttention;
  readonly mlp: NativeMlp;
  readonly experts?: NativeExperts;
  /** Multiplies each branch. */
  readonly residualScale: number;
}

/** x = norm(act(weight · x + bias)), of a pooled vector, act where there is one: `pooled.<i>`. */
export interface NativeDense {
  readonly outSize: number;
  readonly bias: boolean;
  readonly act?: (typeof HIDDEN_ACTS)[keyof typeof HIDDEN_ACTS];
  readonly norm: NativeNorm;
}

/** A model as data, as native/model/spec.h reads it. */
export interface NativeModelSpec {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly embedding: {
    readonly scale: number;
    /** Rows of a learned position table; 0 = there is none. */
    readonly numPositions: number;
    /** Rows of a table that is added by each token's type; 0 = there is none. */
    readonly numTokenTypes: number;
    /** Of the sum, where the first layer reads it. */
    readonly norm: NativeNorm;
  };
  readonly ropes: readonly NativeRope[];
  readonly layers: readonly NativeLayer[];
  readonly finalNorm: NativeNorm;
  /** `scale` multiplies the logits; they then become softcap · tanh(logit / softcap), if not 0.
   * Without a head nothing can be generated. */
  readonly head?: { readonly tied: boolean; readonly scale: number; readonly softcap: number };
  /** What a pooled vector goes through; the first layer reads `hiddenSize` values. */
  readonly pooler?: { readonly layers: readonly NativeDense[] };
}

/**
 * Layers that keep their KV alike. A page of the pool belongs to one group at a time; in it the
 * group's layers lie one after the other, K then V; in an 8-bit cache the scales of all of them lie
 * behind the values of the largest group, in the same order.
 */
export interface NativeKvGroup {
  /** No layer of it looks further back than so many tokens; 0 = all tokens are kept. */
  readonly window: number;
  /** Nor out of a query's own chunk of `window` tokens, counted from position 0. */
  readonly chunked?: boolean;
  /** Tokens per page: `NativeLimits.blockSize` times a power of two. */
  readonly blockSize: number;
  /** Numbers of the layers; each layer of the model is in one group. */
  readonly layers: readonly number[];
}

/**
 * What one step may ask for at most; native sizes activations and the pool by it, once. No groups
 * (and no blocks): no cache is kept, and texts are pooled by `embed()` in place of `step()`.
 */
export interface NativeLimits {
  /** Blocks of the pool, the null block included; 0 = as many as the device has room for. */
  readonly numBlocks: number;
  /** Of the group with the fewest tokens per block. */
  readonly blockSize: number;
  readonly groups: readonly NativeKvGroup[];
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  readonly maxModelLen: number;
  /** Block ids in a table of the finest group; rows of the slab: `tableOffsets`. */
  readonly blocksPerRow: number;
  /** Blocks of the host pool that preempted groups are swapped to. */
  readonly numHostBlocks: number;
}

export interface NativeLoadRequest {
  readonly spec: NativeModelSpec;
  readonly limits: NativeLimits;
  readonly files: readonly string[];
  readonly tensors: readonly NativeTensor[];
  readonly numThreads: number;
  /** '' = the best of {@link NativeAddon.isas}. */
  readonly isa: string;
  /** What the CPU's products round to; auto = int8 with quantised weights, bf16 with BF16 ones. */
  readonly activations: 'auto' | 'int8' | 'bf16' | 'f32';
  /** Plain matrices become this as they are loaded; '' = they stay. */
  readonly quantize: 'q8_0' | 'q4_0' | '';
  readonly device: NativeDevice;
}

export interface NativeLoaded {
  readonly backend: string;
  readonly isa: string;
  readonly numBlocks: number;
  readonly blockBytes: number;
  readonly weightBytes: number;
  /** Host threads that compute: fewer than asked for where the system grants no more. */
  readonly numThreads: number;
}

/** A step's result; `logits` [samples + prompt rows, vocab] only from the test addon. */
export interface NativeStepResult extends RawResult {
  /** Milliseconds that the executor's thread worked on the step. */
  readonly computeMs: number;
  readonly logits?: Float32Array;
}

/** What pooled texts give: `values` [texts, width], the width being the pooler's or the head's. */
export interface NativePooledResult extends Pick<NativeStepResult, 'computeMs'> {
  readonly values: Float32Array;
}

/** One model on one owned thread. Every method returns a promise that settles exactly once. */
export interface NativeExecutor {
  load(request: Omit<NativeLoadRequest, 'tensors'> & { tensors: object[] }): Promise<NativeLoaded>;
  step(
    words: Int32Array,
    tables: Int32Array,
    samplers: Float64Array,
    /** Only where the step has a new mask. */
    masks?: Int32Array,
    captureLogits?: boolean,
    /** Of the samples whose masks they make, in order. They may advance once it has returned. */
    matchers?: readonly NativeMatcher[],
  ): Promise<NativeStepResult>;
  /** Texts computed whole, as lib/wire/pooled.ts writes them. Where no cache is kept. */
  embed(words: Int32Array): Promise<NativePooledResult>;
  close(): Promise<void>;
  /** Which devices there are; before `load()`. Starting a driver can take seconds. */
  probe(): Promise<DeviceProbe>;
}

/** The addon's exports. */
export interface NativeAddon extends NativeGrammars {
  readonly Executor: new () => NativeExecutor;
  readonly stepLayout: Record<string, number>;
  readonly pooledLayout: Record<string, number>;
  readonly dtypes: Record<string, number>;
  readonly errorCodes: readonly string[];
  /** Instruction sets this machine can run, best first. */
  readonly isas: readonly string[];
}

let loaded: NativeAddon | undefined;

/**
 * The addon of this package, loaded and verified once per process.
 * @throws ERR_NATIVE_MISSING when it is not built, ERR_NATIVE_MISMATCH when it is another version's
 */
export function native(): NativeAddon {
  if (loaded) return loaded;
  const require = createRequire(import.meta.url);
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  let addon: NativeAddon;
  try {
    addon = (require('node-gyp-build') as (root: string) => NativeAddon)(root);
  } catch (cause) {
    throw octavoError(
      'ERR_NATIVE_MISSING',
      'the native addon does not load; run "npm rebuild octavo" (it needs Linux x64 or arm64 ' +
        `with glibc, cmake and g++): ${(cause as Error).message.split('\n')[0]}`,
      { cause },
    );
  }
  loaded = verified(addon);
  return loaded;
}

/** Compares what both languages share; anything else would be read as garbage later. */
export function verified(addon: NativeAddon): NativeAddon {
  const same = (what: string, ours: Record<string, number>, theirs: Record<string, number>) => {
    const names = new Set([...Object.keys(ours), ...Object.keys(theirs ?? {})]);
    for (const name of names) {
      if (ours[name] !== theirs?.[name]) {
        throw octavoError(
          'ERR_NATIVE_MISMATCH',
          `the native addon is another version's (${what} ${name}); run "npm rebuild octavo"`,
        );
      }
    }
  };
  same('step layout', STEP_LAYOUT, addon.stepLayout);
  same('layout of pooled texts', POOLED_LAYOUT, addon.pooledLayout);
  same('dtype', DTYPES, addon.dtypes);
  for (const code of addon.errorCodes) {
    if (!(code in ERRORS)) same('error code', {}, { [code]: 1 });
  }
  return addon;
}

/** Gives an error from the addon ({code, message}) its class of lib/errors.ts. */
export function fromNative(error: unknown): Error {
  if (isOctavoError(error) && 'status' in error) return error;
  const { code, message } = error as { code?: string; message?: string };
  const known = typeof code === 'string' && code in ERRORS;
  return octavoError(known ? (code as ErrorCode) : 'ERR_INTERNAL', message ?? String(error), {
    cause: error,
  });
}
