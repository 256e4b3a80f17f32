/**
 * The only importer of the .node file: a typed mirror of each symbol. At load it verifies that the
 * addon speaks the same step layout, dtypes and error codes as this package.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ERRORS, type ErrorCode, isOctavoError, octavoError } from './errors.js';
import type { DeviceProbe, NativeDevice } from './native-device.js';
import { type NativeFile, nativeFile } from './native-file.js';
import type { NativeGrammars, NativeMatcher } from './native-grammar.js';
import type { NativeModelSpec } from './native-spec.js';
import { DTYPES, type NativeTensor, type WeightKind } from './native-weights.js';
import type { RawResult } from './wire/decode.js';
import { POOLED_LAYOUT, STEP_LAYOUT } from './wire/layout.js';

export type * from './native-device.js';
export type * from './native-grammar.js';
export * from './native-spec.js';
export * from './native-weights.js';

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
  /** Numbers of the layers; each layer with KV of its own is in one group. */
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
  /** Of a model with recurrent layers: states (0, which is all zeros, among them), and records. */
  readonly recurrent?: {
    readonly numSlots: number;
    readonly numRecords: number;
    /** States that preempted groups are swapped to, for each the records of a chunk. Default: 0. */
    readonly numHostSlots?: number;
  };
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
  /** Of all recurrent layers: a state, and the record of a token; 0 where there are none. */
  readonly stateBytes: number;
  readonly recordBytes: number;
  readonly weightBytes: number;
  readonly weights: readonly WeightKind[];
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
  loaded = nativeOf(dirname(dirname(fileURLToPath(import.meta.url))));
  return loaded;
}

/**
 * The addon of the package in this folder, verified. `driver` as in {@link nativeFile}.
 * @throws as {@link native}
 */
export function nativeOf(root: string, driver?: boolean): NativeAddon {
  const require = createRequire(import.meta.url);
  let file: NativeFile | undefined;
  try {
    file = nativeFile(root, driver);
    const addon = require(file.path) as NativeAddon;
    return verified(addon, file.from && `run "npm install ${file.from}" of octavo's own version`);
  } catch (cause) {
    if (isOctavoError(cause)) throw cause;
    const [why] = (cause as Error).message.split('\n');
    throw octavoError('ERR_NATIVE_MISSING', `${remedyOf(root, file)}: ${why}`, { cause });
  }
}

/** What is to be done about an addon that does not load. */
function remedyOf(root: string, file: NativeFile | undefined): string {
  const from = file?.from;
  if (from) {
    return `${from} does not load; take it out ("npm uninstall ${from}") to do without a GPU`;
  }
  return isOctavo(root)
    ? 'the native addon does not load; run "npm rebuild octavo", which compiles one (on Linux ' +
        'x64 or arm64, with cmake and g++)'
    : 'this code has been taken out of the package octavo, by a bundler perhaps, and its native ' +
        "addon and model are not beside it; leave octavo out of the bundle (external: ['octavo'])";
}

function isOctavo(root: string): boolean {
  try {
    return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).name === 'octavo';
  } catch {
    return false;
  }
}

/**
 * Compares what both languages share; anything else would be read as garbage later.
 * @param remedy what is to be done about it
 */
export function verified(addon: NativeAddon, remedy = 'run "npm rebuild octavo"'): NativeAddon {
  const same = (what: string, ours: Record<string, number>, theirs: Record<string, number>) => {
    const names = new Set([...Object.keys(ours), ...Object.keys(theirs ?? {})]);
    for (const name of names) {
      if (ours[name] !== theirs?.[name]) {
        throw octavoError(
          'ERR_NATIVE_MISMATCH',
          `the native addon is another version's (${what} ${name}); ${remedy}`,
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
