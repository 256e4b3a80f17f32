/** Reads schemas and grammars in a thread of its own: see GrammarReader, which starts it. */
import { parentPort } from 'node:worker_threads';
import { Budget, type BudgetLimits } from '../grammar/budget.js';
import { type GrammarFailure, grammarFailure } from '../grammar/problem.js';
import {
  type GrammarJob,
  type GrammarSource,
  type Program,
  readProgram,
  sourceOfSpec,
} from '../grammar/reading.js';
import { sourceOfAnswer } from '../tools/answer-job.js';

export interface WorkerTask {
  readonly job: GrammarJob;
  readonly limits: BudgetLimits;
}

export type WorkerAnswer =
  | { readonly program: Program }
  | { readonly failure: GrammarFailure }
  /** A bug. */
  | { readonly error: unknown };

const SOURCES: Readonly<
  Record<GrammarJob['kind'], (data: unknown) => Pick<GrammarSource, 'build'>>
> = { spec: sourceOfSpec, answer: sourceOfAnswer };

function answerTo({ job, limits }: WorkerTask): WorkerAnswer {
  try {
    return { program: readProgram(SOURCES[job.kind](job.data), new Budget(limits)) };
  } catch (error) {
    const failure = grammarFailure(error);
    return failure === null ? { error } : { failure };
  }
}

parentPort?.on('message', (task: WorkerTask) => {
  const answer = answerTo(task);
  const moved = 'program' in answer ? [answer.program.words.buffer as ArrayBuffer] : [];
  parentPort?.postMessage(answer, moved);
});
