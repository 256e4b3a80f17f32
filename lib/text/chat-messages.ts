/** Messages of a conversation: what callers may write, and what templates get of it. */
import { readArgument } from '../arguments.js';
import { octavoError } from '../errors.js';
import { readJson } from './jinja/json.js';
import { Dict, type Value } from './jinja/values.js';

/**
 * One turn of a conversation, as OpenAI's API spells it. `content` may be missing or null only
 * beside `tool_calls`; further members (name, tool_calls, tool_call_id, reasoning_content …) reach
 * the template as they are, those that are null or undefined do not.
 */
export interface ChatMessage {
  /** `system`, `developer`, `user`, `assistant`, `tool`, `function`, or what else the template
   * knows. */
  readonly role: string;
  /** What is said. */
  readonly content?: string | readonly ChatPart[] | null;
  readonly [member: string]: unknown;
}

/** A part of a content. Only texts can be generated from; templates may write others down. */
export interface ChatPart {
  /** `text`; other kinds can be rendered only. */
  readonly type: string;
  /** Of a text. */
  readonly text?: string;
  readonly [member: string]: unknown;
}

export type Turn = Readonly<Record<string, unknown>>;

function refused(where: string, why: string): Error {
  return octavoError('ERR_INVALID_PROMPT', `${where} ${why}.`, { param: where });
}

function isText(piece: ChatPart): boolean {
  return piece.type === 'text' && piece.text !== undefined;
}

function isObject(value: unknown): value is Turn {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What a message's reasoning is called, by different servers. */
const REASONING = ['reasoning_content', 'thinking', 'reasoning'];

/** Templates read the first name, or (gpt-oss) the second. */
function withReasoning(turn: Turn): Turn {
  const name = REASONING.find((key) => turn[key] !== undefined);
  if (name === undefined) return turn;
  return { thinking: turn[name], ...turn, reasoning_content: turn[name] };
}

function checkPart(piece: unknown, where: string): void {
  if (!isObject(piece)) throw refused(where, 'must be an object {type: "text", text}');
  if (typeof piece.type !== 'string') throw refused(`${where}.type`, 'must be a string');
  if (piece.text !== undefined && typeof piece.text !== 'string') {
    throw refused(`${where}.text`, 'must be a string');
  }
  if (piece.type === 'text' && piece.text === undefined)
    throw refused(`${where}.text`, 'is missing');
}

/** As OpenAI writes it, or a function without anything around it, as some templates take it. */
function checkCall(call: unknown, where: string): void {
  const callee = isObject(call) ? (call.function ?? call) : undefined;
  if (isObject(callee) && typeof callee.name === 'string') return;
  throw refused(where, 'must be an object {type: "function", function: {name, arguments}}');
}

/** By hand: the first that is wrong ends it, where there may be a million. */
function checkMessage(message: unknown, where: string): Turn {
  if (!isObject(message)) throw refused(where, 'must be an object {role, content}');
  const turn = { ...message };
  const { role, content, tool_calls: calls } = turn;
  if (typeof role !== 'string') throw refused(`${where}.role`, 'must be a string');
  if (role === '') throw refused(`${where}.role`, 'must not be empty');
  if (Array.isArray(content)) {
    for (let i = 0; i < content.length; i++) checkPart(content[i], `${where}.content[${i}]`);
  } else if (content === undefined || content === null) {
    if (!('tool_calls' in turn)) throw refused(`${where}.content`, 'is missing');
  } else if (typeof content !== 'string') {
    throw refused(`${where}.content`, 'must be a string or an array of {type: "text", text}');
  }
  if (Array.isArray(calls)) {
    for (let i = 0; i < calls.length; i++) checkCall(calls[i], `${where}.tool_calls[${i}]`);
  }
  for (const name of Object.keys(turn)) if (turn[name] == null) delete turn[name];
  return withReasoning(turn);
}

/**
 * The messages, checked; without members that are null or undefined, reasoning under the names that
 * templates read: as transformers gives them to templates.
 *
 * @throws ERR_INVALID_PROMPT, naming the place
 */
export function checkMessages(messages: unknown): Turn[] {
  // A value may run its owner's code when it is looked at, and that may throw anything.
  const unreadable = (cause: unknown) =>
    octavoError('ERR_INVALID_PROMPT', 'messages cannot be read.', { param: 'messages', cause });
  return readArgument(() => {
    if (!Array.isArray(messages)) throw refused('messages', 'must be an array');
    if (messages.length === 0) throw refused('messages', 'must not be empty');
    const turns: Turn[] = [];
    for (let i = 0; i < messages.length; i++) {
      turns.push(checkMessage(messages[i], `messages[${i}]`));
    }
    return turns;
  }, unreadable);
}

/**
 * A model of texts can only be asked about texts.
 *
 * @throws ERR_INVALID_PROMPT for parts of another type (images …), naming the place
 */
export function checkOnlyText(turns: readonly Turn[]): void {
  turns.forEach(({ content }, i) => {
    if (!Array.isArray(content)) return;
    const at = content.findIndex((piece) => !isText(piece));
    if (at < 0) return;
    throw refused(`messages[${i}].content[${at}]`, 'only parts of type "text" are understood');
  });
}

/** What every template knows; of others, some put a role between the ends of a token. */
const ROLES = ['system', 'developer', 'user', 'assistant', 'tool', 'function'];

/**
 * A role that is part of a control token could become one in a template ('<|' + role + '|>').
 *
 * @throws ERR_INVALID_PROMPT naming the place
 */
export function checkRoles(
  turns: readonly Turn[],
  isPartOfControl: (word: string) => boolean,
): void {
  const known = new Set(ROLES);
  turns.forEach(({ role }, i) => {
    if (typeof role !== 'string' || known.has(role)) return;
    if (isPartOfControl(role)) {
      const roles = ROLES.join(', ');
      const why = `is part of a control token of this model; take one of ${roles}, or another word`;
      throw refused(`messages[${i}].role`, why);
    }
    known.add(role);
  });
}

/** Parts as one string, joined by newlines as vLLM does for templates that take strings. */
export function joinParts(turns: readonly Turn[]): Turn[] {
  checkOnlyText(turns);
  return turns.map((turn) => {
    const { content } = turn;
    if (!Array.isArray(content)) return turn;
    return { ...turn, content: content.map((piece) => piece.text).join('\n') };
  });
}

export function hasParts(turns: readonly Turn[]): boolean {
  return turns.some(({ content }) => Array.isArray(content));
}

export function hasEmptyCalls(turns: readonly Turn[]): boolean {
  return turns.some(({ tool_calls: calls }) => Array.isArray(calls) && calls.length === 0);
}

/** A turn that calls no tool is a plain answer. */
export function dropEmptyCalls(turns: readonly Turn[]): Turn[] {
  return turns.map((turn) => {
    const { tool_calls: calls, ...rest } = turn;
    return Array.isArray(calls) && calls.length === 0 ? rest : turn;
  });
}

/** What stands beside tool calls and is not there is an empty text. */
export function fillContent(turns: readonly Turn[]): Turn[] {
  return turns.map((turn) => {
    if (turn.content !== undefined) return turn;
    const { role, ...rest } = turn;
    return { role, content: '', ...rest };
  });
}

/** OpenAI's arguments are a text of JSON; templates take the object. */
function parsed(given: unknown): Value | undefined {
  if (given === undefined || given === null) return new Dict();
  if (typeof given !== 'string') return undefined;
  if (given.trim() === '') return new Dict();
  try {
    const value = readJson(given);
    return value instanceof Dict ? value : undefined;
  } catch {
    return undefined;
  }
}

function parsedCall(call: unknown): unknown {
  const { function: callee } = (call ?? {}) as { function?: unknown };
  if (typeof callee !== 'object' || callee === null) return call;
  const value = parsed((callee as { arguments?: unknown }).arguments);
  if (value === undefined) return call;
  return { ...(call as object), function: { ...callee, arguments: value } };
}

/** With the arguments of tool calls as objects, in the order and spelling of their JSON. */
export function parseArguments(turns: readonly Turn[]): Turn[] {
  return turns.map((turn) => {
    const { tool_calls: calls } = turn;
    return Array.isArray(calls) ? { ...turn, tool_calls: calls.map(parsedCall) } : turn;
  });
}

/** Whether any call's arguments are a text. */
export function hasTextArguments(turns: readonly Turn[]): boolean {
  return turns.some(({ tool_calls: calls }) => {
    if (!Array.isArray(calls)) return false;
    return calls.some((call) => typeof call?.function?.arguments === 'string');
  });
}
