/** Seeded damage to real files. */
import type { Random } from './random.js';

const NUMBERS = [
  0n,
  1n,
  2n,
  0xffn,
  0x7fffffffn,
  0xffffffffn,
  2n ** 31n,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 64n - 1n,
];

/** Damages the first `head` bytes most of the time, where the structure is. */
export function mutate(file: Buffer, rng: Random, head: number): Buffer {
  let bytes: Buffer = Buffer.from(file);
  for (let n = 1 + rng.integer(4); n > 0; n--) {
    const limit = rng.integer(8) === 0 ? bytes.length : Math.min(head, bytes.length);
    bytes = mutateOnce(bytes, rng, rng.integer(Math.max(1, limit)));
    if (bytes.length === 0) break;
  }
  return bytes;
}

function mutateOnce(bytes: Buffer, rng: Random, at: number): Buffer {
  switch (rng.integer(8)) {
    case 0: // a bit
      bytes[at] ^= 1 << rng.integer(8);
      return bytes;
    case 1: // a byte
      bytes[at] = rng.integer(256);
      return bytes;
    case 2: // the end is gone
      return bytes.subarray(
        0,
        rng.integer(4) === 0 ? at : bytes.length - 1 - rng.integer(bytes.length),
      );
    case 3: // a 64-bit number somewhere
      if (at + 8 <= bytes.length) bytes.writeBigUInt64LE(NUMBERS[rng.integer(NUMBERS.length)], at);
      return bytes;
    case 4: // a 32-bit number, off by a little
      if (at + 4 <= bytes.length) {
        bytes.writeUInt32LE((bytes.readUInt32LE(at) + rng.integer(5) - 2) >>> 0, at);
      }
      return bytes;
    case 5: // bytes too many
      return Buffer.concat([
        bytes.subarray(0, at),
        Buffer.alloc(1 + rng.integer(40), 0x41),
        bytes.subarray(at),
      ]);
    case 6: // bytes too few
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + rng.integer(40))]);
    default: {
      // a piece from elsewhere
      const length = Math.min(1 + rng.integer(64), bytes.length - at);
      const from = rng.integer(bytes.length - length + 1);
      bytes.copyWithin(at, from, from + length);
      return bytes;
    }
  }
}

const WORDS = [
  'null',
  '-1',
  '0',
  '1e400',
  '""',
  '[]',
  '{}',
  'true',
  '4294967296',
  '0.5',
  '"BF16"',
  '"x"',
  '[1,2]',
];

/** Damage that leaves JSON well-formed now and then: a value becomes another. */
export function mutateJson(text: string, rng: Random): string {
  const values = [...text.matchAll(/:\s*("[^"]*"|[\d.e+-]+|true|false|null)/g)];
  const pick = values[rng.integer(values.length)];
  const at = pick.index + pick[0].length - pick[1].length;
  return text.slice(0, at) + WORDS[rng.integer(WORDS.length)] + text.slice(at + pick[1].length);
}
