/** The test build of the addon: the same sources, and steps may return their logits. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import {
  DTYPES,
  type NativeAddon,
  type NativeDevice,
  type NativeTensor,
  verified,
} from '../../lib/native.js';

export const ROOT = join(import.meta.dirname, '..', '..');

/** OCTAVO_TEST_ADDON names another build, e.g. one with sanitizers. */
export function testAddon(): NativeAddon {
  const path = process.env.OCTAVO_TEST_ADDON ?? join(ROOT, 'build', 'testing', 'octavo.node');
  if (!existsSync(path))
    throw new Error(`${path} is not built; run node scripts/install.mjs --testing`);
  return verified(createRequire(import.meta.url)(path) as NativeAddon);
}

/** What a load request says of the CPU. */
export const ON_CPU = { numThreads: 1, isa: '', activations: 'f32', quantize: '' } as const;

/** What a load request says of the device: the CPU, or the emulated GPU of the test addon. */
export function testDevice(device: Partial<NativeDevice> = {}): NativeDevice {
  return {
    index: -1,
    dtype: DTYPES.BF16,
    kvCacheDtype: 'auto',
    memoryUtilization: 0.9,
    maxNumBlocks: 2 ** 30,
    graphs: true,
    sharePrefixes: true,
    batchInvariant: true,
    ...device,
  };
}

/** Every value of a matrix as the files hold it, [rows, cols] in float32. */
export function storedMatrix(files: readonly string[], tensor: NativeTensor): Float32Array {
  const addon = testAddon() as NativeAddon & {
    storedMatrix(files: readonly string[], tensor: object): Float32Array;
  };
  return addon.storedMatrix(files, { ...tensor, dtype: DTYPES[tensor.dtype] });
}

/** Settings of the emulator (native/napi/addon.cc); what is left out stays. */
export interface SimtSettings {
  /** Order of lanes: 0 forward, 1 reverse, 2 random by `seed`. */
  order?: 0 | 1 | 2;
  seed?: number;
  asyncCopyLate?: 0 | 1;
  /** 1: a stream runs what it was given only when somebody waits for it. */
  streamsLate?: 0 | 1;
  threads?: number;
  memoryBytes?: number;
  /** The device is lost so many kernel launches from now; −1 = never. */
  failAtLaunch?: number;
  /** So many calls of the runtime from now one says that memory ran out; −1 = none. */
  failAtCall?: number;
}

export function simtDevice(settings: SimtSettings = {}): {
  launches: number;
  graphLaunches: number;
  /** Of the device. */
  usedBytes: number;
  /** Of the host, page-locked. */
  pinnedBytes: number;
  graphs: number;
  /** Of the runtime, that might have failed. */
  calls: number;
} {
  const addon = testAddon() as NativeAddon & {
    simtDevice(settings: SimtSettings): ReturnType<typeof simtDevice>;
  };
  return addon.simtDevice(settings);
}
