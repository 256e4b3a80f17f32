/** The tensors of a model file as float64, read without the native side. */
import { readFileSync } from 'node:fs';
import type { NativeTensor, StoredParts } from '../../lib/native.js';
import type { Weights } from '../reference/spec-interpreter.js';

/** Plain types, Q8_0 and MXFP4 only. */
export function readWeights(files: readonly string[], tensors: readonly NativeTensor[]): Weights {
  const contents = files.map((file) => readFileSync(file));
  return new Map(tensors.map((tensor) => [tensor.name, values(contents, tensor)]));
}

function values(contents: readonly Buffer[], tensor: NativeTensor): Float64Array {
  const { rows, cols, transposed, parts, step = 1, run = 1, negExp } = tensor;
  const read = parts ? apart(contents, parts) : reader(contents[tensor.file], tensor.dtype);
  const offset = parts ? parts.from * cols : tensor.offset;
  const out = new Float64Array(rows * cols);
  const stored = (i: number) => Math.floor(i / run) * step + (i % run);
  const placeOf = (row: number, col: number) => {
    if (transposed) return col * transposed.of + transposed.from + stored(row);
    return rows === 1 ? stored(col) : stored(row) * cols + col;
  };
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      const value = read(offset, placeOf(row, col));
      out[row * cols + col] = negExp ? -Math.exp(value) : value;
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
function apart(contents: readonly Buffer[], { codes, scales }: StoredParts) {
  return (first: number, index: number) => {
    const at = first + index;
    const byte = contents[codes.file][codes.offset + (at >> 1)];
    const code = at % 2 === 0 ? byte & 15 : byte >> 4;
    return e2m1(code) * 2 ** (contents[scales.file][scales.offset + (at >> 5)] - 127);
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
