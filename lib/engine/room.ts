/** What weights take of this machine's memory, and what they leave for everything else. */
import { availableMemory } from '../config/machine.js';
import type { EngineConfig } from '../config/options.js';
import { octavoError } from '../errors.js';
import type { Checkpoint } from '../model/checkpoint.js';
import { widensTurned } from '../model/spec.js';
import { kindOf, type NativeTensor } from '../native.js';
import type { Device } from './device.js';

const GiB = 2 ** 30;

/** Bytes of 32 values. */
const QUANTISED_BYTES = { q8_0: 34, q4_0: 18 } as const;

/** Bytes of the weights as the CPU holds them: as they are stored, or quantised at load. */
export function heldBytes(
  { tensors, weightBytes }: Pick<Checkpoint, 'tensors' | 'weightBytes'>,
  quantize: EngineConfig['quantize'],
): number {
  const widened = tensors.filter(widensTurned);
  const more = widened.reduce((sum, { rows, cols, bytes }) => sum + 4 * rows * cols - bytes, 0);
  if (quantize === undefined) return weightBytes + more;
  const saved = tensors.reduce((sum, tensor) => sum + savedBytes(tensor, quantize), 0);
  return weightBytes + more - saved;
}

const AS_STORED = /^(positions|token_types|pooled\.\d+)$|\.(router|shared_gate)$/;

/** As native/model/weights.cc decides it: embedding and head keep eight bits, some matrices all. */
function savedBytes(
  { name, dtype, rows, cols, bytes }: NativeTensor,
  quantize: keyof typeof QUANTISED_BYTES,
): number {
  const stays = rows === 1 || cols % 32 !== 0 || AS_STORED.test(name);
  if (stays || kindOf(dtype) === 'quantised') return 0;
  const as = name === 'embed' || name === 'head' ? 'q8_0' : quantize;
  return bytes - ((rows * cols) / 32) * QUANTISED_BYTES[as];
}

/** Of these a GPU keeps the bits; all else becomes 16 bits a value (native/kernels). */
export const PACKED_ON_DEVICE: readonly string[] = [
  ...['Q8_0', 'Q4_0', 'Q4_K', 'Q5_K', 'Q6_K', 'MXFP4'],
  ...['INT4_G32', 'INT4_G128', 'INT8_G32', 'INT8_G128', 'FP8_G32', 'FP8_G128'],
];

/** About what the weights take on a GPU: native/kernels/device_context.h has the types. */
export function deviceBytes(
  { tensors }: Pick<Checkpoint, 'tensors'>,
  quantize: EngineConfig['quantize'],
): number {
  const bytesOf = (tensor: NativeTensor) => {
    const { dtype, rows, cols, bytes } = tensor;
    const saved = quantize === undefined ? 0 : savedBytes(tensor, quantize);
    if (saved !== 0 || PACKED_ON_DEVICE.includes(dtype)) return bytes - saved;
    return rows * cols * (rows === 1 ? 4 : 2);
  };
  return tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0);
}

/** What they leave of the part of a GPU's memory that may be used; no limit is known of the CPU. */
export function roomOnDevice(
  checkpoint: Pick<Checkpoint, 'tensors'>,
  { quantize, gpuMemoryUtilization }: Pick<EngineConfig, 'quantize' | 'gpuMemoryUtilization'>,
  { memory = Number.POSITIVE_INFINITY }: Device,
): number {
  return Math.max(0, memory * gpuMemoryUtilization - deviceBytes(checkpoint, quantize));
}

/**
 * Bytes of the host's memory that the weights leave; those of a GPU take none of it.
 * @throws ERR_OUT_OF_MEMORY where this process cannot hold the weights
 */
export function roomBeside(
  checkpoint: Pick<Checkpoint, 'tensors' | 'weightBytes'>,
  { quantize }: Pick<EngineConfig, 'quantize'>,
  { kind }: Device,
  available = availableMemory(),
): number {
  if (kind !== 'cpu') return available;
  const held = heldBytes(checkpoint, quantize);
  if (held < available) return available - held;
  const gib = (bytes: number) => `${(bytes / GiB).toFixed(1)} GiB`;
  throw octavoError(
    'ERR_OUT_OF_MEMORY',
    `the weights take ${gib(held)}, and this process can have no more than ${gib(available)}; ` +
      'use a smaller or more quantised model, or free memory',
    { param: 'model' },
  );
}
