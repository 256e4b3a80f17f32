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

const CPU: Device = { kind: 'cpu', index: -1 };
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
    kvCacheDtype: config.kvCacheDtype,
    memoryUtilization: config.gpuMemoryUtilization,
    maxNumBlocks: Math.min(2 ** 30, usefulBlocks(config, sizes.maxNumSeqs, sizes.maxModelLen)),
    graphs: config.enableCudaGraphs,
    sharePrefixes: config.enableCascadeAttention,
    batchInvariant: config.batchInvariant,
  };
}

/** Bytes of one cached value and of the scale beside each row of them. */
export function kvElement(device: Device, config: EngineConfig): { value: number; scale: number } {
  if (config.kvCacheDtype !== 'auto') return { value: 1, scale: 4 };
  return { value: device.kind === 'cpu' ? 4 : 2, scale: 0 };
}
