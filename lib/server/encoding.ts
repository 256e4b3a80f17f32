/** Prompts as ids, for routes that ask for these alone, and for requests that say how they are. */
import type { LLM } from '../engine/llm.js';
import type { Prompt } from '../engine/prompts.js';
import { isOctavoError } from '../errors.js';
import type { StartEvent } from './engine-events.js';
import type { Exchange } from './exchange.js';

/** Tokens that are counted even where a context holds fewer: their ids take 6 ms to be read. */
const MAX_COUNTED = 65_536;

/** Most tokens of a text that is only tokenized, or of ids that are only spelled. */
export function mostTokens({ info }: LLM): number {
  return Math.max(info.maxModelLen, MAX_COUNTED);
}

/**
 * Ids of a prompt, as the engine would make them; in its queue, for as long as the client waits.
 * @param forms the first that the chat template takes is used
 * @param addSpecialTokens what a request says; a template writes its own, a text gets them
 */
export async function encodeForms(
  { signal, timeLeft }: Exchange,
  llm: LLM,
  forms: Iterable<Prompt>,
  addSpecialTokens?: boolean,
): Promise<number[]> {
  const maxTokens = mostTokens(llm);
  const add = addSpecialTokens === undefined ? {} : { addSpecialTokens };
  let refused: unknown;
  for (const form of forms) {
    try {
      return await llm.encode(form, { signal, ...timeLeft, maxTokens, ...add });
    } catch (error) {
      if (!isOctavoError(error) || error.code !== 'ERR_CHAT_TEMPLATE') throw error;
      refused = error;
    }
  }
  throw refused;
}

/** The text of a prompt; of ids, what they spell. */
export async function promptText(
  { tokenizer }: LLM,
  { text, tokenIds }: StartEvent,
  skipSpecialTokens: boolean,
): Promise<string> {
  return text ?? (await tokenizer.decode(tokenIds, { skipSpecialTokens }));
}

/** What a request may say of the prompt's ids. */
export interface TokenWishes {
  readonly add_special_tokens?: boolean;
  readonly truncate_prompt_tokens?: number;
  readonly truncation_side?: 'left' | 'right';
}

/**
 * The prompt with its ids as the request wants them; untouched where it says nothing of them, and
 * then they are made with the generation.
 * @param maxTokens what -1 leaves room for
 */
export async function withTokenWishes(
  exchange: Exchange,
  llm: LLM,
  forms: Iterable<Prompt>,
  wishes: TokenWishes,
  maxTokens: number,
): Promise<Iterable<Prompt>> {
  const { add_special_tokens: add, truncate_prompt_tokens: most, truncation_side: side } = wishes;
  if (add === undefined && most === undefined) return forms;
  const [form] = forms;
  const isIds = typeof form === 'object' && 'promptTokenIds' in form;
  if (isIds && most === undefined) return forms;
  const ids = isIds
    ? Array.from(form.promptTokenIds)
    : await encodeForms(exchange, llm, forms, add);
  const promptTokenIds = truncated(ids, most, side, llm.info.maxModelLen - maxTokens);
  // How an answer is read is not told by ids.
  const isChat = typeof form === 'object' && 'messages' in form;
  const { chat, template } = isChat ? form : {};
  return [{ promptTokenIds, ...(chat && { chat }), ...(chat && template && { template }) }];
}

function truncated(ids: number[], most: number | undefined, side = 'left', rest = 0): number[] {
  if (most === undefined) return ids;
  const keep = most === -1 ? Math.max(1, rest) : most;
  if (ids.length <= keep) return ids;
  return side === 'left' ? ids.slice(ids.length - keep) : ids.slice(0, keep);
}
