import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { HttpClient } from '../../lib/loadgen/http.js';
import { outcomeOf } from '../../lib/loadgen/recording.js';
import {
  completion,
  completionChunk,
  json,
  type Script,
  scriptedServer,
  stream,
} from '../support/openai-server.js';
import { refusal } from '../support/write-model.js';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function serve(script: Script, path = '') {
  const server = await scriptedServer(script);
  const client = new HttpClient({
    baseUrl: server.url + path,
    headers: { authorization: 'Bearer k' },
  });
  closers.push(server.close, () => client.close());
  return { server, client };
}

let ticks = 0;
const clock = () => ticks++;
const payload = Buffer.from('{"a":1}');
const record = (client: HttpClient, signal?: AbortSignal) =>
  client.record('/v1/completions', payload, clock, signal);

describe('a recorded stream', () => {
  it('has its bytes, with times that ascend', async () => {
    const { server, client } = await serve((_, response) => stream(response, completion(5, 3)));
    const recording = await record(client);
    expect(Buffer.concat(recording.chunks).toString()).toBe(completion(5, 3).join(''));
    expect(recording.times).toHaveLength(recording.chunks.length);
    expect(recording.times).toEqual(recording.times.toSorted((a, b) => a - b));
    expect(recording.times[0]).toBeGreaterThan(recording.sentAt);
    expect(recording).toMatchObject({ status: 200, error: null });
    expect(server.asked[0]).toMatchObject({ path: '/v1/completions', body: { a: 1 } });
    expect(server.asked[0].headers.authorization).toBe('Bearer k');
  });

  it('keeps what is wrong: a status, a cut, a refused connection, an abort', async () => {
    const abort = new AbortController();
    const { server, client } = await serve(async (_, response, index) => {
      if (index === 0) return json(response, 429, { error: { message: 'full' } });
      response.writeHead(200).write(completionChunk('a'));
      // Only when the chunk has been seen, or it may be lost with the connection.
      await new Promise((resolve) => setImmediate(resolve));
      if (index === 1) return response.destroy();
      abort.abort();
    });
    expect(outcomeOf(await record(client)).error).toBe('HTTP 429: full');
    const cut = await record(client);
    expect(cut.error).toMatch(/^the connection was cut/);
    expect(outcomeOf(cut).success).toBe(false);
    expect((await record(client, abort.signal)).error).toBe('aborted');
    expect((await record(client, abort.signal)).error).toBe('aborted');
    await server.close();
    expect((await record(client)).error).toMatch(/ECONNREFUSED/);
  });

  it('a kept connection that was closed meanwhile is no failure', async () => {
    const { server, client } = await serve((_, response) => stream(response, completion(1, 1)));
    // Cuts the second request of each connection before it is answered.
    const seen = new WeakSet<object>();
    server.server.prependListener('request', ({ socket }) => {
      if (seen.has(socket)) socket.resetAndDestroy();
      seen.add(socket);
    });
    for (let i = 0; i < 4; i++)
      expect(outcomeOf(await record(client))).toMatchObject({ success: true });
  });
});

describe('a JSON answer', () => {
  it('is parsed, or stays text', async () => {
    const { client } = await serve((_, response, index) =>
      index === 0
        ? json(response, 201, { ok: [1] }, { 'x-request-id': 'r' })
        : response.writeHead(502).end('<p>'),
    );
    const reply = await client.json('POST', '/v1/x', { b: 2 });
    expect(reply).toMatchObject({
      status: 201,
      body: { ok: [1] },
      headers: { 'x-request-id': 'r' },
    });
    expect(await client.json('GET', '/v1/x')).toMatchObject({ status: 502, body: '<p>' });
  });

  it('the base may have a path, /v1 is not doubled', async () => {
    const paths: [string, string, string][] = [
      ['/v1', '/v1/chat', '/v1/chat'],
      ['/v1/', '/v1/chat', '/v1/chat'],
      ['/proxy/v1', '/v1/chat', '/proxy/v1/chat'],
      ['/proxy', '/v1/chat', '/proxy/v1/chat'],
      ['/v1', '/other', '/v1/other'],
      ['', '/v1/x?y=1', '/v1/x?y=1'],
    ];
    for (const [base, path, full] of paths) {
      const { server, client } = await serve((_, response) => json(response, 200, {}), base);
      await client.json('POST', path, {});
      expect(server.asked[0].path).toBe(full);
    }
  });

  it('what is no URL is refused by name; a cut answer rejects', async () => {
    const made = Promise.resolve().then(() => new HttpClient({ baseUrl: 'localhost:8000' }));
    expect(await refusal(made)).toEqual({
      code: 'ERR_INVALID_PARAM',
      message: '--base-url must be http(s)://host:port, not localhost:8000',
    });
    const { client } = await serve((_, response) => {
      response.writeHead(200, { 'content-length': 100 }).write('half');
      response.socket!.end();
    });
    expect((await refusal(client.json('GET', '/x'))).code).toBe('ECONNRESET');
  });

  it('an abort ends it, and the server sees that', async () => {
    const abort = new AbortController();
    const gone: Promise<unknown>[] = [];
    const { client } = await serve((_, response) => {
      gone.push(once(response, 'close'));
      abort.abort();
    });
    await expect(client.json('POST', '/v1/x', {}, abort.signal)).rejects.toThrow(/abort/);
    await Promise.all(gone);
  });
});
