/** Where a model runs: the choice of a device and what of the engine depends on it. */
import { type EngineConfig, type EngineSizes, usefulBlocks } from '../config.js';
import { octavoError } from '../errors.js';
import type { ModelConfig } from '../model/model-config.js';
import { DTYPES, type NativeAddon, type NativeDevice, native } from '../native.js';

export interface Device {
  readonly kind: 'cpu' | 'cuda' | 'simt';
  /** −1 on the CPU. */
  readonly index: number;
}

export const CPU: Device = { kind: 'cpu', index: -1 };
let fallbackTold = false;

/**
 * The device that `wish` asks for. `auto` is the first usable GPU, else the CPU; a build with CUDA
 * that finds none says so, once per process, as a warning.
 * @throws ERR_DEVICE_NOT_FOUND with the reason
 */
export function chooseDevice(wish: string, addon: NativeAddon = native()): Device {
  if (wish === 'cpu') return CPU;
  const probe = addon.cudaProbe();
  if (wish === 'simt' && probe.kind === 'simt') return { kind: 'simt', index: 0 };
  const usable = (index: number) => (probe.devices[index]?.major ?? 0) >= 8;
  if (wish === 'auto') {
    if (probe.kind === 'cuda' && usable(0)) return { kind: 'cuda', index: 0 };
    if (probe.kind === 'cuda' && !fallbackTold) {
      fallbackTold = true;
      const why = probe.reason || `${probe.devices[0].name} is older than compute capability 8.0`;
      process.emitWarning(`no CUDA device (${why}); running on the CPU`, {
        code: 'OCTAVO_CPU_FALLBACK',
      });
    }
    return CPU;
  }
  const index = Number(wish.split(':')[1] ?? 0);
  if (probe.kind === 'cuda' && wish !== 'simt' && usable(index)) return { kind: 'cuda', index };
  throw octavoError(
    'ERR_DEVICE_NOT_FOUND',
    `device ${wish}: ${missing(wish, index, probe)}; use "auto" or "cpu"`,
    { param: 'device' },
  );
}

function missing(wish: string, index: number, probe: ReturnType<NativeAddon['cudaProbe']>): string {
  if (wish === 'simt') return 'the emulator is in the test addon only';
  if (probe.kind === 'simt') return 'this addon has the emulator instead of CUDA';
  const device = probe.devices[index];
  if (device) {
    return `${device.name} has compute capability ${device.major}.${device.minor}, less than 8.0`;
  }
  if (probe.devices.length > 0) return `the number of devices here is ${probe.devices.length}`;
  return probe.reason;
}

/** What the native side is told about the device. */
export function nativeDevice(
  device: Device,
  config: EngineConfig,
  model: ModelConfig,
  sizes: EngineSizes,
): NativeDevice {
  const half =
    config.dtype === 'float16' || (config.dtype === 'auto' && /^F(LOAT)?16$/i.test(model.dtype));
  return {
    index: device.index,
    activation: half ? DTYPES.F16 : DTYPES.BF16,
    kvCacheDtype: cacheDtype(device, config, model),
    memoryUtilization: config.gpuMemoryUtilization,
    maxNumBlocks: Math.min(2 ** 30, usefulBlocks(config, sizes.maxNumSeqs, sizes.maxModelLen)),
    graphs: config.enableCudaGraphs,
    sharePrefixes: config.enableCascadeAttention,
    batchInvariant: config.batchInvariant,
  };
}

/**
 * What the KV cache is stored in. The CPU's `auto` is float16 where the weights have 16 bits, or
 * products round their left side to int8 anyway; otherwise float32. `auto` on a GPU is the
 * activations' type.
 * @throws ERR_INVALID_OPTION for a type the device has no kernels for
 */
function cacheDtype(
  device: Device,
  { kvCacheDtype, activations, quantize }: EngineConfig,
  { dtype }: Pick<ModelConfig, 'dtype'>,
): NativeDevice['kvCacheDtype'] {
  const types = device.kind === 'cpu' ? CPU_CACHES : DEVICE_CACHES;
  if (!types.includes(kvCacheDtype)) {
    throw octavoError(
      'ERR_INVALID_OPTION',
      `kvCacheDtype ${kvCacheDtype} is not for device ${device.kind}; use ${types.join(', ')}`,
      { param: 'kvCacheDtype' },
    );
  }
  if (kvCacheDtype !== 'auto' || device.kind !== 'cpu') return kvCacheDtype;
  const quantised = quantize !== undefined || /^I?Q\d/.test(dtype);
  const coarse = quantised ? activations === 'int8' : /^B?F(LOAT)?16$/i.test(dtype);
  return coarse ? 'float16' : 'float32';
}
const CPU_CACHES: readonly string[] = ['auto', 'float32', 'float16', 'bfloat16', 'int8'];
const DEVICE_CACHES: readonly string[] = ['auto', 'fp8', 'int8'];

/**
 * Bytes of one cached value and of the scale beside each row of them.
 * @throws ERR_INVALID_OPTION for a type the device has no kernels for
 */
export function kvElement(
  device: Device,
  config: EngineConfig,
  model: Pick<ModelConfig, 'dtype'>,
): { value: number; scale: number } {
  const dtype = cacheDtype(device, config, model);
  if (dtype === 'fp8' || dtype === 'int8') return { value: 1, scale: 4 };
  return { value: dtype === 'float32' ? 4 : 2, scale: 0 };
}
