import type { Sym } from '../grammar.js';
import { chainRules, type Step } from './chain.js';
import type { Node } from './node.js';
import { Refusal } from './refusal.js';
import type { ArrayShape } from './shapes.js';
import type { ItemWriter } from './writer.js';

/** Most different values that may come in any order where no two may be equal. */
const MAX_UNORDERED = 6;
/** Most values where they have to come in the order of the schema. */
const MAX_ORDERED = 1_000;
/** Items counted one by one; longer runs of equal items are counted by halves. */
const MAX_COUNTED = 3_000;

/** How far an array is. */
interface Progress {
  /** Items so far, as far as they count. */
  readonly length: number;
  readonly counts: readonly number[];
  /** Of distinct values: bits of those that were used, or the first that may still come. */
  readonly used: number;
}

/** What arrays of a shape are written as. @throws Refusal */
export function arraySym(writer: ItemWriter, shape: ArrayShape): Sym {
  const { builder, space } = writer;
  const values = distinctValues(writer, shape);
  const plain = shape.counts.length === 0 && values === undefined;
  if (plain && shape.prefix.length === 0) return repeated(writer, shape);
  const items = new Items(writer, shape, values);
  return chainRules<Progress>(
    {
      start: { length: 0, counts: shape.counts.map(() => 0), used: 0 },
      key: ({ length, counts, used }) => `${length},${counts},${used}`,
      steps: (state) => items.steps(state),
      free: () => [],
      accepts: (state) => items.accepts(state),
      pointer: shape.unique ?? shape.counts[0]?.pointer ?? space.blame,
      brackets: writer.notation.array,
    },
    builder,
    'array',
  );
}

/** Any number of items of one kind. */
function repeated(writer: ItemWriter, shape: ArrayShape): Sym {
  const { builder } = writer;
  const { open, comma, close, empty } = writer.notation.array;
  const { min, max, rest } = shape;
  if (max === 0 || !writer.expansion.isFull(rest)) {
    return min === 0 ? empty : builder.terminal(builder.regex.empty());
  }
  const item = writer.later(rest);
  const further = builder.newRule('item');
  builder.addAlternative(further, [comma, item]);
  const more = builder.repeat({ rule: further }, Math.max(min - 1, 0), max - 1);
  const array = builder.newRule('array');
  builder.addAlternative(array, [open, item, more, close]);
  if (min === 0) builder.addAlternative(array, [empty]);
  return { rule: array };
}

class Items {
  readonly #writer: ItemWriter;
  readonly #shape: ArrayShape;
  readonly #values: readonly Node[] | undefined;
  /** From this many items on all are alike. */
  readonly #limit: number;

  constructor(writer: ItemWriter, shape: ArrayShape, values: readonly Node[] | undefined) {
    this.#writer = writer;
    this.#shape = shape;
    this.#values = values;
    const from = Math.max(0, ...shape.counts.map((count) => count.from));
    this.#limit = shape.max < Infinity ? shape.max : Math.max(shape.min, shape.prefix.length, from);
    if (values !== undefined)
      this.#limit = Math.min(this.#limit, Math.max(values.length, shape.min));
    if (this.#limit > MAX_COUNTED) {
      const pointer = shape.unique ?? shape.counts[0]?.pointer ?? writer.space.blame;
      throw new Refusal(pointer, `more than ${MAX_COUNTED} items cannot be counted here`);
    }
  }

  accepts({ length, counts }: Progress): boolean {
    if (length < this.#shape.min) return false;
    return this.#shape.counts.every(({ min, max }, i) => counts[i] >= min && counts[i] <= max);
  }

  steps(state: Progress): Step<Progress>[] {
    const { prefix, rest, max } = this.#shape;
    if (state.length >= max) return [];
    const base = prefix[state.length] ?? rest;
    const length = Math.min(state.length + 1, this.#limit);
    return this.#distinct(base, state.used).flatMap(({ node, used }) =>
      this.#counting(node, state).flatMap(({ node, counts }) =>
        this.#step(node, { length, counts, used }),
      ),
    );
  }

  #step(node: Node, to: Progress): Step<Progress>[] {
    if (!this.#writer.expansion.isFull(node)) return [];
    return [{ member: [this.#writer.later(node)], to }];
  }

  #distinct(base: Node, used: number): { node: Node; used: number }[] {
    const values = this.#values;
    if (values === undefined) return [{ node: base, used }];
    const { nodes } = this.#writer.space;
    const ordered = values.length > MAX_UNORDERED;
    return values.flatMap((value, i) => {
      if (ordered ? i < used : (used >> i) & 1) return [];
      return [{ node: nodes.all(base, value), used: ordered ? i + 1 : used | (1 << i) }];
    });
  }

  /** Ways to be counted, with what the item then has to be. */
  #counting(base: Node, state: Progress): { node: Node; counts: number[] }[] {
    const { nodes } = this.#writer.space;
    let ways = [{ node: base, counts: [...state.counts] }];
    this.#shape.counts.forEach(({ node, from, min, max }, i) => {
      if (state.length < from) return;
      ways = ways.flatMap((way) => {
        const counted = { node: nodes.all(way.node, node), counts: [...way.counts] };
        counted.counts[i]++;
        if (max === Infinity) return way.counts[i] < min ? [way, counted] : [way];
        const not = { node: nodes.all(way.node, nodes.not(node)), counts: way.counts };
        return way.counts[i] < max ? [not, counted] : [not];
      });
    });
    return ways;
  }
}

/**
 * All values the items may be, where no two may be equal. Undefined where they need not be told
 * apart. @throws Refusal where there are too many
 */
function distinctValues(writer: ItemWriter, shape: ArrayShape): readonly Node[] | undefined {
  if (shape.unique === undefined || shape.max <= 1) return undefined;
  const { nodes } = writer.space;
  const { prefix, rest, max } = shape;
  const kinds = [...new Set(max <= prefix.length ? prefix.slice(0, max) : [...prefix, rest])];
  if (max <= prefix.length && pairwiseDisjoint(writer, prefix.slice(0, max))) return undefined;
  const values = new Set<Node>();
  for (const kind of kinds) {
    const found = writer.expansion.candidates(kind);
    if (found === undefined) {
      const message = 'items have to be different, which needs an enum of what they may be';
      throw new Refusal(shape.unique, `${message} (or maxItems of 1)`);
    }
    for (const value of found) {
      const node = nodes.values([value]);
      if (writer.expansion.isFull(nodes.all(kind, node))) values.add(node);
    }
  }
  if (values.size > MAX_ORDERED) {
    throw new Refusal(
      shape.unique,
      `more than ${MAX_ORDERED} different items cannot be told apart`,
    );
  }
  return [...values];
}

function pairwiseDisjoint(writer: ItemWriter, kinds: readonly Node[]): boolean {
  const { nodes } = writer.space;
  return kinds.every((kind, i) =>
    kinds.slice(i + 1).every((other) => !writer.expansion.isFull(nodes.all(kind, other))),
  );
}
