/**
 * The only importer of the .node file: a typed mirror of each symbol. At load it verifies that the
 * addon speaks the same step layout, dtypes and error codes as this package.
 */
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { STEP_LAYOUT, type StepResult } from './core/step.js';
import { ERRORS, type ErrorCode, isOctavoError, octavoError } from './errors.js';

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
} as const;
export type DTypeName = keyof typeof DTYPES;

/** One tensor of a checkpoint, by the canonical name that native/model/weights.h binds. */
export interface NativeTensor {
  /** `embed`, `head`, `final_norm`, `layers.<i>.` and attn_norm, q, k, v, o, q_norm, k_norm,
   * mlp_norm, gate, up or down; `<name>.bias` for a bias. */
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
  /** Length in bytes: rows · row bytes of the dtype. */
  readonly bytes: number;
}

/** The switches of the one forward pass, as native/model/config.h reads them. */
export interface NativeModelConfig {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headSize: number;
  readonly intermediateSize: number;
  readonly normEps: number;
  /** Scale of q·k before the softmax: 1/√headSize as a rule. */
  readonly attentionScale: number;
  readonly qkNorm: boolean;
  /** Of the gate: 0 = SiLU, 1 = GELU in its tanh form. */
  readonly activation: number;
  readonly tiedHead: boolean;
  readonly rotarySize: number;
  readonly ropeInterleaved: boolean;
  /** Multiplies cos and sin (yarn); 1 otherwise. */
  readonly ropeAttentionFactor: number;
  /** [rotarySize / 2], scaling already applied. */
  readonly inverseFrequencies: Float32Array;
  /** Per layer: a query sees itself and window − 1 tokens before it; 0 = all. */
  readonly windows: Int32Array;
}

/** What one step may ask for at most; native sizes activations and the pool by it, once. */
export interface NativeLimits {
  /** Blocks of the pool, the null block included; 0 = as many as the device has room for. */
  readonly numBlocks: number;
  readonly blockSize: number;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  readonly maxModelLen: number;
  /** Block ids per row of the block-table slab. */
  readonly blocksPerRow: number;
  /** Blocks of the host pool that preempted groups are swapped to. */
  readonly numHostBlocks: number;
}

/** Where a model runs; all but `index` is for devices only. */
export interface NativeDevice {
  /** −1 = the CPU, else the number of a GPU. */
  readonly index: number;
  /** Of activations: DTYPES.BF16 or DTYPES.F16. */
  readonly activation: number;
  /** auto: as the activations. fp8 on a GPU only, float32 to bfloat16 on the CPU only. */
  readonly kvCacheDtype: 'auto' | 'float32' | 'float16' | 'bfloat16' | 'fp8' | 'int8';
  readonly memoryUtilization: number;
  /** The pool never gets more blocks than this when it is measured. */
  readonly maxNumBlocks: number;
  readonly graphs: boolean;
  readonly sharePrefixes: boolean;
  readonly batchInvariant: boolean;
}

export interface NativeLoadRequest {
  readonly config: NativeModelConfig;
  readonly limits: NativeLimits;
  readonly files: readonly string[];
  readonly tensors: readonly NativeTensor[];
  readonly numThreads: number;
  /** '' = the best of {@link NativeAddon.isas}. */
  readonly isa: string;
  /** Of the CPU, in products with quantised weights. */
  readonly activations: 'int8' | 'f32';
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
}

/** A step's result; `logits` [samples + prompt rows, vocab] only from the test addon. */
export interface NativeStepResult extends StepResult {
  /** Milliseconds that the executor's thread worked on the step. */
  readonly computeMs: number;
  readonly logits?: Float32Array;
}

/** One model on one owned thread. Every method returns a promise that settles exactly once. */
export interface NativeExecutor {
  load(request: Omit<NativeLoadRequest, 'tensors'> & { tensors: object[] }): Promise<NativeLoaded>;
  step(
    words: Int32Array,
    tables: Int32Array,
    samplers: Float64Array,
    captureLogits?: boolean,
  ): Promise<NativeStepResult>;
  close(): Promise<void>;
}

export interface CudaProbe {
  /** What this addon was built with; `simt` is the emulator of the test addon. */
  readonly kind: 'cuda' | 'simt' | 'none';
  /** Why `devices` is empty. */
  readonly reason: string;
  readonly devices: readonly { name: string; major: number; minor: number; memory: number }[];
}

/** The addon's exports. */
export interface NativeAddon {
  readonly Executor: new () => NativeExecutor;
  readonly stepLayout: Record<string, number>;
  readonly dtypes: Record<string, number>;
  readonly errorCodes: readonly string[];
  /** Instruction sets this machine can run, best first. */
  readonly isas: readonly string[];
  cudaProbe(): CudaProbe;
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
