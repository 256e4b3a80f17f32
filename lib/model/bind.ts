/** Matches the tensors of a checkpoint with those that its spec asks for. */
import { shown } from '../arguments.js';
import { DTYPES, type DTypeName, type NativeTensor } from '../native.js';
import { damaged, unsupported } from './files.js';
import { joined, type Scales } from './mxfp4.js';
import { type Place, placeOf, type SkippedPart, skippedPart, type TensorNames } from './names.js';
import type { ReadSpec } from './read-spec.js';
import type { FileTensor } from './safetensors.js';
import { type ModelSpec, type Shape, tensorShapes } from './spec.js';

/** A tensor and the index of its file. */
export type Found = FileTensor & { readonly file: number; readonly scales?: Scales };

export interface Bound {
  readonly spec: ModelSpec;
  readonly files: readonly string[];
  readonly tensors: readonly NativeTensor[];
  readonly numParameters: number;
  readonly weightBytes: number;
}

/**
 * Every tensor is wanted or known to be needless, every wanted one is there, once, in its shape.
 * @throws ERR_MODEL_FORMAT, ERR_MODEL_UNSUPPORTED naming file and tensor
 */
export function bind(
  { spec, names, numMtpLayers }: Pick<ReadSpec, 'spec' | 'names' | 'numMtpLayers'>,
  files: readonly string[],
  found: readonly Found[],
): Bound {
  const want = tensorShapes(spec);
  const layers = { count: spec.layers.length, mtp: numMtpLayers };
  const skipped: Partial<Record<SkippedPart, number>> = {};
  const tensors: NativeTensor[] = [];
  const bytesOf = new Map<string, number>();
  let numParameters = 0;
  for (const tensor of joined(found, files)) {
    const file = files[tensor.file];
    const field = `tensor ${shown(tensor.name)}`;
    const part = skippedPart(tensor.name, names, layers);
    if (part !== undefined) {
      skipped[part] = (skipped[part] ?? 0) + 1;
      continue;
    }
    const place = placeOf(tensor.name, names);
    const hasHead = spec.head !== undefined && !spec.head.tied;
    if (place?.names.length === 0 || (place?.names[0] === 'head' && !hasHead)) continue;
    const shapes = place?.names.map((name) => want.get(name));
    if (place === undefined || shapes === undefined || !shapes.every((s) => s !== undefined)) {
      throw unsupported(file, `${field} (a ${spec.architecture} of these settings has none)`);
    }
    const pieces = place.names.map((name, i) => ({ name, shape: shapes[i] as Shape }));
    for (const { name, shape } of pieces) {
      want.delete(name);
      numParameters += shape[0] * shape[1];
    }
    tensors.push(...cut(tensor, pieces, place, file, field));
    const bytes = tensor.bytes + (tensor.scales?.bytes ?? 0);
    bytesOf.set(tensor.dtype, (bytesOf.get(tensor.dtype) ?? 0) + bytes);
  }
  checkDrafts(files[0], found, names, layers);
  const [missing] = want.keys();
  if (missing !== undefined) {
    throw damaged(files[0], `the tensor for ${missing}`, 'is missing');
  }
  const [dtype] = [...bytesOf].sort((a, b) => b[1] - a[1])[0];
  const weightBytes = [...bytesOf.values()].reduce((sum, bytes) => sum + bytes, 0);
  return { spec: { ...spec, dtype, skipped }, files, tensors, numParameters, weightBytes };
}

/** A layer counted as one that drafts has a projection that no other has. */
function checkDrafts(
  file: string,
  found: readonly Found[],
  names: TensorNames,
  layers: { readonly count: number; readonly mtp: number },
): void {
  const drafts = new Map<string, boolean>();
  for (const { name } of found) {
    const [, index, rest] = names.layerPattern.exec(names.spelling?.(name) ?? name) ?? [];
    if (index === undefined || skippedPart(name, names, layers) !== 'mtp') continue;
    drafts.set(index, drafts.get(index) || /(^|\.)eh_proj\./.test(rest));
  }
  const [plain] = [...drafts].find(([, drafting]) => !drafting) ?? [];
  if (plain !== undefined) throw damaged(file, `layer ${plain}`, 'is none that drafts tokens');
}

interface Piece {
  readonly name: string;
  readonly shape: Shape;
}

/** One stored tensor into the pieces that lie in it. */
function cut(
  tensor: Found,
  pieces: readonly Piece[],
  layout: Place,
  file: string,
  field: string,
): NativeTensor[] {
  const dtype = knownType(tensor.dtype, file, field);
  const { slices = 1, transposed = false, takeTurns = false, skippedRows = 0 } = layout;
  const each = pieces.length / slices;
  const [{ shape: first }] = pieces;
  const isVector = first[0] === 1;
  const wanted = pieces.slice(0, each);
  const rows = wanted.reduce((sum, piece) => sum + rowsOf(piece, isVector), skippedRows);
  const inner = isVector ? [rows] : transposed ? [first[1], rows] : [rows, first[1]];
  const stored = layout.slices === undefined ? inner : [slices, ...inner];
  if (withoutOnes(tensor.shape).join() !== withoutOnes(stored).join()) {
    const instead = `not [${stored.join(', ')}] as the config says`;
    throw damaged(file, field, `has shape [${tensor.shape.join(', ')}], ${instead}`);
  }
  const byValue = transposed || (isVector && pieces.length > 1);
  if (byValue && !PLAIN.includes(dtype)) {
    throw unsupported(file, `dtype ${dtype} of ${field}, which must be taken apart by values,`);
  }
  return Array.from({ length: slices }, (_, i) => {
    const { scales } = tensor;
    const slice = { ...tensor, ...sliceOf(tensor, i, slices) };
    if (scales) slice.scales = { ...scales, ...sliceOf(scales, i, slices) };
    const mine = pieces.slice(i * each, (i + 1) * each);
    return cutSlice({ slice, dtype, rows, isVector, transposed, takeTurns, skippedRows }, mine);
  }).flat();
}

function sliceOf(whole: { offset: number; bytes: number }, i: number, count: number) {
  const bytes = whole.bytes / count;
  return { offset: whole.offset + i * bytes, bytes };
}

/** What all pieces of a slice have in common. */
interface Slice {
  readonly slice: Found;
  readonly dtype: DTypeName;
  /** Of all pieces together; of vectors the values. */
  readonly rows: number;
  readonly isVector: boolean;
  readonly transposed: boolean;
  readonly takeTurns: boolean;
  readonly skippedRows: number;
}

function cutSlice(all: Slice, pieces: readonly Piece[]): NativeTensor[] {
  const { slice, dtype, rows, isVector, transposed, takeTurns } = all;
  const { file, offset, bytes, scales } = slice;
  const rowBytes = bytes / rows;
  const step = takeTurns ? pieces.length : 1;
  let next = all.skippedRows;
  return pieces.map((piece, i) => {
    const mine = rowsOf(piece, isVector);
    const begin = takeTurns ? i : next;
    next += mine;
    const [pieceRows, cols] = piece.shape;
    const at = { name: piece.name, dtype, rows: pieceRows, cols, file };
    const by = takeTurns ? { step } : {};
    if (transposed) return { ...at, offset, bytes, transposed: { of: rows, from: begin }, ...by };
    const span = (mine - 1) * step + 1;
    const codes = { ...at, offset: offset + rowBytes * begin, bytes: rowBytes * span, ...by };
    if (scales === undefined) return codes;
    const beginScales = scales.offset + (scales.bytes / rows) * begin;
    return { ...codes, scales: { file: scales.file, offset: beginScales } };
  });
}

/** A vector's values are its rows here: only they can be shared out. */
function rowsOf({ shape: [rows, cols] }: Piece, isVector: boolean): number {
  return isVector ? cols : rows;
}

/** Writers differ in whether a dimension of one is one. */
function withoutOnes(shape: readonly number[]): readonly number[] {
  return shape[0] === 1 && shape.length > 1 ? withoutOnes(shape.slice(1)) : shape;
}

/** Types of which every value has its own bytes. */
const PLAIN: readonly string[] = ['F32', 'F16', 'BF16'];

function knownType(dtype: string, file: string, field: string): DTypeName {
  if (Object.hasOwn(DTYPES, dtype)) return dtype as DTypeName;
  const known = Object.keys(DTYPES).join(', ');
  throw unsupported(file, `dtype ${dtype} of ${field} (known: ${known})`);
}
