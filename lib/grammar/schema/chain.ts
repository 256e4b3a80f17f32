import type { GrammarBuilder, RuleId, Sym } from '../grammar.js';
import type { Regex } from '../ir.js';
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
  readonly open: Regex;
  readonly comma: Regex;
  readonly close: Regex;
  readonly empty: Regex;
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
  let ends = false;
  for (const from of states) {
    const add = (to: number, symbols: readonly Sym[]) =>
      builder.addAlternative(states[to].rule!, symbols);
    for (const { member, to } of from.steps) {
      if (from.bare) add(to, led(chain.open, member, builder));
      if (from.rule !== undefined)
        add(to, [{ rule: from.rule }, ...led(chain.comma, member, builder)]);
    }
    if (from.rule !== undefined) for (const to of from.free) add(to, [{ rule: from.rule }]);
    if (!chain.accepts(from.state)) continue;
    ends = true;
    const close = builder.terminal(chain.close);
    if (from.rule !== undefined) builder.addAlternative(whole, [{ rule: from.rule }, close]);
    if (from.bare) builder.addAlternative(whole, [builder.terminal(chain.empty)]);
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

/** A member behind a bracket or comma, in as few terminals as can be. */
function led(lead: Regex, member: readonly Sym[], builder: GrammarBuilder): readonly Sym[] {
  const [first, ...rest] = member;
  if (!('terminal' in first)) return [builder.terminal(lead), ...member];
  return [builder.terminal(builder.regex.concat(lead, first.terminal)), ...rest];
}
