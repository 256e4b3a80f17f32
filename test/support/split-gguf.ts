/** Splits a GGUF model over several files, as llama.cpp's gguf-split does. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { write } from './write-model.js';

interface Info {
  /** Name, dimensions and type, as they stand in the file. */
  readonly head: Buffer;
  readonly data: Buffer;
}

export interface SplitKeys {
  readonly no: number;
  readonly count: number;
  readonly tensors: number;
}

const u16 = 2;
const i32 = 5;

function key(name: string, kind: number, value: number): Buffer {
  const b = Buffer.alloc(8 + name.length + 4 + (kind === u16 ? 2 : 4));
  b.writeBigUInt64LE(BigInt(name.length), 0);
  b.write(name, 8);
  b.writeUInt32LE(kind, 8 + name.length);
  if (kind === u16) b.writeUInt16LE(value, 12 + name.length);
  else b.writeInt32LE(value, 12 + name.length);
  return b;
}

/** The keys of a file as one run of bytes, and its tensors; `first` names the first of these. */
function takeApart(path: string, first: string): { numKeys: number; keys: Buffer; infos: Info[] } {
  const bytes = readFileSync(path);
  const count = Number(bytes.readBigUInt64LE(8));
  const begin = bytes.indexOf(first) - 8;
  const found: { head: Buffer; offset: number }[] = [];
  let at = begin;
  for (let i = 0; i < count; i++) {
    const from = at;
    at += 8 + Number(bytes.readBigUInt64LE(at));
    at += 4 + 8 * bytes.readUInt32LE(at) + 4;
    found.push({ head: bytes.subarray(from, at), offset: Number(bytes.readBigUInt64LE(at)) });
    at += 8;
  }
  const start = Math.ceil(at / 32) * 32;
  const sorted = [...found].sort((a, b) => a.offset - b.offset);
  const infos = found.map(({ head, offset }) => {
    const next = sorted[sorted.findIndex((other) => other.offset === offset) + 1];
    const end = next ? start + next.offset : bytes.length;
    return { head, data: bytes.subarray(start + offset, end) };
  });
  return { numKeys: Number(bytes.readBigUInt64LE(16)), keys: bytes.subarray(24, begin), infos };
}

function part(numKeys: number, keys: readonly Buffer[], infos: readonly Info[]): Buffer {
  const header = Buffer.alloc(24);
  header.write('GGUF');
  header.writeUInt32LE(3, 4);
  header.writeBigUInt64LE(BigInt(infos.length), 8);
  header.writeBigUInt64LE(BigInt(numKeys), 16);
  let offset = 0;
  const heads: Buffer[] = [];
  const data: Buffer[] = [];
  for (const info of infos) {
    const at = Buffer.alloc(8);
    at.writeBigUInt64LE(BigInt(offset));
    heads.push(info.head, at);
    const padding = Buffer.alloc((32 - (info.data.length % 32)) % 32);
    data.push(info.data, padding);
    offset += info.data.length + padding.length;
  }
  const head = Buffer.concat([header, ...keys, ...heads]);
  return Buffer.concat([head, Buffer.alloc((32 - (head.length % 32)) % 32), ...data]);
}

/**
 * @param cuts how many tensors the parts have; the last one gets the rest
 * @param first name of the file's first tensor
 * @param change what a part's keys say instead
 * @returns paths of the parts
 */
export function splitGguf(
  path: string,
  folder: string,
  cuts: readonly number[],
  first: string,
  change: (keys: SplitKeys) => SplitKeys = (keys) => keys,
): string[] {
  const { numKeys, keys, infos } = takeApart(path, first);
  const count = cuts.length + 1;
  let from = 0;
  return [...cuts, infos.length].map((taken, i) => {
    const mine = infos.slice(from, from + taken);
    from += taken;
    const split = change({ no: i, count, tensors: infos.length });
    const own = [
      key('split.no', u16, split.no),
      key('split.count', u16, split.count),
      key('split.tensors.count', i32, split.tensors),
    ];
    const digits = (n: number) => String(n).padStart(5, '0');
    const bytes = i === 0 ? part(numKeys + 3, [keys, ...own], mine) : part(3, own, mine);
    write(folder, `m-${digits(i + 1)}-of-${digits(count)}.gguf`, bytes);
    return join(folder, `m-${digits(i + 1)}-of-${digits(count)}.gguf`);
  });
}
