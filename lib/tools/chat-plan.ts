/** What is to be done for one conversation: how it is rendered, what may come, how that is read. */

import { octavoError } from '../errors.js';
import type { GrammarSource } from '../grammar/compile.js';
import type { GrammarSpec, SpecLimits } from '../grammar/index.js';
import type { ChatTemplate, RenderOptions } from '../text/chat-template.js';
import type { MarkSource } from '../text/marked-text.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { answerFormat } from './answer-format.js';
import { answerGrammar, type GrammarBeginning } from './answer-grammar.js';
import { answerJob } from './answer-job.js';
import { type CheckedTools, checkTools } from './definitions.js';
import type { AnswerFormat } from './format.js';
import { markedFormat, marksIn } from './marked-format.js';
import { Marks } from './marks.js';
import { AnswerParser, type Beginning } from './parser.js';
import {
  beginningOf,
  type CheckedReasoning,
  checkReasoning,
  reasoningVariables,
} from './reasoning.js';
import type { ChatOptions } from './types.js';

/** Formats of templates that callers bring are kept for so many. */
const MAX_FORMATS = 32;

/** A format as it is spelled, and with the tokenizer's marks. */
interface Format {
  readonly spelled: AnswerFormat;
  readonly marked: AnswerFormat;
  /** Its control tokens: other formats of the same tokenizer have others. */
  readonly seen: MarkSource;
  readonly source: string;
}

export interface PlannerModel {
  readonly tokenizer: Tokenizer;
  readonly template: () => ChatTemplate;
  readonly eosTokenIds: readonly number[];
  readonly limits: SpecLimits;
}

/** Plans for one model. What a template's format is, is found out once: some ten renders. */
export class ChatPlanner {
  readonly #model: PlannerModel;
  readonly #marks: Marks;
  readonly #formats = new Map<string, Format>();

  constructor(model: PlannerModel) {
    this.#model = model;
    this.#marks = new Marks(model.tokenizer);
  }

  /**
   * @param render as the caller gave it
   * @param content what the content must be
   * @throws ERR_INVALID_PARAM, ERR_CHAT_TEMPLATE where the template is damaged
   */
  plan(chat: ChatOptions, render: RenderOptions = {}, content?: GrammarSpec): ChatPlan {
    const tools = checkTools(chat);
    const reasoning = checkReasoning(chat.reasoning);
    const format = this.#format(chat, tools, render);
    const { marked } = format;
    const warnings: string[] = [];
    if (tools.callable.length > 0 && marked.calls === null) {
      const why = marked.why ?? 'the chat template knows no tools';
      if (tools.minCalls > 0) {
        throw octavoError(
          'ERR_INVALID_PARAM',
          `toolChoice cannot require a call: ${why}; ` +
            'name a format in toolCallParser, or use "auto"',
          { param: 'toolChoice' },
        );
      }
      warnings.push(`calls are not looked for, and all text is content: ${why}`);
    }
    if (reasoning.budget !== undefined && marked.reasoning === null) {
      warnings.push('reasoning.budget has no effect: the model has no reasoning of its own');
    }
    return new ChatPlan({
      ...this.#model,
      ...format,
      ...{ tools, reasoning, content, render, warnings },
      marks: this.#marks,
    });
  }

  #format(chat: ChatOptions, tools: CheckedTools, render: RenderOptions): Format {
    const { template, eosTokenIds, tokenizer } = this.#model;
    const own = template();
    const { chatTemplate, templateName } = render;
    const choice = { chatTemplate, templateName, tools: tools.definitions ?? render.tools };
    const source = own.sourceOf(choice);
    const names = { calls: chat.toolCallParser, reasoning: chat.reasoningParser };
    const key = JSON.stringify([source, names]);
    let known = this.#formats.get(key);
    if (known === undefined) {
      const spelled = answerFormat(
        {
          source,
          hasToken: (token) => tokenizer.tokenToId(token) !== undefined,
          render: (messages, options) => {
            try {
              return own.render(messages as never, { ...options, chatTemplate: source });
            } catch {
              return null;
            }
          },
        },
        names,
      );
      known = this.#marked(spelled, source, eosTokenIds);
    }
    this.#formats.delete(key);
    this.#formats.set(key, known);
    const [oldest] = this.#formats.keys();
    if (this.#formats.size > MAX_FORMATS) this.#formats.delete(oldest);
    return known;
  }

  #marked(spelled: AnswerFormat, source: string, eosTokenIds: readonly number[]): Format {
    const marked = markedFormat(spelled, this.#marks, eosTokenIds);
    const own = marksIn(marked);
    const ofId = (id: number) => {
      const mark = this.#marks.ofId(id);
      return mark !== undefined && own.has(mark) ? mark : undefined;
    };
    return { spelled, marked, seen: { ofId }, source };
  }
}

interface PlanParts extends PlannerModel, Format {
  readonly marks: Marks;
  readonly tools: CheckedTools;
  readonly reasoning: CheckedReasoning;
  readonly content: GrammarSpec | undefined;
  readonly render: RenderOptions;
  readonly warnings: readonly string[];
}

/** One conversation's plan; immutable. */
export class ChatPlan {
  readonly #parts: PlanParts;
  /** What the caller should know: calls that are not looked for, say. */
  readonly warnings: readonly string[];

  constructor(parts: PlanParts) {
    this.#parts = parts;
    this.warnings = parts.warnings;
  }

  /** How the conversation is rendered: with tools, and the switches of reasoning. */
  get render(): RenderOptions {
    const { render, tools, reasoning, source } = this.#parts;
    const switches = reasoningVariables(reasoning, source);
    const options: RenderOptions = { ...render };
    if (tools.definitions !== null) options.tools = tools.definitions;
    // What the caller says of a variable counts more.
    if (Object.keys(switches).length > 0) options.variables = { ...switches, ...render.variables };
    return options;
  }

  /** @param prompt the rendered conversation, or its end */
  beginning(prompt: string): Beginning {
    return beginningOf(this.#parts.spelled, prompt);
  }

  /** Most tokens of reasoning; undefined for no limit, or no reasoning. */
  get budget(): number | undefined {
    return this.#parts.marked.reasoning === null ? undefined : this.#parts.reasoning.budget;
  }

  /** What reasoning stands between, spelled. */
  get reasoning() {
    return this.#parts.spelled.reasoning;
  }

  /** What the answer must be; null where it may be anything. */
  grammar(beginning: GrammarBeginning): GrammarSource | null {
    const { source, tools, content, marked, marks, limits, spelled } = this.#parts;
    const counts = tools.tools.length > 0 && marked.calls !== null;
    if (!counts && content === undefined && this.budget === undefined) return null;
    const callable = tools.callable.map(({ name, schema, strict }) => [name, schema, strict]);
    const wish = { callable, minCalls: tools.minCalls, isOne: tools.maxCalls === 1 };
    const names = tools.tools.map(({ name }) => name);
    const key = JSON.stringify(['chat', source, spelled, wish, names, content, beginning]);
    const own = { format: marked, marks, tools, beginning, content, limits };
    return { key, build: (budget) => answerGrammar(own, budget), job: () => answerJob(own) };
  }

  /** Makes what tells one answer apart; null where all of an answer is content. */
  parsers(beginning: Beginning): (() => AnswerParser) | null {
    const { marked, tools } = this.#parts;
    const { reasoning, content, preamble, calls } = marked;
    const hasCalls = calls !== null && tools.callable.length > 0;
    const isFenced = content.start !== '' || preamble !== undefined;
    if (reasoning === null && !isFenced && !hasCalls) return null;
    return () => new AnswerParser(marked, tools.callable, beginning, tools.minCalls > 0);
  }

  /** The control tokens that they look for. */
  get marks(): MarkSource {
    return this.#parts.seen;
  }
}
