/** The header of a .safetensors file: 8 bytes of length, JSON, then the tensors' bytes. */
import { shown } from '../arguments.js';
import { damaged, type OpenFile, parseObject, readExactly, withFile } from './files.js';

/** The format's own limit of a header, in bytes. */
const MAX_HEADER_BYTES = 100_000_000;

const BYTES: Readonly<Record<string, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
};

/** One tensor as the file describes it; its bytes lie inside the file. */
export interface FileTensor {
  readonly name: string;
  /** As the format spells it: F32, BF16, Q8_0 … */
  readonly dtype: string;
  /** Outermost dimension first. */
  readonly shape: readonly number[];
  /** From the start of the file, in bytes. */
  readonly offset: number;
  readonly bytes: number;
}

/**
 * Reads the header; the weights are not touched.
 * @throws ERR_MODEL_NOT_FOUND, ERR_MODEL_FORMAT naming file and tensor
 */
export function readSafetensors(path: string): Promise<FileTensor[]> {
  return withFile(path, (file) => readHeader(file, path));
}

async function readHeader(file: OpenFile, path: string): Promise<FileTensor[]> {
  if (file.size < 8) throw damaged(path, 'the file', 'is too short for a safetensors header');
  const prefix = await readExactly(file, path, 0, 8);
  const length = Number(prefix.readBigUInt64LE(0));
  if (length < 2 || length > MAX_HEADER_BYTES || length > file.size - 8) {
    throw damaged(path, 'the header length', `${length} does not fit a file of ${file.size} bytes`);
  }
  const text = (await readExactly(file, path, 8, length)).toString('utf8');
  const header = parseObject(text, path);
  const start = 8 + length;
  const tensors: FileTensor[] = [];
  for (const [name, entry] of Object.entries(header)) {
    if (name !== '__metadata__') tensors.push(tensorOf(path, name, entry, start, file.size));
  }
  checkOverlaps(path, tensors);
  return tensors;
}

function tensorOf(
  path: string,
  name: string,
  entry: unknown,
  start: number,
  size: number,
): FileTensor {
  const field = `tensor ${shown(name)}`;
  if (typeof entry !== 'object' || entry === null) throw damaged(path, field, 'has no description');
  const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>;
  if (typeof dtype !== 'string' || !Object.hasOwn(BYTES, dtype)) {
    throw damaged(path, field, `has an unknown dtype ${shown(dtype)}`);
  }
  if (!isSizes(shape) || shape.length > 8) throw damaged(path, field, 'has an impossible shape');
  if (!isSizes(offsets) || offsets.length !== 2) {
    throw damaged(path, field, 'has damaged data_offsets');
  }
  const bytes = shape.reduce((product, d) => product * d, BYTES[dtype]);
  const [begin, end] = offsets;
  if (!Number.isSafeInteger(bytes) || end - begin !== bytes) {
    throw damaged(path, field, `has ${end - begin} bytes, which does not fit its shape and dtype`);
  }
  if (end > size - start) {
    throw damaged(path, field, 'lies past the end of the file; the file is truncated');
  }
  return { name, dtype, shape, offset: start + begin, bytes };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && (n as number) >= 0);
}

/** Two tensors in the same bytes are a damaged or hostile file; gaps do no harm. */
export function checkOverlaps(path: string, tensors: readonly FileTensor[]): void {
  const sorted = tensors.filter((t) => t.bytes > 0).sort((a, b) => a.offset - b.offset);
  for (let i = 1; i < sorted.length; i++) {
    const before = sorted[i - 1];
    if (sorted[i].offset < before.offset + before.bytes) {
      throw damaged(path, `tensor ${shown(sorted[i].name)}`, `overlaps ${shown(before.name)}`);
    }
  }
}
