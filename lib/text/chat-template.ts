import { octavoError } from '../errors.js';
import {
  type ChatMessage,
  checkMessages,
  dropEmptyCalls,
  fillContent,
  hasEmptyCalls,
  hasParts,
  hasTextArguments,
  joinParts,
  parseArguments,
  type Turn,
} from './chat-messages.js';
import { cutFinal, markFinal, memberMissing, readsMember } from './final-message.js';
import { asFailure, type TemplateFailure } from './jinja/failure.js';
import { Marks } from './jinja/marks.js';
import { JinjaTemplate } from './jinja/template.js';
import { Dict } from './jinja/values.js';
import { type RenderOptions, type RenderSettings, renderSettings } from './render-options.js';
import { readTemplate, type TemplateReading } from './template-reading.js';

/** Longest template that is parsed, in UTF-16 units. */
const MAX_TEMPLATE = 1 << 20;

/** A template by itself, or several by name: "default" and often "tool_use". */
export type TemplateSource =
  | string
  | readonly { readonly name: string; readonly template: string }[]
  | Readonly<Record<string, string>>;

/** What templates know as bos_token, eos_token, pad_token, unk_token. Missing ones are ''. */
export interface TemplateTokens {
  bosToken?: string;
  eosToken?: string;
  padToken?: string;
  unkToken?: string;
}

/** For models without a template whose vocabulary has ChatML's markers. */
const CHATML =
  "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}" +
  "{{ message.content + '<|im_end|>\\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/** For all others: names and colons, which any model of text has seen. */
const PLAIN =
  '{{ bos_token }}{% for message in messages %}' +
  "{{ message.role | capitalize + ': ' + message.content | trim + '\\n\\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}";

/**
 * The template for a model that brings none: ChatML where both of its markers are tokens, else the
 * plain form "User: …", blank line, "Assistant:".
 */
export function defaultChatTemplate(hasToken: (token: string) => boolean): string {
  return hasToken('<|im_start|>') && hasToken('<|im_end|>') ? CHATML : PLAIN;
}

export type { ChatMessage, RenderOptions };

function byName(source: TemplateSource): Map<string, string> {
  if (typeof source === 'string') return new Map([['default', source]]);
  const entries = Array.isArray(source)
    ? source.map((entry): [string, string] => [entry?.name, entry?.template])
    : Object.entries(source ?? {});
  return new Map(entries);
}

/** A template that was parsed, and what it does with messages. */
interface Parsed {
  readonly source: string;
  readonly template: JinjaTemplate;
  readonly reading: TemplateReading;
}

/** Templates of `chatTemplate`, by their source: the newest few. */
const given = new Map<string, Parsed>();
const MAX_GIVEN = 16;

function parse(source: string): Parsed {
  try {
    const template = new JinjaTemplate(source);
    return { source, template, reading: readTemplate(template.body) };
  } catch (error) {
    const cause = asFailure(error);
    throw octavoError('ERR_CHAT_TEMPLATE', `The chat template is damaged: ${cause.message}`, {
      param: 'chat_template',
      cause,
    });
  }
}

function parseGiven(source: string): Parsed {
  checkTemplate('of the option chatTemplate', source);
  const known = given.get(source);
  const parsed = known ?? parse(source);
  given.delete(source);
  given.set(source, parsed);
  const [oldest] = given.keys();
  if (given.size > MAX_GIVEN) given.delete(oldest);
  return parsed;
}

function checkTemplate(name: string, template: unknown): void {
  if (typeof template === 'string' && template.length <= MAX_TEMPLATE) return;
  throw octavoError(
    'ERR_CHAT_TEMPLATE',
    `The chat template ${name} must be a string of at most 1 MiB.`,
    { param: 'chat_template' },
  );
}

function failed(cause: TemplateFailure): Error {
  const verb = cause.kind === 'refused' ? 'refused the messages' : 'failed on the messages';
  return octavoError('ERR_CHAT_TEMPLATE', `The chat template ${verb}: ${cause.message}`, {
    param: 'messages',
    cause,
  });
}

/** Variables that are the tokenizer's own control tokens. */
const OWN = new Set(['bos_token', 'eos_token', 'pad_token', 'unk_token']);

/** A render, and the same with stand-ins where a text comes from outside. */
export interface GuardedText {
  readonly text: string;
  readonly marked: string;
}

/** Stand-ins that occur in nothing that is rendered. */
function marksFor(chars: string, source: string, given: object): Marks | null {
  if (chars === '') return null;
  const all = `${source}${textsOf(given)}`;
  const marks = Marks.unused(chars, (standIns) => standIns.test(all));
  if (marks !== undefined) return marks;
  const why = 'the messages use up the private characters of Unicode';
  throw octavoError('ERR_CHAT_TEMPLATE', `The chat template cannot guard its tokens: ${why}.`, {
    param: 'messages',
  });
}

/** All texts in what a template is given, where none of them can hide. */
function textsOf(given: object): string {
  try {
    const seen = new Set<object>();
    const texts: string[] = [];
    const visit = (value: unknown): void => {
      if (typeof value === 'string') texts.push(value);
      if (typeof value !== 'object' || value === null || seen.has(value)) return;
      seen.add(value);
      const entries = value instanceof Dict ? value.entries() : Object.entries(value);
      for (const [key, item] of entries) {
        visit(key);
        visit(item);
      }
    };
    visit(given);
    return texts.join('\0');
  } catch {
    return ''; // the render itself says what is wrong with it
  }
}

type Step = (turns: readonly Turn[]) => Turn[];

function apply(turns: readonly Turn[], ...steps: (Step | false)[]): readonly Turn[] {
  for (const step of steps) if (step) turns = step(turns);
  return turns;
}

/**
 * The forms in which a conversation is offered to a template, the first that it renders is taken.
 * A model's own gets what OpenAI's clients write as vLLM would pass it: arguments parsed, content
 * beside calls a text, parts joined unless it goes over them. What it fails on then, most often
 * because it adds something to a string, it gets as it was written.
 */
function formsOf(turns: readonly Turn[], { reading }: Parsed): (readonly Turn[])[] {
  const drop = hasEmptyCalls(turns) && dropEmptyCalls;
  const join = hasParts(turns) && joinParts;
  const early = (step: Step | false, now: boolean): Step | false => now && step;
  const base = apply(
    turns,
    fillContent,
    early(drop, reading.asksForCalls),
    early(join, !reading.takesParts),
  );
  const forms = [parseArguments(base)];
  const texts = hasTextArguments(turns);
  if (texts) forms.push([...base]);
  if (drop && !reading.asksForCalls) forms.push(dropEmptyCalls(forms[0]));
  if (join && reading.takesParts && allText(turns)) forms.push(joinParts(forms[0]));
  return forms;
}

/** For a template that the caller brings: as given, only then as its own model's would be. */
function givenForms(turns: readonly Turn[]): (readonly Turn[])[] {
  const forms: (readonly Turn[])[] = [turns];
  if (hasTextArguments(turns)) forms.push(parseArguments(turns));
  if (hasParts(turns) && allText(turns)) forms.push(...forms.map(joinParts));
  return forms;
}

function allText(turns: readonly Turn[]): boolean {
  const text = (piece: { type: string }) => piece.type === 'text';
  return turns.every(({ content }) => !Array.isArray(content) || content.every(text));
}

/**
 * A model's chat template: messages in, the prompt's text out. The text contains its own BOS where
 * the template writes one, and is to be encoded without special tokens.
 *
 * A template is a program that comes with the model. It runs in an interpreter of our own that
 * knows nothing but its variables, within limits of steps, memory, nesting and output that no
 * conversation reaches. Rendering is synchronous: README says what it takes.
 */
export class ChatTemplate {
  readonly #sources: Map<string, string>;
  readonly #parsed = new Map<string, Parsed>();
  readonly #tokens: TemplateTokens;

  /**
   * Takes `chat_template` of a tokenizer_config.json or GGUF file. A template is parsed when it is
   * first used, so a damaged one is no obstacle to a model's other uses.
   *
   * @throws ERR_CHAT_TEMPLATE when there is none, or one is not a string or longer than 1 MiB.
   */
  constructor(source: TemplateSource, tokens: TemplateTokens = {}) {
    this.#sources = byName(source);
    this.#tokens = tokens;
    if (this.#sources.size === 0)
      throw octavoError('ERR_CHAT_TEMPLATE', 'There is no chat template.');
    for (const [name, template] of this.#sources) {
      checkTemplate(JSON.stringify(name), typeof name === 'string' ? template : undefined);
    }
  }

  /** Names of the templates, in their order. */
  get names(): string[] {
    return [...this.#sources.keys()];
  }

  /**
   * The prompt's text.
   *
   * @throws ERR_INVALID_PROMPT when the messages are not messages, naming the place;
   *   ERR_INVALID_PARAM when an option is not what it should be; ERR_CHAT_TEMPLATE when the
   *   template refuses the messages (in its own words), is damaged, fails, or takes too much.
   */
  render(messages: readonly ChatMessage[], options: RenderOptions = {}): string {
    return this.renderGuarded(messages, options, '').text;
  }

  /**
   * @internal As `render()`, and where these characters come from outside: from messages, tools,
   * documents, variables, not from the template.
   */
  renderGuarded(
    messages: readonly ChatMessage[],
    options: RenderOptions = {},
    guarded: string,
  ): GuardedText {
    const turns = checkMessages(messages);
    const settings = renderSettings(options);
    const { chatTemplate, continued } = settings;
    const parsed = chatTemplate === undefined ? this.#own(settings) : parseGiven(chatTemplate);
    if (continued !== undefined && !readsMember(parsed.source, continued)) {
      throw memberMissing(continued);
    }
    const forms = chatTemplate === undefined ? formsOf(turns, parsed) : givenForms(turns);
    let first: TemplateFailure | undefined;
    for (const form of forms) {
      try {
        return this.#render(form, parsed, settings, guarded);
      } catch (error) {
        if (isCoded(error)) throw error;
        first ??= asFailure(error);
        if (first.kind === 'limit') break;
      }
    }
    throw failed(first as TemplateFailure);
  }

  /**
   * @internal The source of the template that these options choose.
   * @throws ERR_INVALID_PARAM, ERR_CHAT_TEMPLATE
   */
  sourceOf(options: RenderOptions = {}): string {
    const settings = renderSettings(options);
    return settings.chatTemplate ?? this.#own(settings).source;
  }

  /**
   * @internal Whether the template that these options choose knows the role `developer`.
   * @throws ERR_INVALID_PARAM, ERR_CHAT_TEMPLATE
   */
  namesDeveloper(options: RenderOptions = {}): boolean {
    const settings = renderSettings(options);
    const { chatTemplate } = settings;
    const { reading } = chatTemplate === undefined ? this.#own(settings) : parseGiven(chatTemplate);
    return reading.namesDeveloper;
  }

  #render(
    turns: readonly Turn[],
    { source, template }: Parsed,
    settings: RenderSettings,
    guarded: string,
  ): GuardedText {
    const { continued, tools, documents, addGenerationPrompt } = settings;
    const marked = continued === undefined ? undefined : markFinal(turns, continued);
    const { bosToken = '', eosToken = '', padToken = '', unkToken = '' } = this.#tokens;
    const variables = {
      bos_token: bosToken,
      eos_token: eosToken,
      pad_token: padToken,
      unk_token: unkToken,
      ...settings.variables,
      messages: marked?.turns ?? turns,
      tools,
      documents,
      add_generation_prompt: addGenerationPrompt,
    };
    const marks = marksFor(guarded, source, variables);
    const whole = template.render(variables, settings.now, marks, OWN);
    const plain = marks === null ? whole : marks.plain(whole);
    const text = marked === undefined ? plain : cutFinal(plain, marked.text);
    return { text, marked: whole.slice(0, text.length) };
  }

  #own({ tools, templateName }: RenderSettings): Parsed {
    const forTools = tools !== null && this.#sources.has('tool_use');
    const only = this.#sources.size === 1 ? this.names[0] : 'default';
    const name = templateName ?? (forTools ? 'tool_use' : only);
    const source = this.#sources.get(name);
    if (source === undefined) {
      throw octavoError(
        'ERR_CHAT_TEMPLATE',
        `There is no chat template ${JSON.stringify(name)}; there are ${this.names.join(', ')}.`,
        { param: 'templateName' },
      );
    }
    let parsed = this.#parsed.get(name);
    if (parsed === undefined) this.#parsed.set(name, (parsed = parse(source)));
    return parsed;
  }
}

function isCoded(error: unknown): boolean {
  return typeof (error as { code?: unknown })?.code === 'string';
}
