/** From the words of requests to prompts of the library. */
import type { Prompt } from '../engine/prompts.js';
import type { ChatMessage, ChatTemplate, RenderOptions } from '../text/chat-template.js';
import type { ChatOptions } from '../tools/types.js';
import { hasForeignIds, shortIds } from './call-ids.js';
import type { ServerConfig } from './options.js';
import { badRequest } from './problem.js';
import type { WireMessage } from './schemas/chat.js';
import { customArguments } from './toolbox.js';

/** Most prompts of one request. */
const MAX_PROMPTS = 4096;

export type TextPrompt = string | { readonly promptTokenIds: readonly number[] };

/**
 * The prompts of a text completion, say: one, or a list; of text, or of ids.
 * @param name how the request calls them
 */
export function textPrompts(prompt: string | readonly unknown[], name = 'prompt'): TextPrompt[] {
  if (typeof prompt === 'string') return [prompt];
  if (prompt.length === 0) throw badRequest(`${name}: must not be empty`, name);
  if (typeof prompt[0] === 'number') return [{ promptTokenIds: prompt as number[] }];
  if (prompt.length > MAX_PROMPTS) {
    throw badRequest(`${name}: at most ${MAX_PROMPTS} prompts are taken at once`, name);
  }
  return prompt.map((one) => {
    if (typeof one === 'string') return one;
    if (Array.isArray(one)) return { promptTokenIds: one };
    throw badRequest(`${name}: must hold strings, or arrays of token ids`, name);
  });
}

/** How a conversation is rendered, as requests say it. */
export interface ConversationBody {
  readonly messages: readonly WireMessage[];
  readonly add_generation_prompt?: boolean;
  readonly continue_final_message?: boolean;
  readonly documents?: readonly unknown[];
  readonly chat_template?: string;
  readonly chat_template_kwargs?: Readonly<Record<string, unknown>>;
}

/** Rendering cannot be cut into turns, so who waits beside it waits for all of it. */
function checkLength(messages: readonly WireMessage[], most: number): void {
  const lengthOf = (list: unknown) => (Array.isArray(list) ? list.length : 0);
  let length = messages.length;
  for (const { content, tool_calls: calls } of messages) {
    length += lengthOf(content) + lengthOf(calls);
  }
  if (length <= most) return;
  const sentence =
    `messages: the conversation has ${length} messages, parts and calls of tools, and at most ` +
    `${most} are taken (--max-messages); send less of its past`;
  throw badRequest(sentence, 'messages');
}

/** The library reads options among variables; these are not for requests to set. */
const NO_VARIABLES = ['chatTemplate', 'templateName', 'variables', 'now', 'tools'];

/** @throws Problem 400 */
export function renderOptions(body: ConversationBody, config: ServerConfig): RenderOptions {
  checkLength(body.messages, config.maxMessages);
  const { add_generation_prompt: begin, continue_final_message: goOn } = body;
  if (begin && goOn) {
    const sentence = 'continue_final_message and add_generation_prompt exclude each other';
    throw badRequest(sentence, 'continue_final_message');
  }
  if (body.chat_template !== undefined && !config.trustRequestChatTemplate) {
    const sentence = 'chat_template: requests may not bring one; --trust-request-chat-template';
    throw badRequest(sentence, 'chat_template');
  }
  const variables = { ...body.chat_template_kwargs };
  const option = NO_VARIABLES.find((name) => Object.hasOwn(variables, name));
  if (option !== undefined) {
    const sentence = `chat_template_kwargs: ${option} is no variable of a template`;
    throw badRequest(sentence, 'chat_template_kwargs');
  }
  const options: RenderOptions = { variables };
  const chatTemplate = body.chat_template ?? config.chatTemplate;
  if (begin !== undefined) options.addGenerationPrompt = begin;
  if (goOn !== undefined) options.continueFinalMessage = goOn;
  if (body.documents !== undefined) options.documents = body.documents;
  if (chatTemplate !== undefined) options.chatTemplate = chatTemplate;
  return options;
}

/**
 * A conversation in the forms that templates may take: as it is; with what the system says in
 * front, for those that want it there; with neighbours of the same role as one, for those that want
 * user and assistant in turn; and all of these with short ids of calls, for those that want nine
 * letters. Each is made when the one before was refused.
 * @param own the model's; where it is not given, none is asked whether it knows `developer`
 */
export function chatForms(
  messages: readonly WireMessage[],
  template: RenderOptions,
  chat: ChatOptions = {},
  own?: () => ChatTemplate,
): Iterable<Prompt> {
  return {
    *[Symbol.iterator]() {
      const plain = instructed(messages.map(asMessage), template, chat, own);
      for (const one of orders(plain)) yield { messages: one, template, chat };
      if (!hasForeignIds(plain)) return;
      for (const one of orders(shortIds(plain))) yield { messages: one, template, chat };
    },
  };
}

function* orders(plain: readonly ChatMessage[]): Generator<readonly ChatMessage[], void, void> {
  yield plain;
  const inFront = instructionsInFront(plain);
  if (inFront !== plain) yield inFront;
  const merged = neighboursMerged(inFront);
  if (merged.length !== inFront.length) yield merged;
}

/**
 * `developer` where the template has a word for it, `system` everywhere else. Some that have read
 * only the first message for instructions, and pass over any other: they get all of them in it.
 */
function instructed(
  messages: readonly ChatMessage[],
  template: RenderOptions,
  { tools }: ChatOptions,
  ownTemplate: (() => ChatTemplate) | undefined,
): readonly ChatMessage[] {
  if (!messages.some(({ role }) => role === DEVELOPER)) return messages;
  const own = ownTemplate?.();
  const options = { ...template, ...(tools === undefined ? {} : { tools }) } as RenderOptions;
  if (!own?.namesDeveloper(options)) {
    return messages.map((one) => (one.role === DEVELOPER ? { ...one, role: 'system' } : one));
  }
  if (!messages.slice(1).some(isInstruction) || readsEach(own, options)) return messages;
  return instructionsInFront(messages, DEVELOPER);
}

const DEVELOPER = 'developer';

function readsEach(own: ChatTemplate, options: RenderOptions): boolean {
  const say = (role: string, content: string) => ({ role, content });
  const turns = [say(DEVELOPER, 'instruct-1'), say(DEVELOPER, 'instruct-2'), say('user', 'x')];
  try {
    return own.render(turns, { ...options, continueFinalMessage: false }).includes('instruct-2');
  } catch {
    return true; // it says so itself
  }
}

const isInstruction = ({ role }: ChatMessage) => role === 'system' || role === DEVELOPER;

/** Roles and parts by the names that templates know. */
function asMessage(message: WireMessage): ChatMessage {
  const { role, content, tool_calls, function_call: call, ...rest } = message;
  // What calls of tools were called before there were tools.
  const given = tool_calls ?? (call ? [{ type: 'function', function: call }] : undefined);
  const calls = Array.isArray(given) ? given.map(asCall) : given;
  const text = Array.isArray(content) ? content.map(asPart) : content;
  const hasCalls = Array.isArray(calls) && calls.length > 0;
  const isEmpty = text === undefined || text === null || text.length === 0;
  return {
    ...rest,
    role: role === 'function' ? 'tool' : role,
    content: isEmpty ? (hasCalls && content === null ? null : '') : (text as string),
    ...(hasCalls ? { tool_calls: calls } : {}),
  };
}

/** A call of a custom tool is one of a function of a text. */
function asCall(call: unknown): unknown {
  const { type, custom, ...rest } = (call ?? {}) as Record<string, unknown>;
  if (type !== 'custom' || typeof custom !== 'object' || custom === null) return call;
  const { name, input } = custom as Record<string, unknown>;
  return { ...rest, type: 'function', function: { name, arguments: customArguments(input) } };
}

const TEXT_TYPES = ['input_text', 'output_text', 'refusal'];

function asPart(part: { readonly type: string; readonly [name: string]: unknown }) {
  if (!TEXT_TYPES.includes(part.type)) return part;
  return { type: 'text', text: part.type === 'refusal' ? part.refusal : part.text };
}

const textOf = ({ content }: ChatMessage): string =>
  typeof content === 'string' ? content : (content ?? []).map(({ text }) => text ?? '').join('\n');

function instructionsInFront(
  messages: readonly ChatMessage[],
  asRole?: string,
): readonly ChatMessage[] {
  const said = messages.filter(isInstruction);
  if (said.length === 0 || (said.length === 1 && messages[0] === said[0])) return messages;
  const rest = messages.filter((one) => !isInstruction(one));
  const role = asRole ?? said[0].role;
  return [{ role, content: said.map(textOf).join('\n\n') }, ...rest];
}

function neighboursMerged(messages: readonly ChatMessage[]): ChatMessage[] {
  const isPlain = (one: ChatMessage) => one.tool_calls === undefined && one.role !== 'tool';
  const runs: [ChatMessage, ...ChatMessage[]][] = [];
  for (const message of messages) {
    const run = runs.at(-1);
    if (run?.[0].role === message.role && isPlain(run[0]) && isPlain(message)) run.push(message);
    else runs.push([message]);
  }
  return runs.map((run) => (run.length === 1 ? run[0] : { ...run[0], content: textsOf(run) }));
}

const textsOf = (run: readonly ChatMessage[]) =>
  run
    .map(textOf)
    .filter((text) => text !== '')
    .join('\n\n');
