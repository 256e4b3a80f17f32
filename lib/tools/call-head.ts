/** The head of a call: from its begin marker up to its arguments. */
import type { Tool } from './definitions.js';
import { type CallForm, type CallFormat, NAME_SLOT } from './format.js';
import { type Match, matchAt, type Outcome } from './matching.js';

export interface Named {
  readonly tool: Tool;
  /** What stood in the slots. */
  readonly id?: string;
  readonly index?: string;
}

export interface Head extends Match, Named {}

/** A head of one form and tool as far as it has come. */
interface Tried {
  readonly outcome: Match | 'more';
  /** Null where the marker before the name is not whole: any tool may be meant. */
  readonly tool: Tool | null;
  readonly before?: Match;
  /** Whether the name has come, and something after it. */
  readonly isNamed: boolean;
}

export class CallHeads {
  readonly #format: CallFormat | null;
  readonly #tools: readonly Tool[];

  /** @param format null: nothing is a call */
  constructor(format: CallFormat | null, tools: readonly Tool[]) {
    this.#format = format;
    this.#tools = tools;
  }

  /** @param isFirst whether no call has come before it in its section */
  at(text: string, from: number, isFirst: boolean): Head | 'more' | null {
    let waits = false;
    for (const { outcome, tool, before } of this.#tried(text, from, isFirst)) {
      if (outcome !== 'more' && tool !== null) return { ...before, ...outcome, tool };
      waits = true;
    }
    return waits ? 'more' : null;
  }

  /** Which call an unfinished head can only be of; null where its name has not come whole. */
  named(text: string, from: number, isFirst: boolean): Named | null {
    const tried = [...this.#tried(text, from, isFirst)];
    const known = tried.find(({ isNamed }) => isNamed);
    if (known === undefined || known.tool === null) return null;
    if (tried.some(({ tool }) => tool !== known.tool)) return null;
    const { tool, before } = known;
    return { tool, id: before?.id, index: before?.index };
  }

  /** All that the text may be, in the order of forms and tools. */
  *#tried(text: string, from: number, isFirst: boolean): Generator<Tried, void, void> {
    const format = this.#format;
    if (format === null) return;
    const lenient = true;
    const section = isFirst ? format.section.start.trimStart() : '';
    for (const form of format.forms) {
      const start = section === '' && isFirst ? form.start.trimStart() : form.start;
      const pattern = section + start;
      const common = pattern.includes(NAME_SLOT)
        ? undefined
        : matchAt(text, from, { pattern, lenient });
      if (common === 'more') yield { outcome: common, tool: null, isNamed: false };
      if (common === null || common === 'more') continue;
      for (const tool of this.#tools) {
        const { name } = tool;
        const before = common ?? matchAt(text, from, { pattern, name, lenient });
        if (before === 'more') yield { outcome: before, tool, isNamed: false };
        if (before === null || before === 'more') continue;
        const outcome = this.#nameAt(text, before, tool, form);
        const isNamed = before.end + name.length < text.length;
        if (outcome !== null) yield { outcome, tool, before, isNamed };
      }
    }
  }

  #nameAt(text: string, { end }: Match, { name }: Tool, { nameEnd }: CallForm): Outcome {
    const isTagged = this.#format?.arguments.kind === 'tagged';
    const named = matchAt(text, end, { pattern: name });
    if (named === null || named === 'more') return named;
    const outcome = matchAt(text, named.end, { pattern: nameEnd, name, lenient: !isTagged });
    if (outcome === null || outcome === 'more') return outcome;
    // Where a name has no end of its own, what follows tells that it has ended.
    if (outcome.end === text.length) return nameEnd === '' ? 'more' : outcome;
    return nameEnd === '' && /[\w.:-]/.test(text[outcome.end]) ? null : outcome;
  }
}
