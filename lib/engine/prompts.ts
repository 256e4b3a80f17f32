/** From what callers write to ids, before anything enters the queue. */
import { readArgument, shown } from '../arguments.js';
import { promptTooLong } from '../core/admission.js';
import { isOctavoError, octavoError } from '../errors.js';
import { checkOnlyText, checkRoles } from '../text/chat-messages.js';
import type { ChatMessage, ChatTemplate, RenderOptions } from '../text/chat-template.js';
import { MAX_TEXT_LENGTH, type Tokenizer } from '../text/tokenizer.js';
import type { ChatOptions } from '../tools/types.js';
import type { Deadline } from './deadline.js';
import type { EncodingQueue } from './encoding-queue.js';

/**
 * Text, ids, or a conversation. `parseSpecialTokens`: whether control tokens spelled in the text
 * are control tokens. By default they are in a text, in a conversation only where its template
 * writes them.
 */
export type Prompt =
  | string
  | { readonly prompt: string; readonly parseSpecialTokens?: boolean }
  | { readonly promptTokenIds: ArrayLike<number> }
  | {
      /** A conversation that has been rendered: its answer is read as `chat` says. */
      readonly promptTokenIds: ArrayLike<number>;
      readonly chat: ChatOptions;
      /** What it was rendered with. */
      readonly template?: RenderOptions;
    }
  | {
      readonly messages: readonly ChatMessage[];
      readonly template?: RenderOptions;
      readonly parseSpecialTokens?: boolean;
      /** Tools, and how the answer is told apart; without it the answer is a text. */
      readonly chat?: ChatOptions;
    };

/** A prompt that is one; ids are checked, nothing else has been looked into. */
export type CheckedPrompt =
  | { readonly kind: 'text'; readonly text: string; readonly parse: boolean }
  | ({ readonly kind: 'ids'; readonly ids: Int32Array } & AsChat)
  | ({
      readonly kind: 'chat';
      readonly messages: readonly ChatMessage[];
      readonly parse: boolean;
    } & AsChat);

interface AsChat {
  readonly template?: RenderOptions;
  readonly chat?: ChatOptions;
}

/** Text and ids of a prompt; text is null where only ids were given. */
export interface EncodedPrompt {
  readonly text: string | null;
  readonly tokenIds: Int32Array;
}

export interface PromptLimits {
  readonly vocabSize: number;
  readonly maxModelLen: number;
}

/** What texts become ids with. */
export interface Encoder {
  readonly tokenizer: Tokenizer;
  readonly template: () => ChatTemplate;
  readonly queue: EncodingQueue;
}

/** Characters per token of context up to which no text is suspected of being too long. */
export const USUAL_LENGTH = 16;

/**
 * Is it a prompt, and of ids the model has? Lengths first: ten million ids are refused at once.
 * @throws ERR_INVALID_PROMPT, ERR_PROMPT_TOO_LONG
 */
export function checkPrompt(prompt: unknown, limits: PromptLimits): CheckedPrompt {
  if (typeof prompt === 'string') return { kind: 'text', text: prompt, parse: true };
  return readArgument(() => {
    const checked = checkObject(prompt);
    if (checked === null) throw notAPrompt();
    return checked.kind === 'ids' ? { ...checked, ids: checkIds(checked.ids, limits) } : checked;
  }, notAPrompt);
}

type Checked =
  | Exclude<CheckedPrompt, { kind: 'ids' }>
  | ({ kind: 'ids'; ids: ArrayLike<number> } & AsChat);

/** One of the three forms, with no other member. */
function checkObject(value: unknown): Checked | null {
  if (typeof value !== 'object' || value === null) return null;
  const { prompt, promptTokenIds, messages, template, ...others } = value as Record<
    string,
    unknown
  >;
  const { parseSpecialTokens: parse, chat, ...rest } = others;
  const given = [prompt, promptTokenIds, messages].filter((form) => form !== undefined);
  if (given.length !== 1 || Object.keys(rest).length > 0) return null;
  if (parse !== undefined && (typeof parse !== 'boolean' || promptTokenIds !== undefined)) {
    return null;
  }
  if (template !== undefined && !isObject<RenderOptions>(template)) return null;
  if (chat !== undefined && !isObject<ChatOptions>(chat)) return null;
  if (Array.isArray(messages)) {
    return { kind: 'chat', messages, template, parse: parse ?? false, chat };
  }
  if (chat !== undefined) {
    return isList(promptTokenIds) ? { kind: 'ids', ids: promptTokenIds, template, chat } : null;
  }
  if (template !== undefined) return null;
  if (typeof prompt === 'string') return { kind: 'text', text: prompt, parse: parse ?? true };
  return isList(promptTokenIds) ? { kind: 'ids', ids: promptTokenIds } : null;
}

function isObject<T extends object>(value: unknown): value is T {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isList(value: unknown): value is ArrayLike<number> {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && 'length' in value);
}

function checkIds(ids: ArrayLike<number>, { vocabSize, maxModelLen }: PromptLimits): Int32Array {
  const { length } = ids;
  if (length === 0) throw invalid('the prompt is empty: promptTokenIds has no id');
  if (length >= maxModelLen) throw promptTooLong(length, maxModelLen);
  const taken = new Int32Array(length);
  for (let i = 0; i < length; i++) {
    const id = ids[i];
    if (!(Number.isInteger(id) && id >= 0 && id < vocabSize)) {
      throw invalid(
        `prompt token ${i} is ${shown(id)}, which is not an id of this model ` +
          `(0 to ${vocabSize - 1})`,
      );
    }
    taken[i] = id;
  }
  return taken;
}

/**
 * Refuses a text that could not fit if it consisted of the tokenizer's longest token, before any
 * work is done for it.
 * @throws ERR_PROMPT_TOO_LONG
 */
export async function checkText(
  text: string,
  tokenizer: Tokenizer,
  maxModelLen: number,
): Promise<void> {
  if (text.length <= Math.min(maxModelLen * USUAL_LENGTH, MAX_TEXT_LENGTH)) return;
  const longest = await tokenizer.longestToken();
  const most = Math.min(maxModelLen * Math.max(longest, USUAL_LENGTH), MAX_TEXT_LENGTH);
  if (text.length <= most) return;
  throw octavoError(
    'ERR_PROMPT_TOO_LONG',
    `the prompt has ${text.length} characters, and at most ${most} are tokenized where ` +
      `${maxModelLen} tokens fit; shorten the prompt`,
    { param: 'prompt' },
  );
}

/** A prompt that is not ids already. */
export type TextPrompt = Exclude<CheckedPrompt, { kind: 'ids' }>;

/** What of its ids a caller may say. */
export interface TokenizeWishes {
  readonly maxTokens: number;
  readonly addSpecialTokens?: boolean;
}

/**
 * Renders and tokenizes, when it is this prompt's turn.
 * @throws ERR_INVALID_PROMPT; ERR_PROMPT_TOO_LONG; ERR_CHAT_TEMPLATE when the template refuses the
 * messages; what ends the deadline
 */
export async function tokenizePrompt(
  prompt: TextPrompt,
  { tokenizer, template, queue }: Encoder,
  { maxTokens, addSpecialTokens }: TokenizeWishes,
  deadline: Deadline,
): Promise<{ text: string; ids: number[] }> {
  const isChat = prompt.kind === 'chat';
  const guarded = prompt.parse ? '' : tokenizer.guardedChars;
  const { text, marked } = isChat
    ? template().renderGuarded(prompt.messages, prompt.template, guarded)
    : { text: prompt.text, marked: prompt.parse ? prompt.text : null };
  if (isChat) checkOnlyText(prompt.messages);
  if (isChat && !prompt.parse) {
    checkRoles(prompt.messages, (word) => tokenizer.isPartOfControl(word));
  }
  await checkText(text, tokenizer, maxTokens);
  // A chat template writes every special token itself.
  const options = { maxTokens, addSpecialTokens: addSpecialTokens ?? !isChat };
  const encode = () => tokenizer.encodeNow(text, options, marked);
  return { text, ids: await queue.run(text.length, encode, deadline) };
}

/**
 * The ids that a request begins with.
 * @throws what {@link tokenizePrompt} throws; ERR_INVALID_PROMPT when there is no token, or an id
 * is not of the vocabulary
 */
export async function encodePrompt(
  prompt: CheckedPrompt,
  encoder: Encoder,
  limits: PromptLimits,
  deadline: Deadline,
): Promise<EncodedPrompt> {
  if (prompt.kind === 'ids') return { text: null, tokenIds: prompt.ids };
  const wishes = { maxTokens: limits.maxModelLen };
  const { text, ids } = await tokenizePrompt(prompt, encoder, wishes, deadline);
  if (ids.length === 0) {
    throw invalid('the prompt is empty: it has no token to start from; write at least a character');
  }
  return { text, tokenIds: checkIds(ids, limits) };
}

function notAPrompt(cause?: unknown): Error {
  const sentence =
    'a prompt must be a string, {prompt: string}, {promptTokenIds: number[]} ' +
    'or {messages: [{role, content}]}';
  return octavoError('ERR_INVALID_PROMPT', sentence, { param: 'prompt', cause });
}

function invalid(message: string): Error {
  return octavoError('ERR_INVALID_PROMPT', message, { param: 'prompt' });
}

/**
 * Bad words as ids: each as it stands at a beginning and after a space, because most tokenizers
 * spell these differently.
 */
export async function badWordIds(
  words: readonly string[],
  { tokenizer, queue }: Encoder,
  deadline: Deadline,
): Promise<number[][]> {
  const encodeAll = async () => {
    const spelled = new Map<string, number[]>();
    for (const word of words) {
      for (const form of [word, ` ${word.trimStart()}`]) {
        const ids = await tokenizer.encodeNow(form, { addSpecialTokens: false });
        if (ids.length > 0) spelled.set(ids.join(), ids);
      }
    }
    return [...spelled.values()];
  };
  const size = words.reduce((sum, word) => sum + 2 * word.length + 1, 0);
  return queue.run(size, encodeAll, deadline);
}

/** Says which prompt of a list an error is about: in its message, and as `promptIndex`. */
export function ofPrompt(error: unknown, place: number | undefined): unknown {
  const isOne = isOctavoError(error) && (error.status === 400 || error.code === 'ERR_NON_FINITE');
  if (!isOne || place === undefined || error.promptIndex !== undefined) return error;
  error.message = `prompt ${place}: ${error.message}`;
  return Object.assign(error, { promptIndex: place });
}
