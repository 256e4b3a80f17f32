/** Matrices whose codes, scales and zeros are tensors of their own: what native puts together. */
import {
  CODE_ORDERS,
  type CodePart,
  type DTypeName,
  type FilePart,
  SCALE_TYPES,
  type ScalePart,
  type StoredParts,
} from '../../native.js';
import type { Found } from '../bind.js';
import { damaged } from '../files.js';

/** Values and bytes of the blocks that matrices in parts become (native/base/dtype.h). */
const BLOCKS: Readonly<Record<string, readonly [values: number, bytes: number]>> = {
  F32: [1, 4],
  MXFP4: [32, 17],
  NVFP4: [64, 40],
  ...{ INT4_G32: [32, 21], INT4_G128: [128, 69] },
  ...{ INT8_G32: [32, 37], INT8_G128: [128, 133] },
  ...{ FP8_G32: [32, 36], FP8_G128: [128, 132] },
};

/** What the parts of a matrix say, but for what they seldom do. */
export type Parts = Omit<
  StoredParts,
  'rows' | 'from' | 'divides' | 'divisor' | 'zerosTurned' | 'zero' | 'float'
> &
  Partial<Pick<StoredParts, 'divides' | 'divisor' | 'zerosTurned' | 'zero' | 'float'>>;

/** What the codes of a matrix are, in memory. */
export type Kind = 'INT4' | 'INT8' | 'FP8' | 'MXFP4' | 'NVFP4' | 'other';

/**
 * The matrix [rows, cols] as one tensor. Its type keeps it in its own bits where whole blocks of
 * that type share a scale, else it is widened to F32.
 * @param shape of several matrices, one below the other, with how many they are in front
 */
export function inParts(
  { name, file, offset }: Pick<Found, 'name' | 'file' | 'offset'>,
  shape: readonly number[],
  kind: Kind,
  parts: Parts,
): Found {
  const cols = shape.at(-1) ?? 0;
  const rows = shape.slice(0, -1).reduce((product, n) => product * n, 1);
  const dtype = dtypeOf(kind, cols, parts);
  const [values, blockBytes] = BLOCKS[dtype];
  return {
    ...{ name, file, offset, dtype, shape: [...shape] },
    bytes: ((rows * cols) / values) * blockBytes,
    parts: {
      ...{ divides: false, divisor: 1, zerosTurned: false, zero: 0, float: false },
      ...{ ...parts, rows, from: 0 },
    },
  };
}

function dtypeOf(kind: Kind, cols: number, { group, groupOf, scales }: Parts): DTypeName {
  if (kind === 'other' || groupOf !== undefined || scales.flat) return 'F32';
  if (kind === 'MXFP4') return cols % 32 === 0 ? 'MXFP4' : 'F32';
  if (kind === 'NVFP4') return cols % 64 === 0 ? 'NVFP4' : 'F32';
  const fits = (n: number) => group % n === 0 && cols % n === 0;
  if (fits(128)) return `${kind}_G128`;
  return fits(32) ? `${kind}_G32` : 'F32';
}

export function partOf({ file, offset, bytes }: FilePart): FilePart {
  return { file, offset, bytes };
}

/** Codes as a tensor holds them: [rows, cols] numbers of so many bits. */
export function codesOf(
  tensor: Found,
  order: keyof typeof CODE_ORDERS,
  bits: number,
  [rows, cols]: readonly [number, number],
): CodePart {
  const { dtype } = tensor;
  const unit = order === 'rows' && dtype === 'I32' ? 4 : 1;
  const at = { ...partOf(tensor), order: CODE_ORDERS[order] };
  return { ...at, bits, rows, cols, unit, signed: dtype === 'I8' };
}

const FLOATS: Readonly<Record<string, number>> = SCALE_TYPES;

/**
 * Scales as a tensor holds them: a grid [rows, cols].
 * @throws ERR_MODEL_FORMAT where its type or shape is another
 */
export function scalesOf(
  tensor: Found,
  [rows, cols]: readonly [number, number],
  files: readonly string[],
  { turned = false, flat = false, rowSpan = 1, dtype = tensor.dtype } = {},
): ScalePart {
  const file = files[tensor.file];
  const field = `tensor ${tensor.name}`;
  const type = FLOATS[dtype];
  if (type === undefined) throw damaged(file, field, `is ${tensor.dtype}, which scales cannot be`);
  const count = tensor.shape.reduce((product, n) => product * n, 1);
  const stored = turned ? [cols, rows] : [rows, cols];
  const [first, second] = stored;
  const isLine = tensor.shape.length < 2 && (first === 1 || second === 1);
  if (count !== rows * cols || (!isLine && !flat && tensor.shape.join() !== stored.join())) {
    const shape = `[${tensor.shape.join(', ')}]`;
    throw damaged(
      file,
      field,
      `has shape ${shape}, not [${stored.join(', ')}] as its weight needs`,
    );
  }
  return { ...partOf(tensor), type, rows, cols, rowSpan, turned, flat };
}
