/**
 * Sets of code points out of the JavaScript engine's own Unicode tables: what its regular
 * expressions say of each character, asked once and kept.
 */
import { Budget } from './budget.js';
import {
  ALL_CHARS,
  type CharSet,
  charSetOf,
  countChars,
  hasChar,
  intersectChars,
  subtractChars,
  unionChars,
} from './bytes.js';
import { grammarError } from './problem.js';

/** Planes with characters of their own; the others are uniform but for their last two. */
const FULL_PLANES = [0, 1, 2, 3, 14];
const UNIFORM_PLANES = [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16];
const MAX_KEPT = 256;

/** What a property costs where it is not kept: in units of work, and in ms of one piece. */
const PROPERTY_WORK = 5_000;
const PROPERTY_MS = 200;
/** What it takes to learn which characters equal others. */
const FOLDINGS_MS = 100;
/** Characters beyond ASCII of a set that are looked at one by one; of more, all foldings are. */
const FEW_CHARS = 3_000;
const MANY_MS = 20;

const kept = new Map<string, CharSet>();
let planes: readonly string[] | undefined;

/**
 * The code points of `\p{…}`. It costs as much of the budget whether it is kept from before or not.
 * @throws ERR_GRAMMAR where the engine knows no such property, or the budget does not suffice
 */
export function propertySet(name: string, budget = new Budget()): CharSet {
  budget.spendOnce(`\\p{${name}}`, PROPERTY_WORK);
  const known = kept.get(name);
  if (known !== undefined) return known;
  if (!/^[A-Za-z0-9_]{1,64}(=[A-Za-z0-9_]{1,64})?$/.test(name)) throw unknownProperty(name);
  budget.reserve(PROPERTY_MS);
  let runs: RegExp;
  try {
    runs = new RegExp(`\\p{${name}}+`, 'gu');
  } catch {
    throw unknownProperty(name);
  }
  const set = scan(runs);
  if (kept.size >= MAX_KEPT) kept.clear();
  kept.set(name, set);
  return set;
}

function unknownProperty(name: string): Error {
  return grammarError(
    `\\p{${name.slice(0, 80)}} is no Unicode property that JavaScript knows: use one like ` +
      '\\p{L}, \\p{Script=Greek} or \\p{Alphabetic}',
  );
}

function scan(runs: RegExp): CharSet {
  planes ??= FULL_PLANES.map(planeText);
  const ranges: [number, number][] = [];
  FULL_PLANES.forEach((plane, i) => {
    for (const { 0: run, index } of planes![i].matchAll(runs)) {
      // The basic plane has one unit for a code point, the others have two.
      const [at, length] = plane === 0 ? [index, run.length] : [index / 2, run.length / 2];
      // Its surrogates are not in the text.
      if (plane === 0) ranges.push(...basic(at, at + length - 1));
      else ranges.push([plane * 0x10000 + at, plane * 0x10000 + at + length - 1]);
    }
  });
  const has = (codePoint: number) => {
    runs.lastIndex = 0;
    return runs.test(String.fromCodePoint(codePoint));
  };
  for (const plane of UNIFORM_PLANES) {
    const base = plane * 0x10000;
    if (has(base + 0x100)) ranges.push([base, base + 0xfffd]);
    if (has(base + 0xfffe)) ranges.push([base + 0xfffe, base + 0xffff]);
  }
  return charSetOf(ranges);
}

/** Places in the text of the basic plane, [first, last], as code points. */
function basic(first: number, last: number): [number, number][] {
  const gap = 0xe000 - 0xd800;
  if (last < 0xd800) return [[first, last]];
  if (first >= 0xd800) return [[first + gap, last + gap]];
  return [
    [first, 0xd7ff],
    [0xe000, last + gap],
  ];
}

function planeText(plane: number): string {
  const units: number[] = [];
  for (let low = 0; low < 0x10000; low++) {
    if (plane > 0) units.push(0xd800 + (((plane - 1) << 6) | (low >> 10)), 0xdc00 + (low & 0x3ff));
    else if (low < 0xd800 || low > 0xdfff) units.push(low);
  }
  return Buffer.from(Uint16Array.from(units).buffer).toString('utf16le');
}

/** Every character that ignoring case makes equal to others, with all of its kind. */
let folded: Map<number, readonly number[]> | undefined;

function foldings(): Map<number, readonly number[]> {
  if (folded !== undefined) return folded;
  const kinds = new Map<number, readonly number[]>();
  const join = (...chars: readonly number[]) => {
    const all = new Set(chars);
    for (const char of chars) for (const other of kinds.get(char) ?? []) all.add(other);
    const kind = [...all];
    for (const char of kind) kinds.set(char, kind);
  };
  const single = (text: string): number | undefined => {
    const codePoint = text.codePointAt(0)!;
    return String.fromCodePoint(codePoint) === text ? codePoint : undefined;
  };
  /** Characters whose upper case is several: those of the same may be equal, or not. */
  const bySeveral = new Map<string, number>();
  for (const [first, last] of propertySet('Changes_When_Casemapped')) {
    for (let char = first; char <= last; char++) {
      // The Turkish dotless i is equal to itself only, though its upper case is I.
      if (char === 0x131) continue;
      const text = String.fromCodePoint(char);
      const upper = single(text.toUpperCase());
      const lower = single(String.fromCodePoint(upper ?? char).toLowerCase());
      join(char, upper ?? char, lower ?? char, single(text.toLowerCase()) ?? char);
      if (upper !== undefined) continue;
      const before = bySeveral.get(text.toUpperCase());
      bySeveral.set(text.toUpperCase(), char);
      if (before === undefined) continue;
      if (new RegExp(`^\\u{${before.toString(16)}}$`, 'iu').test(text)) join(char, before);
    }
  }
  folded = kinds;
  return kinds;
}

const ASCII_UPPER: CharSet = [[0x41, 0x5a]];
const ASCII_LOWER: CharSet = [[0x61, 0x7a]];

/**
 * The set and all that equals one of it where case is ignored (flags i and u together).
 * @throws ERR_GRAMMAR where the budget does not suffice
 */
export function foldCase(set: CharSet, budget = new Budget()): CharSet {
  const isAscii = set.length === 0 || set[set.length - 1][1] < 0x80;
  const numWide = isAscii ? 0 : countChars(subtractChars(set, [[0, 0x7f]]));
  budget.spend(4 + 3 * Math.min(numWide, FEW_CHARS));
  let known = foldedSets.get(set);
  if (known === undefined) {
    if (numWide > 0 && folded === undefined) budget.reserve(FOLDINGS_MS);
    else if (numWide > FEW_CHARS) budget.reserve(MANY_MS);
    known = fold(set);
    foldedSets.set(set, known);
    foldedSets.set(known, known);
  }
  return known;
}

const foldedSets = new WeakMap<CharSet, CharSet>();

function fold(set: CharSet): CharSet {
  if (set.length === 1 && set[0][0] === 0 && set[0][1] === ALL_CHARS[0][1]) return set;
  const upper = intersectChars(set, ASCII_UPPER).map(([a, b]) => [a + 32, b + 32] as const);
  const lower = intersectChars(set, ASCII_LOWER).map(([a, b]) => [a - 32, b - 32] as const);
  const more = charSetOf([...set, ...upper, ...lower]);
  const extra: [number, number][] = [];
  // Two characters beyond ASCII fold to letters of it: long s and the Kelvin sign.
  for (const [letter, other] of [
    [0x73, 0x17f],
    [0x6b, 0x212a],
  ]) {
    if (hasChar(more, letter)) extra.push([other, other]);
  }
  if (more.some(([, last]) => last >= 0x80)) addFoldings(more, extra);
  return unionChars(more, extra);
}

function addFoldings(set: CharSet, extra: [number, number][]): void {
  const all = foldings();
  const add = (kind: readonly number[]) => {
    for (const other of kind) extra.push([other, other]);
  };
  if (countChars(set) > all.size) {
    for (const [char, kind] of all) if (hasChar(set, char)) add(kind);
    return;
  }
  for (const [first, last] of set) {
    for (let char = first; char <= last; char++) add(all.get(char) ?? []);
  }
}
