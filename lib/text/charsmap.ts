/**
 * The compiled normalization rules of SentencePiece (`precompiled_charsmap` in a tokenizer.json):
 * base64 of a 32-bit size, a trie of that many bytes as a double array (darts-clone) and the
 * replacements, each ended by a zero byte. The library follows what they say without a look at
 * their ends, so all that can be reached is looked at here, once.
 */

/** Largest rules, in bytes; NFKC's have some 240,000. */
const MAX_BYTES = 1 << 22;
/** Longest replacement of one key, in bytes; NFKC's has 33. */
const MAX_REPLACEMENT = 1024;

const hasLeaf = (unit: number) => (unit & 0x100) !== 0;
const label = (unit: number) => (unit & 0x800000ff) >>> 0;
const offset = (unit: number) => ((unit >>> 10) << ((unit & 0x200) >>> 6)) >>> 0;
const value = (unit: number) => unit & 0x7fffffff;

/** The trie that begins behind the size. */
function unitsOf(bytes: Buffer, size: number): Uint32Array {
  return Uint32Array.from({ length: size / 4 }, (_, i) => bytes.readUInt32LE(4 + 4 * i));
}

/** A key at some place of a text: its bytes, and where its replacement lies. */
export interface Key {
  readonly length: number;
  readonly from: number;
  readonly to: number;
}

/** Rules without fault. */
export class Charsmap {
  readonly #units: Uint32Array;
  readonly replacements: Buffer;

  constructor(bytes: Uint8Array) {
    const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const size = all.readUInt32LE(0);
    this.#units = unitsOf(all, size);
    this.replacements = all.subarray(4 + size);
  }

  /** The longest key that begins at a place. */
  longest(text: Uint8Array, at: number): Key | undefined {
    const units = this.#units;
    let place = offset(units[0]);
    let length = 0;
    let from = 0;
    for (let i = at; i < text.length && text[i] !== 0; i++) {
      const child = (place ^ text[i]) >>> 0;
      if (label(units[child]) !== text[i]) break;
      place = (child ^ offset(units[child])) >>> 0;
      if (!hasLeaf(units[child])) continue;
      length = i + 1 - at;
      from = value(units[place]);
    }
    if (length === 0) return undefined;
    const end = this.replacements.indexOf(0, from);
    return { length, from, to: end < 0 ? this.replacements.length : end };
  }
}

/** Why such rules are refused, to stand behind their name; undefined if they are not. */
export function charsmapFault(text: unknown): string | undefined {
  if (typeof text !== 'string') return 'has no precompiled_charsmap';
  if (text.length > (MAX_BYTES / 3) * 4) return 'has a precompiled_charsmap of more than 4 MiB';
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) return 'has a precompiled_charsmap that is no base64';
  const size = bytes.length < 4 ? 0 : bytes.readUInt32LE(0);
  if (size < 4 || size % 4 !== 0 || size > bytes.length - 4) {
    return 'has a precompiled_charsmap whose size is wrong';
  }
  const units = unitsOf(bytes, size);
  const replacements = bytes.subarray(4 + size);
  if (Buffer.compare(Buffer.from(replacements.toString('utf8')), replacements) !== 0) {
    return 'has a precompiled_charsmap whose replacements are not UTF-8';
  }
  const good = walk(units, (at) => isReplacement(replacements, at));
  return good ? undefined : 'has a precompiled_charsmap that leads past its end';
}

/** Follows every byte from every place that can be reached; false if one leads outside. */
function walk(units: Uint32Array, isGood: (replacement: number) => boolean): boolean {
  const places = [offset(units[0])];
  const seen = new Set(places);
  for (let place = places.pop(); place !== undefined; place = places.pop()) {
    for (let byte = 1; byte < 256; byte++) {
      const at = (place ^ byte) >>> 0;
      if (at >= units.length) return false;
      if (label(units[at]) !== byte) continue;
      const next = (at ^ offset(units[at])) >>> 0;
      if (hasLeaf(units[at]) && !(next < units.length && isGood(value(units[next])))) return false;
      if (!seen.has(next)) places.push(next);
      seen.add(next);
    }
  }
  return true;
}

/** Does a replacement begin at a character (or at the end), and is it short? */
function isReplacement(bytes: Buffer, at: number): boolean {
  if (at > bytes.length || (at < bytes.length && (bytes[at] & 0xc0) === 0x80)) return false;
  const end = bytes.indexOf(0, at);
  return (end < 0 ? bytes.length : end) - at <= MAX_REPLACEMENT;
}
