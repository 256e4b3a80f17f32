/** How a query and a document become one number. */
import { shown } from '../arguments.js';
import { octavoError } from '../errors.js';
import type { PoolingSpec } from '../model/pooling.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { WholeText } from '../text/whole-texts.js';
import type { Deadline } from './deadline.js';
import { encodings } from './encoding-queue.js';
import { type CheckedText, outside } from './pooling-texts.js';

/** Qwen3-Reranker's. */
const DEFAULT_INSTRUCTION =
  'Given a web search query, retrieve relevant passages that answer the query';
const DEFAULT_TEMPLATE =
  '<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and ' +
  'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n' +
  '<|im_start|>user\n<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}' +
  '<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n';
const DEFAULT_TOKENS = ['no', 'yes'] as const;

const PLACEHOLDER = /\{(instruction|query|document)\}/;

export interface Question {
  readonly query: string;
  readonly instruction?: string;
  readonly template?: string;
}

/** A question about documents, as a model reads it. */
export class QuestionForm {
  readonly #query: string;
  readonly #instruction: string;
  /** Own text and names of placeholders take turns. */
  readonly #pieces: readonly string[];
  readonly #tail: readonly number[];

  private constructor(
    query: string,
    instruction: string,
    pieces: readonly string[],
    tail: readonly number[],
  ) {
    this.#query = query;
    this.#instruction = instruction;
    this.#pieces = pieces;
    this.#tail = tail;
  }

  /**
   * @param maxTokens that a question may have
   * @throws ERR_INVALID_PARAM; ERR_PROMPT_TOO_LONG where there is no room before its tail; what
   * ends the deadline
   */
  static async of(
    { query, instruction = DEFAULT_INSTRUCTION, template = DEFAULT_TEMPLATE }: Question,
    tokenizer: Tokenizer,
    maxTokens: number,
    deadline: Deadline,
  ): Promise<QuestionForm> {
    const pieces = template.split(PLACEHOLDER);
    for (const name of ['query', 'document']) {
      if (pieces.some((piece, i) => i % 2 === 1 && piece === name)) continue;
      const sentence = `template must have {${name}} in it`;
      throw octavoError('ERR_INVALID_PARAM', sentence, { param: 'template' });
    }
    // What follows the last placeholder is never cut.
    const tail = pieces.pop() as string;
    const options = { maxTokens: 2 ** 20, truncate: true, addSpecialTokens: false };
    const encode = async (whole: WholeText) => {
      const run = () => tokenizer.encodeWhole(whole, options);
      return (await encodings.run(whole.text.length, run, deadline)).ids;
    };
    const form = new QuestionForm(query, instruction, pieces, await encode({ text: tail }));
    // Cut off is the end, and without a document every answer would be the same.
    const numTokens = (await encode(form.#whole(''))).length + form.#tail.length;
    if (numTokens >= maxTokens) throw noRoom(numTokens, maxTokens);
    return form;
  }

  /** Control tokens are those of the template; what query and document spell is text. */
  about(document: string): CheckedText {
    return { whole: this.#whole(document), tail: this.#tail, addSpecialTokens: false };
  }

  #whole(document: string): WholeText {
    const values: Record<string, string> = {
      instruction: this.#instruction,
      query: this.#query,
      document,
    };
    let text = '';
    let marked = '';
    this.#pieces.forEach((piece, i) => {
      const isOwn = i % 2 === 0;
      text += isOwn ? piece : values[piece];
      marked += isOwn ? piece : outside(values[piece]);
    });
    return { text, marked };
  }
}

function noRoom(numTokens: number, maxTokens: number): Error {
  return octavoError(
    'ERR_PROMPT_TOO_LONG',
    `the question has ${numTokens} tokens without a document, and at most ${maxTokens} are ` +
      'taken: nothing of a document would be left; shorten the query or the template, or let ' +
      `truncate be more than ${numTokens}`,
    { param: 'query' },
  );
}

/**
 * Ids of the two answers that are compared, the worse one first.
 * @throws ERR_INVALID_PARAM
 */
export function answerIds(
  tokenizer: Tokenizer,
  tokens: readonly [string, string] = DEFAULT_TOKENS,
): [number, number] {
  const [worse, better] = tokens.map((token) => {
    const id = tokenizer.tokenToId(token);
    if (id !== undefined) return id;
    throw octavoError(
      'ERR_INVALID_PARAM',
      `the vocabulary has no token ${shown(token)}; name two that it has as tokens, or load a ` +
        'model that was made for scores',
      { param: 'tokens' },
    );
  });
  return [worse, better];
}

/** @throws ERR_NON_FINITE where one is NaN or infinite */
export function checkFinite(values: Float32Array): void {
  for (const value of values) if (!Number.isFinite(value)) throw nonFinite();
}

function nonFinite(): Error {
  return octavoError(
    'ERR_NON_FINITE',
    'the model made no finite values of this text: its weights are damaged, or overflow in this ' +
      'dtype',
  );
}

/** A vector of its first values, perhaps divided by its length; a copy. */
export function vectorOf(
  values: Float32Array,
  dimensions: number,
  normalize: boolean,
): Float32Array {
  const vector = values.slice(0, dimensions);
  let squares = 0;
  for (let i = 0; i < vector.length; i++) squares += vector[i] * vector[i];
  if (!Number.isFinite(squares)) throw nonFinite();
  if (!normalize) return vector;
  const length = Math.max(Math.sqrt(squares), 1e-12);
  for (let i = 0; i < vector.length; i++) vector[i] /= length;
  return vector;
}

export function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

export function softmax(logits: Float32Array): Float32Array {
  const top = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return Float32Array.from(powers, (power) => power / sum);
}

/** From a head's logits to scores. */
export function activated(
  logits: Float32Array,
  activation: PoolingSpec['activation'],
): Float32Array {
  if (activation === 'softmax') return softmax(logits);
  return activation === 'sigmoid' ? logits.map(sigmoid) : logits.slice();
}
