/** Where names live: resolved once, when a template is compiled. */
import { checkLength, spend } from './budget.js';
import { type Body, children, type Expr, type Statement, type Target, walk } from './nodes.js';
import { Markup, type Value } from './values.js';

/** What one render shares. */
export interface Runtime {
  readonly globals: Map<string, Value>;
  /** What was written so far, by the innermost that is captured. */
  out: string;
  autoescape: boolean;
}

/** Variables of one activation of the template, a macro, or a loop that calls itself. */
export interface Frame {
  readonly slots: (Value | undefined)[];
  readonly parent: Frame | undefined;
  readonly run: Runtime;
}

/** What has frames of its own. */
export class Unit {
  slots = 0;
  constructor(readonly parent: Unit | undefined) {}
}

/** A place in an outer frame, so many units up, and where to look further, from there. */
export interface Place {
  readonly up: number;
  readonly slot: number;
  readonly next: Place | undefined;
}

/** Where a name may have its value, innermost first; whether also outside. */
export interface Found {
  readonly place: Place | undefined;
  readonly outside: boolean;
}

const NOWHERE: Found = { place: undefined, outside: true };

/** What a body does with its names, nested scopes aside. */
export interface Names {
  readonly assigned: ReadonlySet<string>;
  readonly read: ReadonlySet<string>;
  /** Assigned before they are read: until then they are undefined, whatever the caller gave. */
  readonly hidden: ReadonlySet<string>;
}

/** Names that are assigned between two tags. */
export class Scope {
  readonly #slots = new Map<string, number>();
  /** What was looked up from here. */
  readonly #found = new Map<string, Found>();
  /** How many units the scope around it is up. */
  readonly #up: number;
  readonly open: boolean;
  /** @param open whether it sees what the caller gave although an outer scope hides it */
  constructor(
    readonly unit: Unit,
    readonly parent: Scope | undefined,
    readonly names: Names,
    parameters: Iterable<string> = [],
    open = false,
  ) {
    this.open = open || Boolean(parent?.open);
    let up = 0;
    for (let at = unit; parent !== undefined && at !== parent.unit; up++) at = at.parent as Unit;
    this.#up = up;
    for (const name of [...parameters, ...names.assigned]) this.declare(name);
  }

  declare(name: string): number {
    let slot = this.#slots.get(name);
    if (slot === undefined) {
      this.#slots.set(name, (slot = this.unit.slots++));
      this.#found.delete(name);
    }
    return slot;
  }

  /** The slots to clear where the scope is entered again. */
  get slots(): number[] {
    return [...this.#slots.values()];
  }

  resolve(name: string): Found {
    const { place, outside } = this.#find(name);
    return { place, outside: outside || this.open };
  }

  /** Scopes share what is further out, so that many in many others do not each have a list. */
  #find(name: string): Found {
    const known = this.#found.get(name);
    if (known !== undefined) return known;
    const slot = this.#slots.get(name);
    const found = slot === undefined ? this.#around(name).found : this.#own(name, slot);
    this.#found.set(name, found);
    return found;
  }

  #own(name: string, slot: number): Found {
    const { found, read } = this.#around(name);
    const { place: next } = found;
    const outside = next === undefined ? read || !this.names.hidden.has(name) : found.outside;
    return { place: { up: 0, slot, next }, outside };
  }

  /** What the nearest scope around that has the name finds; whether one before it reads it. */
  #around(name: string): { found: Found; read: boolean } {
    let up = this.#up;
    let read = false;
    for (let scope = this.parent; scope !== undefined; scope = scope.parent) {
      if (scope.#slots.has(name)) {
        const { place, outside } = scope.#find(name);
        return { found: { place: place && { ...place, up: place.up + up }, outside }, read };
      }
      read ||= scope.names.read.has(name);
      up += scope.#up;
    }
    return { found: NOWHERE, read };
  }
}

export function targetNames(target: Target): string[] {
  if (target.kind === 'tuple') return target.items.flatMap(targetNames);
  return target.kind === 'name' ? [target.name] : [];
}

/** Names that a branch adds. */
interface Added {
  readonly assigned: readonly string[];
  readonly read: readonly string[];
  readonly hidden: readonly string[];
}

/** Follows a body in its order, as Jinja does when it decides where names live. */
class NameReader {
  readonly assigned = new Set<string>();
  readonly read = new Set<string>();
  readonly hidden = new Set<string>();
  /** What was added in the branch that is read now: to be taken back. */
  #log: { assigned: string[]; read: string[]; hidden: string[] } | undefined;
  /** In a branch of which nothing is hidden. */
  #partial = false;

  body(body: Body): this {
    for (const statement of body) this.#statement(statement);
    return this;
  }

  expressions(nodes: readonly (Expr | undefined)[]): this {
    for (const node of nodes.flatMap((n) => (n === undefined ? [] : [n, ...walk(n)]))) {
      if (node.kind === 'name') this.#load(node.name);
    }
    return this;
  }

  #load(name: string): void {
    this.#add('read', name);
  }

  #store(name: string): void {
    const first = !this.read.has(name) && !this.assigned.has(name);
    if (first && !this.#partial) this.#add('hidden', name);
    this.#add('assigned', name);
  }

  #add(kind: keyof Added, name: string): void {
    if (this[kind].has(name)) return;
    this[kind].add(name);
    this.#log?.[kind].push(name);
  }

  #target(target: Target): void {
    if (target.kind === 'member') this.#load(target.of);
    else if (target.kind === 'name') this.#store(target.name);
    else for (const item of target.items) this.#target(item);
  }

  #statement(node: Statement): void {
    if (node.kind === 'print') this.expressions([node.value]);
    else if (node.kind === 'set') {
      this.expressions([node.value]);
      this.#target(node.target);
    } else if (node.kind === 'setblock') this.#target(node.target);
    else if (node.kind === 'macro') this.#store(node.name);
    else if (node.kind === 'for') this.expressions([node.over]);
    else if (node.kind === 'callblock') this.expressions([node.call]);
    else if (node.kind === 'filterblock') this.expressions([node.filter]);
    else if (node.kind === 'with') this.expressions(node.values);
    else if (node.kind === 'if') this.#if(node.branches, node.otherwise);
  }

  /** Of a branch where names may stay as they were: none is hidden by it. */
  #maybe(read: () => void): void {
    const outer = this.#partial;
    this.#partial = true;
    read();
    this.#partial = outer;
  }

  /** Reads a branch as if it were not there. */
  #apart(read: () => void): Added {
    const outer = this.#log;
    const added = { assigned: [], read: [], hidden: [] };
    this.#log = added;
    read();
    this.#log = outer;
    for (const kind of ['assigned', 'read', 'hidden'] as const) {
      for (const name of added[kind]) this[kind].delete(name);
    }
    return added;
  }

  /**
   * What only some of the branches assign is not hidden; without an elif one is missing, as Jinja
   * counts. Of several elifs one counts for all.
   */
  #if([first, ...more]: readonly { test: Expr; body: Body }[], otherwise: Body): void {
    this.expressions([first.test]);
    if (more.length === 0 || this.#partial) {
      this.#maybe(() => {
        for (const { test, body } of more) this.expressions([test]).body(body);
        this.body(first.body).body(otherwise);
      });
      return;
    }
    const yes = this.#apart(() => this.body(first.body));
    const no = this.#apart(() => this.body(otherwise));
    const between = this.#apart(() =>
      this.#maybe(() => {
        for (const { test, body } of more) this.expressions([test]).body(body);
      }),
    );
    const [others, last] = [new Set(between.assigned), new Set(no.assigned)];
    const always = new Set(yes.assigned.filter((name) => others.has(name) && last.has(name)));
    for (const branch of [yes, between, no]) {
      for (const name of branch.assigned) this.#add('assigned', name);
      for (const name of branch.read) this.#add('read', name);
      for (const name of branch.hidden) if (always.has(name)) this.#add('hidden', name);
    }
  }
}

/** Names of a body's own scope: branches share it, loops and blocks do not. */
export function namesOf(body: Body, parameters: Iterable<string> = []): Names {
  const names = new NameReader().body(body);
  for (const name of parameters) names.hidden.delete(name);
  return names;
}

/** Names of an expression that has a scope of its own. */
export function namesOfExpression(node: Expr): Names {
  return new NameReader().expressions([node]);
}

/** Which of some names bodies read anywhere. What is known of a body serves those around it. */
export class Readings {
  readonly #known = new Map<Body, ReadonlySet<string>>();
  constructor(readonly names: readonly string[]) {}

  of(body: Body): ReadonlySet<string> {
    const known = this.#known.get(body);
    if (known !== undefined) return known;
    const read = new Set<string>();
    const pending: unknown[] = [...body];
    for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
      const { kind, name } = node as { kind: string; name?: string };
      if (kind === 'name' && name !== undefined && this.names.includes(name)) read.add(name);
      let within = node;
      if (kind === 'macro' || kind === 'callblock') {
        const { body: inner, ...head } = node as { body: Body };
        for (const own of this.of(inner)) read.add(own);
        within = head;
      }
      for (const child of children(within)) pending.push(child);
    }
    this.#known.set(body, read);
    return read;
  }
}

/** The frame so many units up. */
export function frameAt(frame: Frame, up: number): Frame {
  let at = frame;
  for (let i = 0; i < up; i++) at = at.parent as Frame;
  return at;
}

/** What was written while something runs. */
export function capture(run: Runtime, write: () => void): string {
  const outer = run.out;
  run.out = '';
  try {
    write();
    return run.out;
  } finally {
    run.out = outer;
  }
}

/** Adds to what was written. */
export function write(run: Runtime, text: string): void {
  spend(1 + (text.length >> 2));
  checkLength(run.out.length + text.length);
  run.out += text;
}

/** What was captured, as a value. */
export function textValue(run: Runtime, text: string): Value {
  return run.autoescape ? new Markup(text) : text;
}
