/** A model that is loaded to pool, behind the bare native interface. */
import {
  DTYPES,
  type NativeDevice,
  type NativeExecutor,
  type NativeLimits,
  type NativeLoadRequest,
  type NativeModelSpec,
  type NativeTensor,
} from '../../lib/native.js';
import { encodePooled, type PooledBatch } from '../../lib/wire/pooled.js';
import { ON_CPU, testAddon, testDevice } from './addon.js';

export interface PooledSource {
  readonly spec: NativeModelSpec;
  readonly files: readonly string[];
  readonly tensors: readonly NativeTensor[];
}

export type PooledOptions = Partial<
  Pick<NativeLoadRequest, 'numThreads' | 'isa' | 'activations' | 'quantize'> & {
    device: Partial<NativeDevice>;
    /** Tokens of a page that K and V go through. */
    blockSize: number;
    maxNumSeqs: number;
    maxNumBatchedTokens: number;
    maxModelLen: number;
    /** Instead of what follows from the rest. */
    limits: Partial<NativeLimits>;
  }
>;

export class PooledModel {
  private constructor(readonly executor: NativeExecutor) {}

  static async open(
    { spec, files, tensors }: PooledSource,
    options: PooledOptions = {},
  ): Promise<PooledModel> {
    const executor = new (testAddon().Executor)();
    const { blockSize = 16, maxNumSeqs = 8, maxNumBatchedTokens = 512, ...others } = options;
    const { maxModelLen = 512, device = {}, limits = {}, ...host } = others;
    const sizes = { blockSize, maxNumSeqs, maxNumBatchedTokens, maxModelLen };
    try {
      await executor.load({
        spec,
        limits: {
          ...{ ...sizes, groups: [], numBlocks: 0, blocksPerRow: 0, numHostBlocks: 0 },
          ...limits,
        },
        files,
        tensors: tensors.map((t) => ({ ...t, dtype: DTYPES[t.dtype] })),
        ...ON_CPU,
        ...host,
        device: testDevice(device),
      });
    } catch (error) {
      await executor.close();
      throw error;
    }
    return new PooledModel(executor);
  }

  /** The values of each text. */
  async embed(batch: PooledBatch): Promise<Float32Array[]> {
    const { values } = await this.executor.embed(encodePooled(batch));
    const { length } = batch.texts;
    const width = values.length / length;
    return Array.from({ length }, (_, i) => values.slice(i * width, (i + 1) * width));
  }

  close(): Promise<void> {
    return this.executor.close();
  }
}
