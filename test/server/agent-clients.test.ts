/**
 * What coding agents and typed clients do beyond one call: loops over items of responses, outputs
 * that are objects or calls, objects as they come, tools that are strict. The demo model draws at
 * temperature 2; where a conversation has to go somewhere, its answers are scripted.
 */
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { ChatOpenAI } from '@langchain/openai';
import { generateObject, generateText, Output, streamObject, streamText, tool } from 'ai';
import OpenAI from 'openai';
import { LengthFinishReasonError } from 'openai/core/error';
import {
  zodFunction,
  zodResponseFormat,
  zodResponsesFunction,
  zodTextFormat,
} from 'openai/helpers/zod';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { call, content, reasoning, serveScript } from '../support/scripted-llm.js';
import { SEED } from '../support/seed.js';
import { TOOL_TEMPLATE } from '../support/tool-template.js';
import { type Json, serveDemo, type TestServer } from './support.js';

const model = 'octavo-demo';
const messages = [{ role: 'user' as const, content: 'The sea' }];
const sail = z.object({ to: z.enum(['Nantucket', 'Peru']), days: z.int().min(1).max(9) });
const rest = z.object({ hours: z.int().min(1).max(3) });

describe('an agent that codes', () => {
  const shell = {
    ...{ type: 'function', name: 'shell', description: 'Runs a command', strict: false },
    parameters: {
      type: 'object',
      properties: { command: { type: 'array', items: { type: 'string' } } },
      required: ['command'],
      additionalProperties: false,
    },
  };
  const patch = {
    ...{ type: 'custom', name: 'apply_patch', description: 'Edits files' },
    format: { type: 'grammar', syntax: 'lark', definition: 'start: "*** Begin Patch" /.+/' },
  };
  const wish = {
    ...{ model, instructions: 'You code.', tool_choice: 'auto', parallel_tool_calls: false },
    tools: [shell, patch, { type: 'web_search' }],
    reasoning: { effort: 'medium', summary: 'auto' },
    ...{ store: false, stream: true, prompt_cache_key: 'a-thread' },
    include: ['reasoning.encrypted_content'],
  };
  const said = (role: string, text: string) => ({
    ...{ type: 'message', role, content: [{ type: 'input_text', text }] },
  });
  const PATCH = '*** Begin Patch\n*** Add File: a.txt\n+"a" \\ b\n*** End Patch';

  it('goes from item to item till there is a message', async () => {
    const server = await serveScript([
      {
        steps: [[reasoning('I look.')], ...call(0, 'shell', '{"command": ["ls"', ', "-la"]}')],
        reason: 'tool_calls',
        numReasoningTokens: 1,
      },
      {
        steps: call(0, 'apply_patch', JSON.stringify({ input: PATCH })),
        reason: 'tool_calls',
      },
      { steps: [[content('Done')], [content('.')]] },
    ]);
    try {
      const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'x', maxRetries: 0 });
      const input: Json[] = [said('developer', 'Be brief.'), said('user', 'Add a.txt')];
      const done: string[] = [];
      for (let turn = 0; turn < 5; turn++) {
        const stream = await client.responses.create({ ...wish, input } as Json);
        const items: Json[] = [];
        let last: Json;
        for await (const event of stream as unknown as AsyncIterable<Json>) {
          if (event.type === 'response.output_item.done') items.push(event.item);
          last = event;
        }
        expect(last.type).toBe('response.completed');
        expect(last.response.output).toEqual(items);
        expect(last.response.usage.total_tokens).toBeGreaterThan(0);
        input.push(...items);
        for (const item of items) {
          done.push(item.type);
          const { call_id } = item;
          if (item.type === 'function_call') {
            expect(JSON.parse(item.arguments)).toEqual({ command: ['ls', '-la'] });
            input.push({ type: 'function_call_output', call_id, output: 'total 0' });
          } else if (item.type === 'custom_tool_call') {
            expect([item.name, item.input]).toEqual(['apply_patch', PATCH]);
            input.push({ type: 'custom_tool_call_output', call_id, output: 'Done' });
          }
        }
        if (items.some(({ type }) => type === 'message')) break;
      }
      expect(done).toEqual(['reasoning', 'function_call', 'custom_tool_call', 'message']);
      expect(server.asked).toHaveLength(3);
      const told = (server.asked[2].prompt as Json).messages;
      expect(told.map(({ role }: Json) => role)).toEqual([
        ...['system', 'system', 'user', 'assistant', 'tool', 'assistant', 'tool'],
      ]);
      expect(told[3].reasoning_content ?? told[3].reasoning).toBe('I look.');
      const given = JSON.parse(told[5].tool_calls[0].function.arguments);
      expect(given).toEqual({ input: PATCH });
    } finally {
      await server.close();
    }
  });
});

describe('a model that draws anything', () => {
  let server: TestServer;
  beforeAll(async () => {
    const options = { chatTemplate: TOOL_TEMPLATE, reasoningParser: 'none' };
    server = await serveDemo(options, { seed: SEED });
  });
  afterAll(() => server.close());

  const openai = () => new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'x', maxRetries: 0 });
  const provider = () =>
    createOpenAICompatible({
      ...{ name: 'octavo', baseURL: `${server.url}/v1`, supportsStructuredOutputs: true },
    })(model);
  const hot = { temperature: 2, max_tokens: 200 };
  const warm = { temperature: 2, maxOutputTokens: 200, maxRetries: 0, prompt: 'The sea' };

  it('has parsed arguments for openai, of chats and responses, as they come', async () => {
    const asked = {
      ...{ model, messages, ...hot, tool_choice: 'required' as const, parallel_tool_calls: false },
      tools: [zodFunction({ name: 'sail', parameters: sail })],
    };
    const stream = openai().chat.completions.stream(asked);
    const parsed: unknown[] = [];
    stream.on('tool_calls.function.arguments.done', (one) => parsed.push(one.parsed_arguments));
    await stream.finalChatCompletion();
    expect(parsed).toEqual([sail.parse(parsed[0])]);
    const body = {
      ...{ model, input: 'The sea', temperature: 2, max_output_tokens: 200 },
      ...{ tool_choice: 'required' as const, parallel_tool_calls: false },
      tools: [zodResponsesFunction({ name: 'sail', parameters: sail })],
    };
    const items = [
      (await openai().responses.parse(body)).output,
      (await openai().responses.stream(body).finalResponse()).output,
    ];
    for (const output of items) {
      const calls = output.filter(({ type }) => type === 'function_call') as Json[];
      expect(calls).toHaveLength(1);
      sail.parse(calls[0].parsed_arguments);
    }
  });

  it('has parsed texts of responses for openai, as they come', async () => {
    const stream = openai().responses.stream({
      ...{ model, input: 'The sea', temperature: 2, max_output_tokens: 200 },
      text: { format: zodTextFormat(sail, 'sail') },
    });
    sail.parse((await stream.finalResponse()).output_parsed);
  });

  it('has several choices that parse for openai', async () => {
    const { choices } = await openai().chat.completions.parse({
      ...{ model, messages, ...hot, n: 3, response_format: zodResponseFormat(sail, 'sail') },
    });
    expect(choices).toHaveLength(3);
    for (const { message } of choices) sail.parse(message.parsed);
  });

  it('that are cut are errors of openai’s, as the README says', async () => {
    const { completions } = openai().chat;
    const body = { model, messages, ...hot, max_tokens: 3 };
    const parsed = completions.parse({ ...body, response_format: zodResponseFormat(sail, 'sail') });
    await expect(parsed).rejects.toThrow(LengthFinishReasonError);
    const { parameters } = zodFunction({ name: 'sail', parameters: sail }).function;
    const tools = [
      {
        type: 'function' as const,
        function: {
          name: 'sail',
          parameters,
          parse: JSON.parse,
          function: () => '',
          description: '',
        },
      },
    ];
    const runner = completions.runTools({ ...body, tools } as Json);
    await expect(runner.finalContent()).rejects.toThrow(LengthFinishReasonError);
  });

  it('has lists and choices for the AI SDK, and elements as they come', async () => {
    const list = await generateObject({
      ...{ model: provider(), output: 'array', schema: rest, ...warm, maxOutputTokens: 600 },
    }).catch((error) => error);
    // A list may be longer than there is room for.
    if (Array.isArray(list.object)) for (const one of list.object) rest.parse(one);
    else expect(list.finishReason).toBe('length');
    const one = await generateObject({
      ...{ model: provider(), output: 'enum', enum: ['whale', 'ship'], ...warm },
    });
    expect(['whale', 'ship']).toContain(one.object);
    const stream = streamObject({ model: provider(), schema: sail, ...warm });
    let last: unknown;
    for await (const part of stream.partialObjectStream) last = part;
    expect(sail.parse(await stream.object)).toEqual(last);
  });

  it('has objects beside tools for the AI SDK', async () => {
    const wish = { model: provider(), output: Output.object({ schema: sail }), ...warm };
    sail.parse((await generateText(wish)).output);
    const tools = { rest: tool({ inputSchema: rest }) };
    const named = { type: 'tool' as const, toolName: 'rest' as const };
    const stream = streamText({ model: provider(), tools, toolChoice: named, ...warm });
    const [made] = await stream.toolCalls;
    expect([made.toolName, made.invalid ?? false]).toEqual(['rest', false]);
    rest.parse(made.input);
  });

  it('has objects and named tools for LangChain, raw ones beside them', async () => {
    const chat = new ChatOpenAI({
      ...{ model, apiKey: 'x', temperature: 2, maxTokens: 200, maxRetries: 0 },
      configuration: { baseURL: `${server.url}/v1` },
    });
    const both = chat.withStructuredOutput(sail, { method: 'jsonSchema', includeRaw: true });
    const { raw, parsed } = await both.invoke('The sea');
    expect(sail.parse(parsed)).toEqual(JSON.parse(raw.content as string));
    const tools = Object.entries({ sail, rest }).map(([name, shape]) => ({
      ...{ type: 'function' as const },
      function: { name, parameters: z.toJSONSchema(shape) as Json, strict: true },
    }));
    for (const tool_choice of ['any', 'rest']) {
      const bound = chat.bindTools(tools, { tool_choice, parallel_tool_calls: false });
      const { tool_calls: calls = [] } = await bound.invoke('The sea');
      expect(calls).toHaveLength(1);
      (calls[0].name === 'sail' ? sail : rest).parse(calls[0].args);
      if (tool_choice === 'rest') expect(calls[0].name).toBe('rest');
    }
  });

  it("has strict tools and texts that parse for Anthropic's SDK", async () => {
    const client = new Anthropic({ baseURL: server.url, apiKey: 'x', maxRetries: 0 });
    const asked = { model, messages, max_tokens: 200, temperature: 1 };
    const tools = [
      { name: 'sail', input_schema: z.toJSONSchema(sail) as Json, strict: true },
      { name: 'rest', input_schema: z.toJSONSchema(rest) as Json, strict: true },
    ];
    const tool_choice = { type: 'any' as const, disable_parallel_tool_use: true };
    const stream = client.messages.stream({ ...asked, tools, tool_choice });
    let json = '';
    stream.on('inputJson', (delta) => {
      json += delta;
    });
    const { content: blocks, stop_reason } = await stream.finalMessage();
    const [used] = blocks.filter(({ type }) => type === 'tool_use') as Json[];
    expect([stop_reason, JSON.parse(json)]).toEqual(['tool_use', used.input]);
    (used.name === 'sail' ? sail : rest).parse(used.input);
    const kind = z.object({ kind: z.enum(['whale', 'ship']) });
    const text = client.messages.stream({
      ...{ ...asked, output_config: { format: zodOutputFormat(kind) } },
    });
    kind.parse((await text.finalMessage()).parsed_output);
  });
});
