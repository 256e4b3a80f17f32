/** How calls and reasoning stand on the wire: what comes when, in which members, and what does not. */
import { afterEach, describe, expect, it } from 'vitest';
import type { ServerOptions } from '../../lib/server/index.js';
import { chatAnswer } from '../../lib/server/schemas/chat.js';
import { messageAnswer } from '../../lib/server/schemas/messages.js';
import { responseAnswer } from '../../lib/server/schemas/responses.js';
import {
  call,
  content,
  reasoning,
  type ScriptedAnswer,
  type ScriptedServer,
  serveScript,
} from '../support/scripted-llm.js';
import { dataOf, eventsOf, type Json } from './support.js';

let server: ScriptedServer;
afterEach(() => server.close());

const serve = async (answer: ScriptedAnswer, options: ServerOptions = {}) => {
  server = await serveScript([answer], options);
  return server;
};

const CHAT = '/v1/chat/completions';
const RESPONSES = '/v1/responses';
const MESSAGES = '/v1/messages';
const messages = [{ role: 'user', content: 'The sea' }];
const parameters = { type: 'object', properties: { a: { type: 'number' } } };
const tools = ['f', 'g'].map((name) => ({ type: 'function', function: { name, parameters } }));
const flat = ['f', 'g'].map((name) => ({ type: 'function', name, parameters }));
const schemas = ['f', 'g'].map((name) => ({ name, input_schema: parameters }));

/** Two calls after reasoning and a text: all that there is. */
const ALL: ScriptedAnswer = {
  steps: [
    [reasoning('So')],
    [reasoning(' be it.')],
    [content('I look.')],
    ...call(0, 'f', '{"a"', ': 1}'),
    ...call(1, 'g', '{}'),
  ],
  reason: 'tool_calls',
  numReasoningTokens: 2,
};

/** The deltas of a stream of one choice. */
const deltasOf = (chunks: readonly Json[]) =>
  chunks.flatMap(({ choices }) => choices.map((one: Json) => one.delta));

describe('chat completions', () => {
  it('tell reasoning, text and calls in the order that clients merge', async () => {
    await serve(ALL);
    const stream_options = { include_usage: true };
    const frames = await server.frames(CHAT, { messages, tools, stream_options });
    const chunks = dataOf(frames);
    const usage = chunks.pop();
    expect(usage).toMatchObject({
      choices: [],
      usage: { completion_tokens_details: { reasoning_tokens: 2 } },
    });
    expect(chunks.every((one) => one.usage === null && one.choices.length === 1)).toBe(true);
    expect(deltasOf(chunks)).toEqual([
      { role: 'assistant', content: '' },
      { reasoning: 'So', reasoning_content: 'So' },
      { reasoning: ' be it.', reasoning_content: ' be it.' },
      { content: 'I look.' },
      {
        tool_calls: [
          { index: 0, id: 'call_0', type: 'function', function: { name: 'f', arguments: '' } },
        ],
      },
      { tool_calls: [{ index: 0, function: { arguments: '{"a"' } }] },
      { tool_calls: [{ index: 0, function: { arguments: ': 1}' } }] },
      {
        tool_calls: [
          { index: 1, id: 'call_1', type: 'function', function: { name: 'g', arguments: '' } },
        ],
      },
      { tool_calls: [{ index: 1, function: { arguments: '{}' } }] },
      {},
    ]);
    expect(chunks.at(-1).choices[0]).toMatchObject({ finish_reason: 'tool_calls' });
  });

  it('are put together by who goes by ids instead of by index, too', async () => {
    await serve({ ...ALL, steps: [...ALL.steps, ...call(2, 'f', '{"a":', ' 2}')] });
    const chunks = dataOf(await server.frames(CHAT, { messages, tools }));
    const byId = new Map<string, string>();
    let open = '';
    for (const { tool_calls = [] } of deltasOf(chunks)) {
      for (const { id, function: said } of tool_calls) {
        // One without an id belongs to the one before.
        if (id !== undefined) {
          expect(byId.has(id)).toBe(false);
          open = id;
        }
        byId.set(open, `${byId.get(open) ?? ''}${said.name ?? ''}${said.arguments}`);
      }
    }
    expect([...byId.values()]).toEqual(['f{"a": 1}', 'g{}', 'f{"a": 2}']);
  });

  it('answer with the same, whole', async () => {
    await serve(ALL);
    const answer = await server.json(CHAT, { messages, tools });
    chatAnswer.strict().parse(answer);
    expect(answer.choices[0]).toMatchObject({ finish_reason: 'tool_calls' });
    expect(answer.choices[0].message).toEqual({
      role: 'assistant',
      content: 'I look.',
      refusal: null,
      reasoning: 'So be it.',
      reasoning_content: 'So be it.',
      tool_calls: [
        { id: 'call_0', type: 'function', function: { name: 'f', arguments: '{"a": 1}' } },
        { id: 'call_1', type: 'function', function: { name: 'g', arguments: '{}' } },
      ],
    });
    expect(answer.usage.completion_tokens_details.reasoning_tokens).toBe(2);
  });

  it('have no content beside calls alone, and no member for what was not said', async () => {
    await serve({ steps: call(0, 'f', '{}'), reason: 'tool_calls' });
    const { choices } = await server.json(CHAT, { messages, tools });
    expect(choices[0].message.content).toBeNull();
    expect(Object.keys(choices[0].message)).toEqual(['role', 'content', 'refusal', 'tool_calls']);
    await server.close();
    await serve({ steps: [[content('No.')]] });
    const plain = await server.json(CHAT, { messages, tools });
    expect(plain.choices[0]).toMatchObject({ finish_reason: 'stop' });
    expect(Object.keys(plain.choices[0].message)).toEqual(['role', 'content', 'refusal']);
  });

  it('end with stop where the tool was named, else with tool_calls, cut with length', async () => {
    const ending = async (choice: unknown, reason: ScriptedAnswer['reason']) => {
      await serve({
        steps: call(0, 'f', '{"a": 1}').slice(0, reason === 'length' ? 2 : 3),
        reason,
      });
      const body = { messages, tools, tool_choice: choice };
      const { choices } = await server.json(CHAT, body);
      const chunks = dataOf(await server.frames(CHAT, body));
      const { finish_reason: end } = choices[0];
      expect(chunks.at(-1).choices[0].finish_reason).toBe(end);
      expect(choices[0].message.tool_calls).toHaveLength(1);
      await server.close();
      return end;
    };
    const named = { type: 'function', function: { name: 'f' } };
    expect(await ending(named, 'tool_calls')).toBe('stop');
    expect(await ending('required', 'tool_calls')).toBe('tool_calls');
    expect(await ending('auto', 'tool_calls')).toBe('tool_calls');
    expect(await ending('required', 'length')).toBe('length');
    await serve({ steps: [[content('x')]] });
  });

  it('give what came of a call that was cut', async () => {
    const [begun, first] = call(0, 'f', '{"a": ', '1}');
    await serve({ steps: [begun, first], reason: 'length' });
    const { choices } = await server.json(CHAT, { messages, tools });
    expect(choices[0].message.tool_calls[0].function.arguments).toBe('{"a": ');
  });

  it('leave reasoning out, or tell it under one name, where that is asked for', async () => {
    await serve(ALL, { reasoningField: 'reasoning' });
    const { choices } = await server.json(CHAT, { messages, tools });
    expect(choices[0].message).toMatchObject({ reasoning: 'So be it.' });
    expect(choices[0].message).not.toHaveProperty('reasoning_content');
    const silent = { messages, tools, include_reasoning: false };
    const answer = await server.json(CHAT, silent);
    expect(answer.choices[0].message).not.toHaveProperty('reasoning');
    const deltas = deltasOf(dataOf(await server.frames(CHAT, silent)));
    expect(deltas.flatMap((one) => Object.keys(one))).not.toContain('reasoning');
    await server.close();
    await serve(ALL, { reasoningField: 'reasoning_content' });
    const old = deltasOf(dataOf(await server.frames(CHAT, { messages, tools })));
    expect(old[1]).toEqual({ reasoning_content: 'So' });
  });

  it('call functions as before there were tools, where they were offered so', async () => {
    await serve({ steps: call(0, 'f', '{"a": 1}'), reason: 'tool_calls' });
    const body = { messages, functions: [{ name: 'f', parameters }] };
    const { choices } = await server.json(CHAT, body);
    expect(choices[0]).toMatchObject({
      finish_reason: 'function_call',
      message: { content: null, function_call: { name: 'f', arguments: '{"a": 1}' } },
    });
    expect(deltasOf(dataOf(await server.frames(CHAT, body))).slice(1)).toEqual([
      { function_call: { name: 'f', arguments: '' } },
      { function_call: { arguments: '{"a": 1}' } },
      {},
    ]);
  });

  it('give the input of custom tools as the text that it is', async () => {
    await serve({ steps: call(0, 'patch', '{"input": "a\\n', 'b"}'), reason: 'tool_calls' });
    const body = { messages, tools: [{ type: 'custom', custom: { name: 'patch' } }] };
    const { choices } = await server.json(CHAT, body);
    expect(choices[0].message.tool_calls).toEqual([
      { id: 'call_0', type: 'custom', custom: { name: 'patch', input: 'a\nb' } },
    ]);
    expect(deltasOf(dataOf(await server.frames(CHAT, body))).slice(1, -1)).toEqual([
      {
        tool_calls: [
          { index: 0, id: 'call_0', type: 'custom', custom: { name: 'patch', input: '' } },
        ],
      },
      { tool_calls: [{ index: 0, custom: { input: 'a\nb' } }] },
    ]);
  });

  it('tell tokens once, whatever they are tokens of', async () => {
    const both = [reasoning('So.'), content('I'), ...call(0, 'f', '{}').flat()];
    await serve({ steps: [both], reason: 'tool_calls' });
    const chunks = dataOf(await server.frames(CHAT, { messages, tools, return_token_ids: true }));
    expect(chunks.flatMap(({ choices: [one] }) => one.token_ids ?? [])).toEqual([0]);
  });
});

describe('responses', () => {
  it('have an item for each thing that is said, in the order that clients insist on', async () => {
    await serve(ALL);
    const events = eventsOf(await server.frames(RESPONSES, { input: 'The sea', tools: flat }));
    expect(events.map(({ sequence_number: n }) => n)).toEqual([...events.keys()]);
    const text = (kind: string, ...pieces: string[]) => [
      ...['output_item.added', 'content_part.added', ...pieces.map(() => `${kind}.delta`)],
      ...[`${kind}.done`, 'content_part.done', 'output_item.done'],
    ];
    const calls = 'function_call_arguments';
    expect(events.map(({ type }) => type.replace('response.', ''))).toEqual([
      ...['created', 'in_progress'],
      ...text('reasoning_text', 'So', ' be it.'),
      ...text('output_text', 'I look.'),
      ...['output_item.added', `${calls}.delta`, `${calls}.delta`, `${calls}.done`],
      ...['output_item.done', 'output_item.added', `${calls}.delta`, `${calls}.done`],
      ...['output_item.done', 'completed'],
    ]);
    const added = events.filter(({ type }) => type === 'response.output_item.added');
    expect(added.map(({ output_index: i }) => i)).toEqual([0, 1, 2, 3]);
    expect(added.map(({ item }) => item.status)).toEqual(Array(4).fill('in_progress'));
    const part = events.find(({ type }) => type === 'response.content_part.added');
    expect(part.part).toEqual({ type: 'reasoning_text', text: '' });
    const done = events.filter(({ type }) => type === 'response.output_item.done');
    const { response } = events.at(-1);
    expect(response.output).toEqual(done.map(({ item }) => item));
    for (const { item_id: id, output_index: i } of events) {
      if (id !== undefined) expect(id).toBe(response.output[i].id);
    }
    expect(response.output).toMatchObject([
      { type: 'reasoning', summary: [], content: [{ type: 'reasoning_text', text: 'So be it.' }] },
      { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'I look.' }] },
      { type: 'function_call', call_id: 'call_0', name: 'f', arguments: '{"a": 1}' },
      { type: 'function_call', call_id: 'call_1', name: 'g', arguments: '{}', status: 'completed' },
    ]);
    const finished = events.find(({ type }) => type.endsWith('arguments.done'));
    expect(finished).toMatchObject({ arguments: '{"a": 1}', name: 'f' });
    expect(response.usage.output_tokens_details.reasoning_tokens).toBe(2);
    expect(response.tools).toHaveLength(2);
  });

  it('answer with the same items', async () => {
    await serve(ALL);
    const whole = await server.json(RESPONSES, { input: 'The sea', tools: flat });
    responseAnswer.parse(whole);
    const kinds = whole.output.map(({ type }: Json) => type);
    expect(kinds).toEqual(['reasoning', 'message', 'function_call', 'function_call']);
  });

  it('call tools of a namespace by both of their names', async () => {
    await serve({ steps: call(0, 'mail.send', '{}'), reason: 'tool_calls' });
    const namespace = {
      type: 'namespace',
      name: 'mail',
      tools: [{ type: 'function', name: 'send' }],
    };
    const body = { input: 'x', tools: [namespace] };
    const { output } = await server.json(RESPONSES, body);
    expect(output[0]).toMatchObject({ namespace: 'mail', name: 'send', type: 'function_call' });
    expect(server.asked[0].chat.tools?.[0].function.name).toBe('mail.send');
    const input = [{ role: 'user', content: 'x' }, output[0]];
    await server.json(RESPONSES, { ...body, input });
    const [, turn] = server.asked[1].prompt.messages;
    expect(turn.tool_calls[0].function.name).toBe('mail.send');
  });

  it('give the input of custom tools in events of their own', async () => {
    await serve({ steps: call(0, 'patch', '{"input": "a"}'), reason: 'tool_calls' });
    const body = { input: 'x', tools: [{ type: 'custom', name: 'patch' }] };
    const events = eventsOf(await server.frames(RESPONSES, body));
    expect(events.map(({ type }) => type.replace('response.', '')).slice(2, -1)).toEqual([
      ...['output_item.added', 'custom_tool_call_input.delta', 'custom_tool_call_input.done'],
      'output_item.done',
    ]);
    const item = events.at(-2).item;
    expect(item).toMatchObject({ type: 'custom_tool_call', name: 'patch', input: 'a' });
    const output = { type: 'custom_tool_call_output', call_id: 'call_0', output: 'done' };
    await server.json(RESPONSES, {
      ...body,
      input: [{ role: 'user', content: 'x' }, item, output],
    });
    const [, turn, result] = server.asked[1].prompt.messages;
    expect(turn.tool_calls[0].function).toEqual({ name: 'patch', arguments: '{"input":"a"}' });
    expect(result).toMatchObject({ role: 'tool', content: 'done', tool_call_id: 'call_0' });
  });

  it('keep calls and reasoning for the turn that goes on from them', async () => {
    await serve(ALL);
    const first = await server.json(RESPONSES, { input: 'The sea', tools: flat });
    const input = [{ type: 'function_call_output', call_id: 'call_0', output: '5' }];
    await server.json(RESPONSES, { input, tools: flat, previous_response_id: first.id });
    expect(server.asked[1].prompt.messages).toMatchObject([
      { role: 'user' },
      { content: 'I look.', reasoning_content: 'So be it.', tool_calls: [{ id: 'call_0' }, {}] },
      { role: 'tool', content: '5' },
    ]);
  });

  it('give reasoning to clients that keep nothing, in a form to send back', async () => {
    await serve(ALL);
    const include = ['reasoning.encrypted_content'];
    const body = { input: 'The sea', tools: flat, store: false, include };
    const { output } = await server.json(RESPONSES, body);
    expect(output[0].encrypted_content).toEqual(expect.any(String));
    const { content: _, ...sent } = output[0];
    const input = [{ role: 'user', content: 'x' }, sent, ...output.slice(2)];
    await server.json(RESPONSES, { ...body, input });
    expect(server.asked[1].prompt.messages[1]).toMatchObject({
      reasoning_content: 'So be it.',
      tool_calls: [{ id: 'call_0' }, { id: 'call_1' }],
    });
    const plain = await server.json(RESPONSES, { input: 'The sea', tools: flat });
    expect(plain.output[0].encrypted_content).toBeNull();
  });

  it('say that a call was cut', async () => {
    const [begun, first] = call(0, 'f', '{"a"');
    await serve({ steps: [begun, first], reason: 'length' });
    const { status, output } = await server.json(RESPONSES, { input: 'x', tools: flat });
    expect([status, output[0].status, output[0].arguments]).toEqual([
      ...['incomplete', 'incomplete', '{"a"'],
    ]);
  });
});

describe("Anthropic's messages", () => {
  const body = { messages, max_tokens: 100, tools: schemas };

  it('have a block for each thing that is said, and a signature after thinking', async () => {
    await serve(ALL);
    const events = eventsOf(await server.frames(MESSAGES, body));
    const told = events.map(({ type, index, delta }) =>
      [type.replace('content_block_', ''), index, delta?.type].filter((x) => x !== undefined),
    );
    expect(told).toEqual([
      ['message_start'],
      ...[['start', 0], ...Array(2).fill(['delta', 0, 'thinking_delta'])],
      ...[
        ['delta', 0, 'signature_delta'],
        ['stop', 0],
      ],
      ...[
        ['start', 1],
        ['delta', 1, 'text_delta'],
        ['stop', 1],
      ],
      ...[['start', 2], ...Array(2).fill(['delta', 2, 'input_json_delta']), ['stop', 2]],
      ...[
        ['start', 3],
        ['delta', 3, 'input_json_delta'],
        ['stop', 3],
      ],
      ...[['message_delta'], ['message_stop']],
    ]);
    const starts = events.filter(({ type }) => type === 'content_block_start');
    expect(starts.map(({ content_block }) => content_block)).toEqual([
      { type: 'thinking', thinking: '', signature: '' },
      { type: 'text', text: '' },
      { type: 'tool_use', id: 'call_0', name: 'f', input: {} },
      { type: 'tool_use', id: 'call_1', name: 'g', input: {} },
    ]);
    expect(events.at(-2).delta).toEqual({ stop_reason: 'tool_use', stop_sequence: null });
  });

  it('answer with the same blocks', async () => {
    await serve(ALL);
    const answer = await server.json(MESSAGES, body);
    messageAnswer.strict().parse(answer);
    expect(answer).toMatchObject({ stop_reason: 'tool_use' });
    expect(answer.content).toEqual([
      { type: 'thinking', thinking: 'So be it.', signature: expect.stringMatching(/./) },
      { type: 'text', text: 'I look.' },
      { type: 'tool_use', id: 'call_0', name: 'f', input: { a: 1 } },
      { type: 'tool_use', id: 'call_1', name: 'g', input: {} },
    ]);
  });

  it('have a text even where nothing is said', async () => {
    await serve({ steps: [] });
    const answer = await server.json(MESSAGES, body);
    expect(answer.content).toEqual([{ type: 'text', text: '' }]);
    const types = eventsOf(await server.frames(MESSAGES, body)).map(({ type }) => type);
    expect(types.slice(1, 3)).toEqual(['content_block_start', 'content_block_stop']);
  });
});

it('metrics count answers to requests with tools, by whether one was called', async () => {
  await serve(ALL);
  await server.json(CHAT, { messages, tools });
  await server.frames(CHAT, { messages, tools });
  await server.json(RESPONSES, { input: 'x', tools: flat });
  await server.json(MESSAGES, { messages, max_tokens: 9, tools: schemas });
  await server.json(CHAT, { messages });
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const count = (mode: string, outcome: string, type: string) => {
    const labels = `mode="${mode}",outcome="${outcome}",request_type="${type}"`;
    const name = 'vllm:tool_call_parser_invocations_total';
    const line = text.split('\n').find((one) => one.startsWith(name) && one.includes(labels));
    return Number(line?.split(' ').at(-1));
  };
  expect(count('non_streaming', 'tool_call', 'chat_completions')).toBe(1);
  expect(count('streaming', 'tool_call', 'chat_completions')).toBe(1);
  expect(count('non_streaming', 'tool_call', 'responses')).toBe(1);
  expect(count('non_streaming', 'tool_call', 'other')).toBe(1);
  expect(count('non_streaming', 'no_tool_call', 'chat_completions')).toBe(0);
});
