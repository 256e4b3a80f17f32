import { shown } from '../../arguments.js';
import { namesOf } from '../json-text.js';
import { arrayPart, objectPart } from './containers.js';
import type { SchemaPlace } from './document.js';
import { FORMATS } from './formats.js';
import type { Node } from './node.js';
import { at, KeywordReader, type Part } from './reader.js';
import { escapePointer, Refusal } from './refusal.js';

const TYPES = ['null', 'boolean', 'integer', 'number', 'string', 'object', 'array'];

/** Reads schemas: keywords to parts. */
export class Keywords extends KeywordReader {
  /** The parts of a schema. What unevaluatedProperties and -Items say is not among them. */
  parts(place: SchemaPlace): Part[] {
    if (this.isDropped(place.pointer)) return [];
    const reference = this.#reference(place);
    if (reference !== undefined && place.dialect !== 2020) return [reference];
    const parts = [
      this.#type(place),
      this.#numbers(place),
      this.#strings(place),
      objectPart(this, place),
      arrayPart(this, place),
      this.#values(place),
      reference,
      this.#dynamic(place),
      ...this.#applied(place),
    ];
    return parts.filter((part) => part !== undefined);
  }

  #type(place: SchemaPlace): Part | undefined {
    const value = this.get(place, 'type');
    if (value === undefined) return undefined;
    const pointer = at(place, 'type');
    const types = Array.isArray(value) ? value : [value];
    for (const type of types) {
      if (TYPES.includes(type)) continue;
      throw new Refusal(pointer, `${JSON.stringify(type)} is no type: use ${TYPES.join(', ')}`);
    }
    const { all, none, numbers } = this.space;
    const has = (type: string) => types.includes(type);
    return {
      pointer,
      set: {
        nulls: has('null'),
        booleans: has('boolean') ? 3 : 0,
        numbers: has('number') ? all.numbers : has('integer') ? numbers.integers : none.numbers,
        strings: has('string') ? all.strings : none.strings,
        objects: has('object') ? all.objects : [],
        arrays: has('array') ? all.arrays : [],
      },
    };
  }

  #numbers(place: SchemaPlace): Part | undefined {
    const { all, numbers } = this.space;
    const value = (name: string) => {
      const given = this.get(place, name);
      if (given === undefined || typeof given === 'number') return given;
      throw new Refusal(at(place, name), `${name} has to be a number`);
    };
    let set = numbers.all;
    for (const [side, limit, exclusive] of [
      ['min', 'minimum', 'exclusiveMinimum'],
      ['max', 'maximum', 'exclusiveMaximum'],
    ] as const) {
      const bound = value(limit);
      // Draft 4 says by true or false whether the bound itself belongs.
      const flag = this.get(place, exclusive);
      const flagged = typeof flag === 'boolean';
      const own = flagged ? undefined : value(exclusive);
      if (bound !== undefined) {
        set = numbers.both(set, numbers.bound(bound, side, flagged && flag));
      }
      if (own !== undefined) set = numbers.both(set, numbers.bound(own, side, true));
    }
    const divisor = value('multipleOf');
    if (divisor !== undefined) {
      const pointer = at(place, 'multipleOf');
      if (divisor <= 0) throw new Refusal(pointer, 'multipleOf has to be above 0');
      const multiples = numbers.multipleOf(divisor);
      if (multiples === undefined) {
        throw new Refusal(pointer, `multiples of ${divisor} need too large an automaton`);
      }
      set = numbers.both(set, multiples);
    }
    if (set === numbers.all) return undefined;
    return { pointer: place.pointer, set: { ...all, numbers: set } };
  }

  #strings(place: SchemaPlace): Part | undefined {
    const { all, strings } = this.space;
    let set = strings.all;
    const min = this.count(place, 'minLength') ?? 0;
    const max = this.count(place, 'maxLength') ?? Infinity;
    if (min > 0 || max < Infinity) set = strings.both(set, strings.length(min, max));
    const pattern = this.get(place, 'pattern');
    if (pattern !== undefined) {
      const pointer = at(place, 'pattern');
      if (typeof pattern !== 'string') throw new Refusal(pointer, 'pattern has to be a text');
      set = strings.both(set, this.pattern(pattern, pointer));
    }
    const format = this.get(place, 'format');
    const source = typeof format === 'string' ? FORMATS.get(format) : undefined;
    if (source !== undefined) set = strings.both(set, strings.whole(source));
    else if (typeof format === 'string') {
      const known = [...FORMATS.keys()].join(', ');
      this.space.warn(at(place, 'format'), `${shown(format)} is not known; known are ${known}`);
    }
    if (set === strings.all) return undefined;
    return { pointer: place.pointer, set: { ...all, strings: set } };
  }

  #values(place: SchemaPlace): Part | undefined {
    const { nodes } = this.space;
    const list = this.get(place, 'enum');
    const single = this.get(place, 'const');
    const found: Node[] = [];
    if (list !== undefined) {
      if (!Array.isArray(list)) throw new Refusal(at(place, 'enum'), 'enum has to be a list');
      found.push(nodes.values(list));
    }
    if (single !== undefined) found.push(nodes.values([single]));
    if (found.length === 0) return undefined;
    return { pointer: at(place, list === undefined ? 'const' : 'enum'), node: nodes.all(...found) };
  }

  #reference(place: SchemaPlace): Part | undefined {
    const reference = this.get(place, '$ref');
    if (reference === undefined) return undefined;
    const pointer = at(place, '$ref');
    if (typeof reference !== 'string') throw new Refusal(pointer, '$ref has to be a text');
    const target = this.document.resolve(place, reference, '$ref');
    return { pointer, node: this.node(target.value, target.place, target.place.pointer) };
  }

  #dynamic(place: SchemaPlace): Part | undefined {
    for (const name of ['$dynamicRef', '$recursiveRef']) {
      const reference = this.get(place, name);
      if (reference === undefined) continue;
      const pointer = at(place, name);
      if (typeof reference !== 'string') throw new Refusal(pointer, `${name} has to be a text`);
      if (name === '$recursiveRef') {
        throw new Refusal(pointer, '$recursiveRef is not supported: use $ref');
      }
      const target = this.document.resolveDynamic(place, reference);
      return { pointer, node: this.node(target.value, target.place, target.place.pointer) };
    }
    return undefined;
  }

  /** Keywords that apply other schemas to the same value. */
  #applied(place: SchemaPlace): Part[] {
    const { nodes } = this.space;
    const parts: Part[] = [];
    const add = (name: string, node: Node) => parts.push({ pointer: at(place, name), node });
    const allOf = this.children(place, 'allOf');
    if (allOf !== undefined) add('allOf', nodes.all(...allOf));
    const anyOf = this.children(place, 'anyOf');
    if (anyOf !== undefined) add('anyOf', nodes.some(...anyOf));
    const oneOf = this.children(place, 'oneOf');
    if (oneOf !== undefined) add('oneOf', nodes.one(oneOf));
    const not = this.child(place, 'not');
    if (not !== undefined) add('not', nodes.not(not));
    const condition = this.child(place, 'if');
    if (condition !== undefined) {
      const met = nodes.all(condition, this.child(place, 'then') ?? nodes.any);
      const unmet = nodes.all(nodes.not(condition), this.child(place, 'else') ?? nodes.any);
      add('if', nodes.some(met, unmet));
    }
    for (const name of ['dependentRequired', 'dependentSchemas', 'dependencies']) {
      const rules = this.object(place, name) ?? {};
      for (const property of namesOf(rules)) {
        add(name, this.#dependent(place, name, property, rules[property]));
      }
    }
    return parts;
  }

  #dependent(place: SchemaPlace, name: string, property: string, rule: unknown): Node {
    const { nodes } = this.space;
    const pointer = `${at(place, name)}/${escapePointer(property)}`;
    const list = typeof rule === 'string' ? [rule] : rule;
    // Made first, so that the property comes before those that depend on it.
    const has = nodes.has(property);
    const then = Array.isArray(list)
      ? nodes.all(...this.names(place, name, list)!.map((other) => nodes.has(other)))
      : this.node(rule, place, pointer);
    return nodes.some(nodes.not(has), nodes.all(has, then));
  }
}
