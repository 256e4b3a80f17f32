/** Writes small model files for tests: safetensors and GGUF, good ones and bad ones. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A folder that is gone when the process ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'octavo-test-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface HeaderTensor {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/** A safetensors file of a header (object or raw text) and so many zero bytes. */
export function safetensorsFile(
  header: object | string,
  dataBytes: number,
  length?: number,
): Buffer {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(length ?? json.length));
  return Buffer.concat([prefix, json, Buffer.alloc(dataBytes)]);
}

export type Value =
  | { u32: number }
  | { u64: number }
  | { f32: number }
  | { bool: boolean }
  | { string: string }
  | { strings: string[] }
  | { i32s: number[] }
  | { f32s: number[] };

export interface GgufSpec {
  magic?: string;
  version?: number;
  metadata?: Record<string, Value>;
  /** Dimensions innermost first, as the format has them. */
  tensors?: { name: string; dims: number[]; type: number; offset: number }[];
  dataBytes?: number;
  /** Instead of so many zeros. */
  data?: Buffer;
}

const u32 = (n: number) => {
  const b = Buffer.alloc(4);
  b.writeUInt32LE(n);
  return b;
};
const f32 = (n: number) => {
  const b = Buffer.alloc(4);
  b.writeFloatLE(n);
  return b;
};
const u64 = (n: number) => {
  const b = Buffer.alloc(8);
  b.writeBigUInt64LE(BigInt(n));
  return b;
};
const text = (s: string) => Buffer.concat([u64(Buffer.byteLength(s)), Buffer.from(s)]);

function value(v: Value): Buffer[] {
  if ('u32' in v) return [u32(4), u32(v.u32)];
  if ('u64' in v) return [u32(10), u64(v.u64)];
  if ('bool' in v) return [u32(7), Buffer.of(v.bool ? 1 : 0)];
  if ('string' in v) return [u32(8), text(v.string)];
  if ('strings' in v) return [u32(9), u32(8), u64(v.strings.length), ...v.strings.map(text)];
  if ('i32s' in v) return [u32(9), u32(5), u64(v.i32s.length), ...v.i32s.map(u32)];
  if ('f32s' in v) return [u32(9), u32(6), u64(v.f32s.length), ...v.f32s.map(f32)];
  return [u32(6), f32(v.f32)];
}

export function ggufFile(spec: GgufSpec): Buffer {
  const { magic = 'GGUF', version = 3, metadata = {}, tensors = [], dataBytes = 0 } = spec;
  const { data = Buffer.alloc(dataBytes) } = spec;
  const parts = [Buffer.from(magic), u32(version), u64(tensors.length)];
  parts.push(u64(Object.keys(metadata).length));
  for (const [key, v] of Object.entries(metadata)) parts.push(text(key), Buffer.concat(value(v)));
  for (const { name, dims, type, offset } of tensors) {
    parts.push(text(name), u32(dims.length), ...dims.map(u64), u32(type), u64(offset));
  }
  const head = Buffer.concat(parts);
  const padding = Buffer.alloc((32 - (head.length % 32)) % 32);
  return Buffer.concat([head, padding, data]);
}

export function write(folder: string, name: string, content: Buffer | string | object): string {
  const path = join(folder, name);
  const plain = typeof content === 'string' || Buffer.isBuffer(content);
  writeFileSync(path, plain ? content : JSON.stringify(content));
  return path;
}

/** What a promise rejects with: its code and message. */
export async function refusal(
  promise: Promise<unknown>,
): Promise<{ code: string; message: string }> {
  try {
    await promise;
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    return { code, message };
  }
  return { code: 'none', message: '' };
}
