/** From statements to closures that write a text. */
import { nested, spend } from './budget.js';
import { type Eval, ExpressionCompiler } from './compile-expressions.js';
import { TemplateFailure, typeFailure } from './failure.js';
import { escapeText } from './html.js';
import { Loop } from './loops.js';
import { bindArguments, Macro, Self, type Shape, SPECIAL } from './macros.js';
import {
  type Body,
  type Expr,
  isConstant,
  type Signature,
  type Statement,
  type Target,
} from './nodes.js';
import { str } from './printing.js';
import {
  capture,
  type Frame,
  namesOf,
  namesOfExpression,
  Readings,
  type Runtime,
  Scope,
  targetNames,
  textValue,
  Unit,
  write,
} from './scope.js';
import { call, iterate, Namespace, textOf, truth, unpack, type Value } from './values.js';

/** How a statement ended. */
type Ended = 'break' | 'continue' | undefined;
type Exec = (frame: Frame) => Ended;
type Assign = (frame: Frame, value: Value) => void;

type Of<Kind extends Statement['kind']> = Extract<Statement, { kind: Kind }>;

/** Where a statement is compiled. */
interface Place {
  readonly scope: Scope;
  /** Whether unknown filters matter only when they are reached: in a branch. */
  readonly soft: boolean;
}

class Compiler {
  readonly #expressions = new ExpressionCompiler();
  readonly #readings = new Readings(SPECIAL);
  readonly #root = new Unit(undefined);
  readonly #top: Scope;
  readonly #blocks = new Map<string, (frame: Frame) => string>();
  readonly #body: Exec;

  constructor(body: Body) {
    this.#top = new Scope(this.#root, undefined, namesOf(body));
    this.#body = this.#statements(body, { scope: this.#top, soft: false });
  }

  render(run: Runtime): string {
    const frame: Frame = { slots: new Array(this.#root.slots), parent: undefined, run };
    const blocks = new Map(
      Array.from(
        this.#blocks,
        ([name, block]) => [name, () => textValue(run, block(frame))] as const,
      ),
    );
    run.globals.set('self', new Self(blocks));
    return capture(run, () => this.#body(frame));
  }

  /** An expression, and what evaluating it costs. */
  #expression(node: Expr, { scope, soft }: Place): { of: Eval; cost: number } {
    const before = this.#expressions.nodes;
    const of = this.#expressions.compile(node, scope, soft);
    return { of, cost: this.#expressions.nodes - before };
  }

  #statements(body: Body, place: Place): Exec {
    const list = body.map((statement) => this.#statement(statement, place));
    if (list.length === 1) return list[0];
    return (frame) => {
      for (const exec of list) {
        const ended = exec(frame);
        if (ended !== undefined) return ended;
      }
      return undefined;
    };
  }

  /** A chain of filters over a block's text. */
  #filter(node: Expr, { scope, soft }: Place) {
    return this.#expressions.paid(() => this.#expressions.filterChain(node, scope, soft));
  }

  /** A body with names of its own. */
  #scoped(body: Body, { scope, soft }: Place, names: readonly string[] = []) {
    const inner = new Scope(scope.unit, scope, namesOf(body, names), names);
    const exec = this.#statements(body, { scope: inner, soft });
    const { slots } = inner;
    const clear = (frame: Frame) => {
      spend(slots.length >> 2);
      for (const slot of slots) frame.slots[slot] = undefined;
    };
    return { inner, exec, clear };
  }

  #statement(node: Statement, place: Place): Exec {
    switch (node.kind) {
      case 'text': {
        const { text } = node;
        return ({ run }) => void write(run, text);
      }
      case 'print':
        return this.#print(node, place);
      case 'if':
        return this.#if(node, place);
      case 'for':
        return this.#for(node, place);
      case 'set':
        return this.#set(node, place);
      case 'setblock':
        return this.#setBlock(node, place);
      case 'macro':
        return this.#macro(node, place);
      case 'callblock':
        return this.#callBlock(node, place);
      case 'filterblock':
        return this.#filterBlock(node, place);
      case 'with':
        return this.#with(node, place);
      case 'autoescape':
        return this.#autoescape(node, place);
      case 'scope': {
        const { exec, clear } = this.#scoped(node.body, { ...place, soft: false });
        return (frame) => {
          clear(frame);
          return exec(frame);
        };
      }
      case 'block':
        return this.#block(node);
      case 'break':
      case 'continue': {
        const { kind } = node;
        return () => kind;
      }
    }
  }

  #print(node: Of<'print'>, place: Place): Exec {
    this.#expressions.constant = isConstant(node.value);
    const { of, cost } = this.#expression(node.value, place);
    this.#expressions.constant = false;
    return (frame) => {
      spend(cost);
      const value = of(frame);
      const { run } = frame;
      write(run, run.autoescape ? escapeText(value) : str(value));
      return undefined;
    };
  }

  #if(node: Of<'if'>, place: Place): Exec {
    const soft = { ...place, soft: true };
    const branches = node.branches.map(({ test, body }) => ({
      ...this.#expression(test, soft),
      exec: this.#statements(body, soft),
    }));
    const otherwise = this.#statements(node.otherwise, soft);
    return (frame) => {
      for (const { of, cost, exec } of branches) {
        spend(cost);
        if (truth(of(frame))) return exec(frame);
      }
      return otherwise(frame);
    };
  }

  #assign(target: Target, scope: Scope): Assign {
    if (target.kind === 'tuple') {
      const items = target.items.map((item) => this.#assign(item, scope));
      return (frame, value) => {
        const values = unpack(value, items.length);
        for (let i = 0; i < items.length; i++) items[i](frame, values[i]);
      };
    }
    if (target.kind === 'name') {
      const slot = scope.declare(target.name);
      return (frame, value) => {
        frame.slots[slot] = value;
      };
    }
    const of = this.#expressions.compile({ kind: 'name', name: target.of }, scope, true);
    return (frame, value) => {
      const space = of(frame);
      if (!(space instanceof Namespace)) {
        throw typeFailure('cannot assign attribute on non-namespace object');
      }
      space.set(target.name, value);
    };
  }

  #set(node: Of<'set'>, place: Place): Exec {
    const { of, cost } = this.#expression(node.value, place);
    const assign = this.#assign(node.target, place.scope);
    return (frame) => {
      spend(cost);
      assign(frame, of(frame));
      return undefined;
    };
  }

  #setBlock(node: Of<'setblock'>, place: Place): Exec {
    const { exec, clear } = this.#scoped(node.body, { ...place, soft: false });
    const filter = node.filter && this.#filter(node.filter, place);
    const assign = this.#assign(node.target, place.scope);
    return (frame) => {
      clear(frame);
      let ended: Ended;
      const text = capture(frame.run, () => {
        ended = exec(frame);
      });
      if (ended !== undefined) return ended;
      const value = textValue(frame.run, text);
      assign(frame, filter === undefined ? value : filter(frame, value));
      return undefined;
    };
  }

  #filterBlock(node: Of<'filterblock'>, place: Place): Exec {
    const { exec, clear, inner } = this.#scoped(node.body, { ...place, soft: false });
    const filter = this.#filter(node.filter, { ...place, scope: inner });
    return (frame) => {
      clear(frame);
      let ended: Ended;
      const text = capture(frame.run, () => {
        ended = exec(frame);
      });
      if (ended !== undefined) return ended;
      const result = textOf(filter(frame, textValue(frame.run, text)));
      if (result === undefined) throw typeFailure('a filter block must give a text');
      write(frame.run, result);
      return undefined;
    };
  }

  #with(node: Of<'with'>, place: Place): Exec {
    const values = node.values.map((value) => this.#expression(value, place));
    const names = node.targets.flatMap(targetNames);
    const { exec, clear, inner } = this.#scoped(node.body, { ...place, soft: false }, names);
    const assigns = node.targets.map((target) => this.#assign(target, inner));
    return (frame) => {
      const given = values.map(({ of, cost }) => {
        spend(cost);
        return of(frame);
      });
      clear(frame);
      for (let i = 0; i < assigns.length; i++) assigns[i](frame, given[i]);
      return exec(frame);
    };
  }

  #autoescape(node: Of<'autoescape'>, place: Place): Exec {
    const { of, cost } = this.#expression(node.on, place);
    const { exec, clear } = this.#scoped(node.body, { ...place, soft: false });
    return (frame) => {
      clear(frame);
      spend(cost);
      const { run } = frame;
      const outer = run.autoescape;
      run.autoescape = truth(of(frame));
      try {
        return exec(frame);
      } finally {
        run.autoescape = outer;
      }
    };
  }

  /** Its body sees the template's own variables only, and can be written again by `self`. */
  #block(node: Of<'block'>): Exec {
    if (this.#blocks.has(node.name)) {
      throw new TemplateFailure('syntax', `block '${node.name}' defined twice`);
    }
    this.#blocks.set(node.name, () => '');
    const unit = new Unit(this.#root);
    const scope = new Scope(unit, this.#top, namesOf(node.body), [], true);
    const exec = this.#statements(node.body, { scope, soft: false });
    const render = (root: Frame) =>
      nested(() => {
        spend(unit.slots >> 2);
        const frame = { slots: new Array(unit.slots), parent: root, run: root.run };
        return capture(root.run, () => exec(frame));
      });
    this.#blocks.set(node.name, render);
    return (frame) => {
      let root = frame;
      while (root.parent !== undefined) root = root.parent;
      return void write(frame.run, render(root));
    };
  }

  /** A body as a function: arguments in, text out. */
  #function(name: string | null, signature: Signature, body: Body, place: Place) {
    const { names } = signature;
    const unit = new Unit(place.scope.unit);
    const read = this.#readings.of(body);
    const asked = SPECIAL.filter((special) => read.has(special) && !names.includes(special));
    const parameters = [...names, ...asked];
    const scope = new Scope(unit, place.scope, namesOf(body, parameters), parameters);
    const inner = { scope, soft: false };
    const exec = this.#statements(body, inner);
    const shape: Shape = {
      name,
      names,
      slots: names.map((parameter) => scope.declare(parameter)),
      defaults: signature.defaults.map((node) =>
        this.#expressions.paid(() => this.#expressions.compile(node, scope, false)),
      ),
      special: new Map(asked.map((special) => [special, scope.declare(special)])),
    };
    return (outer: Frame): Macro =>
      new Macro(shape, (args) =>
        nested(() => {
          spend((unit.slots >> 2) + names.length);
          const frame: Frame = { slots: new Array(unit.slots), parent: outer, run: outer.run };
          bindArguments(frame, shape, args);
          return textValue(
            outer.run,
            capture(outer.run, () => exec(frame)),
          );
        }),
      );
  }

  #macro(node: Of<'macro'>, place: Place): Exec {
    const make = this.#function(node.name, node.signature, node.body, place);
    const slot = place.scope.declare(node.name);
    return (frame) => {
      frame.slots[slot] = make(frame);
      return undefined;
    };
  }

  #callBlock(node: Of<'callblock'>, place: Place): Exec {
    const make = this.#function(null, node.signature, node.body, place);
    const { callee, args } = node.call as Extract<Expr, { kind: 'call' }>;
    const { scope, soft } = place;
    const of = this.#expressions.paid(() => this.#expressions.compile(callee, scope, soft));
    const values = this.#expressions.paid(() => this.#expressions.arguments(args, scope, soft));
    return (frame) => {
      const { pos, named } = values(frame);
      const result = call(of(frame), { pos, named: new Map([...named, ['caller', make(frame)]]) });
      const { run } = frame;
      return void write(run, run.autoescape ? escapeText(result) : str(result));
    };
  }

  #for(node: Of<'for'>, place: Place): Exec {
    const { of, cost } = this.#expression(node.over, place);
    const otherwise = this.#scoped(node.otherwise, { ...place, soft: false });
    const over = this.#loopBody(node, place);
    return (frame) => {
      spend(cost);
      if (over(frame, of(frame), 1)) return undefined;
      otherwise.clear(frame);
      return otherwise.exec(frame);
    };
  }

  /** Runs a loop over a value; false where no item went through the body. */
  #loopBody(node: Of<'for'>, place: Place) {
    const unit = node.recursive ? new Unit(place.scope.unit) : place.scope.unit;
    const test = this.#loopTest(node, place, unit);
    const parameters = ['loop', ...targetNames(node.target)];
    const head = new Scope(unit, place.scope, namesOf(node.body, parameters), parameters);
    const loopSlot = head.declare('loop');
    const assign = this.#assign(node.target, head);
    const exec = this.#statements(node.body, { scope: head, soft: false });
    const { slots } = head;
    const again = (outer: Frame) => (items: Value, depth: number) =>
      nested(() =>
        textValue(
          outer.run,
          capture(outer.run, () => over(outer, items, depth)),
        ),
      );
    const over = (outer: Frame, value: Value, depth: number): boolean => {
      if (node.recursive) spend(unit.slots >> 2);
      const frame = node.recursive
        ? { slots: new Array(unit.slots), parent: outer, run: outer.run }
        : outer;
      const all = iterate(value)[Symbol.iterator]();
      const items = test === undefined ? all : test(frame, all);
      const recursive = node.recursive ? again(outer) : undefined;
      const loop = new Loop(value, items, test !== undefined, depth, recursive);
      let any = false;
      for (let item = loop.next(); item !== undefined; item = loop.next()) {
        spend(slots.length >> 2);
        for (const slot of slots) frame.slots[slot] = undefined;
        frame.slots[loopSlot] = loop;
        assign(frame, item);
        const ended = exec(frame);
        if (ended === 'break') break;
        // As in Jinja, an else also follows where every item was left early.
        any ||= ended === undefined;
      }
      return any;
    };
    return over;
  }

  /** The `if` of a for: it sees the items' names, not the loop. */
  #loopTest(node: Of<'for'>, place: Place, unit: Unit) {
    if (node.test === undefined) return undefined;
    const names = targetNames(node.target);
    const scope = new Scope(unit, place.scope, namesOfExpression(node.test), names);
    const assign = this.#assign(node.target, scope);
    const { of, cost } = this.#expression(node.test, { scope, soft: false });
    return function* (frame: Frame, items: Iterator<Value>): Generator<Value> {
      for (let item = items.next(); !item.done; item = items.next()) {
        spend(1 + cost);
        assign(frame, item.value);
        if (truth(of(frame))) yield item.value;
      }
    };
  }
}

/** A template that was compiled: it can be rendered any number of times. */
export type Program = (run: Runtime) => string;

/** @throws TemplateFailure of kind syntax, for filters and tests that are unknown */
export function compile(body: Body): Program {
  const compiler = new Compiler(body);
  return (run) => compiler.render(run);
}
