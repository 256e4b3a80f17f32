import type { GrammarBuilder, Sym } from '../grammar.js';
import type { Regex } from '../ir.js';
import { AnyJson, isText, spell } from '../json.js';
import { chainRules, type Step } from './chain.js';
import type { Expansion } from './expansion.js';
import { arraySym, type Writer } from './items.js';
import type { Node } from './node.js';
import { Refusal } from './refusal.js';
import { ANY_OBJECT, type ArrayShape, type ObjectShape, type ValueSet } from './shapes.js';
import type { Space } from './space.js';

/** Most needs (some property has …) of one object. */
const MAX_NEEDS = 6;
/** Most rules for values of one schema. */
const MAX_VALUES = 20_000;

/** Turns nodes into rules of the grammar. */
export class Emitter implements Writer {
  readonly expansion: Expansion;
  readonly space: Space;
  readonly builder: GrammarBuilder;
  readonly #syms = new Map<Node, Sym>();
  readonly #queue: (() => void)[] = [];
  #any: AnyJson | undefined;

  constructor(expansion: Expansion) {
    this.expansion = expansion;
    this.space = expansion.space;
    this.builder = this.space.builder;
  }

  get any(): AnyJson {
    return (this.#any ??= new AnyJson(this.builder, this.space.syntax));
  }

  /** What a node's values are written as. */
  value(node: Node): Sym {
    const sym = this.later(node);
    this.#finish();
    return sym;
  }

  /** What these values are written as. */
  written(set: ValueSet): Sym {
    const sym = this.#written(set, '');
    this.#finish();
    return sym;
  }

  /** As {@link value}; its rules may come later. */
  later(node: Node): Sym {
    const known = this.#syms.get(node);
    if (known !== undefined) return known;
    if (this.#syms.size >= MAX_VALUES) {
      throw new Refusal(this.space.blame, `it comes to more than ${MAX_VALUES} kinds of values`);
    }
    const sym = this.#sym(node);
    this.#syms.set(node, sym);
    return sym;
  }

  #sym(node: Node): Sym {
    if (node === this.space.nodes.any) return this.any.value;
    const blame = node.kind === 'schema' ? node.place.pointer : this.space.blame;
    return this.#written(this.expansion.set(node), blame);
  }

  #written(set: ValueSet, blame: string): Sym {
    const scalars = this.builder.terminal(this.#scalars(set));
    if (set.objects.length === 0 && set.arrays.length === 0) return scalars;
    const rule = this.builder.newRule('value');
    this.builder.addAlternative(rule, [scalars]);
    this.#queue.push(() => {
      this.space.blame = blame;
      for (const shape of set.objects) this.builder.addAlternative(rule, [this.#object(shape)]);
      for (const shape of set.arrays) this.builder.addAlternative(rule, [this.#array(shape)]);
    });
    return { rule };
  }

  #finish(): void {
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) next();
  }

  #array(shape: ArrayShape): Sym {
    return shape === this.space.anyArray ? this.any.array : arraySym(this, shape);
  }

  #scalars(set: ValueSet): Regex {
    const { regex } = this.builder;
    const words = [];
    if (set.nulls) words.push('null');
    if (set.booleans & 1) words.push('false');
    if (set.booleans & 2) words.push('true');
    const numbers = this.#nonEmpty(this.space.numbers.written(set.numbers));
    const strings = this.#nonEmpty(set.strings.written);
    return regex.alt(regex.texts(words), numbers, this.space.syntax.quoted(strings));
  }

  /** A language that is empty by meaning is so plainly, lest a value begins that cannot end. */
  #nonEmpty(regex: Regex): Regex {
    const { layouts } = this.expansion;
    // Only what is cut out of another language can be empty without showing it.
    if (regex.kind !== 'and') return regex;
    return layouts.isEmpty(regex) === true ? this.builder.regex.empty() : regex;
  }

  #object(shape: ObjectShape): Sym {
    if (shape === ANY_OBJECT) return this.any.object;
    if (shape.needs.length > MAX_NEEDS) {
      throw new Refusal(shape.needs[0].pointer, `more than ${MAX_NEEDS} such conditions at once`);
    }
    const members = new Members(this, shape);
    const { syntax } = this.space;
    const sym = chainRules(
      {
        start: { next: 0, few: 0, many: 0, seen: 0, met: 0 },
        key: ({ next, few, many, seen, met }) => `${next},${few},${many},${seen},${met}`,
        steps: (state) => members.steps(state),
        free: (state) => members.free(state),
        accepts: (state) => members.accepts(state),
        pointer: shape.pointer || (shape.needs[0]?.pointer ?? this.space.blame),
        open: syntax.objectOpen,
        comma: syntax.comma,
        close: syntax.objectClose,
        empty: syntax.emptyObject,
      },
      this.builder,
      'object',
    );
    const nothing = 'terminal' in sym;
    if (nothing && shape.min > members.layout.named.length && members.layout.others.length > 0) {
      const message =
        'the names of so many properties cannot be told apart: name them in properties';
      throw new Refusal(shape.pointer, message);
    }
    return sym;
  }
}

/** How far an object is: the next property known by name, and what has to be counted. */
interface Progress {
  readonly next: number;
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
 * The properties of an object shape, in order: those with a name in the schema, then others. A name
 * of these might come twice, and the last one counts: therefore a class of names counts once for
 * minProperties, and what follows a property that met a need has to meet it as well.
 */
class Members {
  readonly layout;
  readonly #emitter: Emitter;
  readonly #shape: ObjectShape;
  readonly #full: number;

  constructor(emitter: Emitter, shape: ObjectShape) {
    this.#emitter = emitter;
    this.#shape = shape;
    this.layout = emitter.expansion.layouts.of(shape);
    this.#full = 2 ** shape.needs.length - 1;
  }

  accepts({ next, few, many, met }: Progress): boolean {
    const { min, max } = this.#shape;
    return next === this.layout.named.length && few >= min && many <= max && met === this.#full;
  }

  free(state: Progress): Progress[] {
    const { named } = this.layout;
    if (state.next === named.length || named[state.next].required) return [];
    return [{ ...state, next: state.next + 1 }];
  }

  steps(state: Progress): Step<Progress>[] {
    const { min, max } = this.#shape;
    this.#emitter.space.tick();
    if (max < Infinity && state.many >= max) return [];
    const many = max < Infinity ? state.many + 1 : 0;
    const { named, others } = this.layout;
    if (state.next < named.length) {
      const { name, node } = named[state.next];
      if (!isText(name)) return [];
      const key = this.#emitter.builder.regex.text(spell(name));
      const to = { ...state, next: state.next + 1, few: Math.min(state.few + 1, min), many };
      const { layouts } = this.#emitter.expansion;
      const needs = this.#shape.needs.flatMap(({ keys }, i) =>
        layouts.contains(keys, name) ? [i] : [],
      );
      return this.#meeting(node, needs, state.met, false).flatMap(({ met, node }) =>
        this.#step(key, node, { ...to, met }),
      );
    }
    return others.flatMap(({ regex, node, needs }, i) => {
      const counts = state.few < min && i < 31 && ((state.seen >> i) & 1) === 0;
      const few = counts ? state.few + 1 : state.few;
      const seen = counts ? state.seen | (1 << i) : state.seen;
      return this.#meeting(node, needs, state.met, true).flatMap(({ met, node }) =>
        this.#step(regex, node, { ...state, few, many, seen: few < min ? seen : 0, met }),
      );
    });
  }

  #step(name: Regex, node: Node, to: Progress): Step<Progress>[] {
    const { expansion, builder, space } = this.#emitter;
    if (node === space.nodes.none) return [];
    if (node.kind !== 'schema' && node.kind !== 'any' && !expansion.isFull(node)) return [];
    const value = this.#emitter.later(node);
    const key = builder.regex.concat(space.syntax.quoted(name), space.syntax.colon);
    if (!('terminal' in value)) return [{ member: [builder.terminal(key), value], to }];
    return [{ member: [builder.terminal(builder.regex.concat(key, value.terminal))], to }];
  }

  /** Ways to meet some of the needs that are open, with what the value then has to be. */
  #meeting(node: Node, needs: readonly number[], met: number, again: boolean) {
    const { nodes } = this.#emitter.space;
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
