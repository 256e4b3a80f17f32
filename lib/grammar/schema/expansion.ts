import type { JsonSyntax } from '../json.js';
import { candidates } from './candidates.js';
import type { SchemaDocument, SchemaPlace } from './document.js';
import { Keywords } from './keywords.js';
import { Layouts } from './layout.js';
import type { Node } from './node.js';
import { at } from './reader.js';
import { Refusal } from './refusal.js';
import { type ArrayShape, bothObjects, type ObjectShape, type ValueSet } from './shapes.js';
import { Space } from './space.js';

/** Sets that are worked out for one schema, at most. */
const MAX_SETS = 20_000;
/** Sets that are worked out for the sake of each other: the stack is no deeper. */
const MAX_DEEP = 500;
/** Alternatives of which all that hold together are told apart, where unevaluated… needs it. */
const MAX_SUBSETS = 4;

/** A set is asked for while it is being worked out, by way of the parts of objects or arrays. */
class Busy extends Error {}

/** Works out what nodes are: their values by type, whether there are any. */
export class Expansion {
  readonly space: Space;
  readonly keywords: Keywords;
  readonly layouts: Layouts;
  readonly #document: SchemaDocument;
  readonly #dropped: ReadonlySet<string>;
  readonly #closed: boolean;
  readonly #sets = new Map<Node, ValueSet>();
  readonly #full = new Map<Node, boolean>();
  /** Nodes being worked out; `undefined` where parts of objects or arrays begin. */
  readonly #working: (Node | undefined)[] = [];
  readonly #asking = new Set<Node>();
  /** Whether an answer rests on a node that is still being asked about. */
  #assumed = false;
  #count = 0;

  constructor(
    space: Space,
    document: SchemaDocument,
    dropped: ReadonlySet<string>,
    closed: boolean,
  ) {
    this.space = space;
    this.#document = document;
    this.#dropped = dropped;
    this.#closed = closed;
    this.keywords = new Keywords(space, document, dropped, (node) => this.set(node).strings);
    this.layouts = new Layouts(space, closed);
    space.isEmptyObject = (shape) => !this.#objectIsFull(shape);
    space.isEmptyArray = (shape) => !this.#arrayIsFull(shape);
  }

  /** The same schema with its texts in another spelling; nodes are of both. */
  respelled(syntax: JsonSyntax): Expansion {
    const { builder, nodes, warn } = this.space;
    const space = new Space(builder, syntax, this.#document.unevaluated, nodes);
    space.warn = warn;
    return new Expansion(space, this.#document, this.#dropped, this.#closed);
  }

  /** @throws Refusal where the schema cannot be enforced */
  set(node: Node): ValueSet {
    if (node === this.space.nodes.any) return this.space.all;
    const known = this.#sets.get(node);
    if (known !== undefined) return known;
    this.space.spend();
    if (this.#working.includes(node)) {
      const own = this.#working.slice(this.#working.lastIndexOf(undefined) + 1);
      if (!own.includes(node)) throw new Busy();
      throw new Refusal(this.space.blame, 'its references lead in a circle');
    }
    if (this.#working.length >= MAX_DEEP) {
      throw new Refusal(this.space.blame, 'its references lead on and on: take fewer in a row');
    }
    if (++this.#count > MAX_SETS) {
      throw new Refusal(this.space.blame, 'it takes too many steps: fewer alternatives, please');
    }
    const blame = this.space.blame;
    this.#working.push(node);
    try {
      const set = this.#make(node);
      this.#sets.set(node, set);
      return set;
    } finally {
      this.#working.pop();
      this.space.blame = blame;
    }
  }

  /** False where certainly no value is of the node. True also where that is not known. */
  isFull(node: Node): boolean {
    const known = this.#full.get(node);
    if (known !== undefined) return known;
    if (this.#asking.has(node)) {
      // What is needed to make itself is never made: the least answer, until shown otherwise.
      this.#assumed = true;
      return false;
    }
    const before = this.#assumed;
    this.#assumed = false;
    this.#asking.add(node);
    this.#working.push(undefined);
    let full = true;
    try {
      full = this.#hasValues(this.set(node));
    } catch (error) {
      if (!(error instanceof Busy)) throw error;
      this.#assumed = true;
    } finally {
      this.#working.pop();
      this.#asking.delete(node);
    }
    if (full || !this.#assumed || this.#asking.size === 0) this.#full.set(node, full);
    this.#assumed ||= before;
    return full;
  }

  /** Values among which all of a node are; undefined where they cannot be listed. */
  candidates(node: Node): unknown[] | undefined {
    return candidates(node, this.keywords);
  }

  #hasValues(set: ValueSet): boolean {
    return (
      set.nulls ||
      set.booleans !== 0 ||
      this.layouts.isEmpty(set.numbers.plain) !== true ||
      this.layouts.isEmpty(set.strings.exact) !== true ||
      set.objects.some((shape) => this.#objectIsFull(shape)) ||
      set.arrays.some((shape) => this.#arrayIsFull(shape))
    );
  }

  #objectIsFull(shape: ObjectShape): boolean {
    const layout = this.layouts.of(shape);
    if (!layout.named.every(({ required, node }) => !required || this.isFull(node))) return false;
    if (layout.others.length > 0) return true;
    if (shape.needs.length > 0 && layout.named.length === 0) return false;
    return shape.min <= layout.named.length;
  }

  #arrayIsFull(shape: ArrayShape): boolean {
    if (shape.min > shape.max) return false;
    for (let i = 0; i < Math.min(shape.min, shape.prefix.length); i++) {
      if (!this.isFull(shape.prefix[i])) return false;
    }
    return shape.min <= shape.prefix.length || this.isFull(shape.rest);
  }

  #make(node: Node): ValueSet {
    const { space } = this;
    switch (node.kind) {
      case 'any':
        return space.all;
      case 'none':
        return space.none;
      case 'values':
        return space.values(node.values);
      case 'has':
        return space.has(node.name);
      case 'not':
        return space.not(this.set(node.of));
      case 'all':
        return node.parts.reduce((set, part) => space.both(set, this.set(part)), space.all);
      case 'some':
        return this.#some(node.parts);
      case 'one':
        return this.#one(node.parts);
      case 'schema':
        return this.#schema(node.place);
    }
  }

  #schema(place: SchemaPlace): ValueSet {
    const { space } = this;
    space.blame = place.pointer;
    let set = space.all;
    for (const part of this.keywords.parts(place)) {
      space.blame = part.pointer;
      set = space.both(set, part.set ?? this.set(part.node!));
    }
    if (!this.#document.unevaluated) return set;
    return this.#unevaluatedItems(place, this.#unevaluatedProperties(place, set));
  }

  #some(parts: readonly Node[]): ValueSet {
    const { space } = this;
    const sets = parts.map((part) => this.set(part));
    if (!this.#document.unevaluated) return sets.reduce((a, b) => space.either(a, b), space.none);
    // What is evaluated depends on all the alternatives that hold.
    const inexact = sets.length > MAX_SUBSETS ? space.blame : undefined;
    let all = space.none;
    for (let chosen = 1; chosen < 2 ** Math.min(sets.length, MAX_SUBSETS); chosen++) {
      const together = sets.filter((_, i) => (chosen >> i) & 1);
      all = space.either(
        all,
        together.reduce((a, b) => space.both(a, b), space.all),
      );
    }
    all = sets.slice(MAX_SUBSETS).reduce((a, b) => space.either(a, b), all);
    return inexact === undefined ? all : { ...all, inexact };
  }

  /** Exactly one part: each without the others, as far as they have values in common. */
  #one(parts: readonly Node[]): ValueSet {
    const { space } = this;
    let all = space.none;
    parts.forEach((part, i) => {
      let set = this.set(part);
      parts.forEach((other, k) => {
        if (k !== i && this.#overlap(part, other))
          set = space.both(set, space.not(this.set(other)));
      });
      all = space.either(all, set);
    });
    return all;
  }

  #overlap(a: Node, b: Node): boolean {
    return this.isFull(this.space.nodes.all(a, b));
  }

  #unevaluatedProperties(place: SchemaPlace, set: ValueSet): ValueSet {
    const node = this.keywords.child(place, 'unevaluatedProperties');
    if (node === undefined) return set;
    const { nodes } = this.space;
    const everything = [{ kind: 'other', names: new Set<string>(), regexes: [] }] as const;
    const objects: ObjectShape[] = [];
    for (const shape of set.objects) {
      // Names that additionalProperties looked at are all names but its own, which are named too.
      if (shape.evaluated.some((keys) => keys.kind === 'other')) {
        objects.push({ ...shape, evaluated: everything });
        continue;
      }
      const regexes = shape.evaluated.flatMap((keys) =>
        keys.kind === 'matching' ? [keys.regex] : [],
      );
      const keys = { kind: 'other', names: shape.evaluatedNames, regexes } as const;
      const added = { ...shape, rules: [...shape.rules, { keys, node }], evaluated: everything };
      const real = bothObjects(added, added, nodes);
      if (real !== undefined) objects.push(real);
    }
    return { ...set, objects, inexact: at(place, 'unevaluatedProperties') };
  }

  #unevaluatedItems(place: SchemaPlace, set: ValueSet): ValueSet {
    const node = this.keywords.child(place, 'unevaluatedItems');
    if (node === undefined) return set;
    const { nodes } = this.space;
    const arrays = set.arrays.flatMap((shape) => {
      const length = Math.max(shape.prefix.length, Math.min(shape.evaluated, 1_000_000));
      if (shape.evaluated === Infinity) return [shape];
      const prefix = Array.from({ length }, (_, i) => {
        const own = shape.prefix[i] ?? shape.rest;
        return i < shape.evaluated ? own : nodes.all(own, node);
      });
      const rest = nodes.all(shape.rest, node);
      const max = rest === nodes.none ? Math.min(shape.max, prefix.length) : shape.max;
      if (shape.min > max) return [];
      return [{ ...shape, prefix, rest, max, evaluated: Infinity }];
    });
    return { ...set, arrays, inexact: at(place, 'unevaluatedItems') };
  }
}
