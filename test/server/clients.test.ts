/** The clients that people have, unchanged, and the frameworks that they mount handlers in. */
import { once } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { serve as serveHono } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { ChatOpenAI } from '@langchain/openai';
import { generateText, streamText } from 'ai';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createServer } from '../../lib/server/index.js';
import { until } from '../support/until.js';
import { type Json, listen, portOf, serveDemo, type TestServer } from './support.js';

let server: TestServer;
let text: string;
const model = 'octavo-demo';
const messages = [{ role: 'user' as const, content: 'The sea' }];
const greedy = { model, messages, temperature: 0, max_tokens: 12 };
beforeAll(async () => {
  server = await serveDemo({ apiKey: 'key' }, { maxNumSeqs: 8 });
  const options = { temperature: 0, maxTokens: 12 };
  text = (await server.llm.chat(messages, options)).outputs[0].text;
});
afterAll(() => server.close());

const running = () => server.llm.stats().numRequestsRunning;

describe('openai', () => {
  const client = () => new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'key', maxRetries: 0 });

  it('asks, streams, counts, gives up', async () => {
    const whole = await client().chat.completions.create(greedy);
    expect(whole.choices[0].message.content).toBe(text);
    expect(whole.usage?.completion_tokens).toBe(12);
    const stream = client().chat.completions.stream({
      ...greedy,
      stream_options: { include_usage: true },
    });
    expect((await stream.finalChatCompletion()).choices[0].message.content).toBe(text);
    expect(await stream.totalUsage()).toMatchObject({ completion_tokens: 12 });
    const long = await client().chat.completions.create({
      ...greedy,
      max_tokens: 900,
      stream: true,
    });
    for await (const _ of long) break;
    await server.idle();
    const left = new AbortController();
    const asked = client().chat.completions.create(
      { ...greedy, max_tokens: 900 },
      { signal: left.signal },
    );
    const given = expect(asked).rejects.toThrow(OpenAI.APIUserAbortError);
    await until(() => running() > 0);
    left.abort();
    await given;
    await server.idle();
  });

  it('completes texts, lists models, reads errors', async () => {
    const { choices } = await client().completions.create({
      model,
      prompt: ['A', 'B'],
      max_tokens: 2,
      logprobs: 1,
    });
    expect(choices).toHaveLength(2);
    expect(choices[0].logprobs?.tokens).toHaveLength(2);
    const names = [];
    for await (const one of client().models.list()) names.push(one.id);
    expect(names).toEqual([model]);
    expect((await client().models.retrieve(model)).id).toBe(model);
    const failed = (error: Promise<unknown>) =>
      error.then(
        () => null,
        (reason) => reason,
      );
    const bad = await failed(client().chat.completions.create({ ...greedy, temperature: -1 }));
    expect(bad).toBeInstanceOf(OpenAI.BadRequestError);
    expect(bad).toMatchObject({
      status: 400,
      code: 400,
      param: 'temperature',
      requestID: expect.any(String),
    });
    const nobody = await failed(client().chat.completions.create({ ...greedy, model: 'x' }));
    expect(nobody).toBeInstanceOf(OpenAI.NotFoundError);
    const stranger = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'no' });
    expect(await failed(stranger.models.list())).toBeInstanceOf(OpenAI.AuthenticationError);
  });

  it('does not try again what is of no use, and says when its stream breaks', async () => {
    let asked = 0;
    const count = (...args: Parameters<typeof fetch>) => {
      asked++;
      return fetch(...args);
    };
    const patient = new OpenAI({
      baseURL: `${server.url}/v1`,
      apiKey: 'key',
      maxRetries: 2,
      fetch: count,
    });
    const headers = { 'x-request-timeout-ms': '30' };
    const long = { ...greedy, max_tokens: 900, n: 8 };
    await expect(patient.chat.completions.create(long, { headers })).rejects.toMatchObject({
      status: 408,
    });
    expect(asked).toBe(1);
    const begin = (ms: number) =>
      patient.chat.completions.create(
        { ...long, stream: true },
        {
          headers: { 'x-request-timeout-ms': String(ms) },
        },
      );
    // Long enough for its first token, on a machine that is busy as well.
    let stream: Awaited<ReturnType<typeof begin>> | undefined;
    for (let ms = 200; stream === undefined; ms *= 2) {
      stream = await begin(ms).catch((error) => {
        if (error.status !== 408) throw error;
        return undefined;
      });
    }
    const begun = stream;
    const read = async () => {
      for await (const _ of begun);
    };
    await expect(read()).rejects.toThrow(/did not end within/);
    await server.idle();
  });

  it('speaks of responses, streamed and not', async () => {
    const wish = { model, input: 'The sea', temperature: 0, max_output_tokens: 12 };
    const whole = await client().responses.create(wish);
    expect([whole.output_text, whole.status]).toEqual([text, 'incomplete']);
    const stream = client().responses.stream(wish);
    const seen: string[] = [];
    stream.on('response.output_text.delta', ({ delta }) => seen.push(delta));
    const last = await stream.finalResponse();
    expect([last.output_text, seen.join('')]).toEqual([text, text]);
    expect(last.usage?.output_tokens).toBe(12);
  });
});

it("Anthropic's SDK asks, streams, counts, reads errors", async () => {
  const client = new Anthropic({ baseURL: server.url, apiKey: 'key', maxRetries: 0 });
  // Without counting tokens of the cache, which others have filled.
  const whole = await client.messages.create(greedy);
  expect(whole.content).toEqual([{ type: 'text', text }]);
  const stream = client.messages.stream(greedy);
  const last = await stream.finalMessage();
  expect(last).toMatchObject({
    content: [{ text }],
    stop_reason: 'max_tokens',
    usage: { output_tokens: 12 },
  });
  const { input_tokens } = await client.messages.countTokens({ model, messages });
  const { usage } = last;
  expect(usage.input_tokens + (usage.cache_read_input_tokens ?? 0)).toBe(input_tokens);
  const hot = { ...greedy, temperature: 2e9 };
  const bad = client.messages.create(hot);
  await expect(bad).rejects.toBeInstanceOf(Anthropic.BadRequestError);
  const long = client.messages.stream({ ...greedy, max_tokens: 900 });
  long.on('text', () => long.abort());
  await expect(long.finalMessage()).rejects.toThrow(Anthropic.APIUserAbortError);
  await server.idle();
});

it('the AI SDK asks, streams, gives up', async () => {
  const provider = createOpenAICompatible({
    name: 'octavo',
    baseURL: `${server.url}/v1`,
    apiKey: 'key',
    includeUsage: true,
  });
  const wish = {
    model: provider(model),
    prompt: 'The sea',
    temperature: 0,
    maxOutputTokens: 12,
    maxRetries: 0,
  };
  const whole = await generateText(wish);
  expect([whole.text, whole.finishReason, whole.usage.outputTokens]).toEqual([text, 'length', 12]);
  const stream = streamText(wish);
  let said = '';
  for await (const part of stream.textStream) said += part;
  expect([said, (await stream.usage).outputTokens]).toEqual([text, 12]);
  await expect(generateText({ ...wish, topP: 5 })).rejects.toThrow(/top_p must be/);
  const left = new AbortController();
  const asked = generateText({ ...wish, maxOutputTokens: 900, abortSignal: left.signal });
  const given = expect(asked).rejects.toThrow(/abort/i);
  await until(() => running() > 0);
  left.abort();
  await given;
  await server.idle();
});

it('LangChain asks and streams', async () => {
  const configuration = { baseURL: `${server.url}/v1` };
  const chat = new ChatOpenAI({
    model,
    apiKey: 'key',
    temperature: 0,
    maxTokens: 12,
    maxRetries: 0,
    configuration,
  });
  const whole = await chat.invoke('The sea');
  expect([whole.content, whole.usage_metadata?.output_tokens]).toEqual([text, 12]);
  let said = '';
  for await (const part of await chat.stream('The sea')) said += part.content;
  expect(said).toBe(text);
});

describe('a handler mounted under a path', () => {
  const ask = async (url: string) => {
    const client = new OpenAI({ baseURL: `${url}/llm/v1`, apiKey: 'x', maxRetries: 0 });
    const whole = await client.chat.completions.create(greedy);
    expect(whole.choices[0].message.content).toBe(text);
    const stream = await client.chat.completions.create({
      ...greedy,
      max_tokens: 900,
      stream: true,
    });
    for await (const _ of stream) break;
    await server.idle();
    const { status } = await fetch(`${url}/llm/nowhere`);
    expect(status).toBe(404);
    // What it says of itself leads back to it.
    const { openapi } = (await (await fetch(`${url}/llm/`)).json()) as Json;
    expect(openapi).toBe('/llm/openapi.json');
    const { servers } = (await (await fetch(url + openapi)).json()) as Json;
    expect(servers).toEqual([{ url: '/llm' }]);
  };
  const end = async (http: Server) => {
    http.closeAllConnections();
    http.close();
    await once(http, 'close');
  };

  it('of Express, whether its bodies have been read or not', async () => {
    for (const isRead of [false, true]) {
      const app = express();
      if (isRead) app.use(express.json());
      const handler = createServer(server.llm, { metrics: false });
      app.use('/llm', handler);
      app.use('/v2', express.Router().use('/llm', handler));
      const http = await listen(app);
      await ask(`http://127.0.0.1:${portOf(http)}`);
      const inner = await fetch(`http://127.0.0.1:${portOf(http)}/v2/llm/openapi.json`);
      expect(((await inner.json()) as Json).servers).toEqual([{ url: '/v2/llm' }]);
      await end(http);
    }
  });

  it('of Fastify', async () => {
    const handler = createServer(server.llm, { rootPath: '/llm', metrics: false });
    const app = fastify({ forceCloseConnections: true });
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', (_request, _payload, done) => done(null));
    app.all('/llm/*', (request, reply) => {
      reply.hijack();
      void handler(request.raw, reply.raw);
    });
    await ask(await app.listen({ port: 0, host: '127.0.0.1' }));
    await app.close();
  });

  it('of Hono', async () => {
    const handler = createServer(server.llm, { rootPath: '/llm', metrics: false });
    const app = new Hono<{ Bindings: { incoming: IncomingMessage; outgoing: ServerResponse } }>();
    app.all('/llm/*', async ({ env }) => {
      await handler(env.incoming, env.outgoing);
      return RESPONSE_ALREADY_SENT;
    });
    const http = serveHono({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }) as Server;
    await once(http, 'listening');
    await ask(`http://127.0.0.1:${portOf(http)}`);
    await end(http);
  });

  it('of several models, each by its name', async () => {
    const handler = createServer({ a: server.llm, b: server.llm } as Json, { metrics: false });
    const http = await listen(handler);
    const client = new OpenAI({ baseURL: `http://127.0.0.1:${portOf(http)}/v1`, apiKey: 'x' });
    const names = [];
    for await (const one of client.models.list()) names.push(one.id);
    expect(names).toEqual(['a', 'b']);
    expect((await client.chat.completions.create({ ...greedy, model: 'b' })).model).toBe('b');
    await end(http);
  });
});
