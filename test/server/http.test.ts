/** What every route has: errors, keys, origins, bodies, names, paths. */
import { request } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createServer, type Logger } from '../../lib/server/index.js';
import { type Json, listen, portOf, serveDemo, type TestServer } from './support.js';

const CHAT = '/v1/chat/completions';
const COMPLETIONS = '/v1/completions';
const messages = [{ role: 'user', content: 'The sea' }];
const short = { messages, max_tokens: 2 };

let server: TestServer;
const lines: Json[] = [];
const write = (fields: object, message: string) => void lines.push({ ...fields, message });
const logger: Logger = { debug: write, info: write, warn: write, error: write };
beforeAll(async () => {
  server = await serveDemo(
    { maxBodyBytes: 10_000, logger, servedModelName: ['demo', 'gpt-4o', '*'], rootPath: '/api/' },
    { maxNumSeqs: 4, maxNumWaiting: 2 },
  );
});
afterAll(() => server.close());

/** A server of the same model that is told something else. */
async function other<T>(
  options: Parameters<typeof createServer>[1],
  use: (url: string) => Promise<T>,
): Promise<T> {
  const handler = createServer(server.llm, options);
  const http = await listen(handler);
  try {
    return await use(`http://127.0.0.1:${portOf(http)}`);
  } finally {
    handler.close();
    http.closeAllConnections();
    http.close();
  }
}

describe('an error', () => {
  it('has the form that clients read, an id, and no use in being tried again', async () => {
    const answer = await server.post(
      CHAT,
      { ...short, temperature: 'hot' },
      { 'x-request-id': 'mine' },
    );
    expect(answer.status).toBe(400);
    expect(answer.headers.get('x-request-id')).toBe('mine');
    expect(await answer.json()).toEqual({
      error: {
        message: expect.stringMatching(/^temperature: .*number/),
        type: 'BadRequestError',
        param: 'temperature',
        code: 400,
      },
    });
    const late = await server.post(
      CHAT,
      { messages, ignore_eos: true },
      { 'x-request-timeout-ms': '20' },
    );
    expect(late.status).toBe(408);
    expect(late.headers.get('x-should-retry')).toBe('false');
    expect(((await late.json()) as Json).error).toMatchObject({
      type: 'RequestTimeoutError',
      code: 408,
    });
    const none = await server.post(CHAT, short, { 'x-request-timeout-ms': 'soon' });
    expect(none.status).toBe(400);
    await server.idle();
  });

  it("says the engine's reasons in the request's words", async () => {
    const of = async (more: object) => {
      const { error } = await server.json(COMPLETIONS, { prompt: 'x', ...more }, 400);
      return [error.param, error.message];
    };
    expect(await of({ top_p: 2 })).toEqual(['top_p', expect.stringMatching(/^top_p must be/)]);
    expect(await of({ min_tokens: 9, max_tokens: 3 })).toEqual([
      ...['min_tokens', expect.stringMatching(/^min_tokens \(9\) must not be above max_tokens/)],
    ]);
    expect((await of({ prompt: [99_999] }))[0]).toBe('prompt');
    expect((await of({ prompt: Array(2000).fill(5) }))[1]).toMatch(/the prompt has 2000 tokens/);
    expect((await of({ prompt: [] }))[0]).toBe('prompt');
    expect((await of({ prompt: [5, 'x'] }))[0]).toBe('prompt');
    expect((await of({ prompt: 7 }))[0]).toBe('prompt');
    expect((await of({ logit_bias: { x: 1 } }))[0]).toBe('logit_bias');
    expect((await of({ n: 5 }))[0]).toBe('n');
    expect((await of({ priority: 1 }))[0]).toBe('priority');
  });

  it('is a 404 or 405 in the same form, wherever it is asked', async () => {
    const get = (path: string, method = 'GET') => fetch(server.url + path, { method });
    const nowhere = await get('/api/tags');
    expect([nowhere.status, ((await nowhere.json()) as Json).error.code]).toEqual([404, 404]);
    const wrong = await get(CHAT);
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'POST, OPTIONS']);
    expect(((await wrong.json()) as Json).error.type).toBe('MethodNotAllowedError');
    expect((await get('/%ff%')).status).toBe(404);
    const head = await get('/health', 'HEAD');
    expect([head.status, await head.text()]).toEqual([200, '']);
    const [unknown] = [await get('/v1/messages/x')];
    expect(await unknown.json()).toMatchObject({
      type: 'error',
      error: { type: 'not_found_error' },
    });
  });

  it('of a bug says nothing of it', async () => {
    const { stats } = server.llm;
    server.llm.encode = () => {
      throw new Error('/secret/path');
    };
    const answer = await server.post('/tokenize', { messages });
    Reflect.deleteProperty(server.llm, 'encode');
    expect([answer.status, answer.headers.get('x-should-retry')]).toEqual([500, 'false']);
    expect(await answer.text()).not.toMatch(/secret/);
    expect(lines.at(-1).stack).toMatch(/secret/);
    expect(stats).toBe(server.llm.stats);
  });
});

describe('a queue that is full', () => {
  it('answers 429 and when to come back', async () => {
    const body = { messages, n: 4, max_tokens: 900, ignore_eos: true };
    const left = new AbortController();
    const many = Array.from({ length: 5 }, () =>
      fetch(server.url + CHAT, { method: 'POST', body: JSON.stringify(body), signal: left.signal }),
    );
    const first = await Promise.any(many);
    expect([first.status, first.headers.get('retry-after')]).toEqual([429, '1']);
    left.abort();
    await Promise.allSettled(many);
    await server.idle();
  });
});

describe('a body', () => {
  it('that is no JSON object is refused, wherever it breaks', async () => {
    const text = JSON.stringify({ ...short, stop: ['é', '\\'], seed: 2 ** 60 });
    for (let end = 0; end < text.length; end++) {
      const answer = await server.post(CHAT, text.slice(0, end));
      expect([end, answer.status]).toEqual([end, 400]);
      expect(((await answer.json()) as Json).error.code).toBe(400);
    }
    for (const body of ['[]', 'null', '7', '"x"', '{}', '{"messages":{}}', '\ufeff{}']) {
      expect([body, (await server.post(CHAT, body)).status]).toEqual([body, 400]);
    }
  });

  it('that is too large is refused, announced or not, and the connection lives on', async () => {
    const large = JSON.stringify({ ...short, user: 'x'.repeat(3_000_000) });
    expect((await server.post(CHAT, large)).status).toBe(413);
    const chunked = new Blob([large]).stream();
    const options = { method: 'POST', body: chunked, duplex: 'half' } as RequestInit;
    const answer = await fetch(server.url + CHAT, options);
    expect([answer.status, ((await answer.json()) as Json).error.type]).toEqual([
      ...[413, 'RequestEntityTooLargeError'],
    ]);
    expect((await server.post(CHAT, short)).status).toBe(200);
  });

  it('that never ends, or is no HTTP, holds nothing', async () => {
    const raw = (text: string) =>
      new Promise<string>((resolve) => {
        const socket = connect(server.port, '127.0.0.1');
        let said = '';
        socket.on('data', (data) => {
          said += data;
        });
        socket.on('close', () => resolve(said));
        socket.write(text);
        setTimeout(() => socket.destroy(), 50);
      });
    const head = `POST ${CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n`;
    expect(await raw(`${head}{"messages":`)).toBe('');
    expect(await raw('GARBAGE\r\n\r\n')).toMatch(/^HTTP\/1.1 400/);
    const get = 'GET /health HTTP/1.1\r\nhost: x\r\n\r\n';
    expect((await raw(get.repeat(3))).match(/200 OK/g)).toHaveLength(3);
    await server.idle();
  });

  it('may have nulls, empty lists, and fields that nobody knows', async () => {
    const nothing = {
      ...{ tools: [], functions: null, tool_choice: 'none', response_format: { type: 'text' } },
      ...{
        n: null,
        stop: null,
        seed: null,
        logprobs: null,
        stream_options: null,
        stop_token_ids: null,
      },
      ...{ user: 'me', metadata: {}, store: true, service_tier: 'auto', parallel_tool_calls: true },
      ...{
        web_search: true,
        my_field: 1,
        top_k: -1,
        best_of: 1,
        logit_bias: {},
        reasoning_effort: null,
      },
    };
    await server.json(CHAT, { ...short, ...nothing });
    const told = lines.find(({ fields }) => fields?.includes('my_field'));
    expect(told.fields).toEqual(['web_search', 'my_field']);
  });

  it('may not ask for what there is not, and is told so by name', async () => {
    const refused = {
      tool_choice: 'required',
      structured_outputs: { disable_any_whitespace: true },
      modalities: ['audio'],
      best_of: 3,
    };
    for (const [name, value] of Object.entries(refused)) {
      const { error } = await server.json(CHAT, { ...short, [name]: value }, 400);
      expect([error.param, error.message]).toEqual([name, expect.stringMatching(/not|only|need/)]);
    }
    const { error } = await server.json(COMPLETIONS, { prompt: 'x', suffix: 'y' }, 400);
    expect(error.param).toBe('suffix');
    const together: [string, object][] = [
      ['stream_options', { stream_options: { include_usage: true } }],
      ['top_logprobs', { top_logprobs: 2 }],
      ['prompt_logprobs', { prompt_logprobs: 1, stream: true }],
      ['continue_final_message', { continue_final_message: true, add_generation_prompt: true }],
      ['chat_template', { chat_template: '{{ 1 }}' }],
      ['chat_template_kwargs', { chat_template_kwargs: { chatTemplate: '{{ 1 }}' } }],
    ];
    for (const [param, more] of together) {
      expect((await server.json(CHAT, { ...short, ...more }, 400)).error.param).toBe(param);
    }
  });
});

describe('messages', () => {
  it('may be written in every way that clients write them', async () => {
    const call = { id: 'c', type: 'function', function: { name: 'f', arguments: '' } };
    const user = { role: 'user', content: 'Hi' };
    const conversations: object[][] = [
      [
        user,
        { role: 'assistant', content: null, tool_calls: [call] },
        { role: 'tool', tool_call_id: 'c', content: '5' },
      ],
      [user, { role: 'assistant', content: '' }, user],
      [user, { role: 'assistant', content: [], tool_calls: [] }, user],
      [
        user,
        { role: 'assistant', tool_calls: [call] },
        { role: 'function', name: 'f', content: '5' },
      ],
      [
        { role: 'developer', content: 'Be brief.' },
        user,
        { role: 'system', content: 'Now.' },
        user,
      ],
      [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'Hi' },
            { type: 'text', text: 'there' },
          ],
        },
      ],
      [user, { role: 'assistant', content: [{ type: 'refusal', refusal: 'No.' }] }, user],
      [user, { role: 'assistant', content: 'Ho', reasoning_content: 'Hm', refusal: null }, user],
    ];
    for (const one of conversations) await server.json(CHAT, { messages: one, max_tokens: 1 });
    const image = [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }];
    expect((await server.json(CHAT, { messages: image }, 400)).error.message).toMatch(
      /only parts of type "text"/,
    );
    expect((await server.json(CHAT, { messages: [] }, 400)).error.param).toBe('messages');
  });

  const STRICT =
    "{% for m in messages %}{% if m.role == 'system' and not loop.first %}" +
    "{{ raise_exception('system first') }}{% endif %}" +
    "{% if not loop.first and loop.previtem.role == m.role %}{{ raise_exception('in turn') }}{% endif %}" +
    '[{{ m.role }}: {{ m.content }}]{% endfor %}';

  it('are put in the order that a strict template insists on', async () => {
    await other({ chatTemplate: STRICT }, async (url) => {
      const said = [
        { role: 'user', content: 'a' },
        { role: 'user', content: 'b' },
        { role: 'developer', content: 's' },
      ];
      const body = { messages: said, max_tokens: 1, return_prompt_text: true };
      const answer = await fetch(url + CHAT, { method: 'POST', body: JSON.stringify(body) });
      expect(((await answer.json()) as Json).prompt_text).toBe('[system: s][user: a\n\nb]');
    });
  });

  it('leave the rest of the context where no limit is given', async () => {
    const { usage, choices } = await server.json(CHAT, { messages, ignore_eos: true });
    expect([usage.total_tokens, choices[0].finish_reason]).toEqual([1024, 'length']);
    const both = { ...short, max_completion_tokens: 3, ignore_eos: true };
    expect((await server.json(CHAT, both)).usage.completion_tokens).toBe(3);
    const old = { prompt: 'x', max_completion_tokens: 3, ignore_eos: true };
    expect((await server.json(COMPLETIONS, old)).usage.completion_tokens).toBe(3);
  });
});

describe('a key', () => {
  it('is asked for where it guards something, in either header', async () => {
    await other({ apiKey: ['one', 'two'] }, async (url) => {
      const status = async (path: string, headers: Record<string, string> = {}) =>
        (await fetch(url + path, { headers })).status;
      expect(await status('/v1/models')).toBe(401);
      expect(await status('/v1/models', { authorization: 'Bearer three' })).toBe(401);
      expect(await status('/v1/models', { authorization: 'Basic two' })).toBe(401);
      expect(await status('/v1/models', { authorization: 'bearer two' })).toBe(200);
      expect(await status('/v1/models', { 'x-api-key': 'one' })).toBe(200);
      for (const path of [
        '/health',
        '/health/ready',
        '/metrics',
        '/version',
        '/ping',
        '/load',
        '/',
      ]) {
        expect([path, await status(path)]).toEqual([path, 200]);
      }
      const answer = await fetch(url + CHAT, { method: 'POST', body: '{' });
      expect([answer.status, ((await answer.json()) as Json).error.type]).toEqual([
        401,
        'AuthenticationError',
      ]);
      expect((await fetch(url + CHAT, { method: 'OPTIONS' })).status).toBe(204);
    });
  });
});

describe('an origin', () => {
  const asked = { 'access-control-request-headers': 'authorization, x-stainless-os' };
  const ask = (url: string, origin: string) =>
    fetch(url + CHAT, { method: 'OPTIONS', headers: { origin, ...asked } });

  it('of this machine may ask, another only where it was allowed', async () => {
    const local = await ask(server.url, 'http://localhost:3000');
    expect(local.status).toBe(204);
    expect(local.headers.get('access-control-allow-headers')).toBe(
      asked['access-control-request-headers'],
    );
    expect(local.headers.get('access-control-allow-origin')).toBe('http://localhost:3000');
    expect(local.headers.get('access-control-allow-methods')).toMatch(/POST/);
    for (const origin of ['https://evil.example', 'http://localhost.evil.example']) {
      expect((await ask(server.url, origin)).headers.get('access-control-allow-origin')).toBeNull();
    }
    await other({ allowedOrigins: ['https://a.example'] }, async (url) => {
      const allowed = await ask(url, 'https://a.example');
      expect(allowed.headers.get('access-control-allow-origin')).toBe('https://a.example');
      expect(
        (await ask(url, 'http://localhost')).headers.get('access-control-allow-origin'),
      ).toBeNull();
    });
    await other({ allowedOrigins: ['*'] }, async (url) => {
      expect((await ask(url, 'https://b.example')).headers.get('access-control-allow-origin')).toBe(
        '*',
      );
    });
  });

  it('is told on the stream itself, beside what proxies need to know', async () => {
    const body = { ...short, stream: true };
    const answer = await server.post(CHAT, body, {
      origin: 'http://localhost',
      'accept-encoding': 'gzip',
    });
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'access-control-allow-origin': 'http://localhost',
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
      'x-request-id': expect.any(String),
    });
    expect(answer.headers.get('content-encoding')).toBeNull();
    await answer.text();
  });
});

describe('a name', () => {
  it('is one of those that were given, or any where that was said', async () => {
    const { data } = (await (await fetch(`${server.url}/v1/models`)).json()) as Json;
    expect(data.map(({ id }: Json) => id)).toEqual(['demo', 'gpt-4o']);
    expect(data[0]).toEqual({
      ...{ id: 'demo', object: 'model', created: expect.any(Number), owned_by: 'octavo' },
      ...{ root: 'demo', parent: null, max_model_len: 1024, permission: [] },
    });
    expect((await server.json(CHAT, { ...short, model: 'claude' })).model).toBe('claude');
    await other({ servedModelName: 'org/demo' }, async (url) => {
      const card = await fetch(`${url}/v1/models/org%2Fdemo`);
      expect(((await card.json()) as Json).id).toBe('org/demo');
      expect(((await (await fetch(`${url}/v1/models/org/demo`)).json()) as Json).id).toBe(
        'org/demo',
      );
      const body = JSON.stringify({ ...short, model: 'gpt-4o' });
      const answer = await fetch(url + CHAT, { method: 'POST', body });
      expect([answer.status, ((await answer.json()) as Json).error.param]).toEqual([404, 'model']);
    });
  });

  it('of a path may have the root, one /v1 too many or too few, and a slash', async () => {
    for (const path of [
      '/models',
      '/v1/models/',
      '/v1/v1/models',
      '/api/v1/models',
      '/v1/models?x=1',
    ]) {
      expect([path, (await fetch(server.url + path)).status]).toEqual([path, 200]);
    }
    expect((await fetch(`${server.url}/api`)).status).toBe(200);
  });
});

describe('the log', () => {
  it('has a line for each request, and the document of all routes is whole', async () => {
    lines.length = 0;
    const answer = await server.post(COMPLETIONS, { prompt: 'x', max_tokens: 3, ignore_eos: true });
    await answer.text();
    expect(lines.at(-1)).toMatchObject({
      ...{ message: 'request', method: 'POST', path: COMPLETIONS, status: 200, model: 'demo' },
      ...{ prompt_tokens: 2, completion_tokens: 3, finish_reason: 'length' },
      ...{ request_id: answer.headers.get('x-request-id'), ttft_ms: expect.any(Number) },
    });
    const document = (await (await fetch(`${server.url}/openapi.json`)).json()) as Json;
    expect(document.openapi).toBe('3.1.0');
    const { properties } = document.paths[CHAT].post.requestBody.content['application/json'].schema;
    expect(properties.seed).toMatchObject({
      anyOf: [{ type: ['integer', 'string'], format: 'int64' }, { type: 'null' }],
    });
    expect(Object.keys(document.paths)).toEqual(
      expect.arrayContaining([
        '/v1/models/{id}',
        '/v1/messages',
        '/metrics',
        '/inference/v1/generate',
      ]),
    );
  });

  it("gives Anthropic's clients the id under their name for it, where all is well and where not", async () => {
    const messages = [{ role: 'user', content: 'x' }];
    for (const max_tokens of [1, 0]) {
      const { headers } = await server.post('/v1/messages', { messages, max_tokens });
      expect(headers.get('request-id')).toBe(headers.get('x-request-id'));
      expect(headers.get('request-id')).not.toBeNull();
    }
  });

  it('goes without ids in headers where that was said', async () => {
    await other({ enableRequestIdHeaders: false }, async (url) => {
      expect((await fetch(`${url}/health`)).headers.get('x-request-id')).toBeNull();
      const none = await fetch(`${url}/v1/messages`, { method: 'POST', body: '{' });
      expect([none.status, none.headers.get('request-id')]).toEqual([400, null]);
    });
  });
});

it('options are checked', () => {
  const of = (options: object) => () => createServer(server.llm, options);
  expect(of({ apiKeys: ['x'] })).toThrow(/there is no server option apiKeys/);
  expect(of({ pingIntervalMs: -1 })).toThrow(/server option pingIntervalMs/);
  for (const apiKey of ['', ' a', 'a ', 'a\n', 'a\nb', 'ä', ['a', ' ']]) {
    expect(of({ apiKey })).toThrow(/server option apiKey/);
  }
  expect(of({ streamInterval: 0 })).toThrow(/server option streamInterval/);
  expect(() => createServer({})).toThrow(/takes an LLM/);
  expect(() => createServer({ a: server.llm }, { servedModelName: 'b' })).toThrow(/for one model/);
});

it('a request with "expect: 100-continue" is answered', async () => {
  const body = JSON.stringify(short);
  const status = await new Promise((resolve, reject) => {
    const headers = { expect: '100-continue', 'content-length': body.length };
    const req = request(server.url + CHAT, { method: 'POST', headers }, (res) => {
      res.resume();
      resolve(res.statusCode);
    });
    req.on('error', reject);
    req.on('continue', () => req.end(body));
    req.flushHeaders();
  });
  expect(status).toBe(200);
});
