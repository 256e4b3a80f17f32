import { isOctavoError } from '../../errors.js';
import {
  isObject,
  type JsonObject,
  keyword,
  type SchemaDocument,
  type SchemaPlace,
} from './document.js';
import type { Node } from './node.js';
import { Refusal } from './refusal.js';
import type { ValueSet } from './shapes.js';
import type { Space } from './space.js';
import type { StringSet } from './strings.js';

/** What one or a few keywords of a schema say. Values of the schema are of all its parts. */
export interface Part {
  readonly pointer: string;
  readonly set?: ValueSet;
  readonly node?: Node;
}

/** Reads the values of keywords, whatever they mean. */
export class KeywordReader {
  readonly space: Space;
  readonly document: SchemaDocument;
  /** The strings that are values of a node. */
  readonly stringsOf: (node: Node) => StringSet;
  /** Pointers of keywords and schemas that are left out since they cannot be enforced. */
  readonly #dropped: ReadonlySet<string>;

  constructor(
    space: Space,
    document: SchemaDocument,
    dropped: ReadonlySet<string>,
    stringsOf: (node: Node) => StringSet,
  ) {
    this.space = space;
    this.document = document;
    this.stringsOf = stringsOf;
    this.#dropped = dropped;
  }

  /** The values of a schema that is a part of the one at `parent`. */
  node(schema: unknown, parent: SchemaPlace | undefined, pointer: string): Node {
    const { nodes } = this.space;
    if (schema === true) return nodes.any;
    if (schema === false) return nodes.none;
    if (this.#dropped.has(pointer)) return nodes.any;
    if (!isObject(schema)) throw new Refusal(pointer, 'a schema is an object, true or false');
    if (Object.keys(schema).length === 0) return nodes.any;
    return nodes.schema(this.document.place(schema, parent, pointer));
  }

  /** A keyword's value, unless it was dropped. */
  get(place: SchemaPlace, name: string): unknown {
    const value = keyword(place.schema, name);
    return value === undefined || this.#dropped.has(at(place, name)) ? undefined : value;
  }

  /** A whole number of at least 0. */
  count(place: SchemaPlace, name: string): number | undefined {
    const value = this.get(place, name);
    if (value === undefined) return undefined;
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0) return value;
    throw new Refusal(at(place, name), `${name} has to be a whole number of at least 0`);
  }

  object(place: SchemaPlace, name: string): JsonObject | undefined {
    const value = this.get(place, name);
    if (value === undefined || isObject(value)) return value;
    throw new Refusal(at(place, name), `${name} has to be an object`);
  }

  names(place: SchemaPlace, name: string, value = this.get(place, name)): string[] | undefined {
    if (value === undefined) return undefined;
    if (Array.isArray(value) && value.every((part) => typeof part === 'string')) return value;
    throw new Refusal(at(place, name), `${name} has to be a list of property names`);
  }

  /** The schema at a keyword. */
  child(place: SchemaPlace, name: string): Node | undefined {
    const value = this.get(place, name);
    return value === undefined ? undefined : this.node(value, place, at(place, name));
  }

  /** The schemas in a keyword's list. */
  children(place: SchemaPlace, name: string): Node[] | undefined {
    const value = this.get(place, name);
    if (value === undefined) return undefined;
    if (!Array.isArray(value))
      throw new Refusal(at(place, name), `${name} has to be a list of schemas`);
    return value.map((part, i) => this.node(part, place, `${at(place, name)}/${i}`));
  }

  /** Whether the keyword or schema there is left out. */
  isDropped(pointer: string): boolean {
    return this.#dropped.has(pointer);
  }

  pattern(source: string, pointer: string) {
    return this.#regular(pointer, () => this.space.strings.pattern(source));
  }

  #regular<T>(pointer: string, make: () => T): T {
    try {
      return make();
    } catch (error) {
      const { isSpent } = this.space.builder.budget;
      if (!isSpent && isOctavoError(error) && error.code === 'ERR_GRAMMAR') {
        throw new Refusal(pointer, error.message);
      }
      throw error;
    }
  }
}

export function at(place: SchemaPlace, name: string): string {
  return `${place.pointer}/${name}`;
}
