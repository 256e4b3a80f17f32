import type { GrammarBuilder, RuleId, Sym } from '../grammar.js';
import type { Brackets } from '../notation.js';
import { Refusal } from './refusal.js';

/** Most states of one object or array. */
const MAX_STATES = 4_000;

export interface Step<State> {
  /** What is written of it after `{`, `[` or a comma. */
  readonly member: readonly Sym[];
  readonly to: State;
}

/** Members in a row, as an automaton whose steps are members. */
export interface Chain<State> {
  readonly start: State;
  key(state: State): string;
  steps(state: State): readonly Step<State>[];
  /** States that are as good without a further member. */
  free(state: State): readonly State[];
  accepts(state: State): boolean;
  /** The keyword that makes for many states. */
  readonly pointer: string;
  readonly brackets: Brackets;
}

interface Known<State> {
  readonly state: State;
  steps: { member: readonly Sym[]; to: number }[];
  free: number[];
  /** Reached without any member. */
  bare: boolean;
  rule: RuleId | undefined;
}

/**
 * The rules of a chain. A rule stands for what leads to a state, from the bracket on: rules recurse
 * to the left only, so that the rows of a parser stay the same along a repetition.
 */
export function chainRules<State>(chain: Chain<State>, builder: GrammarBuilder, name: string): Sym {
  const states = explore(chain);
  markBare(states);
  const queue = states.flatMap((from) => (from.bare ? from.steps.map((step) => step.to) : []));
  for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
    const known = states[at];
    if (known.rule !== undefined) continue;
    known.rule = builder.newRule(name);
    queue.push(...known.free, ...known.steps.map((step) => step.to));
  }
  const whole = builder.newRule(name);
  const { open, comma, close, empty } = chain.brackets;
  let ends = false;
  for (const from of states) {
    const add = (to: RuleId, ...symbols: readonly Sym[]) =>
      builder.addAlternative(to, builder.fuse(symbols));
    const led = from.rule === undefined ? [] : [{ rule: from.rule }];
    for (const { member, to } of from.steps) {
      if (from.bare) add(states[to].rule!, open, ...member);
      if (from.rule !== undefined) add(states[to].rule!, ...led, comma, ...member);
    }
    if (from.rule !== undefined) for (const to of from.free) add(states[to].rule!, ...led);
    if (!chain.accepts(from.state)) continue;
    ends = true;
    if (from.rule !== undefined) add(whole, ...led, close);
    if (from.bare) add(whole, empty);
  }
  return ends ? { rule: whole } : builder.terminal(builder.regex.empty());
}

function explore<State>(chain: Chain<State>): Known<State>[] {
  const ids = new Map<string, number>();
  const states: Known<State>[] = [];
  const idOf = (state: State): number => {
    const key = chain.key(state);
    let id = ids.get(key);
    if (id === undefined) {
      if (states.length >= MAX_STATES) {
        throw new Refusal(
          chain.pointer,
          `it needs more than ${MAX_STATES} states: take smaller counts`,
        );
      }
      id = states.length;
      ids.set(key, id);
      states.push({ state, steps: [], free: [], bare: false, rule: undefined });
    }
    return id;
  };
  idOf(chain.start);
  for (let i = 0; i < states.length; i++) {
    const known = states[i];
    known.steps = chain.steps(known.state).map(({ member, to }) => ({ member, to: idOf(to) }));
    known.free = chain.free(known.state).map(idOf);
  }
  return states;
}

function markBare<State>(states: readonly Known<State>[]): void {
  const queue = [0];
  for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
    if (states[at].bare) continue;
    states[at].bare = true;
    queue.push(...states[at].free);
  }
}
