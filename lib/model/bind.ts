/** Matches the tensors of a checkpoint with those that its spec asks for. */
import { shown } from '../arguments.js';
import {
  DTYPES,
  type DTypeName,
  type FilePart,
  type NativeTensor,
  type StoredParts,
} from '../native.js';
import { damaged, unsupported } from './files.js';
import { type Place, placeOf, type SkippedPart, skippedPart, type TensorNames } from './names.js';
import type { ReadSpec } from './read-spec.js';
import type { FileTensor } from './safetensors.js';
import type { ModelSpec } from './spec.js';
import { type Shape, tensorShapes } from './tensor-shapes.js';

/** A tensor and the index of its file. */
export type Found = FileTensor & {
  readonly file: number;
  /** Of a matrix that several tensors make up; its dtype is what they become. */
  readonly parts?: StoredParts;
  /** Of NVFP4 in GGUF's blocks: one float32, or one for each slice. */
  readonly factor?: FilePart;
};

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
  for (const tensor of found) {
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
    const bytes = tensor.bytes + (tensor.factor?.bytes ?? 0);
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
  const { slices = 1, transposed = false, runs, negExp, flat, skippedRows = 0, turned } = layout;
  const each = pieces.length / slices;
  const [first] = pieces.map(({ shape: [rows, cols] }) =>
    turned?.[0] ? [cols, rows] : [rows, cols],
  );
  const isVector = first[0] === 1 && turned === undefined;
  const wanted = pieces.slice(0, each);
  const rows = wanted.reduce((sum, piece, i) => {
    return sum + (turned?.[i] ? piece.shape[1] : rowsOf(piece, isVector));
  }, skippedRows);
  const inner = isVector ? [rows] : transposed ? [first[1], rows] : [rows, first[1]];
  const stored = storedShape(layout, inner);
  const sideBySide = isVector || valuesIn(tensor.shape.slice(-1)) % first[1] === 0;
  const fits = flat
    ? sideBySide && valuesIn(tensor.shape) === valuesIn(stored)
    : withoutOnes(tensor.shape).join() === withoutOnes(stored).join();
  if (!fits) {
    const instead = `not [${stored.join(', ')}] as the config says`;
    throw damaged(file, field, `has shape [${tensor.shape.join(', ')}], ${instead}`);
  }
  const byValue = transposed || (isVector && (pieces.length > 1 || tensor.parts !== undefined));
  if (byValue && !PLAIN.includes(dtype)) {
    throw unsupported(file, `dtype ${dtype} of ${field}, which must be taken apart by values,`);
  }
  return Array.from({ length: slices }, (_, i) => {
    const { factor, parts } = tensor;
    const slice = { ...tensor, ...sliceOf(tensor, i, slices) };
    if (factor) slice.factor = factorOf(factor, i, slices);
    if (parts) slice.parts = { ...parts, from: i * rows };
    const mine = pieces.slice(i * each, (i + 1) * each);
    const cuts = cutSlice(
      { slice, dtype, rows, isVector, transposed, runs, skippedRows, turned },
      mine,
    );
    return negExp ? cuts.map((one) => ({ ...one, negExp })) : cuts;
  }).flat();
}

function storedShape({ slices, stacked }: Place, inner: readonly number[]): readonly number[] {
  if (slices === undefined) return inner;
  const [rows, ...rest] = inner;
  return stacked ? [slices * rows, ...rest] : [slices, ...inner];
}

function sliceOf(whole: { offset: number; bytes: number }, i: number, count: number) {
  const bytes = whole.bytes / count;
  return { offset: whole.offset + i * bytes, bytes };
}

/** One for all slices, or the slice's own. */
function factorOf(factor: FilePart, i: number, slices: number): FilePart {
  const own = factor.bytes === 4 * slices ? 4 * i : 0;
  return { file: factor.file, offset: factor.offset + own, bytes: 4 };
}

/** What all pieces of a slice have in common. */
interface Slice {
  readonly slice: Found;
  readonly dtype: DTypeName;
  /** Of all pieces together; of vectors the values. */
  readonly rows: number;
  readonly isVector: boolean;
  readonly transposed: boolean;
  readonly runs: readonly number[] | undefined;
  readonly skippedRows: number;
  readonly turned: readonly boolean[] | undefined;
}

function cutSlice(all: Slice, pieces: readonly Piece[]): NativeTensor[] {
  const { slice, dtype, rows, isVector, transposed, runs } = all;
  const { file, offset, bytes, factor, parts } = slice;
  const rowBytes = bytes / rows;
  const step = runs?.reduce((sum, length) => sum + length) ?? 1;
  let next = all.skippedRows;
  return pieces.map((piece, i) => {
    const isTurned = all.turned?.[i] ?? false;
    const mine = isTurned ? piece.shape[1] : rowsOf(piece, isVector);
    const run = runs?.[i] ?? 1;
    const begin = next;
    next += runs === undefined ? mine : run;
    const [pieceRows, cols] = piece.shape;
    const at = { name: piece.name, dtype, rows: pieceRows, cols, file };
    const around = isTurned ? { transposed: { of: pieceRows, from: 0 } } : {};
    const steps = runs === undefined ? {} : { step, ...(run > 1 ? { run } : {}) };
    const by = { ...steps, ...around };
    if (transposed) return { ...at, offset, bytes, transposed: { of: rows, from: begin }, ...by };
    if (parts) {
      const from = parts.from + begin;
      return { ...at, offset, bytes: rowBytes * mine, parts: { ...parts, from }, ...by };
    }
    const span = runs === undefined ? mine : (mine / run - 1) * step + run;
    const own = factor ? { factor } : {};
    return { ...at, offset: offset + rowBytes * begin, bytes: rowBytes * span, ...own, ...by };
  });
}

/** A vector's values are its rows here: only they can be shared out. */
function rowsOf({ shape: [rows, cols] }: Piece, isVector: boolean): number {
  return isVector ? cols : rows;
}

function valuesIn(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Writers differ in whether a dimension of one is one. */
function withoutOnes(shape: readonly number[]): readonly number[] {
  return shape.filter((size) => size !== 1);
}

/** Types of which every value has its own bytes. */
const PLAIN: readonly string[] = ['F32', 'F16', 'BF16'];

function knownType(dtype: string, file: string, field: string): DTypeName {
  if (Object.hasOwn(DTYPES, dtype)) return dtype as DTypeName;
  const known = Object.keys(DTYPES)
    .filter((name) => !name.includes('_G')) // made here, in no file
    .join(', ');
  throw unsupported(file, `dtype ${dtype} of ${field} (known: ${known})`);
}
