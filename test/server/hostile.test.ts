/** Requests that mean harm, or look so: none holds the process, runs on, or is answered by a 500. */
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Router } from '../../lib/server/router.js';
import { until } from '../support/until.js';
import { type Json, serveDemo, type TestServer } from './support.js';

let server: TestServer;
beforeAll(async () => {
  server = await serveDemo({ pingIntervalMs: 0 }, { maxNumSeqs: 4, maxNumWaiting: 8 });
});
afterAll(() => server.close());

const deep = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;

describe('paths', () => {
  const route = (path: string) => ({ method: 'GET' as const, path, summary: '', guarded: false });
  const router = new Router(
    ['/v1/models', '/v1/models/{id}', '/health'].map((path) => ({ ...route(path), handle() {} })),
  );

  it('of an id may have slashes; one that has none is another path', () => {
    expect(router.match('GET', '/v1/models/a/b%20c').id).toBe('a/b c');
    expect(router.match('GET', '/v1/models').id).toBe('');
    expect(router.has('/v1/models/')).toBe(false);
    expect(router.has('/v1/modelsx')).toBe(false);
  });

  it.each(['/'.repeat(16_000), '/a'.repeat(8000), '/v1'.repeat(5000)])(
    'of thousands of parts cost no more than others',
    async (path) => {
      const before = process.cpuUsage();
      const answer = await fetch(`${server.url}${path}a`);
      expect(answer.status).toBe(404);
      // Seconds, when each part was looked at with all that follow.
      const { user, system } = process.cpuUsage(before);
      expect(user + system).toBeLessThan(1_500_000);
    },
  );
});

it('answers that wait behind others on a connection end with it', async () => {
  const body = JSON.stringify({ prompt: 'x', max_tokens: 900, ignore_eos: true, stream: true });
  const head = 'POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n';
  const one = `${head}content-length: ${body.length}\r\n\r\n${body}`;
  const socket = connect(server.port, '127.0.0.1', () => socket.write(one.repeat(3)));
  socket.on('error', () => {});
  await until(() => server.llm.stats().numRequestsRunning > 1);
  socket.destroy();
  await server.idle();
});

it('what is nested deeper than can be written ends, and so does what it began', async () => {
  const body = `{"input": "x", "max_output_tokens": 900, "stream": true, "metadata": {"a": ${deep(20_000)}}}`;
  await (await server.post('/v1/responses', body)).text();
  await server.idle();
  const part = `{"type": "input_text", "text": "x", "junk": ${deep(20_000)}}`;
  const item = `{"role": "user", "content": [${part}]}`;
  const kept = await server.post('/v1/responses', `{"input": [${item}], "max_output_tokens": 2}`);
  expect([200, 400]).toContain(kept.status);
  await kept.text();
  await server.idle();
});

it.each<[string, object]>([
  [
    '/v1/messages',
    {
      max_tokens: 1,
      messages: [
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'x', content: [null] }] },
      ],
    },
  ],
  ['/v1/responses', { input: 'x', max_output_tokens: 1, tools: [{ type: { toString: 1 } }] }],
  ['/v1/responses', { input: 'x', max_output_tokens: 1, stop: '' }],
])('%s with parts of no meaning is no fault of the server: %j', async (path, body) => {
  const answer = await server.post(path, body);
  await answer.text();
  expect(answer.status).toBeLessThan(500);
});

it('keeps the words that follow a line about who pays', async () => {
  const messages = [{ role: 'user', content: 'x' }];
  const count = async (system: string) =>
    (await server.json('/v1/messages/count_tokens', { messages, system })).input_tokens;
  const billing = 'x-anthropic-billing-header: cc_version=1; cch=0123';
  expect(await count(`${billing}\nCall me Ishmael.`)).toBe(await count('Call me Ishmael.'));
});

it('takes more prompts in one request than may wait', async () => {
  const prompt = Array.from({ length: 32 }, (_, i) => `Sea ${i}`);
  const { choices } = await server.json('/v1/completions', { prompt, max_tokens: 2 });
  expect(choices.map(({ index }: Json) => index)).toEqual(prompt.map((_, i) => i));
});

it('a page of another origin may not even ask', async () => {
  const body = { prompt: 'x', max_tokens: 1 };
  const foreign = await server.post('/v1/completions', body, { origin: 'http://evil.example' });
  expect(foreign.status).toBe(403);
  await foreign.text();
  const own = await server.post('/v1/completions', body, { origin: 'http://localhost:3000' });
  expect(own.status).toBe(200);
  await own.text();
});

it('who asks for the load is no load', async () => {
  await server.idle();
  expect(await (await fetch(`${server.url}/load`)).json()).toEqual({ server_load: 0 });
});

it('a client that leaves while its prompt is tokenized is no fault of the server', async () => {
  const wish = { max_tokens: 5, truncate_prompt_tokens: 100 };
  const body = JSON.stringify({
    messages: [{ role: 'user', content: 'sea '.repeat(80_000) }],
    ...wish,
  });
  const leaver = new AbortController();
  const asked = fetch(`${server.url}/v1/chat/completions`, {
    ...{ method: 'POST', body, signal: leaver.signal },
    headers: { 'content-type': 'application/json' },
  }).then(
    () => 'answered',
    () => 'left',
  );
  await until(() => server.handler.numActive > 0);
  leaver.abort();
  expect(await asked).toBe('left');
  await server.idle();
});
