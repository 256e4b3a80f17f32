import { expect, it } from 'vitest';
import { CPU } from '../../lib/engine/device.js';
import { deviceBytes, heldBytes, roomBeside, roomOnDevice } from '../../lib/engine/room.js';
import type { NativeTensor } from '../../lib/native.js';

const GiB = 2 ** 30;

function tensor(name: string, rows: number, cols: number, own: Partial<NativeTensor> = {}) {
  return { name, dtype: 'BF16', rows, cols, file: 0, offset: 0, bytes: rows * cols * 2, ...own };
}
const TENSORS = [
  tensor('embed', 100, 64),
  tensor('layers.0.q', 64, 64),
  tensor('layers.0.q.bias', 1, 64),
  tensor('layers.0.k', 64, 63),
  tensor('layers.0.router', 8, 64),
  tensor('positions', 40, 64),
  tensor('token_types', 2, 64),
  tensor('pooled.0', 96, 64),
  tensor('pooled.0.bias', 1, 64),
  tensor('layers.0.up', 96, 64, { dtype: 'Q8_0', bytes: 96 * 68 }),
] as NativeTensor[];
const weightBytes = TENSORS.reduce((sum, { bytes }) => sum + bytes, 0);

it('weights take what they take in their file, or what they are quantised to', () => {
  const held = (quantize?: 'q8_0' | 'q4_0') =>
    heldBytes({ tensors: TENSORS, weightBytes }, quantize);
  expect(held()).toBe(weightBytes);
  const rest = weightBytes - 2 * (100 * 64 + 64 * 64);
  expect(held('q8_0')).toBe(rest + (100 + 64) * 68);
  expect(held('q4_0')).toBe(rest + 100 * 68 + 64 * 36);
});

it('take more where a quantised matrix is stored turned around', () => {
  const around = { dtype: 'Q8_0', bytes: 96 * 68, transposed: { of: 64, from: 0 } } as const;
  const turned = [...TENSORS, tensor('layers.0.heads.0.k_b', 64, 96, around)] as NativeTensor[];
  const stored = weightBytes + 96 * 68;
  expect(heldBytes({ tensors: turned, weightBytes: stored }, undefined)).toBe(
    weightBytes + 4 * 64 * 96,
  );
});

it('leave the rest of the memory, of a GPU all of it; or are refused with both numbers', () => {
  const room = (bytes: number, device: Parameters<typeof roomBeside>[2] = CPU) =>
    roomBeside({ tensors: [], weightBytes: bytes }, { quantize: undefined }, device, 16 * GiB);
  expect(room(13 * GiB)).toBe(3 * GiB);
  expect(room(80 * GiB, { kind: 'cuda', index: 0 })).toBe(16 * GiB);
  const full = expect.objectContaining({ code: 'ERR_OUT_OF_MEMORY', param: 'model' });
  expect(() => room(20 * GiB)).toThrow(full);
  expect(() => room(20 * GiB)).toThrow(/take 20\.0 GiB, .* than 16\.0 GiB; use a smaller/);
});

it('on a GPU weights become 16 bits a value, but for vectors and what stays packed there', () => {
  const bytes = (quantize?: 'q8_0' | 'q4_0') => deviceBytes({ tensors: TENSORS }, quantize);
  const vectors = 2 * 64 * 2; // of float32, stored in 16 bits
  expect(bytes()).toBe(weightBytes + vectors);
  expect(bytes('q4_0')).toBe(heldBytes({ tensors: TENSORS, weightBytes }, 'q4_0') + vectors);
  const f32 = tensor('layers.0.q', 64, 64, { dtype: 'F32', bytes: 64 * 64 * 4 }) as NativeTensor;
  expect(deviceBytes({ tensors: [f32] }, undefined)).toBe(64 * 64 * 2);
});

it('a GPU has room for what they leave of the part that may be used', () => {
  const checkpoint = { tensors: TENSORS };
  const room = (memory?: number) =>
    roomOnDevice(
      checkpoint,
      { quantize: undefined, gpuMemoryUtilization: 0.5 },
      { kind: 'cuda', index: 0, memory },
    );
  expect(room(16 * GiB)).toBe(8 * GiB - deviceBytes(checkpoint, undefined));
  expect(room(1)).toBe(0);
  expect(room()).toBe(Number.POSITIVE_INFINITY);
});
