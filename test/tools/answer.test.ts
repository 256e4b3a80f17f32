import { describe, expect, it } from 'vitest';
import { Answer } from '../../lib/tools/answer.js';
import { join } from '../../lib/tools/chat-events.js';
import { checkTools } from '../../lib/tools/definitions.js';
import { AnswerParser, type Beginning } from '../../lib/tools/parser.js';
import type { ChatEvent } from '../../lib/tools/types.js';
import { FAMILIES } from '../support/tool-families.js';
import { subject } from './support.js';

const qwen3 = subject(FAMILIES.qwen3.source);
const tools = ['get', 'put'].map((name) => ({ type: 'function', function: { name } }) as const);
const { callable } = checkTools({ tools });
const answer = (beginning: Beginning = 'start') =>
  new Answer(new AnswerParser(qwen3.marked, callable, beginning));
const call = (name: string, args: string) =>
  `<tool_call>\n{"name": "${name}", "arguments": ${args}}\n</tool_call>\n`;

describe('an answer', () => {
  it('counts tokens of reasoning, also those whose text is held back', () => {
    const own = answer('reasoning');
    for (const text of ['Why', '', ' so?', '\n</th', 'ink>']) own.push(text);
    expect(own.numReasoningTokens).toBe(5);
    for (const text of ['', 'So', '.']) own.push(text);
    own.finish('');
    expect([own.numReasoningTokens, own.reasoning, own.content]).toEqual([5, 'Why so?', 'So.']);
  });

  it('has called when each of its calls is whole', () => {
    const own = answer();
    expect(own.hasCalled).toBe(false);
    own.push(call('get', '{}'));
    expect(own.hasCalled).toBe(true);
    own.push(call('put', '{"a": 1}').slice(0, -20));
    expect(own.hasCalled).toBe(false);
    own.finish('');
    expect(own.hasCalled).toBe(false);
  });

  it('lists its calls as they were when it was asked, whenever the list is made', () => {
    const own = answer();
    expect(own.toolCalls).toBeUndefined();
    own.push(call('get', '{"a": 1}'));
    const first = own.toolCalls!;
    own.push(call('put', '{"b": 2}').slice(0, -20));
    const second = own.toolCalls!;
    own.push(call('put', '{"b": 2}').slice(-20));
    own.finish('');
    const [get, put] = own.toolCalls!();
    expect(get).toMatchObject({ name: 'get', arguments: { a: 1 }, argumentsText: '{"a": 1}' });
    expect(put).toMatchObject({ name: 'put', arguments: { b: 2 }, argumentsText: '{"b": 2}' });
    expect(first()).toEqual([get]);
    const cut = second();
    expect(cut[0]).toEqual(get);
    expect(cut[1]).toMatchObject({ name: 'put', arguments: undefined });
    expect('{"b": 2}'.startsWith(cut[1].argumentsText)).toBe(true);
    expect(cut[1].argumentsText).not.toBe('{"b": 2}');
  });

  it('takes what is left of its text when it ends', () => {
    const own = answer();
    own.push('So');
    expect(own.finish(' be it. <tool_c')).toEqual([{ type: 'content', text: ' be it. <tool_c' }]);
    expect(own.content).toBe('So be it. <tool_c');
  });
});

it('joins events of one kind, and changes none that was given', () => {
  const first: ChatEvent = { type: 'content', text: 'a' };
  const events: ChatEvent[] = [];
  join(events, [first, { type: 'content', text: 'b' }]);
  join(events, [
    { type: 'call', index: 0, id: 'x', name: 'f' },
    { type: 'arguments', index: 0, json: '{' },
    { type: 'arguments', index: 0, json: '}' },
    { type: 'call-end', index: 0 },
    { type: 'content', text: 'c' },
  ]);
  expect(first).toEqual({ type: 'content', text: 'a' });
  expect(events).toEqual([
    { type: 'content', text: 'ab' },
    { type: 'call', index: 0, id: 'x', name: 'f' },
    { type: 'arguments', index: 0, json: '{}' },
    { type: 'call-end', index: 0 },
    { type: 'content', text: 'c' },
  ]);
});
