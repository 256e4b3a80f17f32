/** Items of the Responses API as messages of a conversation. */
import { badRequest } from './problem.js';
import type { WireMessage } from './schemas/chat.js';
import type { WireItem } from './schemas/responses.js';
import { customArguments } from './toolbox.js';

/** @throws Problem 400 for an item that is none, or refers to something that is not kept */
export function messagesOf(input: string | readonly WireItem[]): WireMessage[] {
  if (typeof input === 'string') return [{ role: 'user', content: input }];
  const messages: WireMessage[] = [];
  let reasoning: string | undefined;
  input.forEach((item, i) => {
    const where = `input.${i}`;
    const { type = 'message' } = item;
    if (type === 'reasoning') {
      reasoning = thoughtOf(item);
      return;
    }
    if (type === 'message') {
      const thought = reasoning ? { reasoning_content: reasoning } : {};
      messages.push({ ...asMessage(item, where), ...(item.role === 'assistant' ? thought : {}) });
    } else if (type === 'function_call' || type === 'custom_tool_call') {
      addCall(messages, item, where, reasoning);
    } else if (type.endsWith('_call_output')) messages.push(callOutput(item, where));
    else throw badRequest(`${where}: items of type ${type.slice(0, 60)} are not known`, where);
    reasoning = undefined;
  });
  if (messages.length === 0) throw badRequest('input: has no message', 'input');
  return messages;
}

function asMessage(item: WireItem, where: string): WireMessage {
  const { role, content } = item;
  if (typeof role !== 'string' || role === '') {
    throw badRequest(`${where}.role: must be a string`, `${where}.role`);
  }
  if (content === undefined || content === null || typeof content === 'string') {
    return { role, content: content ?? '' };
  }
  const isParts = Array.isArray(content) && content.every((part) => typeof part?.type === 'string');
  if (isParts) return { role, content: content as WireMessage['content'] };
  throw badRequest(`${where}.content: must be a string or an array of parts`, `${where}.content`);
}

const THOUGHT = 'octavo:';

/** Reasoning in the form in which clients that keep nothing send it back; a secret it is not. */
export const encodeThought = (text: string) => THOUGHT + Buffer.from(text).toString('base64');

/** Of another's reasoning only what is readable. */
function thoughtOf({ content, encrypted_content: encrypted }: WireItem): string {
  const text = textOf(content);
  if (text !== '' || typeof encrypted !== 'string' || !encrypted.startsWith(THOUGHT)) return text;
  return Buffer.from(encrypted.slice(THOUGHT.length), 'base64').toString();
}

/** Calls of one turn stand in one message. */
function addCall(messages: WireMessage[], item: WireItem, where: string, thought?: string): void {
  const { call_id: id, name: own, namespace, arguments: args = '{}', input } = item;
  if (typeof own !== 'string') throw badRequest(`${where}.name: must be a string`, where);
  const name = typeof namespace === 'string' ? `${namespace}.${own}` : own;
  const given = item.type === 'custom_tool_call' ? customArguments(input) : args;
  const call = { id, type: 'function', function: { name, arguments: given } };
  const last = messages.at(-1);
  if (last?.role !== 'assistant') {
    const reasoned = thought ? { reasoning_content: thought } : {};
    messages.push({ role: 'assistant', content: null, ...reasoned, tool_calls: [call] });
    return;
  }
  // Messages and their calls are made here, and nobody else has them yet.
  if (last.tool_calls === undefined) last.tool_calls = [call];
  else (last.tool_calls as unknown[]).push(call);
}

function callOutput({ call_id: id, output }: WireItem, where: string): WireMessage {
  const isText = (part: unknown) => typeof (part as { text?: unknown } | null)?.text === 'string';
  if (Array.isArray(output) && !output.every(isText)) {
    throw badRequest(`${where}.output: this model reads text only`, `${where}.output`);
  }
  return { role: 'tool', tool_call_id: id, content: textOf(output) };
}

/** Text, or the texts of parts. */
function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value))
    return value === undefined || value === null ? '' : JSON.stringify(value);
  return value.map((part) => (typeof part?.text === 'string' ? part.text : '')).join('\n');
}
