/** From expressions to closures. */
import { binary, joined, negative, type Operator, positive } from './arithmetic.js';
import { getAttribute, getItem, getSlice, Slice } from './attributes.js';
import { spend } from './budget.js';
import { compare, equals, inside } from './compare.js';
import { TemplateFailure, typeFailure } from './failure.js';
import { escapeText } from './html.js';
import { type Filter, type FilterContext, LIST_FILTERS } from './list-filters.js';
import type { CallArgs, Expr } from './nodes.js';
import { str } from './printing.js';
import { type Found, type Frame, frameAt, type Place, type Scope } from './scope.js';
import { TESTS, type Test } from './tests.js';
import { TEXT_FILTERS } from './text-filters.js';
import {
  type Args,
  call,
  Dict,
  iterate,
  Markup,
  NO_NAMES,
  Tuple,
  textOf,
  truth,
  Undefined,
  type Value,
} from './values.js';

export type Eval = (frame: Frame) => Value;

function filterNamed(name: string): Filter | undefined {
  return TEXT_FILTERS.get(name) ?? LIST_FILTERS.get(name);
}

function unknown(what: 'filter' | 'test', name: string): TemplateFailure {
  return new TemplateFailure('syntax', `No ${what} named '${name}'.`);
}

/** Tests that know what there is. */
const OF_NAMES: Record<string, Test> = {
  filter: ({ pos }) => filterNamed(textOf(pos[0]) ?? '') !== undefined,
  test: ({ pos }) => testNamed(textOf(pos[0]) ?? '') !== undefined,
};

function testNamed(name: string): Test | undefined {
  return TESTS.get(name) ?? (Object.hasOwn(OF_NAMES, name) ? OF_NAMES[name] : undefined);
}

const CONTEXT: FilterContext = {
  filter(name, args) {
    const filter = filterNamed(textOf(name) ?? '');
    if (filter === undefined) throw unknown('filter', str(name));
    return filter(args, CONTEXT);
  },
  test(name, args) {
    const test = testNamed(textOf(name) ?? '');
    if (test === undefined) throw unknown('test', str(name));
    return test(args);
  },
};

const COMPARISONS: Record<string, (a: Value, b: Value) => boolean> = {
  '==': equals,
  '!=': (a, b) => !equals(a, b),
  '<': (a, b) => compare(a, b, '<') < 0,
  '<=': (a, b) => compare(a, b, '<=') <= 0,
  '>': (a, b) => compare(a, b, '>') > 0,
  '>=': (a, b) => compare(a, b, '>=') >= 0,
  in: inside,
  'not in': (a, b) => !inside(a, b),
};

/** Reads a name: from the first of its places that has a value, else from what all can see. */
function reader(name: string, { place, outside: seesOutside }: Found): Eval {
  const outside = (frame: Frame) => {
    const value = seesOutside ? frame.run.globals.get(name) : undefined;
    return value === undefined ? Undefined.named(name) : value;
  };
  if (place === undefined) return outside;
  if (place.next === undefined && place.up === 0) {
    const { slot } = place;
    return (frame) => {
      const value = frame.slots[slot];
      return value === undefined ? outside(frame) : value;
    };
  }
  return (frame) => {
    let from = frame;
    for (let at: Place | undefined = place; at !== undefined; at = at.next) {
      from = frameAt(from, at.up);
      const value = from.slots[at.slot];
      if (value !== undefined) return value;
    }
    return outside(frame);
  };
}

export class ExpressionCompiler {
  /** Nodes compiled so far: what their evaluation costs. */
  nodes = 0;
  /** In a constant that is printed, which Jinja computes early and looks up in its milder way. */
  constant = false;

  /** @param soft whether an unknown filter or test matters only when it is reached */
  compile(node: Expr, scope: Scope, soft: boolean): Eval {
    this.nodes++;
    switch (node.kind) {
      case 'const': {
        const { value } = node;
        return () => value;
      }
      case 'name':
        return reader(node.name, scope.resolve(node.name));
      case 'list':
      case 'tuple':
        return this.#sequence(node, scope, soft);
      case 'dict':
        return this.#dict(node, scope, soft);
      case 'attribute': {
        const of = this.compile(node.of, scope, soft);
        const { name } = node;
        return (frame) => getAttribute(of(frame), name);
      }
      case 'item':
        return this.#item(node, scope, soft);
      case 'slice':
        throw typeFailure('a slice is no value');
      case 'call':
        return this.#call(node, scope, soft);
      case 'filter':
      case 'test':
        return this.#applied(node, scope, soft);
      case 'unary':
        return this.#unary(node, scope, soft);
      case 'binary':
        return this.#binary(node, scope, soft);
      case 'concat':
        return this.#concat(node, scope, soft);
      case 'compare':
        return this.#compare(node, scope, soft);
      case 'choice':
        return this.#choice(node, scope);
    }
  }

  /** What is compiled, paid each time that it is evaluated. */
  paid<A extends unknown[], R>(make: () => (...args: A) => R): (...args: A) => R {
    const before = this.nodes;
    const of = make();
    const cost = this.nodes - before;
    return (...args) => {
      spend(cost);
      return of(...args);
    };
  }

  #all(nodes: readonly Expr[], scope: Scope, soft: boolean): Eval[] {
    return nodes.map((node) => this.compile(node, scope, soft));
  }

  #sequence(node: Expr & { kind: 'list' | 'tuple' }, scope: Scope, soft: boolean): Eval {
    const items = this.#all(node.items, scope, soft);
    if (node.kind === 'list') return (frame) => items.map((item) => item(frame));
    return (frame) => new Tuple(items.map((item) => item(frame)));
  }

  #dict(node: Expr & { kind: 'dict' }, scope: Scope, soft: boolean): Eval {
    const entries = node.entries.map(
      ([key, value]) => [this.compile(key, scope, soft), this.compile(value, scope, soft)] as const,
    );
    return (frame) => Dict.of(entries.map(([key, value]) => [key(frame), value(frame)] as const));
  }

  #item(node: Expr & { kind: 'item' }, scope: Scope, soft: boolean): Eval {
    const of = this.compile(node.of, scope, soft);
    if (node.key.kind === 'slice') {
      const bounds = [0, 1, 2].map((i) => {
        const bound = (node.key as Expr & { kind: 'slice' }).bounds[i];
        return bound === undefined ? () => null : this.compile(bound, scope, soft);
      });
      const none = this.constant ? new Undefined('there are no slices of it') : undefined;
      return (frame) => {
        const [start, stop, step] = bounds.map((bound) => bound(frame));
        const value = of(frame);
        if (none !== undefined && value instanceof Dict) return none;
        return getSlice(value, new Slice(start, stop, step));
      };
    }
    const key = this.compile(node.key, scope, soft);
    return (frame) => getItem(of(frame), key(frame));
  }

  /** Arguments after what is given first. */
  arguments(node: CallArgs, scope: Scope, soft: boolean): (frame: Frame, first?: Value) => Args {
    const pos = this.#all(node.args, scope, soft);
    const named = node.named.map(([name, of]) => [name, this.compile(of, scope, soft)] as const);
    const spread = node.spread && this.compile(node.spread, scope, soft);
    const spreadNamed = node.spreadNamed && this.compile(node.spreadNamed, scope, soft);
    const simple = named.length === 0 && spread === undefined && spreadNamed === undefined;
    return (frame, first) => {
      const values = first === undefined ? [] : [first];
      for (const item of pos) values.push(item(frame));
      if (simple) return { pos: values, named: NO_NAMES };
      const names = new Map<string, Value>();
      for (const [name, of] of named) setOnce(names, name, of(frame));
      if (spread !== undefined) {
        for (const value of iterate(spread(frame))) {
          spend(1);
          values.push(value);
        }
      }
      if (spreadNamed !== undefined) addNames(names, spreadNamed(frame));
      return { pos: values, named: names };
    };
  }

  #call(node: Expr & { kind: 'call' }, scope: Scope, soft: boolean): Eval {
    const callee = this.compile(node.callee, scope, soft);
    const args = this.arguments(node.args, scope, soft);
    return (frame) => call(callee(frame), args(frame));
  }

  /** A filter or test, of a value. */
  #applied(node: Expr & { kind: 'filter' | 'test' }, scope: Scope, soft: boolean): Eval {
    const of = this.compile(node.of as Expr, scope, soft);
    const apply = this.application(node, scope, soft);
    return (frame) => apply(frame, of(frame));
  }

  /** A filter or test, of what it is given. */
  application(node: Expr & { kind: 'filter' | 'test' }, scope: Scope, soft: boolean) {
    const { kind, name } = node;
    const args = this.arguments(node.args, scope, soft);
    const found = kind === 'filter' ? filterNamed(name) : testNamed(name);
    if (found === undefined && !soft) throw unknown(kind, name);
    return (frame: Frame, value: Value): Value => {
      if (found === undefined) throw unknown(kind, name);
      spend(2);
      const result = found(args(frame, value), CONTEXT);
      const { autoescape } = frame.run;
      return autoescape && name === 'join' ? new Markup(str(result)) : result;
    };
  }

  /** A chain of filters over a block's text. */
  filterChain(node: Expr, scope: Scope, soft: boolean): (frame: Frame, value: Value) => Value {
    const { of } = node as Expr & { kind: 'filter' };
    const last = this.application(node as Expr & { kind: 'filter' }, scope, soft);
    if (of === undefined) return last;
    const before = this.filterChain(of, scope, soft);
    return (frame, value) => last(frame, before(frame, value));
  }

  #unary(node: Expr & { kind: 'unary' }, scope: Scope, soft: boolean): Eval {
    const of = this.compile(node.of, scope, soft);
    if (node.op === 'not') return (frame) => !truth(of(frame));
    const apply = node.op === '-' ? negative : positive;
    return (frame) => apply(of(frame));
  }

  #binary(node: Expr & { kind: 'binary' }, scope: Scope, soft: boolean): Eval {
    const left = this.compile(node.left, scope, soft);
    const right = this.compile(node.right, scope, soft);
    if (node.op === 'and' || node.op === 'or') {
      const goesOn = node.op === 'and';
      return (frame) => {
        const value = left(frame);
        return truth(value) === goesOn ? right(frame) : value;
      };
    }
    const op = node.op as Operator;
    return (frame) => binary(op, left(frame), right(frame));
  }

  #concat(node: Expr & { kind: 'concat' }, scope: Scope, soft: boolean): Eval {
    const items = this.#all(node.items, scope, soft);
    return (frame) => {
      const values = items.map((item) => item(frame));
      const markup = frame.run.autoescape && values.some((value) => value instanceof Markup);
      return markup ? new Markup(values.map(escapeText).join('')) : joined(values);
    };
  }

  #compare(node: Expr & { kind: 'compare' }, scope: Scope, soft: boolean): Eval {
    const first = this.compile(node.first, scope, soft);
    const rest = node.rest.map(
      ([op, of]) => [COMPARISONS[op], this.compile(of, scope, soft)] as const,
    );
    if (rest.length === 1) {
      const [[holds, second]] = rest;
      return (frame) => holds(first(frame), second(frame));
    }
    return (frame) => {
      let left = first(frame);
      for (const [holds, of] of rest) {
        const right = of(frame);
        if (!holds(left, right)) return false;
        left = right;
      }
      return true;
    };
  }

  #choice(node: Expr & { kind: 'choice' }, scope: Scope): Eval {
    const test = this.compile(node.test, scope, true);
    const yes = this.compile(node.yes, scope, true);
    const no = node.no && this.compile(node.no, scope, true);
    const otherwise = new Undefined(
      'the inline if-expression evaluated to false and no else section was defined.',
    );
    return (frame) => (truth(test(frame)) ? yes(frame) : no ? no(frame) : otherwise);
  }
}

function setOnce(names: Map<string, Value>, name: string, value: Value): void {
  if (names.has(name)) throw typeFailure(`got multiple values for keyword argument '${name}'`);
  names.set(name, value);
}

function addNames(names: Map<string, Value>, value: Value): void {
  if (!(value instanceof Dict)) throw typeFailure('argument after ** must be a mapping');
  spend(4 * value.size);
  for (const [key, item] of value.entries()) {
    const name = textOf(key);
    if (name === undefined) throw typeFailure('keywords must be strings');
    setOnce(names, name, item);
  }
}
