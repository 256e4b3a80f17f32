/** From what callers write to ids, before anything enters the queue. */
import { z } from 'zod';
import { octavoError } from '../errors.js';
import type { ChatMessage, ChatTemplate, RenderOptions } from '../text/chat-template.js';
import type { Tokenizer } from '../text/tokenizer.js';

/** Text, ids, or a conversation. */
export type Prompt =
  | string
  | { readonly prompt: string }
  | { readonly promptTokenIds: ArrayLike<number> }
  | { readonly messages: readonly ChatMessage[]; readonly template?: RenderOptions };

/** Text and ids of a prompt; text is null where only ids were given. */
export interface EncodedPrompt {
  readonly text: string | null;
  readonly tokenIds: number[];
}

const objects = z.union([
  z.strictObject({ prompt: z.string() }),
  z.strictObject({ promptTokenIds: z.custom<ArrayLike<number>>(isList) }),
  z.strictObject({
    messages: z.array(z.unknown()),
    template: z.record(z.string(), z.unknown()).optional(),
  }),
]);

function isList(value: unknown): boolean {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && 'length' in value);
}

/**
 * @throws ERR_INVALID_PROMPT when it is no prompt, has no token, or an id is not of the vocabulary;
 * ERR_CHAT_TEMPLATE when the template refuses the messages
 */
export async function encodePrompt(
  prompt: Prompt,
  tokenizer: Tokenizer,
  template: () => ChatTemplate,
  vocabSize: number,
): Promise<EncodedPrompt> {
  const { text, ids } = read(prompt, template);
  if (ids !== null) return { text: null, tokenIds: checkIds(ids, vocabSize) };
  const tokenIds = await tokenizer.encode(text);
  if (tokenIds.length === 0) {
    throw invalid('the prompt is empty: it has no token to start from; write at least a character');
  }
  return { text, tokenIds: checkIds(tokenIds, vocabSize) };
}

function read(
  prompt: Prompt,
  template: () => ChatTemplate,
): { text: string; ids: null } | { text: null; ids: ArrayLike<number> } {
  if (typeof prompt === 'string') return { text: prompt, ids: null };
  const parsed = objects.safeParse(prompt);
  if (!parsed.success) {
    throw invalid(
      'a prompt must be a string, {prompt: string}, {promptTokenIds: number[]} ' +
        'or {messages: [{role, content}]}',
    );
  }
  const value = parsed.data;
  if ('prompt' in value) return { text: value.prompt, ids: null };
  if ('promptTokenIds' in value) return { text: null, ids: value.promptTokenIds };
  const messages = value.messages as readonly ChatMessage[];
  return { text: template().render(messages, value.template as RenderOptions), ids: null };
}

function checkIds(ids: ArrayLike<number>, vocabSize: number): number[] {
  const list = Array.from(ids);
  if (list.length === 0) throw invalid('the prompt is empty: promptTokenIds has no id');
  for (let i = 0; i < list.length; i++) {
    const id = list[i];
    if (Number.isInteger(id) && id >= 0 && id < vocabSize) continue;
    throw invalid(
      `prompt token ${i} is ${String(id)}, which is not an id of this model ` +
        `(0 to ${vocabSize - 1})`,
    );
  }
  return list;
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
  tokenizer: Tokenizer,
): Promise<number[][]> {
  const spelled = new Map<string, number[]>();
  for (const word of words) {
    for (const form of [word, ` ${word.trimStart()}`]) {
      const ids = await tokenizer.encode(form, { addSpecialTokens: false });
      if (ids.length > 0) spelled.set(ids.join(), ids);
    }
  }
  return [...spelled.values()];
}
