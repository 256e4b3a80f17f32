/** Which routes a model answers, and why it does not answer others. */
import type { ModelInfo } from '../engine/load.js';

/** What a route asks of a model; `pool`: whatever one makes that is loaded to pool. */
export type Task = 'generate' | 'embed' | 'classify' | 'score' | 'pool';

/** How well a model is made for a task; 0: not at all. */
export function fitness(task: Task, { runner, pooling }: TaskInfo): 0 | 1 | 2 {
  if ((task === 'generate') !== (runner === 'generate')) return 0;
  if (pooling === undefined || task === 'generate' || task === 'pool') return 2;
  const { labels, scoring } = pooling;
  // A reranker's head has a label, too.
  if (task === 'classify') return labels === undefined ? 0 : scoring === undefined ? 2 : 1;
  const comparesVectors = scoring === 'cosine' || scoring === 'dot';
  if (task === 'embed') return labels !== undefined ? 0 : comparesVectors ? 2 : 1;
  return scoring === undefined ? 0 : comparesVectors ? 1 : 2;
}

type TaskInfo = Pick<ModelInfo, 'runner' | 'pooling'>;

const ROUTES: readonly (readonly [Task, readonly string[]])[] = [
  ['embed', ['/v1/embeddings']],
  ['score', ['/score', '/rerank']],
  ['classify', ['/classify']],
  ['pool', ['/pooling']],
];

/** Of a model that has no fitness for a task, behind its name. */
export function whyNot(task: Task, info: TaskInfo): string {
  if (info.runner === 'generate') {
    return 'was loaded to write text; for embeddings and scores load it with --runner pooling';
  }
  const routes = ROUTES.flatMap(([each, paths]) => (fitness(each, info) > 0 ? paths : []));
  const answers = `${routes.slice(0, -1).join(', ')} and ${routes.at(-1)}`;
  if (task === 'generate') {
    return (
      `was loaded for embeddings and scores (it answers ${answers}); text is written by models ` +
      'that are loaded with --runner generate'
    );
  }
  const why = {
    embed: 'makes labels or scores of texts, not vectors',
    classify: 'has no classification head, so no labels',
    score: 'has several labels, not one that could be a score',
    pool: 'does not pool',
  }[task];
  return `${why}; it answers ${answers}`;
}

/** Most tokens of a request: of one that pools, of each of its texts. */
export function longestOf({ maxModelLen, maxNumBatchedTokens, pooling }: LengthInfo): number {
  if (pooling === undefined) return maxModelLen;
  return Math.min(maxModelLen, pooling.maxSeqLength, maxNumBatchedTokens);
}

type LengthInfo = Pick<ModelInfo, 'maxModelLen' | 'maxNumBatchedTokens' | 'pooling'>;
