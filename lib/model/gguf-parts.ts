/** A GGUF model in one file, or split over several as llama.cpp's tools do. */
import { stat } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { octavoError } from '../errors.js';
import type { Found } from './bind.js';
import { damaged, unsupported } from './files.js';
import { type GgufValue, readGguf } from './gguf.js';

export interface GgufModel {
  readonly files: readonly string[];
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly Found[];
}

/** More parts than any model has. */
const MAX_PARTS = 1024;
const PART = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/;
/** A file that was cut at any byte, so that even one tensor may lie in two pieces. */
const CUT = /\.gguf(\.part(\d+)of(\d+)|-split-[a-z])$/;

/** Does a file's name say that it is a GGUF model or a part of one? */
export function isGguf(name: string): boolean {
  return name.endsWith('.gguf') || CUT.test(name);
}

/** The file to name for a folder's only model; undefined where there are none or several. */
export function oneModel(names: readonly string[]): string | undefined {
  const models = new Set(names.map((name) => PART.exec(name)?.[1] ?? name.replace(CUT, '.gguf')));
  return models.size === 1 ? [...names].sort()[0] : undefined;
}

/**
 * The head of a model, with the parts' tensors in one list; any part may be named. Pieces of a file
 * that was cut are refused: such a model is whole again by one command, and then its tensors are.
 * @throws ERR_MODEL_NOT_FOUND for a part that is missing, ERR_MODEL_FORMAT, ERR_MODEL_UNSUPPORTED
 */
export async function readGgufModel(path: string): Promise<GgufModel> {
  if (CUT.test(path)) {
    const whole = path.replace(CUT, '.gguf');
    throw unsupported(path, `a piece of a cut file (join them first: cat ${whole}?* > ${whole})`);
  }
  const { metadata, tensors } = await readGguf(path);
  const count = partCount(metadata, path);
  if (count === 1) {
    return { files: [path], metadata, tensors: withFactors(tensors.map(inFile(0)), [path]) };
  }
  const [, base, , total] = PART.exec(path) ?? [];
  if (Number(total) !== count) {
    const name = `-00001-of-${digits(count)}.gguf`;
    throw damaged(path, 'split.count', `is ${count}, but the file's name does not end as ${name}`);
  }
  const files = Array.from(
    { length: count },
    (_, i) => `${base}-${digits(i + 1)}-of-${total}.gguf`,
  );
  return readParts(files);
}

async function readParts(files: readonly string[]): Promise<GgufModel> {
  await Promise.all(files.map((file) => checkThere(file, files.length)));
  const all: Found[] = [];
  let whole: ReadonlyMap<string, GgufValue> = new Map();
  let claimed: unknown;
  for (const [i, file] of files.entries()) {
    const { metadata, tensors } = await readGguf(file);
    const number = metadata.get('split.no');
    if (number !== i) throw damaged(file, 'split.no', `is ${number}, not ${i} as the name says`);
    if (partCount(metadata, file) !== files.length) {
      throw damaged(file, 'split.count', `is not ${files.length} as in the other parts`);
    }
    for (const [key, value] of i === 0 ? [] : metadata) {
      if (!key.startsWith('split.') && !isDeepStrictEqual(value, whole.get(key))) {
        throw damaged(file, key, 'is not as in the first part');
      }
    }
    if (i === 0) {
      whole = metadata;
      claimed = metadata.get('split.tensors.count');
    }
    all.push(...tensors.map(inFile(i)));
  }
  if (claimed !== all.length) {
    const why = `is ${claimed}, but the ${files.length} parts have ${all.length} tensors`;
    throw damaged(files[0], 'split.tensors.count', why);
  }
  return { files, metadata: whole, tensors: withFactors(all, files) };
}

/** Matrices of NVFP4 with their `….scale`: a float32 for all of it, or for each expert. */
function withFactors(tensors: readonly Found[], files: readonly string[]): readonly Found[] {
  const factors = new Map<string, Found>();
  for (const tensor of tensors) {
    const [, base] = /^(.+)\.scale$/.exec(tensor.name) ?? [];
    if (base !== undefined) factors.set(`${base}.weight`, tensor);
  }
  const used = new Set<Found>();
  const out = tensors.map((tensor): Found => {
    const factor = tensor.dtype === 'NVFP4' ? factors.get(tensor.name) : undefined;
    if (factor === undefined) return tensor;
    const count = factor.shape.reduce((product, n) => product * n, 1);
    if (
      factor.dtype !== 'F32' ||
      (count !== 1 && (tensor.shape.length < 3 || count !== tensor.shape[0]))
    ) {
      throw damaged(files[factor.file], `tensor ${factor.name}`, `does not fit ${tensor.name}`);
    }
    used.add(factor);
    const { file, offset, bytes } = factor;
    return { ...tensor, factor: { file, offset, bytes } };
  });
  return out.filter((tensor) => !used.has(tensor));
}

function partCount(metadata: ReadonlyMap<string, GgufValue>, file: string): number {
  const count = metadata.get('split.count') ?? 1;
  const fits = typeof count === 'number' && Number.isInteger(count) && count >= 0;
  if (!fits || count > MAX_PARTS) throw damaged(file, 'split.count', `is no number of parts`);
  return Math.max(1, count);
}

async function checkThere(file: string, count: number): Promise<void> {
  await stat(file).catch((cause) => {
    const message = `${file} is missing, one of the ${count} files that this model is split over`;
    throw octavoError('ERR_MODEL_NOT_FOUND', message, { param: 'model', cause });
  });
}

function digits(n: number): string {
  return String(n).padStart(5, '0');
}

function inFile(file: number) {
  return (tensor: Omit<Found, 'file'>): Found => ({ ...tensor, file });
}
