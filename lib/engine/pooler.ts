/** From the calls of a pooling model to texts, and from what is computed of these to outputs. */
import { takeList } from '../arguments.js';
import { octavoError } from '../errors.js';
import type { PoolingSpec } from '../model/pooling.js';
import { Pacer } from '../text/pacer.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { SignalOptions } from './call-options.js';
import { Deadline } from './deadline.js';
import { encodings } from './encoding-queue.js';
import type { Entrance } from './entrance.js';
import { PoolingCall, type PoolingWork } from './pooling-call.js';
import type { PoolingEngine } from './pooling-engine.js';
import type { PoolingInfo } from './pooling-info.js';
import { type EmbedOptions, type PoolingCallOptions, poolingOptions } from './pooling-options.js';
import type {
  ClassifyOutput,
  EmbeddingOutput,
  RankOutput,
  ScoreOutput,
} from './pooling-outputs.js';
import type { PoolingPlan } from './pooling-plan.js';
import {
  type CheckedText,
  type Front,
  type LengthWish,
  lengthWish,
  sizeOf,
  TextEncoder,
} from './pooling-texts.js';
import { ofPrompt } from './prompts.js';
import {
  activated,
  answerIds,
  checkFinite,
  dot,
  QuestionForm,
  sigmoid,
  softmax,
  vectorOf,
} from './scoring.js';

type ScoreWishes = Omit<PoolingCallOptions<'score'>, 'signal' | 'timeoutMs' | 'truncate'>;
type Prepared<T> = Omit<PoolingWork<T>, 'size' | 'prepare' | 'encode'> & {
  /** Made when it is its turn: a long query stands in as many texts as there are documents. */
  readonly textOf: (index: number) => CheckedText;
};

export class Pooler {
  readonly #engine: PoolingEngine;
  readonly #entrance: Entrance;
  readonly #encoder: TextEncoder;
  readonly #info: PoolingInfo;
  readonly #activation: PoolingSpec['activation'];

  constructor(
    engine: PoolingEngine,
    entrance: Entrance,
    tokenizer: Tokenizer,
    { vocabSize }: { readonly vocabSize: number },
    { info, hasTokenTypes, activation }: PoolingPlan,
  ) {
    this.#engine = engine;
    this.#entrance = entrance;
    const { maxSeqLength } = info;
    this.#encoder = new TextEncoder(tokenizer, { vocabSize, maxSeqLength, hasTokenTypes });
    this.#info = info;
    this.#activation = activation;
  }

  /** @throws as {@link LLM.embed} */
  async embed(prompt: unknown, options: unknown): Promise<EmbeddingOutput | EmbeddingOutput[]> {
    this.#entrance.checkOpen();
    const { truncate, ...wishes } = poolingOptions('embed', options);
    this.#checkVectors();
    const front = this.#frontOf(wishes);
    const { pooling = this.#info.pooling, normalize = this.#info.normalize } = wishes;
    const dimensions = this.#dimensionsOf(wishes.dimensions);
    return this.#each(prompt, front, truncate, wishes, {
      pooling,
      output: (text, values): EmbeddingOutput => ({
        embedding: vectorOf(values, dimensions, normalize),
        numPromptTokens: text.tokenIds.length,
        isTruncated: text.isTruncated,
      }),
    });
  }

  /** @throws as {@link LLM.classify} */
  async classify(prompt: unknown, options: unknown): Promise<ClassifyOutput | ClassifyOutput[]> {
    this.#entrance.checkOpen();
    const { truncate, ...wishes } = poolingOptions('classify', options);
    const { labels, pooling } = this.#info;
    if (labels === undefined) {
      throw wrongTask('this model has no classification head; use embed() or score()');
    }
    const front = { text: '', isAsked: false };
    return this.#each(prompt, front, truncate, wishes, {
      pooling,
      output: (text, values): ClassifyOutput => {
        checkFinite(values);
        const scores = activated(values, this.#activation);
        const best = scores.indexOf(Math.max(...scores));
        return {
          label: labels[best],
          score: scores[best],
          scores,
          numPromptTokens: text.tokenIds.length,
          isTruncated: text.isTruncated,
        };
      },
    });
  }

  /** @throws as {@link LLM.score} */
  async score(query: unknown, documents: unknown, options: unknown): Promise<ScoreOutput[]> {
    this.#entrance.checkOpen();
    const { truncate, signal, timeoutMs, ...wishes } = poolingOptions('score', options);
    return this.#score(query, documentsOf(documents), truncate, { signal, timeoutMs }, wishes);
  }

  /** @throws as {@link LLM.rank} */
  async rank(query: unknown, documents: unknown, options: unknown): Promise<RankOutput[]> {
    this.#entrance.checkOpen();
    const { truncate, signal, timeoutMs, topN, ...wishes } = poolingOptions('rank', options);
    const list = documentsOf(documents);
    const scores = await this.#score(query, list, truncate, { signal, timeoutMs }, wishes);
    return scores
      .sort((a, b) => b.score - a.score || a.index - b.index)
      .slice(0, topN)
      .map((output) => ({ ...output, document: list[output.index] as string }));
  }

  /** A text or a list of them, each for itself. */
  async #each<T>(
    prompt: unknown,
    front: Front,
    truncate: boolean | number,
    options: SignalOptions,
    work: Pick<PoolingWork<T>, 'pooling' | 'output'>,
  ): Promise<T | T[]> {
    const isList = Array.isArray(prompt);
    const prompts = isList ? takeList(prompt, 'prompts') : [prompt];
    const placeOf = (index: number) => (isList ? index : undefined);
    const outputs = await this.#run<T>(options, truncate, async (wish, deadline) => {
      const check = (given: unknown) => this.#encoder.check(given, wish, front);
      const texts = await checkAll(prompts, check, placeOf, deadline);
      return { ...work, numTexts: texts.length, textOf: (index) => texts[index], placeOf };
    });
    return isList ? outputs : outputs[0];
  }

  async #score(
    query: unknown,
    documents: readonly unknown[],
    truncate: boolean | number,
    options: SignalOptions,
    wishes: ScoreWishes,
  ): Promise<ScoreOutput[]> {
    if (typeof query !== 'string') throw notAString('query');
    const { scoring } = this.#info;
    if (scoring === undefined) {
      throw wrongTask(
        'the head of this model has several labels, not one for scores; use classify()',
      );
    }
    this.#checkScoreWishes(wishes);
    const placeOf = (index: number) => index;
    if (scoring === 'cosine' || scoring === 'dot') {
      return this.#similarities(query, documents, truncate, options, wishes);
    }
    return this.#run<ScoreOutput>(options, truncate, async (wish, deadline) => {
      const form =
        scoring === 'head'
          ? (document: string): CheckedText => ({ whole: { text: query, pair: document } })
          : await this.#question(query, wishes, wish, deadline);
      const texts = await checkAll(documents, aString, placeOf, deadline);
      const textOf = (index: number) => form(texts[index]);
      return { ...this.#scoresOf(wishes), numTexts: texts.length, textOf, placeOf };
    });
  }

  async #question(
    query: string,
    { instruction, template }: ScoreWishes,
    { maxTokens }: LengthWish,
    deadline: Deadline,
  ) {
    const question = { query, instruction, template };
    const { tokenizer } = this.#encoder;
    const form = await QuestionForm.of(question, tokenizer, maxTokens, deadline);
    return (document: string) => form.about(document);
  }

  /** What becomes of a query with a document: logits of the head, or of two tokens. */
  #scoresOf({ tokens }: ScoreWishes) {
    const { labels, pooling } = this.#info;
    // A head that has the two answers for labels is that of a vocabulary, cut down to them.
    const better = labels === undefined ? 1 : labels.indexOf('yes');
    const ofOne = this.#activation === 'none' ? (logit: number) => logit : sigmoid;
    return {
      pooling: labels === undefined ? ('last' as const) : pooling,
      tokenLogits: labels === undefined ? answerIds(this.#encoder.tokenizer, tokens) : undefined,
      output: (
        { index, tokenIds, isTruncated }: Parameters<PoolingWork<ScoreOutput>['output']>[0],
        values: Float32Array,
      ): ScoreOutput => {
        checkFinite(values);
        return {
          index,
          score: values.length === 1 ? ofOne(values[0]) : softmax(values)[better],
          logits: values.slice(),
          numPromptTokens: tokenIds.length,
          isTruncated,
        };
      },
    };
  }

  async #similarities(
    query: string,
    documents: readonly unknown[],
    truncate: boolean | number,
    options: SignalOptions,
    { instruction }: ScoreWishes,
  ): Promise<ScoreOutput[]> {
    const { pooling, width, normalize, similarity } = this.#info;
    const asQuery = instruction === undefined ? this.#promptOf('query') : instructed(instruction);
    const asDocument = this.#promptOf('document', 'passage', 'corpus');
    const outputs = await this.#run(options, truncate, async (wish, deadline) => {
      const check = (given: unknown) => {
        return this.#encoder.check(aString(given), wish, { text: asDocument, isAsked: false });
      };
      const texts = await checkAll(documents, check, (index) => index, deadline);
      const first = this.#encoder.check(query, wish, { text: asQuery, isAsked: false });
      return {
        pooling,
        numTexts: texts.length === 0 ? 0 : 1 + texts.length,
        textOf: (index: number) => (index === 0 ? first : texts[index - 1]),
        placeOf: (index: number) => (index === 0 ? undefined : index - 1),
        output: (text, values) => ({
          vector: vectorOf(values, width, normalize || similarity === 'cosine'),
          numPromptTokens: text.tokenIds.length,
          isTruncated: text.isTruncated,
        }),
      };
    });
    const [ofQuery, ...ofDocuments] = outputs;
    return ofDocuments.map(({ vector, numPromptTokens, isTruncated }, index) => ({
      index,
      score: dot(ofQuery.vector, vector),
      numPromptTokens: numPromptTokens + (index === 0 ? ofQuery.numPromptTokens : 0),
      isTruncated: isTruncated || ofQuery.isTruncated,
    }));
  }

  async #run<T>(
    options: SignalOptions,
    truncate: boolean | number,
    prepare: (wish: LengthWish, deadline: Deadline) => Promise<Prepared<T>>,
  ): Promise<T[]> {
    const deadline = new Deadline(options);
    return this.#entrance.during(deadline, async () => {
      this.#entrance.checkRoom();
      const wish = lengthWish(truncate, this.#encoder.limits);
      // It has its place in the engine before it gives back the one it held meanwhile.
      const { outputs } = await this.#entrance.holding(async () => {
        const work = this.#workOf(await prepare(wish, deadline), wish);
        deadline.check();
        return { outputs: new PoolingCall(work, this.#engine, encodings, deadline).outputs() };
      });
      return outputs;
    });
  }

  #workOf<T>({ textOf, ...work }: Prepared<T>, wish: LengthWish): PoolingWork<T> {
    return {
      ...work,
      size: (index) => sizeOf(textOf(index)),
      prepare: (from, to) => {
        const texts = Array.from({ length: to - from }, (_, i) => textOf(from + i));
        return this.#encoder.prepare(texts, wish);
      },
      encode: (index, known) => this.#encoder.encode(textOf(index), wish, known),
    };
  }

  #checkVectors(): void {
    if (this.#info.labels === undefined) return;
    throw wrongTask(
      'this model has a classification head: it makes no vectors; use score() or classify()',
    );
  }

  #dimensionsOf(dimensions = this.#info.width): number {
    const { width } = this.#info;
    if (dimensions <= width) return dimensions;
    const sentence = `dimensions ${dimensions} is more than the ${width} values of a vector`;
    throw octavoError('ERR_INVALID_PARAM', sentence, { param: 'dimensions' });
  }

  #frontOf({ promptName, instruction }: EmbedOptions): Front {
    if (instruction !== undefined) {
      if (promptName === undefined) return { text: instructed(instruction), isAsked: true };
      const sentence =
        'instruction and promptName both say what stands in front of a text; give one';
      throw octavoError('ERR_INVALID_PARAM', sentence, { param: 'instruction' });
    }
    const { prompts, defaultPromptName } = this.#info;
    const name = promptName ?? defaultPromptName ?? '';
    if (name === '') return { text: '', isAsked: false };
    if (Object.hasOwn(prompts, name)) {
      return { text: prompts[name], isAsked: promptName !== undefined };
    }
    const known = Object.keys(prompts).map((each) => JSON.stringify(each));
    throw octavoError(
      'ERR_INVALID_PARAM',
      `the model's files have no prompt ${JSON.stringify(name.slice(0, 60))}; ` +
        (known.length === 0 ? 'they have none' : `known are ${known.join(', ')}`),
      { param: 'promptName' },
    );
  }

  /** The first of these prompts that the model's files have, else their default. */
  #promptOf(...names: readonly string[]): string {
    const { prompts, defaultPromptName = '' } = this.#info;
    const name = [...names, defaultPromptName].find((each) => Object.hasOwn(prompts, each));
    return name === undefined ? '' : prompts[name];
  }

  /** Options that mean nothing to this model are refused. */
  #checkScoreWishes(wishes: ScoreWishes): void {
    const { scoring, labels } = this.#info;
    const meant = {
      head: [],
      cosine: ['instruction'],
      dot: ['instruction'],
      tokens: ['instruction', 'template', ...(labels === undefined ? ['tokens'] : [])],
    }[scoring as NonNullable<typeof scoring>] as readonly string[];
    for (const [name, value] of Object.entries(wishes)) {
      if (value === undefined || meant.includes(name)) continue;
      const how =
        scoring === 'head'
          ? 'scores a query and a document by its head'
          : scoring === 'tokens'
            ? 'has a head for the two answers'
            : 'compares vectors';
      const sentence = `this model ${how}, to which ${name} means nothing; leave it out`;
      throw octavoError('ERR_INVALID_PARAM', sentence, { param: name });
    }
  }
}

async function checkAll<T>(
  given: readonly unknown[],
  check: (each: unknown) => T,
  placeOf: (index: number) => number | undefined,
  deadline: Deadline,
): Promise<T[]> {
  const texts: T[] = [];
  const pacer = new Pacer(16);
  for (let i = 0; i < given.length; i++) {
    try {
      texts.push(check(given[i]));
    } catch (error) {
      throw ofPrompt(error, placeOf(i));
    }
    if (!pacer.due()) continue;
    await pacer.turn();
    deadline.check();
  }
  return texts;
}

function instructed(instruction: string): string {
  return `Instruct: ${instruction}\nQuery:`;
}

function documentsOf(documents: unknown): unknown[] {
  if (typeof documents === 'string') return [documents];
  if (Array.isArray(documents)) return takeList(documents, 'documents');
  throw notAString('documents');
}

function aString(document: unknown): string {
  if (typeof document === 'string') return document;
  throw notAString('documents');
}

function notAString(param: 'query' | 'documents'): Error {
  const sentence =
    param === 'query'
      ? 'query must be a string'
      : 'documents must be a string or a list of strings';
  return octavoError('ERR_INVALID_PROMPT', sentence, { param });
}

function wrongTask(sentence: string): Error {
  return octavoError('ERR_MODEL_TASK', sentence);
}
