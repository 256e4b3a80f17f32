/** Tools that the demo model must call, over HTTP: whatever it draws, its calls are right. */
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { ChatOpenAI } from '@langchain/openai';
import { generateText, tool } from 'ai';
import OpenAI from 'openai';
import { zodFunction } from 'openai/helpers/zod';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { SEED } from '../support/seed.js';
import { TOOL_TEMPLATE } from '../support/tool-template.js';
import { dataOf, eventsOf, type Json, serveDemo, type TestServer } from './support.js';

let server: TestServer;
const warned: Json[] = [];
const nothing = () => {};
const logger = { debug: nothing, info: nothing, error: nothing } as Json;
logger.warn = (line: Json) => warned.push(line);
beforeAll(async () => {
  // What is drawn at random would never end to think.
  const options = { chatTemplate: TOOL_TEMPLATE, reasoningParser: 'none', logger };
  server = await serveDemo(options, { seed: SEED });
});
afterAll(() => server.close());

const CHAT = '/v1/chat/completions';
const model = 'octavo-demo';
const messages = [{ role: 'user' as const, content: 'The sea' }];
const sail = z.object({ to: z.enum(['Nantucket', 'Peru']), days: z.int().min(1).max(9) });
const rest = z.object({});
const schemaOf = (shape: z.ZodType) => z.toJSONSchema(shape) as Json;
const tools = [
  { type: 'function', function: { name: 'sail', parameters: schemaOf(sail) } },
  { type: 'function', function: { name: 'rest', parameters: schemaOf(rest) } },
];
const hot = { temperature: 2, max_tokens: 200 };

function check(name: string, json: string): void {
  (name === 'sail' ? sail : rest).parse(JSON.parse(json));
  expect(['sail', 'rest']).toContain(name);
}

describe('chat completions', () => {
  it('call a tool where one is required, streamed or not, with the same arguments', async () => {
    for (let seed = SEED; seed < SEED + 4; seed++) {
      const body = { messages, tools, ...hot, tool_choice: 'required', parallel_tool_calls: false };
      const answer = await server.json(CHAT, { ...body, seed });
      const [{ message, finish_reason }] = answer.choices;
      expect(finish_reason).toBe('tool_calls');
      expect(message.tool_calls).toHaveLength(1);
      const [{ id, function: called }] = message.tool_calls;
      expect(id).toMatch(/^call_[A-Za-z0-9]{24}$/);
      check(called.name, called.arguments);
      const chunks = dataOf(await server.frames(CHAT, { ...body, seed }));
      const calls = chunks.flatMap(({ choices: [one] }) => one.delta.tool_calls ?? []);
      expect(calls.filter((one) => one.id !== undefined)).toHaveLength(1);
      expect(calls[0].function.name).toBe(called.name);
      const json = calls.map((one) => one.function.arguments).join('');
      expect(json).toBe(called.arguments);
    }
  });

  it('call the tool that is named, once', async () => {
    const tool_choice = { type: 'function', function: { name: 'rest' } };
    const { choices } = await server.json(CHAT, { messages, tools, ...hot, tool_choice });
    expect(choices[0].finish_reason).toBe('stop');
    const called = choices[0].message.tool_calls.map((one: Json) => one.function);
    expect(called).toHaveLength(1);
    expect([called[0].name, JSON.parse(called[0].arguments)]).toEqual(['rest', {}]);
  });

  it('call only what is allowed, and nothing where nothing is', async () => {
    const allowed = { mode: 'required', tools: [{ type: 'function', function: { name: 'sail' } }] };
    const tool_choice = { type: 'allowed_tools', allowed_tools: allowed };
    const one = await server.json(CHAT, { messages, tools, ...hot, tool_choice });
    for (const called of one.choices[0].message.tool_calls) {
      expect(called.function.name).toBe('sail');
    }
    const none = { messages, tools, ...hot, max_tokens: 30, tool_choice: 'none' };
    const { choices } = await server.json(CHAT, none);
    expect(choices[0].message).not.toHaveProperty('tool_calls');
    expect(choices[0].finish_reason).not.toBe('tool_calls');
  });

  it('need no flag of the server to call what they like', async () => {
    const body = { messages, tools, temperature: 1, max_tokens: 40, tool_choice: 'auto' };
    const { choices } = await server.json(CHAT, { ...body, n: 4 });
    for (const { message } of choices) {
      for (const { function: called } of message.tool_calls ?? []) {
        if (message.finish_reason !== 'length') check(called.name, called.arguments);
      }
    }
  });

  it('say what came of a call that has no room', async () => {
    const body = { messages, tools, temperature: 2, tool_choice: 'required' };
    for (let max_tokens = 1; max_tokens <= 24; max_tokens++) {
      const { choices } = await server.json(CHAT, { ...body, max_tokens, seed: SEED });
      const [{ finish_reason, message }] = choices;
      if (finish_reason !== 'length') break;
      // The markers of a call are no content, wherever it was cut.
      expect([max_tokens, message.content ?? '']).toEqual([max_tokens, '']);
      for (const { function: called } of message.tool_calls ?? []) {
        expect(['sail', 'rest']).toContain(called.name);
      }
    }
  });

  it('keep the markers of a call to themselves that a stop string cuts', async () => {
    const body = { messages, tools, ...hot, tool_choice: 'required', stop: ['"arguments"'] };
    const { choices } = await server.json(CHAT, body);
    const [{ finish_reason, message }] = choices;
    expect([finish_reason, message.content ?? '']).toEqual(['stop', '']);
    expect(message.tool_calls).toMatchObject([{ function: { arguments: '' } }]);
  });

  it.each([null, {}, { function: {} }, 'f'])('refuse %j as a call of the past', async (call) => {
    const past = [...messages, { role: 'assistant', tool_calls: [call] }, ...messages];
    const { error } = await server.json(CHAT, { messages: past, max_tokens: 1 }, 400);
    expect(error.message).toMatch(/^messages\[1\]\.tool_calls\[0\] must be an object/);
  });

  it('refuse a strict tool whose schema cannot be enforced, and take one that is not strict', async () => {
    const parameters = { type: 'object', properties: { a: { type: 'string', pattern: '(?=x)' } } };
    const of = (strict: boolean) => ({
      ...{ messages, max_tokens: 3 },
      tools: [{ type: 'function', function: { name: 'f', parameters, strict } }],
    });
    const { error } = await server.json(CHAT, of(true), 400);
    expect(error.param).toMatch(/^tools\[0\]\.function\.parameters/);
    warned.length = 0;
    await server.json(CHAT, of(false));
    expect(warned[0].warnings[0]).toMatch(/^tools\[0\]\.function\.parameters: .*pattern/);
  });

  it('count tools as a part of the prompt, alike wherever they are counted', async () => {
    const { usage } = await server.json(CHAT, { messages, tools, max_tokens: 1 });
    const bare = await server.json(CHAT, { messages, max_tokens: 1 });
    expect(usage.prompt_tokens).toBeGreaterThan(bare.usage.prompt_tokens + 50);
    const { count } = await server.json('/tokenize', { messages, tools });
    const { token_ids } = await server.json(`${CHAT}/render`, { messages, tools });
    const schemas = tools.map(({ function: { name, parameters } }) => ({
      name,
      input_schema: parameters,
    }));
    const counted = await server.json('/v1/messages/count_tokens', { messages, tools: schemas });
    expect([count, token_ids.length, counted.input_tokens]).toEqual(
      Array(3).fill(usage.prompt_tokens),
    );
  });

  it('answer with JSON, or with a call, where both are asked for', async () => {
    const schema = schemaOf(z.strictObject({ a: z.literal(1) }));
    const response_format = { type: 'json_schema', json_schema: { name: 'n', schema } };
    const body = { messages, tools, ...hot, n: 4, response_format };
    for (const { message, finish_reason } of (await server.json(CHAT, body)).choices) {
      if (finish_reason === 'length') continue;
      if (message.tool_calls === undefined) expect(JSON.parse(message.content).a).toBe(1);
      for (const { function: called } of message.tool_calls ?? []) {
        check(called.name, called.arguments);
      }
    }
  });
});

it('responses have an item for a call that is required', async () => {
  const flat = tools.map(({ function: one }) => ({ type: 'function', ...one }));
  const body = { input: 'The sea', tools: flat, tool_choice: 'required', temperature: 2 };
  const events = eventsOf(
    await server.frames('/v1/responses', { ...body, max_output_tokens: 200 }),
  );
  const { output } = events.at(-1).response;
  const calls = output.filter(({ type }: Json) => type === 'function_call');
  expect(calls.length).toBeGreaterThan(0);
  check(calls[0].name, calls[0].arguments);
});

describe('a model that thinks first', () => {
  let thinking: TestServer;
  beforeAll(async () => {
    thinking = await serveDemo({ chatTemplate: TOOL_TEMPLATE }, { seed: SEED });
  });
  afterAll(() => thinking.close());

  it('does so within its budget, and then calls what it must', async () => {
    let numThoughtful = 0;
    for (let seed = SEED; seed < SEED + 6; seed++) {
      const body = { messages, tools, ...hot, seed, tool_choice: 'required' };
      const budget = { thinking_token_budget: 8, parallel_tool_calls: false };
      const { choices, usage } = await thinking.json(CHAT, { ...body, ...budget });
      const [{ message, finish_reason }] = choices;
      expect(finish_reason).toBe('tool_calls');
      check(message.tool_calls[0].function.name, message.tool_calls[0].function.arguments);
      const { reasoning_tokens: thought } = usage.completion_tokens_details;
      // The end of it is written out, which may take tokens of its own.
      expect(thought).toBeLessThan(8 + 16);
      expect(message.reasoning ?? '').not.toContain('think>');
      if (message.reasoning !== undefined) numThoughtful++;
      const chunks = dataOf(await thinking.frames(CHAT, { ...body, ...budget }));
      const text = chunks.map(({ choices: [one] }) => one.delta.reasoning ?? '').join('');
      expect(text).toBe(message.reasoning ?? '');
    }
    expect(numThoughtful).toBeGreaterThan(0);
  });

  it('answers with JSON behind its thoughts', async () => {
    const schema = schemaOf(z.strictObject({ a: z.literal(1) }));
    const response_format = { type: 'json_schema', json_schema: { name: 'n', schema } };
    const body = { messages, ...hot, n: 4, response_format, thinking_token_budget: 8 };
    for (const { message, finish_reason } of (await thinking.json(CHAT, body)).choices) {
      expect(finish_reason).toBe('stop');
      expect(JSON.parse(message.content)).toMatchObject({ a: 1 });
    }
  });

  it('does not where that was switched off', async () => {
    const chat_template_kwargs = { enable_thinking: false };
    const body = { messages, max_tokens: 1, return_prompt_text: true };
    const { prompt_text: text } = await thinking.json(CHAT, { ...body, chat_template_kwargs });
    expect(text).toMatch(/<think>\n\n<\/think>\n\n$/);
    const effort = { ...body, reasoning_effort: 'none' };
    expect((await thinking.json(CHAT, effort)).prompt_text).toBe(text);
  });

  it('has blocks for its thoughts', async () => {
    const { content } = await thinking.json('/v1/messages', {
      ...{ messages, max_tokens: 200, temperature: 1 },
      thinking: { type: 'enabled', budget_tokens: 8 },
      tools: [{ name: 'sail', input_schema: schemaOf(sail) }],
      tool_choice: { type: 'any', disable_parallel_tool_use: true },
    });
    const use = content.find(({ type }: Json) => type === 'tool_use');
    sail.parse(use.input);
  });
});

describe('clients', () => {
  it('of openai parse the arguments of a tool', async () => {
    const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'x', maxRetries: 0 });
    const { choices } = await client.chat.completions.parse({
      ...{ model, messages, temperature: 2, max_tokens: 200, tool_choice: 'required' },
      ...{ parallel_tool_calls: false, tools: [zodFunction({ name: 'sail', parameters: sail })] },
    });
    const [called] = choices[0].message.tool_calls ?? [];
    sail.parse((called as Json).function.parsed_arguments);
  });

  it('of the AI SDK validate the input of a tool', async () => {
    const provider = createOpenAICompatible({ name: 'octavo', baseURL: `${server.url}/v1` });
    const { toolCalls } = await generateText({
      ...{ model: provider(model), prompt: 'The sea', toolChoice: 'required' as const },
      ...{ temperature: 2, maxOutputTokens: 200, maxRetries: 0 },
      tools: { sail: tool({ inputSchema: sail }) },
    });
    expect(toolCalls.length).toBeGreaterThan(0);
    sail.parse(toolCalls[0].input);
    expect((toolCalls[0] as Json).invalid).toBeFalsy();
  });

  it('of LangChain have structured output by a tool', async () => {
    const chat = new ChatOpenAI({
      ...{ model, apiKey: 'x', temperature: 2, maxTokens: 200, maxRetries: 0 },
      configuration: { baseURL: `${server.url}/v1` },
    });
    const byTool = chat.withStructuredOutput(sail, { name: 'sail', method: 'functionCalling' });
    sail.parse(await byTool.invoke('The sea'));
  });

  it('of Anthropic have a block for the tool that was named', async () => {
    const client = new Anthropic({ baseURL: server.url, apiKey: 'x', maxRetries: 0 });
    const last = await client.messages
      .stream({
        ...{ model, messages, max_tokens: 200, temperature: 1 },
        tools: [{ name: 'sail', input_schema: schemaOf(sail) }],
        tool_choice: { type: 'tool', name: 'sail' },
      })
      .finalMessage();
    expect(last.stop_reason).toBe('tool_use');
    const block = last.content.find(({ type }) => type === 'tool_use') as Json;
    sail.parse(block.input);
  });
});
