/** From what a caller asked for to a program: in this thread or, by way of data, in another. */
import type { Budget } from './budget.js';
import type { Grammar } from './grammar.js';
import { compileSpec, type GrammarSpec, type SpecLimits } from './index.js';
import { encodeProgram } from './program.js';

/** A grammar that is not compiled yet. */
export interface GrammarSource {
  /** Names it wholly: sources of the same key build the same grammar. */
  readonly key: string;
  /** What errors are about that do not say so. */
  readonly param?: string;
  /** @throws ERR_GRAMMAR */
  build(budget: Budget): { readonly grammar: Grammar; readonly warnings: readonly string[] };
  /** What the same is built of in another thread. Without it, it can only be built in this one. */
  readonly job?: () => GrammarJob;
}

/** Plain data. Who made it knows by `kind` what to do with it. */
export interface GrammarJob {
  readonly kind: 'spec' | 'answer';
  readonly data: unknown;
}

/** What native code compiles. */
export interface Program {
  readonly words: Int32Array;
  readonly warnings: readonly string[];
}

/** @throws ERR_GRAMMAR */
export function readProgram(source: Pick<GrammarSource, 'build'>, budget: Budget): Program {
  const { grammar, warnings } = source.build(budget);
  return { words: encodeProgram(grammar, budget), warnings };
}

/** The source of what a caller asked for. */
export function specSource(spec: GrammarSpec, limits: SpecLimits = {}): GrammarSource {
  return {
    key: JSON.stringify(spec),
    build: (budget) => compileSpec(spec, limits, budget),
    job: () => ({ kind: 'spec', data: { spec, limits: sentLimits(limits, spec) } }),
  };
}

interface SpecData {
  readonly spec: GrammarSpec;
  readonly limits: SentLimits;
}

/** The source that a job of kind `spec` was made of. */
export function sourceOfSpec(data: unknown): Pick<GrammarSource, 'build'> {
  const { spec, limits } = data as SpecData;
  return { build: (budget) => compileSpec(spec, limitsOf(limits), budget) };
}

/** Limits as plain data, with the tokens that a spec may name. */
export interface SentLimits extends Omit<SpecLimits, 'tokenIds'> {
  readonly tokens: ReadonlyMap<string, number>;
}

export function sentLimits(limits: SpecLimits, spec: GrammarSpec | undefined): SentLimits {
  const { tokenIds, ...rest } = limits;
  const tokens = new Map<string, number>();
  const named = tokenIds === undefined ? [] : namesIn(spec?.grammar, tagOf(spec));
  for (const name of named) {
    const id = tokenIds?.(name);
    if (id !== undefined) tokens.set(name, id);
  }
  return { ...rest, tokens };
}

export function limitsOf({ tokens, ...rest }: SentLimits): SpecLimits {
  return { ...rest, tokenIds: (text) => tokens.get(text) };
}

/** Read, where it is a text. */
function tagOf(spec: GrammarSpec | undefined): unknown {
  const tag = spec?.structuralTag;
  if (typeof tag !== 'string') return tag;
  try {
    return JSON.parse(tag);
  } catch {
    return undefined; // who builds it says so
  }
}

/** Longest text that is looked up as a token's. */
const MAX_NAME = 1_000;

/** Texts that may be meant for tokens: whole texts, and <…> in them. */
function* namesIn(...values: readonly unknown[]): Generator<string> {
  for (const text of values.flatMap((value) => [...textsIn(value)])) {
    if (text.length <= MAX_NAME) yield text;
    for (const [name] of text.matchAll(/<[^<>\s]{1,100}>/g)) yield name;
  }
}

/** All texts in a value that is data. */
export function* textsIn(value: unknown): Generator<string> {
  const stack = [value];
  while (stack.length > 0) {
    const next = stack.pop();
    if (typeof next === 'string') yield next;
    else if (typeof next === 'object' && next !== null) {
      for (const inner of Object.values(next)) stack.push(inner);
    }
  }
}
