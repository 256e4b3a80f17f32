/** The bytes that each token adds to a text: what a grammar reads of it. */
import { Pacer } from './pacer.js';
import type { Tokenizer } from './tokenizer.js';

/** All tokens' bytes, one after the other; token i has those from offsets[i] to offsets[i + 1]. */
export interface TokenBytes {
  readonly bytes: Uint8Array;
  readonly offsets: Int32Array; // [numTokens + 1]
}

/** Decodes to itself under every decoder, and takes upon itself what they do to a beginning. */
const ANCHOR = 'a';

/**
 * Of ids from 0 on. Special tokens have none, as texts leave them out, and neither have ids without
 * a token. Takes turns with the event loop: about a microsecond a token.
 */
export async function tokenBytes(tokenizer: Tokenizer, numTokens: number): Promise<TokenBytes> {
  const offsets = new Int32Array(numTokens + 1);
  let bytes = new Uint8Array(Math.max(1024, numTokens * 8));
  const pacer = new Pacer();
  let end = 0;
  for (let id = 0; id < numTokens; id++) {
    const own = bytesOfToken(tokenizer, id);
    if (end + own.length > bytes.length) bytes = enlarged(bytes, end + own.length);
    bytes.set(own, end);
    end += own.length;
    offsets[id + 1] = end;
    if (pacer.due()) await pacer.turn();
  }
  return { bytes: bytes.slice(0, end), offsets };
}

const NONE = new Uint8Array(0);
const encoder = new TextEncoder();

/** Of one id. */
export function bytesOfToken(tokenizer: Tokenizer, id: number): Uint8Array {
  if (tokenizer.isSpecial(id)) return NONE;
  const byte = tokenizer.byteOf(id);
  if (byte !== undefined) return Uint8Array.of(byte);
  const token = tokenizer.idToToken(id);
  if (token === null) return NONE;
  if (tokenizer.isByteLevel) return spelledBytes(token) ?? encoder.encode(token);
  const text = tokenizer.decodeTokens([ANCHOR, token]);
  return encoder.encode(text.startsWith(ANCHOR) ? text.slice(ANCHOR.length) : text);
}

/** For each byte the first token that is it alone; −1: there is none. */
export function byteTokens({ bytes, offsets }: TokenBytes): number[] {
  const ids = new Array<number>(256).fill(-1);
  for (let id = offsets.length - 2; id >= 0; id--) {
    if (offsets[id + 1] - offsets[id] === 1) ids[bytes[offsets[id]]] = id;
  }
  return ids;
}

/**
 * The bytes of a token of a byte-level vocabulary, which spells each byte by a character of its
 * own: those that can be seen by themselves, the others from U+0100 on. Undefined where the token
 * has another character: it was added, and is plain text.
 */
function spelledBytes(token: string): Uint8Array | undefined {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = BYTE_OF[token.charCodeAt(i)];
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}

/** By the character's code. */
const BYTE_OF: readonly (number | undefined)[] = byteTable();

function byteTable(): (number | undefined)[] {
  const table: (number | undefined)[] = new Array(0x144).fill(undefined);
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const isSeen = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    table[isSeen ? byte : next++] = byte;
  }
  return table;
}

function enlarged(bytes: Uint8Array<ArrayBuffer>, least: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.max(least, bytes.length * 2));
  larger.set(bytes);
  return larger;
}
