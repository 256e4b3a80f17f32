/** Tools by the clients that people have, unchanged: loops of calls and results, to their end. */
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod';
import { tool as langchainTool } from '@langchain/core/tools';
import { ChatOpenAI } from '@langchain/openai';
import { generateText, stepCountIs, streamText, tool } from 'ai';
import OpenAI from 'openai';
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  call,
  content,
  reasoning,
  type ScriptedAnswer,
  type ScriptedServer,
  serveScript,
} from '../support/scripted-llm.js';
import type { Json } from './support.js';

/** Thinks, asks two tools, and says what came of it. */
const SCRIPT: readonly ScriptedAnswer[] = [
  {
    steps: [
      [reasoning('I ask.')],
      ...call(0, 'add', '{"a": 1, ', '"b": 2}'),
      ...call(1, 'add', '{"a": 3, "b": 4}'),
    ],
    reason: 'tool_calls',
    numReasoningTokens: 1,
  },
  { steps: [[content('3 and')], [content(' 7.')]] },
];

let server: ScriptedServer;
const serve = async (script = SCRIPT) => {
  server = await serveScript(script);
  return server.url;
};
afterEach(() => server.close());

const model = 'octavo-demo';
const prompt = 'How much?';
const numbers = z.object({ a: z.number(), b: z.number() });
const add = ({ a, b }: z.output<typeof numbers>) => `${a + b}`;
const parameters = { type: 'object', properties: { a: { type: 'number' }, b: { type: 'number' } } };

/** The second request brings both results. */
function expectResults(): void {
  expect(server.asked).toHaveLength(2);
  const { messages } = server.asked[1].prompt as Json;
  const results = messages.filter(({ role }: Json) => role === 'tool');
  expect(results.map(({ content: said }: Json) => textOf(said))).toEqual(['3', '7']);
  expect(results.map(({ tool_call_id: id }: Json) => id)).toEqual(['call_0', 'call_1']);
  const turn = messages.find(({ tool_calls }: Json) => tool_calls);
  const given = turn.tool_calls.map(({ function: { arguments: json } }: Json) => JSON.parse(json));
  expect(given).toEqual([
    { a: 1, b: 2 },
    { a: 3, b: 4 },
  ]);
}

const textOf = (said: Json): string =>
  typeof said === 'string' ? said : said.map(({ text }: Json) => text).join('');

describe('openai', () => {
  const client = (url: string) => new OpenAI({ baseURL: `${url}/v1`, apiKey: 'x', maxRetries: 0 });
  const messages = [{ role: 'user' as const, content: prompt }];
  const tools = [
    {
      type: 'function' as const,
      function: { name: 'add', parameters, parse: JSON.parse, function: add, description: 'Adds' },
    },
  ];

  it('runs tools', async () => {
    const runner = client(await serve()).chat.completions.runTools({ model, messages, tools });
    expect(await runner.finalContent()).toBe('3 and 7.');
    expectResults();
  });

  it('runs tools of streams', async () => {
    const runner = client(await serve()).chat.completions.runTools({
      ...{ model, messages, tools, stream: true as const },
    });
    expect(await runner.finalContent()).toBe('3 and 7.');
    expectResults();
  });

  it('puts the pieces of calls together', async () => {
    const stream = client(await serve()).chat.completions.stream({
      ...{ model, messages, stream_options: { include_usage: true } },
      tools: [{ type: 'function', function: { name: 'add', parameters } }],
    });
    const done: Json[] = [];
    stream.on('tool_calls.function.arguments.done', (one) => done.push(one));
    const { choices, usage } = await stream.finalChatCompletion();
    expect(done.map(({ arguments: json }) => json)).toEqual([
      ...['{"a": 1, "b": 2}', '{"a": 3, "b": 4}'],
    ]);
    expect(choices[0].finish_reason).toBe('tool_calls');
    expect(choices[0].message.tool_calls?.map(({ id }) => id)).toEqual(['call_0', 'call_1']);
    expect(choices[0].message).toMatchObject({ reasoning: 'I ask.', content: null });
    expect(usage?.completion_tokens_details?.reasoning_tokens).toBe(1);
  });

  it('has responses of several items', async () => {
    const body = {
      model,
      input: prompt,
      tools: [{ type: 'function' as const, name: 'add', parameters, strict: false }],
    };
    const stream = client(await serve()).responses.stream(body);
    const pieces: string[] = [];
    stream.on('response.function_call_arguments.delta', ({ delta }) => pieces.push(delta));
    const response = await stream.finalResponse();
    expect(pieces).toEqual(['{"a": 1, ', '"b": 2}', '{"a": 3, "b": 4}']);
    expect(response.output.map(({ type }) => type)).toEqual([
      ...['reasoning', 'function_call', 'function_call'],
    ]);
    const outputs = response.output.flatMap((item) =>
      item.type === 'function_call'
        ? [
            {
              type: 'function_call_output' as const,
              call_id: item.call_id,
              output: add(JSON.parse(item.arguments)),
            },
          ]
        : [],
    );
    const input = [{ role: 'user' as const, content: prompt }, ...response.output, ...outputs];
    const last = await client(server.url).responses.create({ ...body, input: input as Json });
    expect(last.output_text).toBe('3 and 7.');
    expectResults();
  });
});

describe('the AI SDK', () => {
  const wish = (url: string) => ({
    model: createOpenAICompatible({ name: 'octavo', baseURL: `${url}/v1`, includeUsage: true })(
      model,
    ),
    prompt,
    tools: {
      add: tool({ description: 'Adds', inputSchema: numbers, execute: async (x) => add(x) }),
    },
    stopWhen: stepCountIs(3),
    maxRetries: 0,
  });

  it('calls tools and goes on', async () => {
    const { text, steps } = await generateText(wish(await serve()));
    expect([text, steps[0].finishReason, steps[0].reasoningText]).toEqual([
      ...['3 and 7.', 'tool-calls', 'I ask.'],
    ]);
    expect(steps[0].toolCalls).toHaveLength(2);
    expectResults();
    // It sends back what it was told of reasoning.
    const turn = (server.asked[1].prompt as Json).messages[1];
    expect(turn.reasoning_content).toBe('I ask.');
  });

  it('calls tools and goes on, streamed', async () => {
    const stream = streamText(wish(await serve()));
    let said = '';
    for await (const part of stream.textStream) said += part;
    expect(said).toBe('3 and 7.');
    const [first] = await stream.steps;
    expect(first.toolCalls.map(({ input }) => input)).toEqual([
      { a: 1, b: 2 },
      { a: 3, b: 4 },
    ]);
    expect(first.reasoningText).toBe('I ask.');
    expectResults();
  });
});

describe('LangChain', () => {
  const chat = (url: string) =>
    new ChatOpenAI({ model, apiKey: 'x', maxRetries: 0, configuration: { baseURL: `${url}/v1` } });
  const adding = langchainTool((input) => add(input as z.output<typeof numbers>), {
    ...{ name: 'add', description: 'Adds', schema: numbers },
  });

  it('binds tools', async () => {
    const bound = chat(await serve()).bindTools([adding]);
    const first = await bound.invoke(prompt);
    expect(first.tool_calls?.map(({ args }) => args)).toEqual([
      { a: 1, b: 2 },
      { a: 3, b: 4 },
    ]);
    const results = await Promise.all((first.tool_calls ?? []).map((one) => adding.invoke(one)));
    const last = await bound.invoke([{ role: 'user', content: prompt }, first, ...results]);
    expect(last.content).toBe('3 and 7.');
    expectResults();
  });

  it('binds tools of streams', async () => {
    const bound = chat(await serve()).bindTools([adding]);
    let whole: Json;
    for await (const chunk of await bound.stream(prompt)) {
      whole = whole === undefined ? chunk : whole.concat(chunk);
    }
    expect(whole.tool_calls.map(({ name, args }: Json) => [name, args])).toEqual([
      ['add', { a: 1, b: 2 }],
      ['add', { a: 3, b: 4 }],
    ]);
  });
});

describe("Anthropic's SDK", () => {
  const client = (url: string) => new Anthropic({ baseURL: url, apiKey: 'x', maxRetries: 0 });
  const messages = [{ role: 'user' as const, content: prompt }];

  it('runs tools', async () => {
    const run = betaZodTool({
      name: 'add',
      description: 'Adds',
      inputSchema: numbers,
      run: (input) => add(input),
    });
    const last = await client(await serve()).beta.messages.toolRunner({
      ...{ model, messages, max_tokens: 100, tools: [run] },
    });
    expect(last.content).toMatchObject([{ type: 'text', text: '3 and 7.' }]);
    expectResults();
    const turn = (server.asked[1].prompt as Json).messages[1];
    expect(turn.reasoning_content).toBe('I ask.');
  });

  it('puts the pieces of blocks together', async () => {
    const stream = client(await serve()).messages.stream({
      ...{ model, messages, max_tokens: 100 },
      tools: [{ name: 'add', input_schema: parameters as Json }],
    });
    const last = await stream.finalMessage();
    expect(last).toMatchObject({
      stop_reason: 'tool_use',
      content: [
        { type: 'thinking', thinking: 'I ask.', signature: expect.stringMatching(/./) },
        { type: 'tool_use', id: 'call_0', name: 'add', input: { a: 1, b: 2 } },
        { type: 'tool_use', id: 'call_1', name: 'add', input: { a: 3, b: 4 } },
      ],
    });
  });
});
