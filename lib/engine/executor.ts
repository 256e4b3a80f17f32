/** What runs a step: the interface the engine knows, and the native one behind it. */
import type { StepResult } from '../core/step.js';
import {
  DTYPES,
  fromNative,
  type NativeAddon,
  type NativeLoaded,
  type NativeLoadRequest,
  native,
} from '../native.js';

export interface Executor {
  /**
   * Runs one encoded step (see core/step.ts). The arrays may be reused once the call has returned.
   * One step at a time. Rejects with a coded error.
   */
  execute(
    words: Int32Array,
    tables: Int32Array,
    samplers: Float64Array,
  ): Promise<StepResult & { readonly computeMs: number }>;
  /** Waits for the step in flight, frees everything; idempotent. */
  close(): Promise<void>;
}

/**
 * Loads weights and sizes the pool, off the JS thread.
 * @param addon the addon to use; tests give their own build
 * @throws ERR_MODEL_FORMAT, ERR_MODEL_NOT_FOUND, ERR_OUT_OF_MEMORY, ERR_INVALID_OPTION
 */
export async function createNativeExecutor(
  request: NativeLoadRequest,
  addon: NativeAddon = native(),
): Promise<Executor & { readonly loaded: NativeLoaded }> {
  const executor = new addon.Executor();
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
    async execute(words, tables, samplers) {
      try {
        return await executor.step(words, tables, samplers);
      } catch (error) {
        throw fromNative(error);
      }
    },
    async close() {
      await executor.close();
    },
  };
}
