/** What a template does with messages, read from its code. */
import { type Body, type Expr, type Node, walk } from './jinja/nodes.js';

export interface TemplateReading {
  /** It goes over the parts of a content; others take a content for a text. */
  readonly takesParts: boolean;
  /** It asks whether there is a list of tool calls, empty or not. */
  readonly asksForCalls: boolean;
  /** It has a word for the role that OpenAI's newer models know instructions by. */
  readonly namesDeveloper: boolean;
}

/** Filters that take a list apart. */
const LIST_FILTERS = ['selectattr', 'rejectattr', 'map', 'select', 'reject', 'first', 'last'];

function isConst(node: Expr, value: string): boolean {
  return node.kind === 'const' && node.value === value;
}

/** `x.name` or `x['name']` */
function isMember(node: Node, name: string): boolean {
  if (node.kind === 'attribute') return node.name === name;
  return node.kind === 'item' && isConst(node.key, name);
}

/** Filters aside. */
function bare(node: Expr): Expr {
  while (node.kind === 'filter' && node.of !== undefined) node = node.of;
  return node;
}

class Reading {
  /** Variables that hold a content. */
  readonly #contents = new Set<string>();
  readonly #nodes: readonly Node[];
  constructor(body: Body) {
    this.#nodes = [...walk(body)];
    for (const node of this.#nodes) {
      if (node.kind === 'macro' && node.signature.names.includes('content')) {
        this.#contents.add('content');
      }
    }
    for (let size = -1; size !== this.#contents.size; ) {
      size = this.#contents.size;
      for (const node of this.#nodes) this.#assignment(node);
    }
  }

  #assignment(node: Node): void {
    if (node.kind !== 'set' || !this.#isContent(node.value)) return;
    if (node.target.kind === 'name') this.#contents.add(node.target.name);
  }

  #isContent(node: Expr): boolean {
    if (node.kind === 'choice') {
      return this.#isContent(node.yes) || (node.no !== undefined && this.#isContent(node.no));
    }
    return isMember(node, 'content') || (node.kind === 'name' && this.#contents.has(node.name));
  }

  takesParts(): boolean {
    return this.#nodes.some((node) => {
      if (node.kind === 'for') return this.#isContent(bare(node.over));
      if (node.kind === 'filter' && node.of !== undefined) {
        return LIST_FILTERS.includes(node.name) && this.#isContent(bare(node.of));
      }
      if (node.kind === 'item') {
        return node.key.kind === 'const' && node.key.value === 0 && this.#isContent(node.of);
      }
      if (node.kind !== 'call' || node.callee.kind !== 'name') return false;
      return node.callee.name === 'loop' && node.args.args.some((arg) => this.#isContent(arg));
    });
  }

  asksForCalls(): boolean {
    return this.#nodes.some((node) => {
      if (node.kind === 'compare') {
        const [[op]] = node.rest;
        return isConst(node.first, 'tool_calls') && (op === 'in' || op === 'not in');
      }
      if (node.kind !== 'test' || !isMember(node.of, 'tool_calls')) return false;
      return ['defined', 'undefined', 'none'].includes(node.name);
    });
  }

  /** By itself: within a longer text that it writes, the word tells nothing. */
  namesDeveloper(): boolean {
    return this.#nodes.some((node) => node.kind === 'const' && node.value === 'developer');
  }
}

export function readTemplate(body: Body): TemplateReading {
  const reading = new Reading(body);
  return {
    takesParts: reading.takesParts(),
    asksForCalls: reading.asksForCalls(),
    namesDeveloper: reading.namesDeveloper(),
  };
}
