/** Ids of calls as the templates of Mistral's models want them: nine letters and digits. */
import { createHash } from 'node:crypto';
import type { ChatMessage } from '../text/chat-template.js';

const SHORT = /^[A-Za-z0-9]{9}$/;

const isForeign = (id: unknown): id is string => typeof id === 'string' && !SHORT.test(id);

type Call = Readonly<Record<string, unknown>>;

const callsOf = ({ tool_calls: calls }: ChatMessage): readonly Call[] =>
  Array.isArray(calls) ? calls : [];

/** Whether any call, or result of one, has another id. */
export function hasForeignIds(messages: readonly ChatMessage[]): boolean {
  return messages.some(
    (message) =>
      isForeign(message.tool_call_id) || callsOf(message).some((call) => isForeign(call?.id)),
  );
}

/** The same messages with ids of that form: the same for the same. */
export function shortIds(messages: readonly ChatMessage[]): ChatMessage[] {
  return messages.map((message) => {
    const { tool_call_id: id, tool_calls: calls } = message;
    return {
      ...message,
      ...(isForeign(id) ? { tool_call_id: short(id) } : {}),
      ...(Array.isArray(calls)
        ? {
            tool_calls: calls.map((call) =>
              isForeign(call?.id) ? { ...call, id: short(call.id) } : call,
            ),
          }
        : {}),
    };
  });
}

/** Of hexadecimal digits, which are letters and digits. */
const short = (id: string) => createHash('sha256').update(id).digest('hex').slice(0, 9);
