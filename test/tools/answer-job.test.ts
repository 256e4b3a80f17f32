import { expect, it } from 'vitest';
import { Budget } from '../../lib/grammar/budget.js';
import { readProgram } from '../../lib/grammar/reading.js';
import { type AnswerWish, answerGrammar } from '../../lib/tools/answer-grammar.js';
import { answerJob, sourceOfAnswer } from '../../lib/tools/answer-job.js';
import { checkTools } from '../../lib/tools/definitions.js';
import { FAMILIES } from '../support/tool-families.js';
import { subject } from './support.js';

const parameters = {
  type: 'object',
  properties: {
    city: { type: 'string', maxLength: 9 },
    days: { type: 'integer', format: 'int32' },
  },
  required: ['city'],
};
const tool = (name: string) => ({ type: 'function' as const, function: { name, parameters } });

it.each(Object.keys(FAMILIES))('%s: the same grammar by way of data', (name) => {
  const { marked, marks } = subject(FAMILIES[name].source);
  const content = { grammar: 'root ::= <|x|> [a-z]+' };
  const wish: AnswerWish = {
    format: marked,
    marks,
    tools: checkTools({ tools: [tool('a'), tool('b')], toolChoice: 'auto' }),
    beginning: 'start',
    ...(marked.calls === null ? { content } : {}),
    limits: { maxDepth: 20, tokenIds: (text) => (text === '<|x|>' ? 77 : undefined) },
  };
  const { kind, data } = structuredClone(answerJob(wish));
  expect(kind).toBe('answer');
  const here = { build: (budget: Budget) => answerGrammar(wish, budget) };
  const program = readProgram(here, new Budget());
  expect(readProgram(sourceOfAnswer(data), new Budget())).toEqual(program);
  if (marked.calls !== null) expect(program.words.length).toBeGreaterThan(100);
});
