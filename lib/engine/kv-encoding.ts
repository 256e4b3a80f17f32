/**
 * KV events as bytes: those that msgspec writes of vLLM's structs, so the seven types of msgpack
 * that they consist of, each number in its shortest form.
 */

/** Blocks that the cache has from now on, one after the other. */
export interface BlocksStored {
  readonly type: 'stored';
  /** Of each, of the whole prefix that ends with it: 64 bits. */
  readonly hashes: bigint[];
  /** Of the prefix before the first; null: there is none. */
  readonly parent: bigint | null;
  /** Of all of them, `blockSize` each. */
  readonly tokens: number[];
  readonly blockSize: number;
  /** The cache salt, where the first block is the first of a prompt that has one. */
  readonly salt: string | null;
  readonly group: KvEventGroup | null;
}

export interface BlocksRemoved {
  readonly type: 'removed';
  readonly hashes: bigint[];
  readonly group: KvEventGroup | null;
}

export type KvEvent = BlocksStored | BlocksRemoved | { readonly type: 'cleared' };

/** Of a model whose layers keep their KV in several groups. */
export interface KvEventGroup {
  readonly index: number;
  readonly kind: 'full_attention' | 'sliding_window' | 'chunked_local_attention';
  /** null: it keeps all tokens. */
  readonly window: number | null;
}

type Value = number | bigint | string | null | readonly Value[];

/** Members of a struct in their order; those after `numRequired` have the default null. */
interface Struct {
  readonly tag: string;
  readonly members: readonly (readonly [name: string, value: Value])[];
  readonly numRequired: number;
}

/** The pool that attention reads, on a GPU or on a CPU: what vLLM calls it on both. */
const MEDIUM = 'GPU';

function structOf(event: KvEvent): Struct {
  if (event.type === 'cleared') return { tag: 'AllBlocksCleared', members: [], numRequired: 0 };
  const { hashes, group } = event;
  const index = group?.index ?? null;
  if (event.type === 'removed') {
    return {
      tag: 'BlockRemoved',
      members: [
        ['block_hashes', hashes],
        ['medium', MEDIUM],
        ['group_idx', index],
      ],
      numRequired: 2,
    };
  }
  const { parent, tokens, blockSize, salt } = event;
  return {
    tag: 'BlockStored',
    members: [
      ['block_hashes', hashes],
      ['parent_block_hash', parent],
      ['token_ids', tokens],
      ['block_size', blockSize],
      ['lora_id', null],
      ['medium', MEDIUM],
      ['lora_name', null],
      ['extra_keys', salt === null ? null : hashes.map((_, i) => (i === 0 ? [salt] : null))],
      ['group_idx', index],
      ['kv_cache_spec_kind', group?.kind ?? null],
      ['kv_cache_spec_sliding_window', group?.window ?? null],
    ],
    numRequired: 7,
  };
}

/**
 * A batch: `[time, events, rank]`.
 * @param seconds since 1970
 */
export function encodeKvEvents(
  seconds: number,
  events: readonly KvEvent[],
  format: 'array' | 'map',
): Buffer {
  const bytes = new Bytes();
  bytes.head(3, 0x90, 0xdc);
  bytes.float(seconds);
  bytes.head(events.length, 0x90, 0xdc);
  for (const event of events) {
    const { tag, members, numRequired } = structOf(event);
    if (format === 'array') {
      bytes.head(members.length + 1, 0x90, 0xdc);
      bytes.value(tag);
      for (const [, value] of members) bytes.value(value);
      continue;
    }
    const given = members.filter(([, value], i) => i < numRequired || value !== null);
    bytes.head(given.length + 1, 0x80, 0xde);
    bytes.value('type');
    bytes.value(tag);
    for (const [name, value] of given) {
      bytes.value(name);
      bytes.value(value);
    }
  }
  bytes.value(0);
  return bytes.take();
}

/** Grows as it is written to. */
class Bytes {
  #buffer = Buffer.allocUnsafe(1024);
  #length = 0;

  take(): Buffer {
    return Buffer.from(this.#buffer.subarray(0, this.#length));
  }

  /** The head of an array or map: up to 15 members in its first byte, else in 2 or 4 behind it. */
  head(count: number, short: number, long: number): void {
    const at = this.#room(5);
    if (count < 16) this.#length = this.#buffer.writeUInt8(short + count, at);
    else if (count < 2 ** 16) {
      this.#length = this.#buffer.writeUInt16BE(count, this.#buffer.writeUInt8(long, at));
    } else this.#length = this.#buffer.writeUInt32BE(count, this.#buffer.writeUInt8(long + 1, at));
  }

  float(value: number): void {
    const at = this.#room(9);
    this.#length = this.#buffer.writeDoubleBE(value, this.#buffer.writeUInt8(0xcb, at));
  }

  value(value: Value): void {
    if (value === null) this.#null();
    else if (typeof value === 'string') this.#text(value);
    else if (typeof value === 'number') this.#uint(value);
    else if (typeof value === 'bigint') this.#uint64(value);
    else {
      this.head(value.length, 0x90, 0xdc);
      for (const one of value) this.value(one);
    }
  }

  #null(): void {
    const at = this.#room(1);
    this.#length = this.#buffer.writeUInt8(0xc0, at);
  }

  /** Below 2^32: ids and sizes. */
  #uint(value: number): void {
    const at = this.#room(5);
    const buffer = this.#buffer;
    if (value < 2 ** 7) this.#length = buffer.writeUInt8(value, at);
    else if (value < 2 ** 8) this.#length = buffer.writeUInt8(value, buffer.writeUInt8(0xcc, at));
    else if (value < 2 ** 16) {
      this.#length = buffer.writeUInt16BE(value, buffer.writeUInt8(0xcd, at));
    } else this.#length = buffer.writeUInt32BE(value, buffer.writeUInt8(0xce, at));
  }

  #uint64(value: bigint): void {
    if (value < 2n ** 32n) this.#uint(Number(value));
    else {
      const at = this.#room(9);
      this.#length = this.#buffer.writeBigUInt64BE(value, this.#buffer.writeUInt8(0xcf, at));
    }
  }

  #text(text: string): void {
    const count = Buffer.byteLength(text);
    const at = this.#room(count + 5);
    const buffer = this.#buffer;
    let start: number;
    if (count < 32) start = buffer.writeUInt8(0xa0 + count, at);
    else if (count < 2 ** 8) start = buffer.writeUInt8(count, buffer.writeUInt8(0xd9, at));
    else if (count < 2 ** 16) start = buffer.writeUInt16BE(count, buffer.writeUInt8(0xda, at));
    else start = buffer.writeUInt32BE(count, buffer.writeUInt8(0xdb, at));
    this.#length = start + buffer.write(text, start);
  }

  /** Makes room for so many bytes more, perhaps in another buffer; returns where they begin. */
  #room(count: number): number {
    const needed = this.#length + count;
    if (needed > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(2 ** Math.ceil(Math.log2(needed)));
      this.#buffer.copy(larger, 0, 0, this.#length);
      this.#buffer = larger;
    }
    return this.#length;
  }
}
