/** Conversations of many small parts: what they cost grows with their length, not with its square. */
import { expect, it } from 'vitest';
import { chatForms } from '../../lib/server/prompt-input.js';
import { messagesOf } from '../../lib/server/response-items.js';
import type { WireItem } from '../../lib/server/schemas/responses.js';
import { type Json, serveDemo } from './support.js';

/** Elements that are gone through one by one, and characters that are joined. */
function workOf(make: () => void): number {
  let work = 0;
  const iterator = Object.getPrototypeOf([][Symbol.iterator]());
  const { next } = iterator;
  const { join } = Array.prototype;
  iterator.next = function (this: unknown) {
    work++;
    return next.call(this);
  };
  Array.prototype.join = function (this: unknown[], by?: string) {
    const text = join.call(this, by);
    work += text.length;
    return text;
  };
  try {
    make();
  } finally {
    iterator.next = next;
    Array.prototype.join = join;
  }
  return work;
}

const call = (i: number): WireItem => ({
  ...{ type: 'function_call', call_id: `c${i}`, name: 'look', arguments: '{}' },
});

it('calls of one turn, however many', () => {
  const calls = Array.from({ length: 1000 }, (_, i) => call(i));
  const said = { type: 'message', role: 'assistant', content: 'I look.' };
  for (const before of [[], [said]]) {
    let messages: Json = [];
    const work = workOf(() => {
      messages = messagesOf([...before, ...calls]);
    });
    expect(messages).toHaveLength(1);
    expect(messages[0].tool_calls.map(({ id }: Json) => id)).toEqual(
      calls.map(({ call_id }) => call_id),
    );
    expect(work).toBeLessThan(20_000);
  }
});

it('neighbours of one role, however many', () => {
  const messages = Array.from({ length: 1000 }, (_, i) => ({ role: 'user', content: `${i % 10}` }));
  let forms: Json[] = [];
  const work = workOf(() => {
    forms = [...chatForms(messages, {})];
  });
  expect(forms.map((form) => form.messages.length)).toEqual([1000, 1]);
  expect(forms[1].messages[0].content).toBe(messages.map(({ content }) => content).join('\n\n'));
  expect(work).toBeLessThan(20_000);
});

it('forms are made when they are wanted', () => {
  const messages = Array.from({ length: 1000 }, () => ({ role: 'user', content: 'a word' }));
  const work = workOf(() => {
    const [first] = chatForms(messages, {}) as Iterable<Json>;
    expect(first.messages).toHaveLength(1000);
  });
  expect(work).toBeLessThan(1000);
});

it('and beyond a limit, of parts and calls too, are refused by name', async () => {
  const server = await serveDemo({ maxMessages: 20 });
  const say = (count: number) =>
    Array.from({ length: count }, (_, i) => ({ role: i % 2 ? 'assistant' : 'user', content: 'x' }));
  const parts = (count: number) => [
    { role: 'user', content: Array.from({ length: count }, () => ({ type: 'text', text: 'x' })) },
  ];
  const calls = (count: number) => Array.from({ length: count }, (_, i) => call(i));
  const bodies: [path: string, body: (count: number) => object][] = [
    ['/v1/chat/completions', (count) => ({ max_tokens: 1, messages: say(count + 1) })],
    ['/v1/chat/completions', (count) => ({ max_tokens: 1, messages: parts(count) })],
    ['/v1/messages', (count) => ({ max_tokens: 1, messages: parts(count) })],
    ['/v1/messages/count_tokens', (count) => ({ messages: say(count + 1) })],
    ['/tokenize', (count) => ({ messages: say(count + 1) })],
    ['/v1/responses', (count) => ({ max_output_tokens: 1, input: calls(count) })],
  ];
  for (const [path, body] of bodies) {
    await server.json(path, body(19));
    const { error } = await server.json(path, body(20), 400);
    expect(error.message).toMatch(
      /^messages: .* has 21 .* at most 20 are taken \(--max-messages\)/,
    );
  }
  await server.close();
});
