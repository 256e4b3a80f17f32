import { describe, expect, it } from 'vitest';
import { Charsmap, charsmapFault } from '../../lib/text/charsmap.js';

const BLOCK = 256;

/** Units of darts-clone: where the children are, which byte leads here, is one value below. */
const unit = (label: number, offset = 0, leaf = false) =>
  (offset << 10) | (leaf ? 0x100 : 0) | label;

/** Rules with one key, "A", whose replacement begins at `at`. */
function rules(at: number, replacements = 'b\0', change = (_: Uint32Array) => {}): string {
  const units = new Uint32Array(3 * BLOCK);
  units[0] = unit(0, BLOCK); // children of the root: from 256
  units[BLOCK ^ 0x41] = unit(0x41, (2 * BLOCK) ^ (BLOCK ^ 0x41), true);
  const place = (BLOCK ^ 0x41 ^ (units[BLOCK ^ 0x41] >>> 10)) >>> 0;
  units[place] = (0x80000000 | at) >>> 0;
  change(units);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(units.length * 4);
  const bytes = Buffer.from(units.buffer);
  return Buffer.concat([size, bytes, Buffer.from(replacements)]).toString('base64');
}

describe('rules of SentencePiece', () => {
  it('that stay inside pass', () => {
    expect(charsmapFault(rules(0))).toBeUndefined();
    expect(charsmapFault(rules(2))).toBeUndefined(); // the end: nothing
    expect(charsmapFault(rules(1, 'b\0\u00e9\0'))).toBeUndefined();
  });

  it.each<[string, unknown]>([
    ['none', undefined],
    ['an empty one', ''],
    ['no base64', 'garbage garbage'],
    ['only a size', Buffer.from([255, 255, 255, 255]).toString('base64')],
    ['a size past the end', Buffer.from([16, 0, 0, 0, 1, 2]).toString('base64')],
    ['a replacement past the end', rules(3)],
    ['one inside a character', rules(1, '\u00e9\0')],
    ['one that is very long', rules(0, 'b'.repeat(1025))],
    ['children past the end', rules(0, 'b\0', (units) => units.set([unit(0, 3 * BLOCK)]))],
    ['a very large one', rules(0, 'b\0'.repeat(2 ** 21))],
    ['a root cut off', rules(0, 'b\0', (units) => units.fill(0xffffffff))],
  ])('%s is refused', (_, text) => expect(charsmapFault(text)).toMatch(/charsmap/));
});

describe('a key', () => {
  const found = (text: string, replacements?: string, at = 0) => {
    const map = new Charsmap(Buffer.from(rules(at, replacements), 'base64'));
    const key = map.longest(Buffer.from(text), 0);
    if (key === undefined) return undefined;
    const { length, from, to } = key;
    return [length, Buffer.from(map.replacements.subarray(from, to)).toString()];
  };
  it('is found with its replacement', () => {
    expect(found('Ax')).toEqual([1, 'b']);
    expect(found('A', 'b\0\u00e9\0', 2)).toEqual([1, '\u00e9']);
    expect(found('A', 'b\0', 2)).toEqual([1, '']);
    expect(found('xA')).toBeUndefined();
    expect(found('')).toBeUndefined();
    expect(found('\0')).toBeUndefined();
  });
});
