import type { GrammarBuilder } from '../grammar.js';
import type { JsonSyntax } from '../json.js';
import { namesOf } from '../json-text.js';
import { isObject } from './document.js';
import { type Node, Nodes } from './node.js';
import { Numbers } from './numbers.js';
import { Refusal } from './refusal.js';
import {
  ANY_OBJECT,
  type ArrayShape,
  anyArray,
  arrayKey,
  bothArrays,
  bothObjects,
  type ObjectShape,
  objectKey,
  type ValueSet,
} from './shapes.js';
import { Strings } from './strings.js';

/** Most shapes of objects, and of arrays, that one set of values may come to. */
const MAX_SHAPES = 256;

/** The algebra of sets of JSON values: each operation is exact. */
export class Space {
  readonly builder: GrammarBuilder;
  readonly syntax: JsonSyntax;
  readonly nodes: Nodes;
  readonly strings: Strings;
  readonly numbers: Numbers;
  readonly all: ValueSet;
  readonly none: ValueSet;
  readonly anyArray: ArrayShape;
  /** True: shapes differ by what was evaluated, and none makes another needless. */
  readonly #evaluating: boolean;
  /** Says which shapes hold nothing, as far as that can be told. */
  isEmptyObject: (shape: ObjectShape) => boolean = () => false;
  isEmptyArray: (shape: ArrayShape) => boolean = () => false;
  /** Told what has no effect: a format that is not known. */
  warn: (pointer: string, message: string) => void = () => {};
  /** The keyword that is being worked on: to blame where it becomes too much. */
  blame = '';

  /** @param nodes of another space of the same schema, to share them */
  constructor(builder: GrammarBuilder, syntax: JsonSyntax, evaluating: boolean, nodes?: Nodes) {
    this.#evaluating = evaluating;
    this.builder = builder;
    this.syntax = syntax;
    this.nodes = nodes ?? new Nodes(evaluating, builder.budget);
    this.strings = new Strings(syntax);
    this.numbers = new Numbers(syntax);
    this.anyArray = anyArray(this.nodes.any);
    this.all = {
      nulls: true,
      booleans: 3,
      numbers: this.numbers.all,
      strings: this.strings.all,
      objects: [ANY_OBJECT],
      arrays: [this.anyArray],
    };
    this.none = {
      nulls: false,
      booleans: 0,
      numbers: this.numbers.none,
      strings: this.strings.none,
      objects: [],
      arrays: [],
    };
  }

  /** Counts work. @throws ERR_GRAMMAR where it becomes too much */
  spend(units = 1): void {
    this.builder.budget.spend(units);
  }

  both(a: ValueSet, b: ValueSet): ValueSet {
    this.spend();
    if (a === this.all || a === b) return b;
    if (b === this.all) return a;
    return {
      nulls: a.nulls && b.nulls,
      booleans: a.booleans & b.booleans,
      numbers: this.numbers.both(a.numbers, b.numbers),
      strings: this.strings.both(a.strings, b.strings),
      objects: this.#bothObjects(a.objects, b.objects),
      arrays: this.#bothArrays(a.arrays, b.arrays),
      inexact: a.inexact ?? b.inexact,
    };
  }

  either(a: ValueSet, b: ValueSet): ValueSet {
    if (a === this.none || a === b) return b;
    if (b === this.none) return a;
    return {
      nulls: a.nulls || b.nulls,
      booleans: a.booleans | b.booleans,
      numbers: this.numbers.either(a.numbers, b.numbers),
      strings: this.strings.either(a.strings, b.strings),
      objects: this.#objects([...a.objects, ...b.objects]),
      arrays: this.#arrays([...a.arrays, ...b.arrays]),
      inexact: a.inexact ?? b.inexact,
    };
  }

  /** All other values. @throws Refusal where the set is only known from within */
  not(a: ValueSet): ValueSet {
    if (a.inexact !== undefined) {
      throw new Refusal(a.inexact, 'it cannot be enforced below not, oneOf or if');
    }
    let objects: readonly ObjectShape[] = [ANY_OBJECT];
    for (const shape of a.objects) {
      objects = this.#bothObjects(objects, this.#outsideObject(shape));
      if (objects.length === 0) break;
    }
    let arrays: readonly ArrayShape[] = [this.anyArray];
    for (const shape of a.arrays) {
      arrays = this.#bothArrays(arrays, this.#outsideArray(shape));
      if (arrays.length === 0) break;
    }
    return {
      nulls: !a.nulls,
      booleans: 3 & ~a.booleans,
      numbers: this.numbers.not(a.numbers),
      strings: this.strings.not(a.strings),
      objects,
      arrays,
    };
  }

  /** Exactly these values. */
  values(values: readonly unknown[]): ValueSet {
    const texts: string[] = [];
    const numbers: number[] = [];
    const objects: ObjectShape[] = [];
    const arrays: ArrayShape[] = [];
    let [nulls, booleans] = [false, 0];
    for (const value of values) {
      if (value === null) nulls = true;
      else if (typeof value === 'boolean') booleans |= value ? 2 : 1;
      else if (typeof value === 'string') texts.push(value);
      else if (typeof value === 'number') numbers.push(value);
      else if (Array.isArray(value)) {
        const prefix = value.map((item) => this.nodes.values([item]));
        const min = value.length;
        arrays.push({ ...this.anyArray, prefix, rest: this.nodes.none, min, max: min });
      } else if (isObject(value)) objects.push(this.#constantObject(value));
    }
    return {
      nulls,
      booleans,
      numbers: numbers.length === 0 ? this.numbers.none : this.numbers.constants(numbers),
      strings: texts.length === 0 ? this.strings.none : this.strings.texts(texts),
      objects: this.#objects(objects),
      arrays: this.#arrays(arrays),
    };
  }

  has(name: string): ValueSet {
    const shape = {
      ...ANY_OBJECT,
      required: new Set([name]),
      named: new Map([[name, this.nodes.any]]),
    };
    return { ...this.none, objects: [shape] };
  }

  #constantObject(value: Readonly<Record<string, unknown>>): ObjectShape {
    const names = namesOf(value);
    const named = new Map(names.map((name) => [name, this.nodes.values([value[name]])]));
    const others = { kind: 'other', names: new Set(names), regexes: [] } as const;
    const rules = [{ keys: others, node: this.nodes.none }];
    return { ...ANY_OBJECT, named, required: new Set(names), rules };
  }

  #outsideObject(shape: ObjectShape): ObjectShape[] {
    const { any, none } = this.nodes;
    const out: ObjectShape[] = [];
    const add = (change: Partial<ObjectShape>) => out.push({ ...ANY_OBJECT, ...change });
    for (const name of shape.required) add({ named: new Map([[name, none]]) });
    for (const [name, node] of shape.named) {
      if (node === any) continue;
      const against = new Map([[name, this.nodes.not(node)]]);
      add({ named: against, required: new Set([name]) });
    }
    const pointer = this.blame;
    for (const { keys, node } of shape.rules) {
      add({ needs: [{ keys, node: this.nodes.not(node), pointer }] });
    }
    for (const { keys, node } of shape.needs)
      add({ rules: [{ keys, node: this.nodes.not(node) }] });
    if (shape.min > 0) add({ max: shape.min - 1, pointer });
    if (shape.max < Infinity) add({ min: shape.max + 1, pointer });
    return out;
  }

  #outsideArray(shape: ArrayShape): ArrayShape[] {
    const { any } = this.nodes;
    const out: ArrayShape[] = [];
    const pointer = this.blame;
    const add = (change: Partial<ArrayShape>) => out.push({ ...this.anyArray, ...change });
    shape.prefix.forEach((node, i) => {
      if (node === any) return;
      const prefix = [...new Array<Node>(i).fill(any), this.nodes.not(node)];
      add({ prefix, min: i + 1 });
    });
    const from = shape.prefix.length;
    if (shape.rest === this.nodes.none) add({ min: from + 1 });
    else if (shape.rest !== any) {
      const node = this.nodes.not(shape.rest);
      add({ counts: [{ node, from, min: 1, max: Infinity, pointer }] });
    }
    if (shape.min > 0) add({ max: shape.min - 1 });
    if (shape.max < Infinity) add({ min: shape.max + 1 });
    for (const count of shape.counts) {
      const { node, from, min, max } = count;
      if (min > 0) add({ counts: [{ node, from, min: 0, max: min - 1, pointer }] });
      if (max < Infinity) add({ counts: [{ node, from, min: max + 1, max: Infinity, pointer }] });
    }
    if (shape.unique !== undefined && shape.max > 1) {
      throw new Refusal(shape.unique, 'uniqueItems cannot be enforced below not, oneOf or if');
    }
    return out;
  }

  #bothObjects(a: readonly ObjectShape[], b: readonly ObjectShape[]): readonly ObjectShape[] {
    if (a.length === 1 && a[0] === ANY_OBJECT) return b;
    if (b.length === 1 && b[0] === ANY_OBJECT) return a;
    this.#check(a.length * b.length);
    const out: ObjectShape[] = [];
    for (const left of a) {
      for (const right of b) {
        this.spend(1 + (left.named.size + right.named.size) / 8);
        const shape = bothObjects(left, right, this.nodes);
        if (shape !== undefined) out.push(shape);
      }
    }
    return this.#objects(out);
  }

  #bothArrays(a: readonly ArrayShape[], b: readonly ArrayShape[]): readonly ArrayShape[] {
    if (a.length === 1 && a[0] === this.anyArray) return b;
    if (b.length === 1 && b[0] === this.anyArray) return a;
    this.#check(a.length * b.length);
    const out: ArrayShape[] = [];
    for (const left of a) {
      for (const right of b) {
        this.spend(1 + (left.prefix.length + right.prefix.length) / 8);
        const shape = bothArrays(left, right, this.nodes);
        if (shape !== undefined) out.push(shape);
      }
    }
    return this.#arrays(out);
  }

  #objects(shapes: readonly ObjectShape[]): readonly ObjectShape[] {
    if (shapes.length < 2) return shapes;
    if (!this.#evaluating && shapes.includes(ANY_OBJECT)) return [ANY_OBJECT];
    for (const { named, required } of shapes) this.spend(1 + (named.size + required.size) / 8);
    const kept = new Map(shapes.map((shape) => [objectKey(shape), shape]));
    const full = [...kept.values()].filter((shape) => !this.isEmptyObject(shape));
    this.#check(full.length);
    return full;
  }

  #arrays(shapes: readonly ArrayShape[]): readonly ArrayShape[] {
    if (shapes.length < 2) return shapes;
    if (!this.#evaluating && shapes.includes(this.anyArray)) return [this.anyArray];
    for (const { prefix } of shapes) this.spend(1 + prefix.length / 8);
    const kept = new Map(shapes.map((shape) => [arrayKey(shape), shape]));
    const full = [...kept.values()].filter((shape) => !this.isEmptyArray(shape));
    this.#check(full.length);
    return full;
  }

  #check(count: number): void {
    if (count <= MAX_SHAPES) return;
    const message = `it makes more than ${MAX_SHAPES} cases of values: fewer alternatives, please`;
    throw new Refusal(this.blame, message);
  }
}
