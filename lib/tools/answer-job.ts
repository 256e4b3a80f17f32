/** What an answer's grammar is built of as plain data, for another thread. */
import type { Budget } from '../grammar/budget.js';
import {
  type GrammarJob,
  type GrammarSource,
  limitsOf,
  type SentLimits,
  sentLimits,
  textsIn,
} from '../grammar/reading.js';
import { type AnswerWish, answerGrammar } from './answer-grammar.js';
import { isMark } from './marks.js';

interface AnswerData extends Omit<AnswerWish, 'marks' | 'limits'> {
  /** Ids of the marks in `format`. */
  readonly ids: ReadonlyMap<string, number>;
  readonly limits: SentLimits;
}

export function answerJob({ marks, limits, tools, ...rest }: AnswerWish): GrammarJob {
  const ids = new Map<string, number>();
  for (const text of textsIn(rest.format)) {
    for (const char of text) if (isMark(char)) ids.set(char, marks.idOf(char));
  }
  const data: AnswerData = {
    ...rest,
    // For the template only.
    tools: { ...tools, definitions: null },
    ids,
    limits: sentLimits(limits, rest.content),
  };
  return { kind: 'answer', data };
}

/** The source that a job of kind `answer` was made of. */
export function sourceOfAnswer(given: unknown): Pick<GrammarSource, 'build'> {
  const { ids, limits, ...rest } = given as AnswerData;
  const marks = { idOf: (mark: string) => ids.get(mark) as number };
  const wish: AnswerWish = { ...rest, marks, limits: limitsOf(limits) };
  return { build: (budget: Budget) => answerGrammar(wish, budget) };
}
