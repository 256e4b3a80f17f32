/** The tensors of a model file as float64, read without the native side. */
import { readFileSync } from 'node:fs';
import type { NativeTensor } from '../../lib/native.js';
import type { Weights } from '../reference/spec-interpreter.js';

/** Plain types, Q8_0 and MXFP4 only. */
export function readWeights(files: readonly string[], tensors: readonly NativeTensor[]): Weights {
  const contents = files.map((file) => readFileSync(file));
  return new Map(tensors.map((tensor) => [tensor.name, values(contents, tensor)]));
}

function values(contents: readonly Buffer[], tensor: NativeTensor): Float64Array {
  const { rows, cols, offset, transposed, scales, step = 1 } = tensor;
  const read = scales
    ? apart(contents[tensor.file], contents[scales.file], scales.offset)
    : reader(contents[tensor.file], tensor.dtype);
  const out = new Float64Array(rows * cols);
  const placeOf = (row: number, col: number) => {
    if (transposed) return col * transposed.of + transposed.from + row * step;
    return rows === 1 ? col * step : row * step * cols + col;
  };
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      out[row * cols + col] = read(offset, placeOf(row, col));
    }
  }
  return out;
}

function reader(file: Buffer, dtype: string): (offset: number, index: number) => number {
  switch (dtype) {
    case 'Q8_0':
      return (offset, index) => {
        const at = offset + 34 * (index >> 5);
        return half(file.readUInt16LE(at)) * file.readInt8(at + 2 + (index & 31));
      };
    case 'MXFP4':
      return (offset, index) => {
        const at = offset + 17 * (index >> 5);
        const byte = file[at + 1 + (index & 15)];
        return e2m1(index & 16 ? byte >> 4 : byte & 15) * 2 ** (file[at] - 127);
      };
    case 'F32':
      return (offset, index) => file.readFloatLE(offset + 4 * index);
    case 'F16':
      return (offset, index) => half(file.readUInt16LE(offset + 2 * index));
    case 'BF16': {
      const word = new DataView(new ArrayBuffer(4));
      return (offset, index) => {
        word.setUint32(0, file.readUInt16LE(offset + 2 * index) * 2 ** 16);
        return word.getFloat32(0);
      };
    }
  }
  throw new Error(`${dtype} is not read`);
}

/** E2M1 by its four bits. */
function e2m1(code: number): number {
  return [0, 0.5, 1, 1.5, 2, 3, 4, 6][code & 7] * (code & 8 ? -1 : 1);
}

/** MXFP4 whose codes and scales lie apart: two neighbours in a byte, 32 values to a scale. */
function apart(codes: Buffer, scales: Buffer, scalesAt: number) {
  return (offset: number, index: number) => {
    const byte = codes[offset + (index >> 1)];
    const code = index % 2 === 0 ? byte & 15 : byte >> 4;
    return e2m1(code) * 2 ** (scales[scalesAt + (index >> 5)] - 127);
  };
}

function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
