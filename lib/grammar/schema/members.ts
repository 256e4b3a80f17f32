import type { Sym } from '../grammar.js';
import type { Regex } from '../ir.js';
import { isText } from '../json.js';
import { chainRules, type Step } from './chain.js';
import type { Layout } from './layout.js';
import type { Node } from './node.js';
import { escapePointer, Refusal } from './refusal.js';
import type { ObjectShape } from './shapes.js';
import type { MemberWriter } from './writer.js';

/** Most needs (some property has …) of one object. */
const MAX_NEEDS = 6;

/** What objects of a shape are written as. @throws Refusal */
export function objectSym(writer: MemberWriter, shape: ObjectShape): Sym {
  if (shape.needs.length > MAX_NEEDS) {
    throw new Refusal(shape.needs[0].pointer, `more than ${MAX_NEEDS} such conditions at once`);
  }
  const members = new Members(writer, shape);
  const sym = chainRules(
    {
      start: { next: 0, skips: false, few: 0, many: 0, seen: 0, met: 0 },
      key: ({ next, skips, few, many, seen, met }) =>
        `${next},${skips},${few},${many},${seen},${met}`,
      steps: (state) => members.steps(state),
      free: (state) => members.free(state),
      accepts: (state) => members.accepts(state),
      pointer: shape.pointer || (shape.needs[0]?.pointer ?? writer.space.blame),
      brackets: writer.notation.object,
    },
    writer.builder,
    'object',
  );
  const { named, others } = members.layout;
  if ('terminal' in sym && shape.min > named.length && others.length > 0) {
    const message = 'the names of so many properties cannot be told apart: name them in properties';
    throw new Refusal(shape.pointer, message);
  }
  return sym;
}

/**
 * The members of a node's objects, without anything around them but the notation's brackets.
 * @throws Refusal
 */
export function membersOf(writer: MemberWriter, node: Node): Sym {
  const shapes = writer.expansion.set(node).objects;
  if (shapes.length === 0) {
    throw new Refusal('', 'it has to allow an object: that is what is written');
  }
  writer.space.blame = '';
  const ways = shapes.map((shape) => objectSym(writer, shape));
  const sym = writer.builder.choiceOf(ways);
  if (!('terminal' in sym) || sym.terminal.kind !== 'empty') return sym;
  throw new Refusal('', 'this model has no spelling of any such call');
}

/** How far an object is: the next property known by name, and what has to be counted. */
interface Progress {
  readonly next: number;
  /** Whether one of these was left out since the last member. */
  readonly skips: boolean;
  /** Properties with different names, up to the least number. */
  readonly few: number;
  /** Properties, up to the largest number. */
  readonly many: number;
  /** Bits of the classes of other names that were counted in `few`. */
  readonly seen: number;
  /** Bits of the needs that are met. */
  readonly met: number;
}

/**
 * The properties of an object shape, in order: those with a name in the schema, then others; where
 * the notation has an order of its own, others come anywhere. A name of these might come twice, and
 * the last one counts: therefore a class of names counts once for minProperties, and what follows a
 * property that met a need has to meet it as well.
 */
class Members {
  readonly layout: Layout;
  readonly #writer: MemberWriter;
  readonly #shape: ObjectShape;
  readonly #full: number;
  /** Whether other names come between the known ones. */
  readonly #isMixed: boolean;

  constructor(writer: MemberWriter, shape: ObjectShape) {
    this.#writer = writer;
    this.#shape = shape;
    this.layout = written(writer, shape);
    this.#full = 2 ** shape.needs.length - 1;
    this.#isMixed = writer.notation.order !== undefined && this.layout.others.length > 0;
  }

  accepts({ next, few, many, met }: Progress): boolean {
    const { min, max } = this.#shape;
    return next === this.layout.named.length && few >= min && many <= max && met === this.#full;
  }

  free(state: Progress): Progress[] {
    const { named } = this.layout;
    if (state.next === named.length || named[state.next].required) return [];
    return [{ ...state, next: state.next + 1, skips: this.#isMixed }];
  }

  steps(state: Progress): Step<Progress>[] {
    const { max } = this.#shape;
    this.#writer.space.spend();
    if (max < Infinity && state.many >= max) return [];
    const many = max < Infinity ? state.many + 1 : 0;
    const isLast = state.next === this.layout.named.length;
    // Of the ways to leave some out and write others, one: others come first.
    const takesOthers = this.#isMixed ? !state.skips : isLast;
    return [
      ...(isLast ? [] : this.#namedSteps(state, many)),
      ...(takesOthers ? this.#otherSteps(state, many) : []),
    ];
  }

  #namedSteps(state: Progress, many: number): Step<Progress>[] {
    const { name, node } = this.layout.named[state.next];
    if (!isText(name)) return [];
    const { expansion, space } = this.#writer;
    const few = Math.min(state.few + 1, this.#shape.min);
    const to = { ...state, next: state.next + 1, skips: false, few, many };
    const needs = this.#shape.needs.flatMap(({ keys }, i) =>
      expansion.layouts.contains(keys, name) ? [i] : [],
    );
    return this.#meeting(node, needs, state.met, false).flatMap(({ met, node }) =>
      this.#step(space.syntax.texts([name]), node, { ...to, met }, name),
    );
  }

  #otherSteps(state: Progress, many: number): Step<Progress>[] {
    const { min } = this.#shape;
    return this.layout.others.flatMap(({ regex, node, needs }, i) => {
      const counts = state.few < min && i < 31 && ((state.seen >> i) & 1) === 0;
      const few = counts ? state.few + 1 : state.few;
      const seen = counts ? state.seen | (1 << i) : state.seen;
      return this.#meeting(node, needs, state.met, true).flatMap(({ met, node }) =>
        this.#step(regex, node, { ...state, few, many, seen: few < min ? seen : 0, met }),
      );
    });
  }

  #step(name: Regex, node: Node, to: Progress, known?: string): Step<Progress>[] {
    const { expansion, space } = this.#writer;
    if (node === space.nodes.none) return [];
    if (node.kind !== 'schema' && node.kind !== 'any' && !expansion.isFull(node)) return [];
    return [{ member: this.#writer.member(name, node, known), to }];
  }

  /** Ways to meet some of the needs that are open, with what the value then has to be. */
  #meeting(node: Node, needs: readonly number[], met: number, again: boolean) {
    const { nodes } = this.#writer.space;
    const wanted = (i: number) => this.#shape.needs[i].node;
    const bit = (i: number) => (met >> i) & 1;
    const open = needs.filter((i) => bit(i) === 0);
    const bound = again ? needs.filter((i) => bit(i) === 1) : [];
    const base = nodes.all(node, ...bound.map(wanted));
    const ways = [];
    for (let chosen = 0; chosen < 2 ** open.length; chosen++) {
      const taken = open.filter((_, k) => (chosen >> k) & 1);
      ways.push({
        node: nodes.all(base, ...taken.map(wanted)),
        met: taken.reduce((bits, i) => bits | (1 << i), met),
      });
    }
    return ways;
  }
}

/** The layout of a shape, in the notation's order, without names that it cannot write. */
function written(writer: MemberWriter, shape: ObjectShape): Layout {
  const { expansion, notation, space, builder } = writer;
  const { names, order } = notation;
  const layout = expansion.layouts.of(shape);
  const named =
    order === undefined ? layout.named : layout.named.toSorted((a, b) => order(a.name, b.name));
  if (names === undefined) return { named, others: layout.others };
  const allowed = { kind: 'matching', regex: names.regex } as const;
  const fits = ({ name, node }: Layout['named'][number]) => {
    if (!isText(name) || expansion.layouts.contains(allowed, name)) return true;
    names.unwritable(name, placeOf(name, node, space.blame));
    return false;
  };
  const others = layout.others
    .map((other) => ({ ...other, regex: builder.regex.and(other.regex, names.regex) }))
    .filter(({ regex }) => expansion.layouts.isEmpty(regex) !== true);
  return { named: named.filter(fits), others };
}

/** Where a property's schema stands, as far as that is known. */
function placeOf(name: string, node: Node, blame: string): string {
  const end = `/properties/${escapePointer(name)}`;
  const own = node.kind === 'schema' ? node.place.pointer : '';
  return own.endsWith(end) ? own : blame + end;
}
