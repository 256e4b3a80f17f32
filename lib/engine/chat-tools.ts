/** Conversations with tools and reasoning, between the calls of the library and the engine. */
import { takeObject } from '../arguments.js';
import type { CachedGrammar, GrammarSource } from '../grammar/compile.js';
import type { ChatMessage, RenderOptions } from '../text/chat-template.js';
import { bytesOfToken } from '../text/token-bytes.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { Answer } from '../tools/answer.js';
import type { ChatPlan } from '../tools/chat-plan.js';
import type { Fence } from '../tools/format.js';
import type { Beginning } from '../tools/parser.js';
import type { ChatOptions } from '../tools/types.js';
import { GrammarConstraint } from './constraint.js';
import type { Prompt } from './prompts.js';
import type { RequestOptions } from './request.js';
import { jsonData } from './structured.js';

/** Ids at a prompt's end that tell whether it ends within reasoning. */
const TAIL = 64;

/** What `chat()` takes beside messages and parameters. */
export interface ChatCallOptions extends RequestOptions, ChatOptions {
  /** How the conversation is rendered. */
  readonly template?: RenderOptions;
  /** True: control tokens that messages, tools or variables spell are control tokens. Default
   * false: they are text. */
  readonly parseSpecialTokens?: boolean;
}

/** Of all tools of a call, as JSON. */
const MAX_TOOLS_BYTES = 2 ** 24;

const CHAT_OPTIONS = [
  ...(['tools', 'toolChoice', 'parallelToolCalls', 'reasoning'] as const),
  ...(['toolCallParser', 'reasoningParser'] as const),
];

/** A conversation as a prompt, and what is left of the options. */
export function chatCall(
  messages: readonly ChatMessage[],
  options: ChatCallOptions,
): { prompt: Prompt; options: RequestOptions } {
  const { template, parseSpecialTokens, ...rest } = takeObject(
    options,
    'request options',
    'options',
  ) as Record<string, unknown>;
  const chat: Record<string, unknown> = {};
  for (const name of CHAT_OPTIONS) {
    chat[name] = rest[name];
    delete rest[name];
  }
  if (chat.tools != null) {
    chat.tools = jsonData(chat.tools, 'tools', { param: 'tools', maxBytes: MAX_TOOLS_BYTES });
  }
  return { prompt: { messages, template, parseSpecialTokens, chat } as Prompt, options: rest };
}

/** What the answer to an encoded prompt obeys, and how it is read. */
export interface ChatStart {
  readonly plan: ChatPlan;
  readonly beginning: Beginning;
  readonly grammar: CachedGrammar | null;
  /** Of what comes when reasoning has to end. */
  readonly ending: CachedGrammar | null;
}

/**
 * Begins an answer: only the prompt tells whether it begins within reasoning.
 * @throws ERR_GRAMMAR
 */
export async function startChat(
  plan: ChatPlan,
  prompt: { readonly text: string | null; readonly tokenIds: ArrayLike<number> },
  tokenizer: Tokenizer,
  compile: (source: GrammarSource | null) => Promise<CachedGrammar | null>,
): Promise<ChatStart> {
  const { text, tokenIds } = prompt;
  const tail = Array.from(tokenIds).slice(-TAIL);
  const end = text ?? (await tokenizer.decode(tail, { skipSpecialTokens: false }));
  const beginning = plan.beginning(end);
  const wantsEnding = plan.budget !== undefined && beginning !== 'reasoned';
  const [grammar, ending] = await Promise.all([
    compile(plan.grammar(beginning)),
    compile(wantsEnding ? plan.grammar('ending') : null),
  ]);
  return { plan, beginning, grammar, ending };
}

/** Makes what tells a sample's answer apart; null where all of it is content. */
export function answersOf({ plan, beginning }: ChatStart): (() => Answer) | null {
  const parsers = plan.parsers(beginning);
  return parsers && (() => new Answer(parsers()));
}

export function chatConstraint(
  { plan, beginning, grammar, ending }: ChatStart,
  tokenizer: Tokenizer,
  vocabSize: number,
): GrammarConstraint | null {
  if (grammar === null) return null;
  const { budget, reasoning } = plan;
  if (ending === null || budget === undefined || reasoning === null) {
    return new GrammarConstraint(grammar.start(), vocabSize);
  }
  const watch = new ReasoningWatch(reasoning, beginning === 'reasoning', tokenizer);
  const isOver = budget === 0 && beginning === 'reasoning';
  const first = (isOver ? ending : grammar).start();
  return new BudgetConstraint(first, vocabSize, { watch, ending, left: budget, isOver });
}

interface Budget {
  readonly watch: ReasoningWatch;
  readonly ending: CachedGrammar;
  readonly left: number;
  readonly isOver: boolean;
}

/** Bytes of a character that may follow its first. */
const MORE_BYTES = 3;

/**
 * A grammar, and another one as soon as so many tokens of reasoning have come; those that complete
 * a character are let come beyond it.
 */
export class BudgetConstraint extends GrammarConstraint {
  readonly #ending: CachedGrammar;
  readonly #watch: ReasoningWatch;
  readonly #size: number;
  #left: number;
  #isOver: boolean;

  constructor(
    matcher: GrammarConstraint['matcher'],
    vocabSize: number,
    { watch, ending, left, isOver }: Budget,
  ) {
    super(matcher, vocabSize);
    this.#size = vocabSize;
    this.#watch = watch;
    this.#ending = ending;
    this.#left = left;
    this.#isOver = isOver;
  }

  override advance(token: number): boolean {
    if (!super.advance(token)) return false;
    if (this.#isOver) return true;
    const wasReasoning = this.#watch.state === 'reasoning';
    const state = this.#watch.push(token);
    if (state === 'over') this.#isOver = true;
    if (state !== 'reasoning') return true;
    if (wasReasoning) this.#left--;
    if (this.#left > 0 || (!this.#watch.isWhole && this.#left > -MORE_BYTES)) return true;
    this.#isOver = true;
    this.matcher.close();
    this.matcher = this.#ending.start();
    return true;
  }

  override fork(): BudgetConstraint {
    return new BudgetConstraint(this.matcher.fork(), this.#size, {
      watch: this.#watch.fork(),
      ending: this.#ending,
      left: this.#left,
      isOver: this.#isOver,
    });
  }
}

/** The least first byte of a character of more bytes than that. */
const LEADS = [0, 0xc0, 0xe0, 0xf0];

/** Longest beginning of an answer in which reasoning may begin, in bytes, its marker aside. */
const LEAD = 16;

/** Whether an answer is within reasoning, by its tokens' bytes. */
export class ReasoningWatch {
  readonly #fence: Fence;
  readonly #start: string;
  readonly #end: string;
  readonly #tokenizer: Tokenizer;
  #text = '';
  state: 'before' | 'reasoning' | 'over';

  /** @param begun the prompt has begun it */
  constructor(fence: Fence, begun: boolean, tokenizer: Tokenizer) {
    this.#fence = fence;
    this.#start = Buffer.from(fence.start.trim()).toString('latin1');
    this.#end = Buffer.from(fence.end.trim()).toString('latin1');
    this.#tokenizer = tokenizer;
    this.state = begun ? 'reasoning' : 'before';
  }

  push(id: number): ReasoningWatch['state'] {
    const spelled = this.#tokenizer.isSpecial(id)
      ? Buffer.from(this.#tokenizer.idToToken(id) ?? '')
      : bytesOfToken(this.#tokenizer, id);
    this.#text += Buffer.from(spelled).toString('latin1');
    if (this.state === 'before') {
      const at = this.#text.indexOf(this.#start);
      if (at >= 0) {
        this.state = 'reasoning';
        this.#text = this.#text.slice(at + this.#start.length);
      } else if (this.#text.length > this.#start.length + LEAD) this.state = 'over';
    }
    if (this.state === 'reasoning') {
      if (this.#text.includes(this.#end)) this.state = 'over';
      this.#text = this.#text.slice(-Math.max(this.#end.length - 1, MORE_BYTES));
    }
    return this.state;
  }

  /** Whether the text ends with a whole character, as far as can be seen of its last bytes. */
  get isWhole(): boolean {
    for (let length = 1; length <= MORE_BYTES; length++) {
      const byte = this.#text.charCodeAt(this.#text.length - length); // NaN before its beginning
      if (byte >= 0x80 && byte < 0xc0) continue; // one that follows
      return !(byte >= LEADS[length] && byte < 0xf8);
    }
    return true;
  }

  fork(): ReasoningWatch {
    const copy = new ReasoningWatch(this.#fence, false, this.#tokenizer);
    copy.#text = this.#text;
    copy.state = this.state;
    return copy;
  }
}
