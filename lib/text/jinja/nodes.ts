/** What a template is made of. */
import type { Value } from './values.js';

export interface CallArgs {
  readonly args: readonly Expr[];
  readonly named: readonly (readonly [string, Expr])[];
  readonly spread?: Expr;
  readonly spreadNamed?: Expr;
}

export type Expr =
  | { readonly kind: 'const'; readonly value: Value }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'list' | 'tuple'; readonly items: readonly Expr[] }
  | { readonly kind: 'dict'; readonly entries: readonly (readonly [Expr, Expr])[] }
  | { readonly kind: 'attribute'; readonly of: Expr; readonly name: string }
  | { readonly kind: 'item'; readonly of: Expr; readonly key: Expr }
  | { readonly kind: 'slice'; readonly bounds: readonly (Expr | undefined)[] }
  | { readonly kind: 'call'; readonly callee: Expr; readonly args: CallArgs }
  | {
      readonly kind: 'filter';
      /** Absent in a filter block, whose text it is. */
      readonly of: Expr | undefined;
      readonly name: string;
      readonly args: CallArgs;
    }
  | { readonly kind: 'test'; readonly of: Expr; readonly name: string; readonly args: CallArgs }
  | { readonly kind: 'unary'; readonly op: '-' | '+' | 'not'; readonly of: Expr }
  | { readonly kind: 'binary'; readonly op: string; readonly left: Expr; readonly right: Expr }
  | { readonly kind: 'concat'; readonly items: readonly Expr[] }
  | {
      readonly kind: 'compare';
      readonly first: Expr;
      readonly rest: readonly (readonly [string, Expr])[];
    }
  | {
      readonly kind: 'choice';
      readonly test: Expr;
      readonly yes: Expr;
      readonly no: Expr | undefined;
    };

/** What is assigned to. */
export type Target =
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'tuple'; readonly items: readonly Target[] }
  | { readonly kind: 'member'; readonly of: string; readonly name: string };

/** Arguments of a macro or call block; defaults belong to the last of them. */
export interface Signature {
  readonly names: readonly string[];
  readonly defaults: readonly Expr[];
}

export type Statement =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'print'; readonly value: Expr }
  | {
      readonly kind: 'for';
      readonly target: Target;
      readonly over: Expr;
      readonly test: Expr | undefined;
      readonly recursive: boolean;
      readonly body: Body;
      readonly otherwise: Body;
    }
  | {
      readonly kind: 'if';
      readonly branches: readonly { readonly test: Expr; readonly body: Body }[];
      readonly otherwise: Body;
    }
  | { readonly kind: 'set'; readonly target: Target; readonly value: Expr }
  | {
      readonly kind: 'setblock';
      readonly target: Target;
      readonly filter: Expr | undefined;
      readonly body: Body;
    }
  | {
      readonly kind: 'macro';
      readonly name: string;
      readonly signature: Signature;
      readonly body: Body;
    }
  | {
      readonly kind: 'callblock';
      readonly call: Expr;
      readonly signature: Signature;
      readonly body: Body;
    }
  | { readonly kind: 'filterblock'; readonly filter: Expr; readonly body: Body }
  | {
      readonly kind: 'with';
      readonly targets: readonly Target[];
      readonly values: readonly Expr[];
      readonly body: Body;
    }
  | { readonly kind: 'autoescape'; readonly on: Expr; readonly body: Body }
  | { readonly kind: 'scope'; readonly body: Body }
  | { readonly kind: 'block'; readonly name: string; readonly body: Body }
  | { readonly kind: 'break' | 'continue' };

export type Body = readonly Statement[];

export type Node = Expr | Target | Statement;

/** Everything directly inside a node. */
export function* children(node: unknown): Generator<Node> {
  for (const value of Object.values(node as object)) yield* nodesIn(value);
}

function* nodesIn(value: unknown): Generator<Node> {
  if (Array.isArray(value)) for (const item of value) yield* nodesIn(item);
  else if (isPlain(value)) {
    if ('kind' in value) yield value as Node;
    else yield* children(value);
  }
}

/** A node or a record of nodes, not a value of a constant. */
function isPlain(value: unknown): value is object {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === PLAIN;
}

const PLAIN = Object.prototype;

/** Every node, outermost first. */
export function* walk(node: unknown): Generator<Node> {
  const pending = [...(Array.isArray(node) ? nodesIn(node) : children(node))].reverse();
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    yield next;
    for (const child of [...children(next)].reverse()) pending.push(child);
  }
}

/** Whether an expression has the same value whenever it is evaluated. */
export function isConstant(node: Expr): boolean {
  for (const { kind } of [node, ...walk(node)])
    if (kind === 'name' || kind === 'call') return false;
  return true;
}
