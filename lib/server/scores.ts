/** /score and /rerank: how well texts answer a query */
import type { ScoreOptions } from '../engine/pooling-options.js';
import type { ScoreOutput } from '../engine/pooling-outputs.js';
import type { Exchange } from './exchange.js';
import type { Model } from './models.js';
import {
  checkNumTexts,
  listHead,
  listParts,
  ofTexts,
  scoreOptions,
  type TextNames,
  usageOf,
} from './pooling.js';
import { badRequest } from './problem.js';
import { refuseUnsupported } from './refused.js';
import type { Route } from './router.js';
import {
  rerankAnswer,
  rerankBody,
  type ScoreBody,
  scoreAnswer,
  scoreBody,
} from './schemas/pooling.js';
import { answerId, type Service } from './service.js';

export function scoreRoutes(service: Service): Route[] {
  const common = { method: 'POST', guarded: true, queued: true } as const;
  const scores = (path: string): Route => ({
    ...common,
    path,
    summary: 'How well texts answer a query, or each its own',
    body: scoreBody,
    response: scoreAnswer,
    handle: (exchange) => answerScores(service, exchange),
  });
  const ranks = (path: string): Route => ({
    ...common,
    path,
    summary: 'Documents by how well they answer a query, the best first',
    body: rerankBody,
    response: rerankAnswer,
    handle: (exchange) => answerRanks(service, exchange),
  });
  return [
    ...['/v1/score', '/score'].map(scores),
    ...['/v1/rerank', '/v2/rerank', '/rerank'].map(ranks),
  ];
}

/** Two sides of the same length; or one query for all. */
interface Pairs {
  readonly queries: readonly string[];
  readonly documents: readonly string[];
  /** How the request calls them. */
  readonly names: Required<TextNames>;
}

const SIDES = [
  ['text_1', 'text_2'],
  ['queries', 'documents'],
  ['queries', 'items'],
  ['data_1', 'data_2'],
] as const;

/** @throws Problem 400 */
function pairsOf(body: ScoreBody): Pairs {
  const given = SIDES.filter((names) => names.every((name) => body[name] !== undefined));
  if (given.length !== 1) {
    const sentence = 'give the texts as text_1 and text_2, or as queries and documents';
    throw badRequest(sentence, given.length === 0 ? 'text_1' : null);
  }
  const [[first, name]] = given;
  const [queries, documents] = [body[first], body[name]].map((side) =>
    Array.isArray(side) ? side : [side as string],
  );
  checkNumTexts(documents, name);
  if (queries.length !== 1 && queries.length !== documents.length) {
    const sentence =
      `${first}: must be one text, or as many as ${name} has (${documents.length}), ` +
      `not ${queries.length}`;
    throw badRequest(sentence, first);
  }
  const names = { texts: name, isOne: typeof body[name] === 'string', query: first };
  return { queries, documents, names };
}

async function answerScores(service: Service, exchange: Exchange): Promise<void> {
  const body = await exchange.body(scoreBody);
  const model = service.models.findFor('score', body.model);
  refuseUnsupported(body);
  exchange.facts.model = model.name;
  const pairs = pairsOf(body);
  const outputs = await score(exchange, model, pairs, scoreOptions(exchange, body));
  const usage = usageOf(service, exchange, model, outputs);
  const head = listHead('score-', body, model, usage);
  await exchange.jsonParts(
    listParts(head, outputs, ({ score }, index) =>
      JSON.stringify({ index, object: 'score', score }),
    ),
  );
}

async function score(
  exchange: Exchange,
  { llm }: Model,
  { queries, documents, names }: Pairs,
  options: ScoreOptions,
): Promise<ScoreOutput[]> {
  if (queries.length === 1) return ofTexts(names, llm.score(queries[0], documents, options));
  const outputs: ScoreOutput[] = Array(documents.length);
  let next = 0;
  const work = async () => {
    while (next < documents.length && !exchange.signal.aborted) {
      const index = next++;
      // To the library each pair is a list of its own.
      const own = {
        texts: `${names.texts}[${index}]`,
        isOne: true,
        query: `${names.query}[${index}]`,
      };
      try {
        const call = llm.score(queries[index], documents[index], options);
        [outputs[index]] = await ofTexts(own, call);
      } catch (error) {
        exchange.abort('another pair of the request failed');
        throw error;
      }
    }
  };
  // Room for others stays in the queue, as with prompts of completions.
  const { maxNumSeqs, maxNumWaiting } = llm.info;
  const width = Math.min(documents.length, maxNumSeqs, Math.max(1, Math.floor(maxNumWaiting / 2)));
  await Promise.all(Array.from({ length: width }, work));
  exchange.signal.throwIfAborted();
  return outputs;
}

async function answerRanks(service: Service, exchange: Exchange): Promise<void> {
  const body = await exchange.body(rerankBody);
  const model = service.models.findFor('score', body.model);
  refuseUnsupported(body);
  checkNumTexts(body.documents, 'documents');
  exchange.facts.model = model.name;
  const documents = body.documents.map((one) => (typeof one === 'string' ? one : one.text));
  const call = model.llm.rank(body.query, documents, scoreOptions(exchange, body));
  const ranked = await ofTexts({ texts: 'documents', query: 'query' }, call);
  const usage = usageOf(service, exchange, model, ranked);
  const { top_n: topN = 0, return_documents: withText = true } = body;
  const best = topN === 0 ? ranked : ranked.slice(0, topN);
  exchange.json({
    id: answerId('rerank-', body),
    model: body.model ?? model.name,
    usage,
    results: best.map(({ index, score, document }) => ({
      index,
      relevance_score: score,
      ...(withText ? { document: { text: document } } : {}),
    })),
  });
}
