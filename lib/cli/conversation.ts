/** The messages of a chat, and which of them the model is told. */
import type { LLM } from '../engine/llm.js';
import type { Prompt } from '../engine/prompts.js';
import { isOctavoError, octavoError } from '../errors.js';
import { checkMessages, checkOnlyText } from '../text/chat-messages.js';
import type { ChatMessage, RenderOptions } from '../text/chat-template.js';

/** How conversations are told to a model. */
export interface TellOptions {
  readonly template: RenderOptions;
  /** Form of reasoning; undefined: the template's. */
  readonly reasoningParser?: string;
  /** Tokens that an answer may take at most. */
  readonly maxTokens: number;
}

/** A conversation as ids, and how its answer is read. */
export type Told = Extract<Prompt, { readonly chat: unknown }> & {
  readonly promptTokenIds: readonly number[];
};

const SYSTEM = new Set(['system', 'developer']);

/** Any question. */
const PROBE: ChatMessage = { role: 'user', content: 'Hello' };

function isQuestion(message: ChatMessage | undefined): boolean {
  return message !== undefined && message.role !== 'assistant' && !SYSTEM.has(message.role);
}

export class Conversation {
  readonly #llm: LLM;
  readonly #options: TellOptions;
  #system: readonly ChatMessage[] = [];
  /** Turns; each begins with what a user says. */
  #turns: ChatMessage[] = [];
  /** Of #turns, the first that still fits. */
  #from = 0;

  constructor(llm: LLM, options: TellOptions) {
    this.#llm = llm;
    this.#options = options;
  }

  /** All of it, what no longer fits too. */
  get messages(): readonly ChatMessage[] {
    return [...this.#system, ...this.#turns];
  }

  /** What the model is told first; empty where that is nothing. */
  get system(): string {
    const texts = this.#system.map(({ content = '' }) =>
      typeof content === 'string' ? content : JSON.stringify(content),
    );
    return texts.join('\n');
  }

  /** Messages that the model is not told any more. */
  get numForgotten(): number {
    return this.#from;
  }

  /** Whether it ends with something that wants an answer. */
  get isOpen(): boolean {
    return isQuestion(this.#turns.at(-1));
  }

  /** @throws ERR_CHAT_TEMPLATE for a template that takes no system message; then it stays */
  setSystem(content: string): void {
    const system = content === '' ? [] : [{ role: 'system', content }];
    if (content !== '') this.#render([...system, PROBE]);
    this.#system = system;
    this.#from = 0;
  }

  /** Forgets all turns. */
  reset(): void {
    this.#turns = [];
    this.#from = 0;
  }

  /**
   * Takes the place of all that was said.
   * @throws ERR_INVALID_PROMPT, ERR_CHAT_TEMPLATE for what cannot be told; then all stays
   */
  load(messages: readonly ChatMessage[]): void {
    if (messages.length > 0) checkOnlyText(checkMessages(messages));
    // As it is rendered when it goes on.
    const isOpen = isQuestion(messages.at(-1));
    this.#render(isOpen ? messages : [...messages, PROBE]);
    const numSystem = messages.findIndex(({ role }) => !SYSTEM.has(role));
    const start = numSystem < 0 ? messages.length : numSystem;
    this.#system = messages.slice(0, start);
    this.#turns = messages.slice(start);
    this.#from = 0;
  }

  add(message: ChatMessage): void {
    this.#turns.push(message);
  }

  /** Takes back the last message. */
  withdraw(): void {
    this.#turns.pop();
    this.#from = Math.min(this.#from, this.#turns.length);
  }

  /**
   * The ids of what fits. Where an answer would find too little room, the oldest turns are left out
   * for good, until half of the context is free: so most turns find the last one's prefix in the
   * cache.
   * @throws ERR_PROMPT_TOO_LONG where the last turn alone does not fit; what `encode()` throws
   */
  async tell(signal: AbortSignal): Promise<Told> {
    const { maxModelLen } = this.#llm.info;
    const room = Math.min(this.#options.maxTokens, maxModelLen >> 2);
    const ids = await this.#encode(this.#from, signal);
    if (ids !== null && ids.length <= maxModelLen - room) return this.#told(ids);
    const starts = this.#turns.flatMap(({ role }, i) =>
      role === 'user' && i > this.#from ? [i] : [],
    );
    if (starts.length === 0) return this.#told(ids ?? (await this.#encodeAll(this.#from, signal)));
    let [low, high] = [0, starts.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      const some = await this.#encode(starts[middle], signal);
      if (some !== null && some.length <= maxModelLen >> 1) high = middle;
      else low = middle + 1;
    }
    const rest = await this.#encodeAll(starts[low], signal);
    this.#from = starts[low];
    return this.#told(rest);
  }

  #told(promptTokenIds: readonly number[]): Told {
    return { promptTokenIds, template: this.#options.template, chat: this.#chat };
  }

  get #chat() {
    const { reasoningParser } = this.#options;
    return reasoningParser === undefined ? {} : { reasoningParser };
  }

  /** Null where it is longer than the context. */
  async #encode(from: number, signal: AbortSignal): Promise<number[] | null> {
    try {
      return await this.#encodeAll(from, signal);
    } catch (error) {
      if (isOctavoError(error) && error.code === 'ERR_PROMPT_TOO_LONG') return null;
      throw error;
    }
  }

  #encodeAll(from: number, signal: AbortSignal): Promise<number[]> {
    const messages = [...this.#system, ...this.#turns.slice(from)];
    const { template } = this.#options;
    return this.#llm.encode({ messages, template, chat: this.#chat }, { signal });
  }

  #render(messages: readonly ChatMessage[]): void {
    this.#llm.applyChatTemplate(messages, this.#options.template);
  }
}

/**
 * The messages of a file: a list of them, or an object that has one.
 * @throws ERR_FILE
 */
export function messagesOf(path: string, text: string): readonly ChatMessage[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const sentence = `${path} is not JSON: ${(cause as Error).message}`;
    throw octavoError('ERR_FILE', sentence, { param: path, cause });
  }
  const { messages = value } = (value ?? {}) as { messages?: unknown };
  if (Array.isArray(messages)) return messages;
  const sentence = `${path} must hold a list of messages [{"role", "content"}]`;
  throw octavoError('ERR_FILE', sentence, { param: path });
}
