import type { Budget } from '../budget.js';
import { isObject, type SchemaPlace } from './document.js';

/**
 * A set of JSON values, written as what it is made of. Nodes of one {@link Nodes} that are made
 * alike are the same object, so recursive schemas give finitely many.
 */
export type Node = { readonly id: number } & (
  | { readonly kind: 'any' }
  | { readonly kind: 'none' }
  | { readonly kind: 'schema'; readonly place: SchemaPlace }
  /** Exactly these values. */
  | { readonly kind: 'values'; readonly values: readonly unknown[] }
  /** Objects that have this property. */
  | { readonly kind: 'has'; readonly name: string }
  | { readonly kind: 'all' | 'some'; readonly parts: readonly Node[] }
  /** Values of exactly one part. */
  | { readonly kind: 'one'; readonly parts: readonly Node[] }
  | { readonly kind: 'not'; readonly of: Node }
);

export class Nodes {
  readonly any: Node;
  readonly none: Node;
  readonly #made = new Map<string, Node>();
  readonly #schemas = new Map<object, Node>();
  /** True: what parts say about evaluated properties matters, even of parts that allow anything. */
  readonly #evaluating: boolean;
  readonly #budget: Budget;
  #count = 0;

  constructor(evaluating: boolean, budget: Budget) {
    this.#budget = budget;
    this.#evaluating = evaluating;
    this.any = { id: this.#count++, kind: 'any' };
    this.none = { id: this.#count++, kind: 'none' };
  }

  schema(place: SchemaPlace): Node {
    let node = this.#schemas.get(place.schema);
    if (node === undefined) {
      node = { id: this.#count++, kind: 'schema', place };
      this.#schemas.set(place.schema, node);
    }
    return node;
  }

  values(values: readonly unknown[]): Node {
    if (values.length === 0) return this.none;
    return this.#once(`= ${canonical(values)}`, (id) => ({ id, kind: 'values', values }));
  }

  has(name: string): Node {
    return this.#once(`has ${name}`, (id) => ({ id, kind: 'has', name }));
  }

  all(...parts: readonly Node[]): Node {
    return this.#list('all', parts, this.any, this.none);
  }

  some(...parts: readonly Node[]): Node {
    return this.#list('some', parts, this.none, this.any);
  }

  one(parts: readonly Node[]): Node {
    const real = parts.filter((part) => part.kind !== 'none');
    if (real.length === 0) return this.none;
    if (real.length === 1) return real[0];
    return this.#once(`one ${ids(real)}`, (id) => ({ id, kind: 'one', parts: real }));
  }

  not(of: Node): Node {
    if (of.kind === 'any') return this.none;
    if (of.kind === 'none') return this.any;
    if (of.kind === 'not' && !this.#evaluating) return of.of;
    return this.#once(`not ${of.id}`, (id) => ({ id, kind: 'not', of }));
  }

  /** `neutral` may be left out, `ruling` decides by itself. */
  #list(kind: 'all' | 'some', parts: readonly Node[], neutral: Node, ruling: Node): Node {
    this.#budget.spend(0.5 + parts.length / 8);
    const flat = new Set<Node>();
    for (const part of parts) {
      if (part.kind === kind) for (const inner of part.parts) flat.add(inner);
      else if (part !== neutral) flat.add(part);
    }
    const against = (part: Node) => part.kind === 'not' && flat.has(part.of);
    const decided = flat.has(ruling) || [...flat].some(against);
    if (decided && (kind === 'all' || !this.#evaluating)) return ruling;
    if (flat.size === 0) return neutral;
    const sorted = [...flat].sort((a, b) => a.id - b.id);
    if (sorted.length === 1) return sorted[0];
    return this.#once(`${kind} ${ids(sorted)}`, (id) => ({ id, kind, parts: sorted }));
  }

  #once(key: string, make: (id: number) => Node): Node {
    this.#budget.spend(0.5 + key.length / 64);
    let node = this.#made.get(key);
    if (node === undefined) {
      node = make(this.#count++);
      this.#made.set(key, node);
    }
    return node;
  }
}

/** Equal texts for equal values, whatever the order of properties. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join()}}`;
}

function ids(nodes: readonly Node[]): string {
  return nodes.map((node) => node.id).join();
}
