import type { GrammarBuilder, Sym } from '../grammar.js';
import type { Regex } from '../ir.js';
import type { Notation } from '../notation.js';
import type { Expansion } from './expansion.js';
import type { Node } from './node.js';
import type { Space } from './space.js';

interface Writer {
  readonly builder: GrammarBuilder;
  readonly space: Space;
  readonly expansion: Expansion;
}

/** What writes the members of objects. */
export interface MemberWriter extends Writer {
  readonly notation: Pick<Notation, 'object' | 'names' | 'order'>;
  /**
   * A member, whole; its rules may come later.
   * @param known its name, where there is but one
   */
  member(name: Regex, node: Node, known?: string): readonly Sym[];
}

/** What writes the items of arrays. */
export interface ItemWriter extends Writer {
  readonly notation: Pick<Notation, 'array'>;
  /** What a node's values are written as; its rules may come later. */
  later(node: Node): Sym;
}
