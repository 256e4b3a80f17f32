/** Where a model runs: the choice of a device. */
import { octavoError } from '../errors.js';
import type { DeviceProbe, NativeAddon } from '../native.js';
import { probeDevices } from './executor.js';

export interface Device {
  readonly kind: 'cpu' | 'cuda' | 'simt';
  /** −1 on the CPU. */
  readonly index: number;
  /** Bytes of its own memory, other processes' included; the CPU has none of its own. */
  readonly memory?: number;
}

export const CPU: Device = { kind: 'cpu', index: -1 };
let fallbackTold = false;

/**
 * The device that `wish` asks for. `auto` is the first usable GPU, else the CPU; a build with CUDA
 * that finds none says so, once per process, as a warning.
 * @throws ERR_DEVICE_NOT_FOUND with the reason, ERR_OUT_OF_MEMORY where no thread can be started
 */
export async function chooseDevice(wish: string, addon?: NativeAddon): Promise<Device> {
  if (wish === 'cpu') return CPU;
  const probe = await probeDevices(addon);
  const found = (kind: 'simt' | 'cuda', index: number): Device => {
    return { kind, index, memory: probe.devices[index].memory };
  };
  if (wish === 'simt' && probe.kind === 'simt') return found('simt', 0);
  const usable = (index: number) => (probe.devices[index]?.major ?? 0) >= 8;
  if (wish === 'auto') {
    if (probe.kind === 'cuda' && usable(0)) return found('cuda', 0);
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
  if (probe.kind === 'cuda' && wish !== 'simt' && usable(index)) return found('cuda', index);
  throw octavoError(
    'ERR_DEVICE_NOT_FOUND',
    `device ${wish}: ${missing(wish, index, probe)}; use "auto" or "cpu"`,
    { param: 'device' },
  );
}

function missing(wish: string, index: number, probe: DeviceProbe): string {
  if (wish === 'simt') return 'the emulator is in the test addon only';
  if (probe.kind === 'simt') return 'this addon has the emulator instead of CUDA';
  const device = probe.devices[index];
  if (device) {
    return `${device.name} has compute capability ${device.major}.${device.minor}, less than 8.0`;
  }
  if (probe.devices.length > 0) return `the number of devices here is ${probe.devices.length}`;
  return probe.reason;
}
