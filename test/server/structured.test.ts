/** Structured output of the demo model, over HTTP: whatever it draws, it is what was asked for. */
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { ChatOpenAI } from '@langchain/openai';
import { generateObject, streamObject } from 'ai';
import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { SEED } from '../support/seed.js';
import { dataOf, eventsOf, type Json, serveDemo, type TestServer } from './support.js';

let server: TestServer;
beforeAll(async () => {
  server = await serveDemo({}, { seed: SEED });
});
afterAll(() => server.close());

const CHAT = '/v1/chat/completions';
const model = 'octavo-demo';
const messages = [{ role: 'user' as const, content: 'The sea' }];
const shape = z.object({
  kind: z.enum(['whale', 'ship']),
  size: z.int().min(0).max(99),
  tags: z.array(z.enum(['calm', 'rough'])).max(3),
  home: z.object({ sea: z.string().max(12) }).nullable(),
});
const { $schema: _, ...schema } = z.toJSONSchema(shape) as Json;
const hot = { temperature: 2, max_tokens: 200 };
const format = { type: 'json_schema', json_schema: { name: 'thing', schema, strict: true } };

describe('chat completions', () => {
  it('are JSON by the schema, in each sample, streamed or not', async () => {
    const body = { messages, ...hot, n: 4, seed: SEED, response_format: format };
    const { choices } = await server.json(CHAT, body);
    for (const { message, finish_reason } of choices) {
      expect(finish_reason).toBe('stop');
      shape.parse(JSON.parse(message.content));
    }
    const chunks = dataOf(await server.frames(CHAT, body));
    const texts = choices.map((_: Json, i: number) =>
      chunks
        .flatMap(({ choices: [one] }) => (one.index === i ? (one.delta.content ?? '') : []))
        .join(''),
    );
    expect(texts).toEqual(choices.map(({ message }: Json) => message.content));
  });

  it.each([
    ['json_object', { response_format: { type: 'json_object' } }],
    ['guided_json', { guided_json: schema, guided_decoding_backend: 'auto' }],
    ['structured_outputs', { structured_outputs: { json: schema, disable_any_whitespace: true } }],
  ])('are JSON for %s', async (name, wish) => {
    const body = { messages, ...hot, max_tokens: 300, seed: SEED, ...wish };
    const [{ message, finish_reason }] = (await server.json(CHAT, body)).choices;
    // An object of anything may be longer than that.
    if (finish_reason === 'length' && name === 'json_object') return;
    expect(typeof JSON.parse(message.content)).toBe('object');
    if (name === 'structured_outputs') {
      expect(message.content).toBe(JSON.stringify(JSON.parse(message.content)));
    }
  });

  it('refuse a schema that cannot be enforced, or read, by its place, before a token is drawn', async () => {
    const bad = { type: 'object', properties: { a: { type: 'string', pattern: '(?=x)' } } };
    const refused = { type: 'json_schema', json_schema: { name: 'n', schema: bad } };
    const { error } = await server.json(CHAT, { messages, response_format: refused }, 400);
    expect(error.param).toMatch(/^response_format/);
    expect(error.message).toMatch(/properties\/a/);
    const stream = await server.post(CHAT, { messages, response_format: refused, stream: true });
    expect(stream.status).toBe(400);
    await server.idle();
  });
});

describe('completions', () => {
  const path = '/v1/completions';
  const of = async (wish: object) =>
    (await server.json(path, { prompt: 'The', ...hot, seed: SEED, ...wish })).choices[0].text;

  it('are what every way to say it asks for', async () => {
    for (const wish of [
      { guided_regex: '[a-c]{3}-\\d{2}' },
      { structured_outputs: { regex: '[a-c]{3}-\\d{2}' } },
      { guided_grammar: 'root ::= [a-c] [a-c] [a-c] "-" [0-9] [0-9]' },
      { grammar: 'root ::= [a-c] [a-c] [a-c] "-" [0-9] [0-9]' },
    ]) {
      expect(await of(wish)).toMatch(/^[a-c]{3}-\d{2}$/);
    }
    expect(['ebb', 'flow']).toContain(await of({ guided_choice: ['ebb', 'flow'] }));
    shape.parse(JSON.parse(await of({ response_format: format })));
    const tag = { type: 'structural_tag', format: { type: 'const_string', value: 'ahoy' } };
    expect(await of({ response_format: tag })).toBe('ahoy');
  });

  it('of several prompts are so, each', async () => {
    const body = { prompt: ['The', 'A'], n: 2, ...hot, guided_choice: ['ebb', 'flow'] };
    const { choices } = await server.json(path, body);
    expect(choices).toHaveLength(4);
    for (const { text } of choices) expect(['ebb', 'flow']).toContain(text);
  });

  it('of ids are so, rendered elsewhere', async () => {
    const wish = { prompt: 'The', ...hot, guided_choice: ['ebb', 'flow'] };
    const [rendered] = await server.json(`${path}/render`, wish);
    const { choices } = await server.json('/inference/v1/generate', rendered);
    const text = await server.llm.tokenizer.decode(choices[0].token_ids);
    expect(['ebb', 'flow']).toContain(text);
  });
});

it('responses are JSON by the schema, streamed or not', async () => {
  const body = {
    input: 'The sea',
    ...{ temperature: 2, max_output_tokens: 200, seed: SEED },
    text: { format: { type: 'json_schema', name: 'thing', schema } },
  };
  const { output, text } = await server.json('/v1/responses', body);
  shape.parse(JSON.parse(output[0].content[0].text));
  expect(text.format.type).toBe('json_schema');
  const events = eventsOf(await server.frames('/v1/responses', body));
  expect(events.at(-1).response.output[0].content).toEqual(output[0].content);
});

it("Anthropic's messages are JSON by the schema", async () => {
  const output_config = { format: { type: 'json_schema', schema } };
  const body = { messages, temperature: 2, max_tokens: 200, output_config };
  const { content } = await server.json('/v1/messages', body);
  shape.parse(JSON.parse(content[0].text));
});

describe('clients', () => {
  const base = () => ({ baseURL: `${server.url}/v1`, apiKey: 'x', maxRetries: 0 });

  it('of openai parse', async () => {
    const client = new OpenAI(base());
    const asked = {
      ...{ model, messages, temperature: 2, max_tokens: 200 },
      response_format: zodResponseFormat(shape, 'thing'),
    };
    const { choices } = await client.chat.completions.parse(asked);
    shape.parse(choices[0].message.parsed);
    const stream = client.chat.completions.stream(asked);
    shape.parse((await stream.finalChatCompletion()).choices[0].message.parsed);
    const response = await client.responses.parse({
      ...{ model, input: 'The sea', temperature: 2, max_output_tokens: 200 },
      text: { format: zodTextFormat(shape, 'thing') },
    });
    shape.parse(response.output_parsed);
  });

  it('of the AI SDK make objects', async () => {
    const provider = createOpenAICompatible({
      ...{ name: 'octavo', baseURL: `${server.url}/v1`, supportsStructuredOutputs: true },
    });
    const wish = {
      ...{ model: provider(model), schema: shape, prompt: 'The sea' },
      ...{ temperature: 2, maxOutputTokens: 200, maxRetries: 0 },
    };
    shape.parse((await generateObject(wish)).object);
    const stream = streamObject(wish);
    for await (const _ of stream.partialObjectStream);
    shape.parse(await stream.object);
  });

  it('of LangChain have structured output, by schema and by a tool', async () => {
    const chat = new ChatOpenAI({
      ...{ model, apiKey: 'x', temperature: 2, maxTokens: 200, maxRetries: 0 },
      configuration: { baseURL: `${server.url}/v1` },
    });
    const bySchema = chat.withStructuredOutput(shape, { name: 'thing', method: 'jsonSchema' });
    shape.parse(await bySchema.invoke('The sea'));
  });

  it('of Anthropic parse', async () => {
    const client = new Anthropic({ baseURL: server.url, apiKey: 'x', maxRetries: 0 });
    // It takes limits out of a schema, and says them in words.
    const plain = shape.pick({ kind: true });
    const { parsed_output: parsed } = await client.messages.parse({
      ...{ model, messages, max_tokens: 200 },
      output_config: { format: zodOutputFormat(plain) },
    });
    plain.parse(parsed);
  });
});
