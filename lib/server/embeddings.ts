/** /v1/embeddings, /classify, /pooling: vectors and labels of texts */
import type { EmbedOptions } from '../engine/pooling-options.js';
import type { EmbeddingOutput } from '../engine/pooling-outputs.js';
import type { Exchange } from './exchange.js';
import type { Model } from './models.js';
import type { ServerConfig } from './options.js';
import {
  inputTexts,
  listHead,
  listParts,
  ofTexts,
  textOptions,
  usageOf,
  vectorJson,
} from './pooling.js';
import { badRequest } from './problem.js';
import type { TextPrompt } from './prompt-input.js';
import { refuseUnsupported } from './refused.js';
import type { Route } from './router.js';
import {
  type ClassifyBody,
  classifyAnswer,
  classifyBody,
  type EmbeddingBody,
  embeddingAnswer,
  embeddingBody,
  type PoolingBody,
  poolingAnswer,
  poolingBody,
} from './schemas/pooling.js';
import type { Service } from './service.js';

export function embeddingRoutes(service: Service): Route[] {
  const common = { method: 'POST', guarded: true, queued: true } as const;
  return [
    {
      ...common,
      path: '/v1/embeddings',
      summary: "Vectors of texts, as OpenAI's embeddings",
      body: embeddingBody,
      response: embeddingAnswer,
      handle: (exchange) => answerEmbeddings(service, exchange),
    },
    {
      ...common,
      path: '/classify',
      summary: 'Labels of texts and how likely each is, by a model with a classification head',
      body: classifyBody,
      response: classifyAnswer,
      handle: (exchange) => answerLabels(service, exchange),
    },
    {
      ...common,
      path: '/pooling',
      summary: 'What the model makes of texts: vectors, or how likely each label is',
      body: poolingBody,
      response: poolingAnswer,
      handle: (exchange) => answerPooled(service, exchange),
    },
  ];
}

async function answerEmbeddings(service: Service, exchange: Exchange): Promise<void> {
  const body = await exchange.body(embeddingBody);
  const model = service.models.findFor('embed', body.model);
  const outputs = await embed(exchange, model, body);
  const usage = usageOf(service, exchange, model, outputs);
  const head = listHead('embd-', body, model, usage);
  const { encoding_format: format } = body;
  await exchange.jsonParts(
    listParts(head, outputs, ({ embedding }, i) => {
      const vector = vectorJson(embedding, format);
      return `{"object":"embedding","index":${i},"embedding":${vector}}`;
    }),
  );
}

/**
 * The first values of a vector are one of a model that was trained for it only, and answers would
 * not show it.
 * @throws Problem 400
 */
function checkDimensions({ llm }: Model, dimensions: number, { matryoshka: any }: ServerConfig) {
  const { width = dimensions, matryoshka = true } = llm.info.pooling ?? {};
  if (any || matryoshka === true || dimensions === width) return;
  const member = 'dimensions';
  if (matryoshka === false) {
    const sentence =
      `${member}: the files of this model do not say that it was trained for vectors of fewer ` +
      `than ${width} values (is_matryoshka or matryoshka_dimensions); --matryoshka takes them`;
    throw badRequest(sentence, member);
  }
  if (matryoshka.includes(dimensions)) return;
  const known = matryoshka.filter((one) => one < width).join(', ');
  throw badRequest(`${member}: this model makes vectors of ${known} or ${width} values`, member);
}

/** Vectors of what the request brings, one text or several. */
async function embed(
  exchange: Exchange,
  model: Model,
  body: EmbeddingBody,
): Promise<EmbeddingOutput[]> {
  refuseUnsupported(body);
  exchange.facts.model = model.name;
  const { dimensions, normalize, pooling, prompt_name: promptName } = body;
  if (dimensions !== undefined) checkDimensions(model, dimensions, exchange.config);
  const asked = Object.entries({ dimensions, normalize, pooling, promptName });
  const options: EmbedOptions = {
    ...textOptions(exchange, body),
    ...Object.fromEntries(asked.filter(([, value]) => value !== undefined)),
  };
  const { llm } = model;
  return overTexts(body.input, {
    one: async (text) => [await llm.embed(text, options)],
    all: (texts) => llm.embed(texts, options),
  });
}

/** What is wrong with a text is said of the `input`, of a list with its place. */
function overTexts<T>(
  input: string | unknown[],
  calls: { one(text: TextPrompt): Promise<T[]>; all(texts: TextPrompt[]): Promise<T[]> },
): Promise<T[]> {
  const texts = inputTexts(input);
  const isList = typeof input !== 'string' && typeof input[0] !== 'number';
  return ofTexts({ texts: 'input' }, isList ? calls.all(texts) : calls.one(texts[0]));
}

async function classify(exchange: Exchange, { name, llm }: Model, body: ClassifyBody) {
  refuseUnsupported(body);
  exchange.facts.model = name;
  const options = textOptions(exchange, body);
  return overTexts(body.input, {
    one: async (text) => [await llm.classify(text, options)],
    all: (texts) => llm.classify(texts, options),
  });
}

async function answerLabels(service: Service, exchange: Exchange): Promise<void> {
  const body = await exchange.body(classifyBody);
  const model = service.models.findFor('classify', body.model);
  const outputs = await classify(exchange, model, body);
  const usage = usageOf(service, exchange, model, outputs);
  const head = listHead('classify-', body, model, usage);
  await exchange.jsonParts(
    listParts(head, outputs, ({ label, scores }, index) => {
      const probs = Array.from(scores);
      return JSON.stringify({ index, label, probs, num_classes: probs.length });
    }),
  );
}

const OF_VECTORS = ['dimensions', 'normalize', 'pooling', 'prompt_name', 'instruction'] as const;

/** Of a model with labels their probabilities, of any other its vectors. */
async function pool(exchange: Exchange, model: Model, body: PoolingBody) {
  const isClassifier = model.llm.info.pooling?.labels !== undefined;
  if (body.task === 'classify' ? !isClassifier : body.task === 'embed' && isClassifier) {
    const has = isClassifier ? 'labels (task classify)' : 'vectors (task embed)';
    throw badRequest(`task: this model makes ${has}`, 'task');
  }
  if (!isClassifier) {
    const outputs = await embed(exchange, model, body);
    return outputs.map(({ embedding, ...rest }) => ({ ...rest, values: embedding }));
  }
  const own = OF_VECTORS.find((name) => body[name] !== undefined);
  if (own !== undefined) throw badRequest(`${own}: is for vectors; this model makes labels`, own);
  const outputs = await classify(exchange, model, body);
  return outputs.map(({ scores, ...rest }) => ({ ...rest, values: scores }));
}

async function answerPooled(service: Service, exchange: Exchange): Promise<void> {
  const body = await exchange.body(poolingBody);
  // A model that is named may be of the other kind, which is then said of the task.
  const model = service.models.findFor(body.model ? 'pool' : (body.task ?? 'pool'), body.model);
  const outputs = await pool(exchange, model, body);
  const usage = usageOf(service, exchange, model, outputs);
  const head = listHead('pool-', body, model, usage);
  const { encoding_format: format } = body;
  await exchange.jsonParts(
    listParts(head, outputs, ({ values }, i) => {
      return `{"object":"pooling","index":${i},"data":${vectorJson(values, format)}}`;
    }),
  );
}
