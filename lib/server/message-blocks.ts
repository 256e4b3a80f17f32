/** Anthropic's messages and blocks as messages of a conversation. */
import { badRequest } from './problem.js';
import type { WireMessage } from './schemas/chat.js';
import type { AnthropicMessage, CountBody, WireBlock } from './schemas/messages.js';

/** Changes with every call, and would keep prefixes from being shared. */
const BILLING = 'x-anthropic-billing-header';

export const blockText = (text: string) => ({ type: 'text', text });

/** The system's words first; a system message among the others stays where it is. */
export function messagesOf({ system, messages }: CountBody): WireMessage[] {
  const blocks = typeof system === 'string' ? [blockText(system)] : (system ?? []);
  checkTexts(blocks, 'system');
  const texts = blocks.map((block) => withoutBilling(textOf(block))).filter((text) => text !== '');
  const first = texts.length === 0 ? [] : [{ role: 'system', content: texts.join('\n') }];
  return [...first, ...messages.flatMap((message, i) => turnsOf(message, `messages.${i}`))];
}

/** The line that says who pays goes, what follows stays. */
function withoutBilling(text: string): string {
  if (!text.startsWith(BILLING)) return text;
  const end = text.indexOf('\n');
  return end < 0 ? '' : text.slice(end + 1);
}

/** @throws Problem 400 for what would be left out, and the answer with it another */
function checkTexts(blocks: readonly unknown[], where: string): void {
  const isText = (block: unknown) => (block as { type?: unknown } | null)?.type === 'text';
  if (blocks.every(isText)) return;
  throw badRequest(`${where}: this model reads blocks of type "text" only`, where);
}

function textOf(block: unknown): string {
  const text = (block as { text?: unknown } | null)?.text;
  return typeof text === 'string' ? text : '';
}

/** A message of blocks; results of tools are messages of their own. */
function turnsOf({ role, content }: AnthropicMessage, where: string): WireMessage[] {
  if (typeof content === 'string') return [{ role, content }];
  const isResult = ({ type }: WireBlock) => type === 'tool_result';
  const results = content.filter(isResult).map((block) => resultOf(block, where));
  const calls = content.filter(({ type }) => type === 'tool_use').map(callOf);
  const thought = content
    .filter(({ type }) => type === 'thinking')
    .map(({ thinking }) => (typeof thinking === 'string' ? thinking : ''))
    .join('\n');
  const parts = content
    .filter(({ type }) => !SPECIAL.includes(type))
    .map((block) => withReference(block, `${where}.content`));
  if (parts.length === 0 && calls.length === 0 && results.length > 0) return results;
  const turn: WireMessage = {
    role,
    content: parts.length === 0 ? null : parts.map(withoutCacheControl),
    ...(calls.length > 0 ? { tool_calls: calls } : {}),
    ...(thought === '' ? {} : { reasoning_content: thought }),
  };
  return [...results, turn];
}

/** What was thought and redacted, only who has made it can read. */
const SPECIAL = ['tool_result', 'tool_use', 'thinking', 'redacted_thinking'];

/** A search for tools names what it has found; all of them are offered anyway. */
function withReference<T>(block: T, where: string): T | ReturnType<typeof blockText> {
  const { type, tool_name: name } = (block ?? {}) as Record<string, unknown>;
  if (type !== 'tool_reference') return block;
  if (typeof name === 'string' && name !== '') return blockText(`The tool ${name} was found.`);
  throw badRequest(`${where}: a tool_reference must have a tool_name`, where);
}

function withoutCacheControl({ cache_control: _, ...block }: WireBlock): WireBlock {
  return block as WireBlock;
}

function callOf({ id, name, input }: WireBlock) {
  const args = JSON.stringify(input ?? {});
  return { id, type: 'function', function: { name, arguments: args } };
}

/** Templates know no result that is an error; its text says so. */
function resultOf(block: WireBlock, where: string): WireMessage {
  const { tool_use_id: id, content: given, is_error: isError = null } = block;
  if (isError !== null && typeof isError !== 'boolean') {
    throw badRequest(`${where}.content: is_error must be a boolean`, where);
  }
  const place = `${where}.content`;
  const content = Array.isArray(given) ? given.map((one) => withReference(one, place)) : given;
  if (Array.isArray(content)) checkTexts(content, place);
  const text = Array.isArray(content) ? content.map(textOf).join('\n') : content;
  const said = typeof text === 'string' ? text : '';
  return { role: 'tool', tool_call_id: id, content: isError ? `Error: ${said}` : said };
}
