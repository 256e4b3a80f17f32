/** What the routes that make vectors and scores have in common. */
import type { ScoreOptions } from '../engine/pooling-options.js';
import { isOctavoError, type OctavoError } from '../errors.js';
import type { Exchange } from './exchange.js';
import type { Model } from './models.js';
import { asProblem, badRequest, Problem } from './problem.js';
import { type TextPrompt, textPrompts } from './prompt-input.js';
import { answerId, type Service, seconds } from './service.js';

/** Most texts of one request; OpenAI's. */
const MAX_TEXTS = 2048;

interface TextsBody {
  readonly truncate_prompt_tokens?: number;
  readonly instruction?: string;
}

/**
 * What a request says of all its texts, and of itself, as options of a call.
 * @throws Problem 400
 */
export function textOptions(exchange: Exchange, body: TextsBody) {
  const { truncate_prompt_tokens: most, instruction } = body;
  if (most === 0) {
    const sentence =
      'truncate_prompt_tokens: must be above 0, or -1 for as many as the model takes';
    throw badRequest(sentence, 'truncate_prompt_tokens');
  }
  return {
    signal: exchange.signal,
    ...exchange.timeLeft,
    ...(most === undefined ? {} : { truncate: most === -1 ? true : most }),
    ...(instruction === undefined ? {} : { instruction }),
  };
}

interface QuestionBody extends TextsBody {
  readonly template?: string;
  readonly tokens?: string[];
}

/** The same of a request for scores. */
export function scoreOptions(exchange: Exchange, body: QuestionBody): ScoreOptions {
  const { template, tokens } = body;
  return {
    ...textOptions(exchange, body),
    ...(template === undefined ? {} : { template }),
    ...(tokens === undefined ? {} : { tokens: tokens as [string, string] }),
  };
}

/** @throws Problem 400 */
export function checkNumTexts(texts: readonly unknown[], name: string): void {
  if (texts.length <= MAX_TEXTS) return;
  throw badRequest(`${name}: at most ${MAX_TEXTS} texts are taken at once`, name);
}

/**
 * The texts of an `input`: one, or a list; of text, or of ids.
 * @throws Problem 400
 */
export function inputTexts(input: string | readonly unknown[]): TextPrompt[] {
  const isOne = typeof input === 'string' || typeof input[0] === 'number';
  if (!isOne) checkNumTexts(input, 'input');
  return textPrompts(input, 'input');
}

/** How a request calls the texts of a call. */
export interface TextNames {
  readonly texts: string;
  /** It gives one text, not a list. */
  readonly isOne?: boolean;
  readonly query?: string;
}

/** Waits for a call; its error names the member of the request that it is about. */
export async function ofTexts<T>(names: TextNames, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (!isOctavoError(error) || error.status >= 500) throw error;
    const member = memberOf(error, names);
    if (member === undefined) throw error;
    const { status, message, headers } = asProblem(error);
    throw new Problem(status, `${member}: ${inOwnWords(message)}`, member, headers);
  }
}

/** Undefined: it is about no text. */
function memberOf({ promptIndex, param }: OctavoError, { texts, isOne, query }: TextNames) {
  if (promptIndex !== undefined) return isOne ? texts : `${texts}[${promptIndex}]`;
  // Of a call with a list, what has no place is the query's.
  if (param === 'prompt' || param === 'promptTokenIds') return query ?? texts;
  return param === 'query' ? query : undefined;
}

/** The library calls texts prompts, and ids by a name that requests have not. */
function inOwnWords(message: string): string {
  return message
    .replace(/^prompt \d+: /, '')
    .replace(
      /^the (prompt|text) is empty: (prompt|it) has no (id|token)/,
      'is empty: it has no token',
    )
    .replace(/^(?:the )?(?:prompt|text)(?= token | has )/, (words) =>
      words.startsWith('the') ? 'the text' : '',
    )
    .trimStart();
}

interface Counted {
  readonly numPromptTokens: number;
}

/** Tells log and metrics of texts that were computed; what the answer says of them. */
export function usageOf(
  { metrics }: Service,
  { facts, arrived }: Exchange,
  model: Model,
  outputs: readonly Counted[],
) {
  const numTokens = outputs.map(({ numPromptTokens }) => numPromptTokens);
  const total = numTokens.reduce((sum, one) => sum + one, 0);
  facts.prompt_tokens = total;
  facts.num_texts = outputs.length;
  metrics?.observePooled(model, numTokens, (performance.now() - arrived) / 1000);
  return { prompt_tokens: total, total_tokens: total };
}

/** What a list begins with. */
export function listHead(
  prefix: string,
  body: { readonly model?: string; readonly request_id?: string },
  { name }: Model,
  usage: object,
): object {
  const id = answerId(prefix, body);
  return { id, object: 'list', created: seconds(), model: body.model ?? name, usage };
}

/** A list in pieces, each of its entries made when it is sent. */
export function* listParts<T>(
  head: object,
  outputs: readonly T[],
  entry: (output: T, index: number) => string,
): Generator<string, void, void> {
  yield `${JSON.stringify(head).slice(0, -1)},"data":[`;
  for (let i = 0; i < outputs.length; i++) yield (i === 0 ? '' : ',') + entry(outputs[i], i);
  yield ']}';
}

/** A vector as JSON: its numbers, or the bytes of little-endian float32 in base64. */
export function vectorJson(vector: Float32Array, format: 'float' | 'base64' = 'float'): string {
  if (format === 'float') return JSON.stringify(Array.from(vector));
  // Every machine that octavo runs on is little-endian.
  const { buffer, byteOffset, byteLength } = vector;
  return `"${Buffer.from(buffer, byteOffset, byteLength).toString('base64')}"`;
}
