/** What runs a step: the interface the engine knows, and the native one behind it. */
import type { Matcher } from '../grammar/compile.js';
import {
  type DeviceProbe,
  DTYPES,
  fromNative,
  type NativeAddon,
  type NativeExecutor,
  type NativeLoaded,
  type NativeLoadRequest,
  type NativeMatcher,
  type NativePooledResult,
  type NativeStepResult,
  native,
} from '../native.js';

export interface Executor {
  /**
   * Runs one encoded step with its slabs (see wire/layout.ts), that of the masks only where one is
   * new, and the matchers that make others. The arrays may be reused once the call has returned,
   * and the matchers may advance. One step at a time. Rejects with a coded error.
   */
  execute(
    words: Int32Array,
    tables: Int32Array,
    samplers: Float64Array,
    masks?: Int32Array,
    matchers?: readonly Matcher[],
  ): Promise<NativeStepResult>;
  /** Waits for the step in flight, frees everything; idempotent. */
  close(): Promise<void>;
}

/** What computes texts whole, of a model that is loaded to pool. */
export interface PoolingExecutor {
  /**
   * Runs what lib/wire/pooled.ts has encoded. The array may be reused once the call has returned.
   * One call at a time. Rejects with a coded error.
   */
  embed(words: Int32Array): Promise<NativePooledResult>;
  /** Waits for the call in flight, frees everything; idempotent. */
  close(): Promise<void>;
}

/** @throws ERR_OUT_OF_MEMORY where no thread can be started for it */
function startExecutor(addon: NativeAddon): NativeExecutor {
  try {
    return new addon.Executor();
  } catch (error) {
    throw fromNative(error);
  }
}

/**
 * The devices of this machine, asked off the JS thread: the first question starts the driver.
 * @throws ERR_OUT_OF_MEMORY where no thread can be started
 */
export async function probeDevices(addon: NativeAddon = native()): Promise<DeviceProbe> {
  const executor = startExecutor(addon);
  try {
    return await executor.probe();
  } catch (error) {
    throw fromNative(error);
  } finally {
    await executor.close();
  }
}

/**
 * Loads weights and sizes the pool, off the JS thread.
 * @param addon the addon to use; tests give their own build
 * @throws ERR_MODEL_FORMAT, ERR_MODEL_NOT_FOUND, ERR_OUT_OF_MEMORY, ERR_INVALID_OPTION
 */
export async function createNativeExecutor(
  request: NativeLoadRequest,
  addon: NativeAddon = native(),
): Promise<Executor & PoolingExecutor & { readonly loaded: NativeLoaded }> {
  const executor = startExecutor(addon);
  const tensors = request.tensors.map((t) => ({ ...t, dtype: DTYPES[t.dtype] }));
  let loaded: NativeLoaded;
  try {
    loaded = await executor.load({ ...request, tensors });
  } catch (error) {
    await executor.close();
    throw fromNative(error);
  }
  return {
    loaded,
    async execute(words, tables, samplers, masks, matchers) {
      try {
        return await executor.step(
          words,
          tables,
          samplers,
          masks,
          false,
          matchers as NativeMatcher[],
        );
      } catch (error) {
        throw fromNative(error);
      }
    },
    async embed(words) {
      try {
        return await executor.embed(words);
      } catch (error) {
        throw fromNative(error);
      }
    },
    async close() {
      await executor.close();
    },
  };
}
