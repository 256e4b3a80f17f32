/** What weights take of this machine's memory, and what they leave for everything else. */
import { availableMemory } from '../config/machine.js';
import type { EngineConfig } from '../config/options.js';
import { octavoError } from '../errors.js';
import type { Checkpoint } from '../model/checkpoint.js';
import { DTYPE_KINDS, type NativeTensor } from '../native.js';
import type { Device } from './device.js';

const GiB = 2 ** 30;

/** Bytes of 32 values. */
const QUANTISED_BYTES = { q8_0: 34, q4_0: 18 } as const;

/** Bytes of the weights as the CPU holds them: as they are stored, or quantised at load. */
export function heldBytes(
  { tensors, weightBytes }: Pick<Checkpoint, 'tensors' | 'weightBytes'>,
  quantize: EngineConfig['quantize'],
): number {
  if (quantize === undefined) return weightBytes;
  return weightBytes - tensors.reduce((sum, tensor) => sum + savedBytes(tensor, quantize), 0);
}

const AS_STORED = /^(positions|token_types|pooled\.\d+)$|\.(router|shared_gate)$/;

/** As native/model/weights.cc decides it: embedding and head keep eight bits, some matrices all. */
function savedBytes(
  { name, dtype, rows, cols, bytes }: NativeTensor,
  quantize: keyof typeof QUANTISED_BYTES,
): number {
  const stays = rows === 1 || cols % 32 !== 0 || AS_STORED.test(name);
  if (stays || DTYPE_KINDS[dtype] === 'quantised') return 0;
  const as = name === 'embed' || name === 'head' ? 'q8_0' : quantize;
  return bytes - ((rows * cols) / 32) * QUANTISED_BYTES[as];
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
