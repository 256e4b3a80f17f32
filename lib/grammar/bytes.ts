/**
 * A set of bytes: 8 words, bit `b % 32` of word `b >> 5` stands for byte b. Never changed once it
 * is part of a regex.
 */
export type ByteSet = Uint32Array;

/** A set of Unicode code points: sorted ranges [first, last] that neither touch nor overlap. */
export type CharSet = readonly (readonly [first: number, last: number])[];

export const MAX_CODE_POINT = 0x10ffff;

/** All code points, surrogates too (which have no UTF-8 and vanish when encoded). */
export const ALL_CHARS: CharSet = [[0, MAX_CODE_POINT]];

/** The bytes of these ranges (both ends belong) and single values. */
export function byteSet(...ranges: (number | readonly [first: number, last: number])[]): ByteSet {
  const set = new Uint32Array(8);
  for (const range of ranges) {
    const [first, last] = typeof range === 'number' ? [range, range] : range;
    for (let byte = first; byte <= last; byte++) set[byte >> 5] |= 1 << (byte & 31);
  }
  return set;
}

export function hasByte(set: ByteSet, byte: number): boolean {
  return ((set[byte >> 5] >>> (byte & 31)) & 1) === 1;
}

/** A set of any ranges, in any order, overlapping or not. */
export function charSet(...ranges: (readonly [first: number, last: number])[]): CharSet {
  return charSetOf(ranges);
}

/** As {@link charSet}, for lists of any length. */
export function charSetOf(ranges: readonly (readonly [first: number, last: number])[]): CharSet {
  const sorted = ranges.filter(([first, last]) => first <= last).sort((a, b) => a[0] - b[0]);
  const merged: [number, number][] = [];
  for (const [first, last] of sorted) {
    const before = merged[merged.length - 1];
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else merged.push([first, last]);
  }
  return merged;
}

/** The set of a text's characters. */
export function charsOf(text: string): CharSet {
  return charSetOf(Array.from(text, (char) => [char.codePointAt(0)!, char.codePointAt(0)!]));
}

export function unionChars(...sets: readonly CharSet[]): CharSet {
  return charSetOf(sets.flat());
}

/** Every code point outside the set. */
export function invertChars(set: CharSet): CharSet {
  const out: [number, number][] = [];
  let next = 0;
  for (const [first, last] of set) {
    if (next < first) out.push([next, first - 1]);
    next = last + 1;
  }
  if (next <= MAX_CODE_POINT) out.push([next, MAX_CODE_POINT]);
  return out;
}

export function intersectChars(a: CharSet, b: CharSet): CharSet {
  const out: [number, number][] = [];
  for (let i = 0, k = 0; i < a.length && k < b.length; ) {
    const first = Math.max(a[i][0], b[k][0]);
    const last = Math.min(a[i][1], b[k][1]);
    if (first <= last) out.push([first, last]);
    if (a[i][1] < b[k][1]) i++;
    else k++;
  }
  return out;
}

/** The code points of `a` that are not in `b`. */
export function subtractChars(a: CharSet, b: CharSet): CharSet {
  return intersectChars(a, invertChars(b));
}

export function hasChar(set: CharSet, codePoint: number): boolean {
  let low = 0;
  let high = set.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (set[middle][1] < codePoint) low = middle + 1;
    else high = middle;
  }
  return low < set.length && set[low][0] <= codePoint;
}

/** How many code points the set has. */
export function countChars(set: CharSet): number {
  return set.reduce((sum, [first, last]) => sum + last - first + 1, 0);
}

/** The code points that UTF-8 writes with 1, 2, 3 and 4 bytes; those of 3 without surrogates. */
const LENGTHS: readonly { readonly set: CharSet; readonly lead: number; readonly trail: number }[] =
  [
    { set: [[0x80, 0x7ff]], lead: 0xc0, trail: 1 },
    {
      set: [
        [0x800, 0xd7ff],
        [0xe000, 0xffff],
      ],
      lead: 0xe0,
      trail: 2,
    },
    { set: [[0x10000, MAX_CODE_POINT]], lead: 0xf0, trail: 3 },
  ];

/** What ir.ts's RegexBuilder, which itself needs {@link utf8Regex}, gives it. */
export interface ByteRegexes<Regex> {
  bytes(set: ByteSet): Regex;
  concatOf(parts: readonly Regex[]): Regex;
  altOf(parts: readonly Regex[]): Regex;
}

/** One character of the set, as the bytes of its UTF-8. Surrogates are left out. */
export function utf8Regex<Regex>(set: CharSet, builder: ByteRegexes<Regex>): Regex {
  const ascii = intersectChars(set, [[0, 0x7f]]);
  const parts = [builder.bytes(byteSet(...ascii))];
  for (const length of LENGTHS) {
    const part = intersectChars(set, length.set);
    if (part.length > 0) parts.push(digits(part, length.lead, length.trail, builder));
  }
  return builder.altOf(parts);
}

/**
 * Numbers of `trail` + 1 digits of base 64 as bytes: the first digit added to `lead`, the others to
 * 0x80. First digits with the same rest share one node, so that a whole script costs a few nodes.
 */
function digits<Regex>(
  set: CharSet,
  lead: number,
  trail: number,
  builder: ByteRegexes<Regex>,
): Regex {
  if (trail === 0) {
    return builder.bytes(byteSet(...set.map(([a, b]) => [lead + a, lead + b] as const)));
  }
  const span = 64 ** trail;
  const byRest = new Map<Regex, [number, number][]>();
  const add = (rest: Regex, first: number, last: number) => {
    const leads = byRest.get(rest);
    if (leads === undefined) byRest.set(rest, [[lead + first, lead + last]]);
    else leads.push([lead + first, lead + last]);
  };
  const partial = new Map<number, [number, number][]>();
  const cut = (digit: number, first: number, last: number) => {
    const part = partial.get(digit);
    const range: [number, number] = [first - digit * span, last - digit * span];
    if (part === undefined) partial.set(digit, [range]);
    else part.push(range);
  };
  for (let [first, last] of set) {
    const [low, high] = [Math.floor(first / span), Math.floor(last / span)];
    if (low === high && last - first + 1 < span) {
      cut(low, first, last);
      continue;
    }
    if (first > low * span) {
      cut(low, first, (low + 1) * span - 1);
      first = (low + 1) * span;
    }
    if (last < (high + 1) * span - 1) {
      cut(high, high * span, last);
      last = high * span - 1;
    }
    if (first > last) continue;
    const rest = builder.concatOf(new Array<Regex>(trail).fill(builder.bytes(TRAIL)));
    add(rest, first / span, (last + 1) / span - 1);
  }
  for (const [digit, part] of partial) add(digits(part, 0x80, trail - 1, builder), digit, digit);
  return builder.altOf(
    [...byRest].map(([rest, leads]) => builder.concatOf([builder.bytes(byteSet(...leads)), rest])),
  );
}

/** The bytes behind the first of a character. */
const TRAIL = byteSet([0x80, 0xbf]);
