/** Quantised matrices that lie row by row: codes of eight bits or packed ones, and their scales. */
import type { Found } from '../bind.js';
import { damaged, unsupported } from '../files.js';
import type { Module } from './module.js';
import { codesOf, inParts, type Parts, partOf, scalesOf } from './parts.js';
import type { Scheme } from './scheme.js';

/** Rows and columns of a tensor that must be a matrix. */
export function sidesOf(module: Module, tensor: Found): readonly [number, number] {
  const [rows, cols] = tensor.shape;
  if (tensor.shape.length === 2 && rows > 0 && cols > 0) return [rows, cols];
  const why = `has shape [${tensor.shape.join(', ')}], which is no matrix`;
  throw damaged(module.fileOf(tensor), `tensor ${tensor.name}`, why);
}

/** Refuses codes of a type that the scheme does not have. */
export function checkType(module: Module, tensor: Found, ...known: readonly string[]): void {
  if (known.includes(tensor.dtype)) return;
  const what = `tensor ${tensor.name} of ${tensor.dtype} (its scheme has ${known.join(' or ')})`;
  throw unsupported(module.fileOf(tensor), what);
}

type Side = readonly [rows: number, cols: number];

/** Groups of columns, columns in each, and rows that share a scale. */
function gridOf({ span }: Scheme, [rows, cols]: Side) {
  switch (span.per) {
    case 'tensor':
      return { grid: [1, 1] as const, group: cols, rowSpan: rows };
    case 'channel':
      return { grid: [rows, 1] as const, group: cols, rowSpan: 1 };
    case 'group':
      return { grid: [rows, Math.ceil(cols / span.size)] as const, group: span.size, rowSpan: 1 };
    default: {
      const grid = [Math.ceil(rows / span.rows), Math.ceil(cols / span.cols)] as const;
      return { grid, group: span.cols, rowSpan: span.rows };
    }
  }
}

/**
 * E4M3, a byte each; of MXFP8 with scales that are exponents alone. Of all experts in one tensor
 * each has scales as if it stood alone.
 */
export function floatMatrix(module: Module, weight: Found, scheme: Scheme): Found {
  checkType(module, weight, 'F8_E4M3');
  const { shape } = weight;
  const isStack = shape.length === 3 && shape.every((n) => n > 0);
  const sides = isStack ? ([shape[1], shape[2]] as const) : sidesOf(module, weight);
  const numMatrices = isStack ? shape[0] : 1;
  const scales = module.need(weight, 'weight_scale_inv', 'weight_scale');
  // What is said per tensor or per row is told by the scales themselves as well.
  const isWhole = scheme.span.per === 'tensor' || scheme.span.per === 'channel';
  const count = scales.shape.reduce((product, n) => product * n, 1);
  const per = count === numMatrices ? 'tensor' : 'channel';
  const { grid, group, rowSpan } = gridOf(isWhole ? { ...scheme, span: { per } } : scheme, sides);
  if (isStack && sides[0] % rowSpan !== 0) {
    const blocks = `${weight.name} of ${sides[0]} rows in blocks of ${rowSpan}`;
    throw unsupported(module.fileOf(weight), `experts in one tensor, ${blocks},`);
  }
  const dtype = scales.dtype === 'U8' ? 'F8_E8M0' : scales.dtype;
  const all = [numMatrices * sides[0], sides[1]] as const;
  return inParts(weight, isStack ? shape : sides, 'FP8', {
    ...{ codes: codesOf(weight, 'rows', 8, all), float: true, group },
    scales: scalesOf(
      isStack ? oneBelowTheOther(scales) : scales,
      [numMatrices * grid[0], grid[1]],
      module.files,
      { rowSpan, dtype },
    ),
  });
}

/** Of matrices in one tensor, the rows of all. */
function oneBelowTheOther(tensor: Found): Found {
  const [count = 1, ...sides] = tensor.shape;
  const rows = sides.length > 1 ? count * sides[0] : count;
  return { ...tensor, shape: [rows, sides.at(-1) ?? 1] };
}

/** E2M1, two in a byte: MXFP4 or NVFP4, whose second scale is the tensor's. */
export function nibbleFloats(module: Module, weight: Found, scheme: Scheme): Found {
  checkType(module, weight, 'U8');
  const [rows, bytes] = sidesOf(module, weight);
  const sides = [rows, 2 * bytes] as const;
  const stored = module.need(weight, 'weight_scale');
  const { grid, group } = gridOf(scheme, sides);
  const isMx = stored.dtype === 'U8' || stored.dtype === 'F8_E8M0';
  const dtype = isMx ? 'F8_E8M0' : stored.dtype;
  if (scheme.span.per !== 'group' || group !== (isMx ? 32 : 16)) {
    throw unsupported(
      module.fileOf(weight),
      `the scales of ${weight.name}, one for each ${group},`,
    );
  }
  const parts: Parts = {
    ...{ codes: codesOf(weight, 'rows', 4, sides), float: true, group },
    scales: scalesOf(stored, grid, module.files, { dtype }),
  };
  if (isMx) return inParts(weight, sides, 'MXFP4', parts);
  checkType(module, stored, 'F8_E4M3');
  const divides = scheme.form === 'compressed-tensors';
  const factor = module.need(weight, divides ? 'weight_global_scale' : 'weight_scale_2');
  checkType(module, factor, 'F32');
  if (factor.bytes !== 4) {
    throw damaged(module.fileOf(factor), `tensor ${factor.name}`, 'is not one number');
  }
  return inParts(weight, sides, 'NVFP4', { ...parts, factor: partOf(factor), divides });
}

/** Whole numbers: eight bits a byte each, or packed in words of 32 bits. */
export function integerMatrix(module: Module, weight: Found, scheme: Scheme): Found {
  const isPacked = module.tensors.get('weight_packed') === weight;
  checkType(module, weight, ...(isPacked ? ['I32'] : ['I8']));
  const { bits } = scheme;
  const [rows, stored] = sidesOf(module, weight);
  const sides = [rows, isPacked ? Math.floor((stored * 32) / bits) : stored] as const;
  if (!isPacked && bits !== 8) checkType(module, weight, 'I32');
  const { grid, group, rowSpan } = gridOf(scheme, sides);
  const isBnb = scheme.form === 'bitsandbytes';
  const scales = module.need(weight, isBnb ? 'SCB' : 'weight_scale');
  const order = scheme.hasOrder ? module.find('weight_g_idx') : undefined;
  const zeros = scheme.hasZeros ? module.need(weight, 'weight_zero_point') : undefined;
  return inParts(weight, sides, bits === 8 ? 'INT8' : 'INT4', {
    ...{ codes: codesOf(weight, 'rows', bits, sides), group },
    scales: scalesOf(scales, grid, module.files, { rowSpan }),
    ...(isBnb ? { divisor: 127 } : {}),
    ...(order ? { groupOf: partOf(order) } : {}),
    ...zerosOf(module, zeros, bits, grid, isPacked),
  });
}

/** Stored numbers are those of the scheme plus half their range, zeros too. */
function zerosOf(
  module: Module,
  zeros: Found | undefined,
  bits: number,
  grid: Side,
  isPacked: boolean,
): Partial<Parts> {
  if (zeros === undefined) return { zero: 2 ** (bits - 1) };
  checkType(module, zeros, isPacked ? 'I32' : 'I8');
  return { zeros: codesOf(zeros, isPacked ? 'cols' : 'rows', bits, grid) };
}
