import type { GrammarBuilder, Sym } from '../grammar.js';
import type { Regex } from '../ir.js';
import { AnyValue, jsonNotation, type Notation } from '../notation.js';
import type { Expansion } from './expansion.js';
import { arraySym } from './items.js';
import { objectSym } from './members.js';
import type { Node } from './node.js';
import { Refusal } from './refusal.js';
import { ANY_OBJECT, type ValueSet } from './shapes.js';
import type { Space } from './space.js';
import type { ItemWriter, MemberWriter } from './writer.js';

/** Most rules for values of one schema. */
const MAX_VALUES = 20_000;

/** Turns nodes into rules of the grammar. */
export class Emitter implements MemberWriter, ItemWriter {
  readonly expansion: Expansion;
  readonly space: Space;
  readonly builder: GrammarBuilder;
  readonly notation: Notation;
  readonly #syms = new Map<Node, Sym>();
  readonly #queue: (() => void)[] = [];
  #any: AnyValue | undefined;

  /** @param notation JSON by default; names and texts in it are of the expansion's syntax */
  constructor(expansion: Expansion, notation?: Notation) {
    this.expansion = expansion;
    this.space = expansion.space;
    this.builder = this.space.builder;
    this.notation = notation ?? jsonNotation(this.builder, this.space.syntax);
  }

  get any(): AnyValue {
    return (this.#any ??= new AnyValue(this.builder, this.space.syntax, this.notation));
  }

  /** What a node's values are written as. */
  value(node: Node): Sym {
    const sym = this.later(node);
    this.finish();
    return sym;
  }

  /** What these values are written as; its rules may come later. */
  written(set: ValueSet, blame = ''): Sym {
    const scalars = this.#scalars(set);
    if (set.objects.length === 0 && set.arrays.length === 0) return scalars;
    const rule = this.builder.newRule('value');
    this.builder.addAlternative(rule, [scalars]);
    this.#queue.push(() => {
      this.space.blame = blame;
      for (const shape of set.objects) {
        const any = shape === ANY_OBJECT;
        this.builder.addAlternative(rule, [any ? this.any.object : objectSym(this, shape)]);
      }
      for (const shape of set.arrays) {
        const any = shape === this.space.anyArray;
        this.builder.addAlternative(rule, [any ? this.any.array : arraySym(this, shape)]);
      }
    });
    return { rule };
  }

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

  member(name: Regex, node: Node): readonly Sym[] {
    return this.builder.fuse([this.notation.key(name), this.later(node)]);
  }

  /** Makes the rules that were to come later. */
  finish(): void {
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) next();
  }

  #sym(node: Node): Sym {
    if (node === this.space.nodes.any) return this.any.value;
    const blame = node.kind === 'schema' ? node.place.pointer : this.space.blame;
    return this.written(this.expansion.set(node), blame);
  }

  #scalars(set: ValueSet): Sym {
    const { builder, notation, space } = this;
    const words: string[] = [];
    if (set.nulls) words.push(...notation.words.null);
    if (set.booleans & 1) words.push(...notation.words.false);
    if (set.booleans & 2) words.push(...notation.words.true);
    const numbers = this.#nonEmpty(space.numbers.written(set.numbers));
    const plain = builder.terminal(builder.regex.alt(builder.regex.texts(words), numbers));
    const strings = this.#nonEmpty(this.#writable(set.strings.written));
    return strings.kind === 'empty' ? plain : builder.choice(plain, notation.text(strings));
  }

  #writable(chars: Regex): Regex {
    const { texts } = this.notation;
    return texts === undefined ? chars : this.builder.regex.and(chars, texts);
  }

  /** A language that is empty by meaning is so plainly, lest a value begins that cannot end. */
  #nonEmpty(regex: Regex): Regex {
    const { layouts } = this.expansion;
    // Only what is cut out of another language can be empty without showing it.
    if (regex.kind !== 'and') return regex;
    return layouts.isEmpty(regex) === true ? this.builder.regex.empty() : regex;
  }
}
