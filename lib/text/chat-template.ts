import { Environment, Interpreter, Template } from '@huggingface/jinja';
import { z } from 'zod';
import { octavoError } from '../errors.js';
import { strftime } from './strftime.js';

/** Longest template that is parsed, in UTF-16 units. */
const MAX_TEMPLATE = 1 << 20;

const part = z.object(
  { type: z.literal('text', 'only parts of type "text" are understood'), text: z.string() },
  'a part must be an object {type: "text", text}',
);

const message = z
  .looseObject({
    role: z.string('must be a string').min(1, 'must not be empty'),
    content: z
      .union([z.string(), z.array(part)], 'must be a string or an array of {type: "text", text}')
      .nullish(),
  })
  .refine((m) => typeof m.content === 'string' || Array.isArray(m.content) || 'tool_calls' in m, {
    path: ['content'],
    error: 'is missing',
  });

const messagesSchema = z.array(message, 'must be an array').min(1, 'must not be empty');

/**
 * One turn of a conversation. `content` may be missing or null only beside `tool_calls`; further
 * members (name, tool_calls, tool_call_id, reasoning_content …) reach the template as they are.
 */
export type ChatMessage = z.input<typeof message>;

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

export interface RenderOptions {
  /** Whether the text ends with the beginning of the assistant's turn. Default true. */
  addGenerationPrompt?: boolean;
  /** Tool descriptions, as the template wants them (OpenAI's shape). Default none. */
  tools?: readonly unknown[];
  /** Which of several. Default: "tool_use" if there are tools and such a one, else "default". */
  templateName?: string;
  /** Further variables by name (enable_thinking, documents, date_string …). */
  variables?: Readonly<Record<string, unknown>>;
  /** What strftime_now takes for now. Default: the time of the call. */
  now?: Date;
}

/** What `raise_exception` in a template throws. */
class Refusal extends Error {}

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

/** Longest range() of a template, as in Jinja's own sandbox. */
const MAX_RANGE = 100_000;

function range(first: number, last?: number, by = 1): number[] {
  const [start, stop] = last === undefined ? [0, first] : [first, last];
  const count = Math.max(0, Math.ceil((stop - start) / by));
  if (by === 0 || !(count <= MAX_RANGE)) throw new Error(`range() of ${count} numbers`);
  return Array.from({ length: count }, (_, i) => start + i * by);
}

/** What every template can call, and the constants. */
function globals(now: Date): Environment {
  const environment = new Environment();
  const entries = {
    ...{ true: true, false: false, none: null, True: true, False: false, None: null },
    range,
    strftime_now: (format: unknown) => strftime(now, String(format)),
    raise_exception: (why: unknown) => {
      throw new Refusal(String(why));
    },
  };
  for (const [name, value] of Object.entries(entries)) environment.set(name, value);
  return environment;
}

function byName(source: TemplateSource): Map<string, string> {
  if (typeof source === 'string') return new Map([['default', source]]);
  const entries = Array.isArray(source)
    ? source.map((entry): [string, string] => [entry?.name, entry?.template])
    : Object.entries(source ?? {});
  return new Map(entries);
}

/** `messages[2].content` of a zod path. */
function pathText(path: readonly PropertyKey[]): string {
  return path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('');
}

function checkMessages(messages: unknown): Record<string, unknown>[] {
  const checked = messagesSchema.safeParse(messages);
  if (!checked.success) {
    const { path, message: why } = checked.error.issues[0];
    const where = `messages${pathText(path)}`;
    throw octavoError('ERR_INVALID_PROMPT', `${where} ${why}.`, { param: where });
  }
  return checked.data.map((turn) => ({ ...turn, content: flat(turn.content) }));
}

/** Parts as one string, joined by newlines as vLLM does for templates that take strings. */
function flat(content: z.output<typeof message>['content']): string | null {
  if (Array.isArray(content)) return content.map((piece) => piece.text).join('\n');
  return content ?? null;
}

/**
 * A model's chat template: messages in, the prompt's text out. The text contains its own BOS where
 * the template writes one; `Tokenizer.encode` does not double it.
 *
 * A template is a program that comes with the model and runs in this process, in an interpreter
 * without access to anything but its variables; it can loop for as long as it likes, though, so
 * load models you trust that far. Rendering is synchronous; a usual conversation takes below 1 ms.
 */
export class ChatTemplate {
  readonly #sources: Map<string, string>;
  readonly #parsed = new Map<string, Template>();
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
      if (
        typeof name === 'string' &&
        typeof template === 'string' &&
        template.length <= MAX_TEMPLATE
      ) {
        continue;
      }
      throw octavoError(
        'ERR_CHAT_TEMPLATE',
        `The chat template ${JSON.stringify(name)} must be a string of at most 1 MiB.`,
        { param: 'chat_template' },
      );
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
   *   ERR_CHAT_TEMPLATE when the template refuses them (in its own words), is damaged, or fails.
   */
  render(messages: readonly ChatMessage[], options: RenderOptions = {}): string {
    const turns = checkMessages(messages);
    const template = this.#template(options);
    const { bosToken = '', eosToken = '', padToken = '', unkToken = '' } = this.#tokens;
    const variables = {
      bos_token: bosToken,
      eos_token: eosToken,
      pad_token: padToken,
      unk_token: unkToken,
      ...options.variables,
      messages: turns,
      ...(options.tools === undefined ? {} : { tools: options.tools }),
      add_generation_prompt: options.addGenerationPrompt ?? true,
    };
    try {
      const environment = new Environment(globals(options.now ?? new Date()));
      for (const [name, value] of Object.entries(variables)) environment.set(name, value);
      return String(new Interpreter(environment).run(template.parsed).value);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      const verb = cause instanceof Refusal ? 'refused the messages' : 'failed on the messages';
      throw octavoError('ERR_CHAT_TEMPLATE', `The chat template ${verb}: ${why}`, {
        param: 'messages',
        cause,
      });
    }
  }

  #template(options: RenderOptions): Template {
    const tools = options.tools !== undefined && this.#sources.has('tool_use');
    const only = this.#sources.size === 1 ? this.names[0] : 'default';
    const name = options.templateName ?? (tools ? 'tool_use' : only);
    const source = this.#sources.get(name);
    if (source === undefined) {
      throw octavoError(
        'ERR_CHAT_TEMPLATE',
        `There is no chat template ${JSON.stringify(name)}; there are ${this.names.join(', ')}.`,
        { param: 'templateName' },
      );
    }
    let template = this.#parsed.get(name);
    if (template === undefined) this.#parsed.set(name, (template = parse(source)));
    return template;
  }
}

function parse(source: string): Template {
  try {
    return new Template(source);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw octavoError('ERR_CHAT_TEMPLATE', `The model's chat template is damaged: ${why}`, {
      param: 'chat_template',
      cause,
    });
  }
}
