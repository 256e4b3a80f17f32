/**
 * The head of a GGUF file (v2, v3): metadata and tensor descriptions. Read in chunks, with every
 * length checked against what is left of the file before anything is allocated for it.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { shown } from '../arguments.js';
import { damaged, type OpenFile, readExactly, unsupported, withFile } from './files.js';
import { checkOverlaps, type FileTensor } from './safetensors.js';

/** Numbers and booleans (0 and 1) of an array; 64-bit integers as doubles. */
export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array;
export type GgufValue = number | boolean | string | string[] | GgufNumbers | SkippedArray;

/** An array whose key nobody reads, or of arrays: it was stepped over. */
export class SkippedArray {
  constructor(readonly length: number) {}
}

export interface GgufFile {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly FileTensor[];
}

/** ggml's types: name, values per block, bytes per block. */
const TYPES: Readonly<Record<number, readonly [name: string, values: number, bytes: number]>> = {
  0: ['F32', 1, 4],
  1: ['F16', 1, 2],
  2: ['Q4_0', 32, 18],
  3: ['Q4_1', 32, 20],
  6: ['Q5_0', 32, 22],
  7: ['Q5_1', 32, 24],
  8: ['Q8_0', 32, 34],
  9: ['Q8_1', 32, 36],
  10: ['Q2_K', 256, 84],
  11: ['Q3_K', 256, 110],
  12: ['Q4_K', 256, 144],
  13: ['Q5_K', 256, 176],
  14: ['Q6_K', 256, 210],
  15: ['Q8_K', 256, 292],
  16: ['IQ2_XXS', 256, 66],
  17: ['IQ2_XS', 256, 74],
  18: ['IQ3_XXS', 256, 98],
  19: ['IQ1_S', 256, 50],
  20: ['IQ4_NL', 32, 18],
  21: ['IQ3_S', 256, 110],
  22: ['IQ2_S', 256, 82],
  23: ['IQ4_XS', 256, 136],
  24: ['I8', 1, 1],
  25: ['I16', 1, 2],
  26: ['I32', 1, 4],
  27: ['I64', 1, 8],
  28: ['F64', 1, 8],
  29: ['IQ1_M', 256, 56],
  30: ['BF16', 1, 2],
  34: ['TQ1_0', 256, 54],
  35: ['TQ2_0', 256, 66],
  39: ['MXFP4', 32, 17],
  40: ['NVFP4', 64, 36],
  ...{ 41: ['Q1_0', 128, 18], 42: ['Q2_0', 64, 18] },
};

enum Kind {
  U8,
  I8,
  U16,
  I16,
  U32,
  I32,
  F32,
  BOOL,
  STRING,
  ARRAY,
  U64,
  I64,
  F64,
}
const KIND_BYTES = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8];
/** Of numbers, by kind. */
const ARRAYS = [
  ...[Uint8Array, Int8Array, Uint16Array, Int16Array, Uint32Array, Int32Array, Float32Array],
  ...[Uint8Array, undefined, undefined, Float64Array, Float64Array, Float64Array],
];

/** The arrays that are read: the tokenizer's, and settings by layer. */
const WANTED = new RegExp(
  '^tokenizer\\.(ggml\\.(tokens|scores|token_type|merges|precompiled_charsmap)|chat_templates)$|' +
    '\\.(attention\\.(head_count_kv|sliding_window_pattern|recurrent_layers)|feed_forward_length|' +
    'classifier\\.output_labels)$',
);

const CHUNK = 1 << 20;
const MAX_STRING = 64 << 20;
const MAX_DEPTH = 4;
const MAX_ENTRIES = 1 << 20;
/** Items of an array that is read; strings and arrays of the whole file. Largest known: 2^19. */
const MAX_ITEMS = 1 << 22;
/** Milliseconds of parsing after which the event loop gets a turn. */
const PACE = 4;

/**
 * @throws ERR_MODEL_NOT_FOUND, ERR_MODEL_FORMAT naming file and key or tensor,
 * ERR_MODEL_UNSUPPORTED for another version, byte order or an unknown tensor type
 */
export function readGguf(path: string): Promise<GgufFile> {
  return withFile(path, async (file) => new Parser(new Reader(file, path), path).run());
}

/** A window that moves over the file; only `fill` waits. */
class Reader {
  #buffer = Buffer.alloc(0);
  #at = 0;
  #next = 0;
  #since = performance.now();

  constructor(
    readonly file: OpenFile,
    readonly path: string,
  ) {}

  /** Position in the file. */
  get position(): number {
    return this.#next - this.#buffer.length + this.#at;
  }

  /** Bytes of the file behind the position. */
  get left(): number {
    return this.file.size - this.position;
  }

  has(bytes: number): boolean {
    return this.#buffer.length - this.#at >= bytes;
  }

  /** Makes `bytes` bytes readable; `field` is named if the file ends before. */
  async fill(bytes: number, field: string): Promise<void> {
    if (bytes > this.left) throw damaged(this.path, field, 'runs past the end of the file');
    if (performance.now() - this.#since > PACE) {
      await turn();
      this.#since = performance.now();
    }
    if (this.has(bytes)) return;
    const rest = this.#buffer.subarray(this.#at);
    const length = Math.min(Math.max(CHUNK, bytes) - rest.length, this.file.size - this.#next);
    const more = await readExactly(this.file, this.path, this.#next, length);
    this.#buffer = Buffer.concat([rest, more]);
    this.#next += length;
    this.#at = 0;
  }

  /** Of a size that `fill` has made readable. */
  scalar(kind: Kind): number | boolean {
    const { offset, buffer } = { offset: this.#at, buffer: this.#buffer };
    this.#at += KIND_BYTES[kind];
    switch (kind) {
      case Kind.U8:
        return buffer.readUInt8(offset);
      case Kind.I8:
        return buffer.readInt8(offset);
      case Kind.U16:
        return buffer.readUInt16LE(offset);
      case Kind.I16:
        return buffer.readInt16LE(offset);
      case Kind.U32:
        return buffer.readUInt32LE(offset);
      case Kind.I32:
        return buffer.readInt32LE(offset);
      case Kind.F32:
        return buffer.readFloatLE(offset);
      case Kind.BOOL:
        return buffer.readUInt8(offset) !== 0;
      case Kind.U64:
        return buffer.readUInt32LE(offset) + buffer.readUInt32LE(offset + 4) * 2 ** 32;
      case Kind.I64:
        return Number(buffer.readBigInt64LE(offset));
      default:
        return buffer.readDoubleLE(offset);
    }
  }

  /** Steps over bytes that are there, in the window or not. */
  skip(bytes: number): void {
    const inside = Math.min(bytes, this.#buffer.length - this.#at);
    this.#at += inside;
    if (inside === bytes) return;
    this.#next += bytes - inside;
    this.#buffer = Buffer.alloc(0);
    this.#at = 0;
  }

  /** Numbers of a size that `fill` has made readable. */
  numbers(kind: Kind, out: GgufNumbers, from: number, count: number): void {
    if (kind !== Kind.BOOL && kind !== Kind.U64 && kind !== Kind.I64) {
      // Files and machines that this runs on have one byte order.
      const bytes = count * KIND_BYTES[kind];
      const stored = this.#buffer.subarray(this.#at, this.#at + bytes);
      new Uint8Array(out.buffer, from * KIND_BYTES[kind], bytes).set(stored);
      this.#at += bytes;
      return;
    }
    for (let i = 0; i < count; i++) out[from + i] = Number(this.scalar(kind));
  }

  text(bytes: number): string {
    const text = this.#buffer.toString('utf8', this.#at, this.#at + bytes);
    this.#at += bytes;
    return text;
  }

  /**
   * Appends up to `count` strings (each its length, then its bytes) of those that are readable now.
   * They are decoded together, lengths and all: a call for each would be most of the work.
   */
  wholeStrings(count: number, out: string[]): void {
    const { at: begin, buffer } = { at: this.#at, buffer: this.#buffer };
    const lengths: number[] = [];
    let end = begin;
    let areShort = true;
    while (lengths.length < count && end + 8 <= buffer.length) {
      const length = buffer.readUInt32LE(end);
      if (buffer.readUInt32LE(end + 4) !== 0 || length > buffer.length - end - 8) break;
      areShort &&= length < 128; // its bytes are characters then
      lengths.push(length);
      end += 8 + length;
    }
    const text = areShort ? buffer.toString('utf8', begin, end) : '';
    if (!areShort || text.includes('\ufffd')) {
      // What stands for damaged bytes does not tell how many they were.
      for (const length of lengths) {
        this.#at += 8;
        out.push(this.text(length));
      }
      return;
    }
    this.#at = end;
    const isAscii = text.length === end - begin;
    let from = 0;
    for (const length of lengths) {
      from += 8;
      const to = isAscii ? from + length : skipBytes(text, from, length);
      out.push(text.slice(from, to));
      from = to;
    }
  }
}

/** Index behind the characters from `at` on that take `bytes` bytes in UTF-8. */
function skipBytes(text: string, at: number, bytes: number): number {
  let to = at;
  for (let left = bytes; left > 0; to++) {
    const code = text.charCodeAt(to);
    if (code < 0x80) left -= 1;
    else if (code < 0x800) left -= 2;
    // Half of a pair, whose four bytes are two for each.
    else left -= code >= 0xd800 && code < 0xe000 ? 2 : 3;
  }
  return to;
}

/** A key in messages: bare, as users know it, but never long. */
function shownName(key: string): string {
  return key.length <= 80 ? key : shown(key);
}

class Parser {
  #ticks = 0;
  #items = 0;

  constructor(
    readonly reader: Reader,
    readonly path: string,
  ) {}

  async run(): Promise<GgufFile> {
    const magic = await this.number(Kind.U32, 'the magic');
    if (magic !== 0x46554747) throw damaged(this.path, 'the magic', 'is not that of a GGUF file');
    const version = await this.number(Kind.U32, 'the version');
    if (version !== 2 && version !== 3) {
      const swapped = version >= 2 ** 24;
      throw unsupported(this.path, swapped ? 'a big-endian GGUF file' : `GGUF version ${version}`);
    }
    const numTensors = await this.size('the tensor count', 24);
    const numKeys = await this.size('the metadata count', 13);
    const metadata = new Map<string, GgufValue>();
    for (let i = 0; i < numKeys; i++) {
      const key = await this.string(`metadata key ${i}`);
      const field = `metadata ${shownName(key)}`;
      if (metadata.has(key)) throw damaged(this.path, field, 'stands there twice');
      const kind = await this.number(Kind.U32, field);
      metadata.set(key, await this.value(kind, field, WANTED.test(key)));
    }
    const heads = [];
    for (let i = 0; i < numTensors; i++) heads.push(await this.tensorHead(i));
    const tensors = this.place(heads, metadata);
    return { version, metadata, tensors };
  }

  /** A count whose items take at least `itemBytes` each. */
  async size(field: string, itemBytes: number): Promise<number> {
    const n = await this.number(Kind.U64, field);
    if (n > MAX_ENTRIES || n * itemBytes > this.reader.left) {
      throw damaged(this.path, field, `${n} does not fit into the file`);
    }
    return n;
  }

  async number(kind: Kind, field: string): Promise<number> {
    const bytes = KIND_BYTES[kind];
    if (!this.reader.has(bytes) || (++this.#ticks & 255) === 0)
      await this.reader.fill(bytes, field);
    return this.reader.scalar(kind) as number;
  }

  async string(field: string): Promise<string> {
    const length = await this.number(Kind.U64, field);
    if (length > MAX_STRING) throw damaged(this.path, field, `claims ${length} bytes of text`);
    if (!this.reader.has(length)) await this.reader.fill(length, field);
    return this.reader.text(length);
  }

  async value(kind: number, field: string, wanted: boolean): Promise<GgufValue> {
    if (kind === Kind.STRING) return this.string(field);
    if (kind === Kind.ARRAY) return this.array(field, wanted);
    if (!(kind >= 0 && kind <= Kind.F64)) {
      throw damaged(this.path, field, `has an unknown type ${kind}`);
    }
    await this.reader.fill(KIND_BYTES[kind], field);
    return this.reader.scalar(kind);
  }

  async array(field: string, wanted: boolean, depth = 0): Promise<GgufValue> {
    if (depth >= MAX_DEPTH) throw damaged(this.path, field, 'is nested too deeply');
    const kind = await this.number(Kind.U32, field);
    const length = await this.number(Kind.U64, field);
    if (!(kind >= 0 && kind <= Kind.F64)) {
      throw damaged(this.path, field, `has items of an unknown type ${kind}`);
    }
    if (length * KIND_BYTES[kind] > this.reader.left) {
      throw damaged(this.path, field, `claims ${length} items, which run past the end of the file`);
    }
    const plain = kind !== Kind.STRING && kind !== Kind.ARRAY;
    if (!plain) this.#items += length;
    if (this.#items > MAX_ITEMS || (wanted && length > MAX_ITEMS)) {
      throw damaged(this.path, field, `claims ${length} items, too many for a model`);
    }
    if (kind === Kind.STRING && wanted) return this.strings(field, length);
    if (plain && wanted) return this.numbers(kind, field, length);
    if (plain) this.reader.skip(length * KIND_BYTES[kind]);
    for (let i = 0; !plain && i < length; i++) {
      if (kind === Kind.STRING) await this.skipString(field);
      else await this.array(field, false, depth + 1);
    }
    return new SkippedArray(length);
  }

  async numbers(kind: Kind, field: string, length: number): Promise<GgufNumbers> {
    const out = new (ARRAYS[kind] ?? Float64Array)(length);
    for (let i = 0; i < length; i += 4096) {
      const count = Math.min(4096, length - i);
      await this.reader.fill(count * KIND_BYTES[kind], field);
      this.reader.numbers(kind, out, i, count);
    }
    return out;
  }

  /**
   * Without waiting where strings are at hand: a vocabulary is a hundred thousand of them, and a
   * promise for each would be more garbage than text.
   */
  async strings(field: string, length: number): Promise<string[]> {
    const items: string[] = [];
    while (items.length < length) {
      await this.reader.fill(0, field); // others get their turn
      const before = items.length;
      this.reader.wholeStrings(Math.min(256, length - before), items);
      if (items.length === before) items.push(await this.string(field));
    }
    return items;
  }

  async skipString(field: string): Promise<void> {
    const length = await this.number(Kind.U64, field);
    if (length > this.reader.left) throw damaged(this.path, field, 'runs past the end of the file');
    this.reader.skip(length);
  }

  async tensorHead(index: number) {
    const name = await this.string(`the name of tensor ${index}`);
    const field = `tensor ${shown(name)}`;
    const numDims = await this.number(Kind.U32, field);
    if (numDims < 1 || numDims > 4) throw damaged(this.path, field, `has ${numDims} dimensions`);
    const dims: number[] = [];
    for (let d = 0; d < numDims; d++) dims.push(await this.number(Kind.U64, field));
    const type = await this.number(Kind.U32, field);
    const offset = await this.number(Kind.U64, field);
    return { name, field, dims, type, offset };
  }

  /** Offsets count from the aligned end of the head. */
  place(
    heads: readonly Awaited<ReturnType<Parser['tensorHead']>>[],
    metadata: ReadonlyMap<string, GgufValue>,
  ): FileTensor[] {
    const alignment = metadata.get('general.alignment') ?? 32;
    const fits = typeof alignment === 'number' && alignment >= 1 && alignment <= 65536;
    if (!fits || !Number.isInteger(Math.log2(alignment))) {
      throw damaged(this.path, 'general.alignment', 'must be a power of two up to 65536');
    }
    const start = Math.ceil(this.reader.position / alignment) * alignment;
    const seen = new Set<string>();
    const tensors = heads.map(({ name, field, dims, type, offset }) => {
      if (seen.has(name)) throw damaged(this.path, field, 'stands there twice');
      seen.add(name);
      const known = TYPES[type];
      if (!known) throw unsupported(this.path, `ggml type ${type} of ${field}`);
      const [dtype, perBlock, blockBytes] = known;
      const values = dims.reduce((product, d) => product * d, 1);
      const bytes = (values / perBlock) * blockBytes;
      if (!Number.isSafeInteger(values) || values < 1 || dims[0] % perBlock !== 0) {
        throw damaged(this.path, field, 'has an impossible shape');
      }
      if (!Number.isSafeInteger(offset + bytes) || start + offset + bytes > this.reader.file.size) {
        throw damaged(this.path, field, 'lies past the end of the file; the file is truncated');
      }
      // GGUF lists the innermost dimension first.
      return { name, dtype, shape: [...dims].reverse(), offset: start + offset, bytes };
    });
    checkOverlaps(this.path, tensors);
    return tensors;
  }
}
