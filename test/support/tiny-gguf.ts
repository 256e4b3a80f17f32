import { readFileSync } from 'node:fs';

const SIZES = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];

/** The metadata of a small, trusted GGUF file, by key. For tests only: it checks nothing. */
export function readGgufMetadata(path: string): Record<string, unknown> {
  const bytes = readFileSync(path);
  let at = 8;
  const number = (type: number): number | boolean => {
    const start = at;
    at += SIZES[type];
    if (type === 0) return bytes.readUInt8(start);
    if (type === 1) return bytes.readInt8(start);
    if (type === 2) return bytes.readUInt16LE(start);
    if (type === 3) return bytes.readInt16LE(start);
    if (type === 4) return bytes.readUInt32LE(start);
    if (type === 5) return bytes.readInt32LE(start);
    if (type === 6) return bytes.readFloatLE(start);
    if (type === 7) return bytes.readUInt8(start) !== 0;
    if (type === 12) return bytes.readDoubleLE(start);
    return Number(type === 10 ? bytes.readBigUInt64LE(start) : bytes.readBigInt64LE(start));
  };
  const text = (): string => {
    const length = number(10) as number;
    at += length;
    return bytes.toString('utf8', at - length, at);
  };
  const value = (type: number): unknown => {
    if (type === 8) return text();
    if (type !== 9) return number(type);
    const inner = number(4) as number;
    return Array.from({ length: number(10) as number }, () => value(inner));
  };
  number(10);
  const count = number(10) as number;
  const entries: Record<string, unknown> = {};
  for (let i = 0; i < count; i++) {
    const key = text();
    entries[key] = value(number(4) as number);
  }
  return entries;
}

/** The tokenizer's part of {@link readGgufMetadata}, as `ggufTokenizer` takes it. */
export function readGgufTokenizer(path: string): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(readGgufMetadata(path))) {
    if (key.startsWith('tokenizer.ggml.')) found[key.slice('tokenizer.ggml.'.length)] = value;
    if (key === 'tokenizer.chat_template') found.chat_template = value;
  }
  return found;
}
