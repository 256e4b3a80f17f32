import type { Regex } from '../ir.js';
import type { Node, Nodes } from './node.js';
import type { NumberSet } from './numbers.js';
import type { StringSet } from './strings.js';

/** A set of property names, in the spellings of `Strings.universe`. */
export type KeySet =
  | {
      readonly kind: 'matching';
      readonly regex: Regex;
      /** The names outside, where they are the plainer of the two. */
      readonly outside?: Regex;
    }
  /** All names but these and those of the regexes: what additionalProperties is about. */
  | {
      readonly kind: 'other';
      readonly names: ReadonlySet<string>;
      readonly regexes: readonly Regex[];
    };

export interface KeyRule {
  readonly keys: KeySet;
  readonly node: Node;
}

/** Some property with such a name has such a value. */
export interface Need extends KeyRule {
  /** The keyword that asks for it. */
  readonly pointer: string;
}

/** Objects that meet all of this. Never changed. */
export interface ObjectShape {
  /** What is said of properties by name, in the order in which they are written. */
  readonly named: ReadonlyMap<string, Node>;
  readonly rules: readonly KeyRule[];
  readonly required: ReadonlySet<string>;
  readonly min: number;
  readonly max: number;
  readonly needs: readonly Need[];
  /** The keyword that set `min` or `max`. */
  readonly pointer: string;
  /** Names that some keyword has looked at, for unevaluatedProperties. */
  readonly evaluated: readonly KeySet[];
  readonly evaluatedNames: ReadonlySet<string>;
}

/** How many items there are of some kind, from the place `from` on. */
export interface Count {
  readonly node: Node;
  readonly from: number;
  readonly min: number;
  readonly max: number;
  readonly pointer: string;
}

/** Arrays that meet all of this. Never changed. */
export interface ArrayShape {
  readonly prefix: readonly Node[];
  readonly rest: Node;
  readonly min: number;
  readonly max: number;
  readonly counts: readonly Count[];
  /** The keyword that wants no two items equal. */
  readonly unique: string | undefined;
  /** First items that some keyword has looked at, for unevaluatedItems. */
  readonly evaluated: number;
}

/** A set of JSON values by type. Objects and arrays are of at least one of the shapes. */
export interface ValueSet {
  readonly nulls: boolean;
  /** Bit 0: false, bit 1: true. */
  readonly booleans: number;
  readonly numbers: NumberSet;
  readonly strings: StringSet;
  readonly objects: readonly ObjectShape[];
  readonly arrays: readonly ArrayShape[];
  /** The keyword for which some values may be missing: such a set has no complement. */
  readonly inexact?: string;
}

const NO_NAMES: ReadonlySet<string> = new Set();

export const ANY_OBJECT: ObjectShape = {
  named: new Map(),
  rules: [],
  required: NO_NAMES,
  min: 0,
  max: Infinity,
  needs: [],
  pointer: '',
  evaluated: [],
  evaluatedNames: NO_NAMES,
};

export function anyArray(any: Node): ArrayShape {
  return {
    prefix: [],
    rest: any,
    min: 0,
    max: Infinity,
    counts: [],
    unique: undefined,
    evaluated: 0,
  };
}

/** Undefined where it is plain that no object is of both. */
export function bothObjects(a: ObjectShape, b: ObjectShape, nodes: Nodes): ObjectShape | undefined {
  if (a === ANY_OBJECT || a === b) return b;
  if (b === ANY_OBJECT) return a;
  const named = new Map(a.named);
  for (const [name, node] of b.named) {
    const known = named.get(name);
    named.set(name, known === undefined ? node : nodes.all(known, node));
  }
  const required = new Set([...a.required, ...b.required]);
  const min = Math.max(a.min, b.min);
  const max = Math.min(a.max, b.max);
  if (min > max || required.size > max) return undefined;
  for (const name of required) if (named.get(name) === nodes.none) return undefined;
  const pointer = b.min > a.min || b.max < a.max ? b.pointer : a.pointer;
  return {
    named,
    rules: union(a.rules, b.rules),
    required,
    min,
    max,
    needs: union(a.needs, b.needs),
    pointer,
    evaluated: union(a.evaluated, b.evaluated),
    evaluatedNames: new Set([...a.evaluatedNames, ...b.evaluatedNames]),
  };
}

/** Undefined where it is plain that no array is of both. */
export function bothArrays(a: ArrayShape, b: ArrayShape, nodes: Nodes): ArrayShape | undefined {
  if (a === b) return a;
  const length = Math.max(a.prefix.length, b.prefix.length);
  const at = (shape: ArrayShape, i: number) => shape.prefix[i] ?? shape.rest;
  const prefix = Array.from({ length }, (_, i) => nodes.all(at(a, i), at(b, i)));
  const rest = nodes.all(a.rest, b.rest);
  let max = Math.min(a.max, b.max);
  const none = prefix.indexOf(nodes.none);
  if (none >= 0) max = Math.min(max, none);
  else if (rest === nodes.none) max = Math.min(max, length);
  const min = Math.max(a.min, b.min);
  if (min > max) return undefined;
  const counts = union(a.counts, b.counts);
  if (counts.some((count) => count.from + count.min > max)) return undefined;
  const evaluated = Math.max(a.evaluated, b.evaluated);
  return { prefix, rest, min, max, counts, unique: a.unique ?? b.unique, evaluated };
}

/** A text that two shapes have in common if they are the same. */
export function objectKey(shape: ObjectShape): string {
  const rule = ({ keys, node }: KeyRule) => `${keyOf(keys)}:${node.id}`;
  return [
    [...shape.named].map(([name, node]) => `${JSON.stringify(name)}:${node.id}`).join(),
    shape.rules.map(rule).join(),
    JSON.stringify([...shape.required].sort()),
    `${shape.min},${shape.max}`,
    shape.needs.map(rule).join(),
    shape.evaluated.map(keyOf).join(),
    JSON.stringify([...shape.evaluatedNames].sort()),
  ].join(';');
}

export function arrayKey(shape: ArrayShape): string {
  const counts = shape.counts.map((c) => `${c.node.id}:${c.from}:${c.min}:${c.max}`);
  const prefix = shape.prefix.map((node) => node.id).join();
  const rest = `${shape.rest.id};${shape.min};${shape.max};${shape.unique !== undefined}`;
  return `${prefix};${rest};${counts.join()};${shape.evaluated}`;
}

function keyOf(keys: KeySet): string {
  if (keys.kind === 'matching') return `m${keys.regex.id}`;
  const regexes = keys.regexes.map((regex) => regex.id).join();
  return `o${JSON.stringify([...keys.names].sort())}${regexes}`;
}

function union<T>(a: readonly T[], b: readonly T[]): readonly T[] {
  if (a.length === 0 || a === b) return b;
  return b.length === 0 ? a : [...new Set([...a, ...b])];
}
