import { isEmpty } from '../derivative.js';
import type { Regex } from '../ir.js';
import { isText } from '../json.js';
import type { Node } from './node.js';
import { Refusal } from './refusal.js';
import { hasSample, matches } from './sample.js';
import type { KeySet, Need, ObjectShape } from './shapes.js';
import type { Space } from './space.js';

/** Names that are treated alike, and what their values are. */
export interface OtherNames {
  readonly regex: Regex;
  readonly node: Node;
  /** Indices of the shape's needs that such a name may meet. */
  readonly needs: readonly number[];
}

/** The properties of a shape: those known by name, in their order, and classes of all others. */
export interface Layout {
  readonly named: readonly {
    readonly name: string;
    readonly node: Node;
    readonly required: boolean;
  }[];
  readonly others: readonly OtherNames[];
}

/** Names within all of `within` and none of `without`; those known by name are never among them. */
interface Cell {
  readonly within: readonly Regex[];
  readonly without: readonly Regex[];
  readonly nodes: readonly Node[];
  readonly needs: readonly number[];
}

const MAX_CELLS = 64;
/** States that a question about emptiness may cost. */
export const MAX_SEARCH = 5_000;

export class Layouts {
  readonly #space: Space;
  /** Properties beside those that an object's schema names are forbidden. */
  readonly #closed: boolean;
  readonly #known = new Map<ObjectShape, Layout>();
  readonly #matches = new Map<Regex, Map<string, boolean>>();
  readonly #empty = new Map<Regex, boolean | undefined>();

  constructor(space: Space, closed: boolean) {
    this.#space = space;
    this.#closed = closed;
  }

  of(shape: ObjectShape): Layout {
    let layout = this.#known.get(shape);
    if (layout === undefined) {
      layout = this.#make(shape);
      this.#known.set(shape, layout);
    }
    return layout;
  }

  /** Undefined where that takes too long to find out. */
  isEmpty(regex: Regex): boolean | undefined {
    if (regex.kind === 'empty') return true;
    if (regex.nullable) return false;
    if (!this.#empty.has(regex)) {
      const { budget, regex: builder } = this.#space.builder;
      budget.spend();
      const empty = hasSample(regex, budget) ? false : isEmpty(regex, MAX_SEARCH, builder);
      this.#empty.set(regex, empty);
    }
    return this.#empty.get(regex);
  }

  contains(keys: KeySet, name: string): boolean {
    if (keys.kind === 'matching') return this.#match(keys.regex, name);
    return !keys.names.has(name) && !keys.regexes.some((regex) => this.#match(regex, name));
  }

  #match(regex: Regex, name: string): boolean {
    let known = this.#matches.get(regex);
    if (known === undefined) this.#matches.set(regex, (known = new Map()));
    let found = known.get(name);
    if (found === undefined) {
      // Lone surrogates have no spelling, so that such a name is never written.
      found = isText(name) && this.#fits(regex, name);
      known.set(name, found);
    }
    return found;
  }

  #fits(regex: Regex, name: string): boolean {
    const { syntax, builder } = this.#space;
    return matches(regex, Buffer.from(syntax.spell(name)), builder.budget);
  }

  #make(shape: ObjectShape): Layout {
    const { nodes } = this.#space;
    const names = new Set([...shape.named.keys(), ...shape.required]);
    const named: Layout['named'][number][] = [];
    for (const name of names) {
      const own = shape.named.get(name) ?? nodes.any;
      const rules = shape.rules.filter((rule) => this.contains(rule.keys, name));
      const node = nodes.all(own, ...rules.map((rule) => rule.node));
      const required = shape.required.has(name);
      if (node !== nodes.none || required) named.push({ name, node, required });
    }
    const open = !this.#closed || names.size === 0 || shape.rules.some(isAboutOthers);
    return { named, others: open ? this.#others(shape, names) : [] };
  }

  #others(shape: ObjectShape, names: ReadonlySet<string>): OtherNames[] {
    let cells: Cell[] = [{ within: [], without: [], nodes: [], needs: [] }];
    const split = (keys: KeySet, take: (cell: Cell) => Cell) => {
      cells = cells.flatMap((cell) => this.#split(cell, keys, take, names));
      if (cells.length > MAX_CELLS) {
        throw new Refusal(
          shape.pointer || this.#space.blame,
          'its patterns of names overlap too much',
        );
      }
    };
    for (const { keys, node } of shape.rules) {
      split(keys, (cell) => ({ ...cell, nodes: [...cell.nodes, node] }));
    }
    shape.needs.forEach((need: Need, i) => {
      split(need.keys, (cell) => ({ ...cell, needs: [...cell.needs, i] }));
    });
    const { nodes } = this.#space;
    const merged = new Map<string, OtherNames>();
    for (const cell of cells) {
      const node = nodes.all(...cell.nodes);
      if (node === nodes.none) continue;
      const key = `${node.id};${cell.needs}`;
      const known = merged.get(key);
      const own = this.#regex(cell, names);
      const regex = known === undefined ? own : this.#space.builder.regex.alt(known.regex, own);
      merged.set(key, { regex, node, needs: cell.needs });
    }
    return [...merged.values()];
  }

  /** A cell's names of a key set, treated by `take`, and its other names. */
  #split(cell: Cell, keys: KeySet, take: (cell: Cell) => Cell, names: ReadonlySet<string>): Cell[] {
    if (keys.kind === 'matching') {
      const { regex, outside } = keys;
      const inside =
        outside === undefined ? this.#within(cell, regex) : this.#without(cell, outside);
      const rest = outside === undefined ? this.#without(cell, regex) : this.#within(cell, outside);
      return [...this.#full(inside, names).map(take), ...this.#full(rest, names)];
    }
    const inside = keys.regexes.reduce<Cell | undefined>(
      (left, regex) => left && this.#without(left, regex),
      cell,
    );
    const left: Cell[] = [];
    // Names that the keywords beside knew, but that this shape does not know.
    const more = [...keys.names].filter((name) => !names.has(name) && isText(name));
    const { builder, strings } = this.#space;
    const other = [...keys.regexes, ...more.map((name) => strings.spellings(name))];
    if (other.length > 0)
      left.push(...this.#full(this.#within(cell, builder.regex.alt(...other)), names));
    let taken = inside;
    if (more.length > 0 && taken !== undefined) {
      taken = this.#without(
        taken,
        builder.regex.alt(...more.map((name) => strings.spellings(name))),
      );
    }
    return [...this.#full(taken, names).map(take), ...left];
  }

  #within(cell: Cell, regex: Regex): Cell | undefined {
    if (cell.without.includes(regex)) return undefined;
    return cell.within.includes(regex) ? cell : { ...cell, within: [...cell.within, regex] };
  }

  #without(cell: Cell, regex: Regex): Cell | undefined {
    if (cell.within.includes(regex)) return undefined;
    return cell.without.includes(regex) ? cell : { ...cell, without: [...cell.without, regex] };
  }

  /** Not the cells without any name. */
  #full(cell: Cell | undefined, names: ReadonlySet<string>): Cell[] {
    if (cell === undefined) return [];
    if (cell.within.length === 0 && cell.without.length === 0) return [cell];
    return this.isEmpty(this.#regex(cell, names)) === true ? [] : [cell];
  }

  #regex(cell: Cell, names: ReadonlySet<string>): Regex {
    const { builder, strings } = this.#space;
    const real = [...names].filter((name) => isText(name));
    const known = builder.regex.alt(...real.map((name) => strings.spellings(name)));
    const parts = [...cell.without, ...(real.length > 0 ? [known] : [])];
    const within = cell.within.length > 0 ? cell.within : [strings.universe];
    return builder.regex.and(...within, ...parts.map((part) => builder.regex.not(part)));
  }
}

function isAboutOthers({ keys }: { readonly keys: KeySet }): boolean {
  return keys.kind === 'other';
}
