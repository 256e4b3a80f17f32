import { afterEach, describe, expect, it } from 'vitest';
import { type BatchRequest, parseRequest } from '../../lib/batch/request-line.js';
import { httpTarget, ownTarget } from '../../lib/batch/target.js';
import { HttpClient } from '../../lib/loadgen/http.js';
import { json, type Script, scriptedServer } from '../support/openai-server.js';
import { until } from '../support/until.js';
import { refusal } from '../support/write-model.js';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A target over a scripted server, and the waits between its tries. */
async function over(script: Script, maxRetries = 3) {
  const server = await scriptedServer(script);
  const client = new HttpClient({ baseUrl: server.url });
  closers.push(server.close, () => client.close());
  const waits: number[] = [];
  const target = httpTarget(client, { maxRetries, wait: async (ms) => waits.push(ms) });
  const ask = (signal = new AbortController().signal, body = '{"a":1}') =>
    target('/v1/completions', body, signal);
  return { server, ask, waits };
}

describe('a request of a batch', () => {
  it('has the answer, its status and id', async () => {
    const { ask, server } = await over((_, r) =>
      json(r, 400, { error: 1 }, { 'x-request-id': 'r7' }),
    );
    expect(await ask()).toEqual({ status: 400, requestId: 'r7', body: { error: 1 } });
    expect(server.asked).toMatchObject([
      { method: 'POST', path: '/v1/completions', body: { a: 1 } },
    ]);
  });

  it('has its numbers as they are written, in every try', async () => {
    const line = (body: string) =>
      `{"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": ${body}}`;
    const body = '{"seed": 9007199254740993, "a": [1.0, "\\u0041"]}';
    const { server, ask } = await over((_, r, i) => json(r, i === 0 ? 500 : 200, i));
    const request = parseRequest(line(` ${body}\t`)) as BatchRequest;
    expect(request.body).toBe(body);
    await ask(undefined, request.body);
    expect(server.asked.map(({ text }) => text)).toEqual([body, body]);
  });

  it('is tried again when the server is busy, as long as it asks for', async () => {
    const headers = [{ 'retry-after': '7' }, { 'retry-after-ms': '20', 'retry-after': '9' }, {}];
    const { ask, waits } = await over((_, r, i) => json(r, [429, 503, 500, 200][i], i, headers[i]));
    expect(await ask()).toMatchObject({ status: 200, body: 3 });
    expect(waits).toEqual([7000, 20, 2000]);
  });

  it('in the end the last answer counts, whatever it is', async () => {
    const { ask, server, waits } = await over((_, r) => r.writeHead(502).end('<p>'), 5);
    expect(await ask()).toEqual({ status: 502, requestId: null, body: '<p>' });
    expect(server.asked).toHaveLength(6);
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000]);
  });

  it('is not tried again where the server says it is no use, or it was wrong', async () => {
    const { ask, server } = await over((_, r, i) =>
      i === 0 ? json(r, 500, {}, { 'x-should-retry': 'false' }) : json(r, 404, {}),
    );
    expect((await ask()).status).toBe(500);
    expect((await ask()).status).toBe(404);
    expect(server.asked).toHaveLength(2);
  });

  it('a connection that is cut is tried again, then it is an error', async () => {
    const { ask, waits } = await over((_, r, i) => (i < 2 ? r.destroy() : json(r, 200, 'ok')));
    expect((await ask()).body).toBe('ok');
    expect(waits).toEqual([500, 1000]);
    const never = await over((_, r) => r.destroy());
    expect((await refusal(never.ask())).code).toBe('ECONNRESET');
  });

  it('of https, where http is spoken, ends the batch at once', async () => {
    const server = await scriptedServer((_, r) => json(r, 200, 1));
    const client = new HttpClient({ baseUrl: server.url.replace('http:', 'https:') });
    closers.push(server.close, () => client.close());
    const wait = () => Promise.reject(new Error('tried again'));
    const target = httpTarget(client, { maxRetries: 5, wait });
    const error = await refusal(target('/v1/x', '{}', new AbortController().signal));
    expect(error.code).toBe('ERR_INVALID_PARAM');
    expect(error.message).toMatch(/^no TLS .*; try http:\/\/ in place of https:\/\/; the same/);
  });

  it('that is cut, as any other would be, ends the batch after its tries', async () => {
    // A server of https does so with what it takes for garbage.
    const { server, ask, waits } = await over(() => {});
    server.server.on('connection', (socket) => socket.destroy());
    const error = await refusal(ask());
    expect(error.code).toBe('ERR_INVALID_PARAM');
    expect(error.message).toMatch(
      /^nobody answers \(the connection was cut .*check the scheme of --base-url; the same/,
    );
    expect(waits).toHaveLength(3);
  });

  it.each([
    'DEPTH_ZERO_SELF_SIGNED_CERT',
    'SELF_SIGNED_CERT_IN_CHAIN',
    'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
    'CERT_HAS_EXPIRED',
    'ERR_TLS_CERT_ALTNAME_INVALID',
  ])('whose certificate is wrong (%s) ends it as well, and says how to take any', async (code) => {
    const client = new HttpClient({ baseUrl: 'https://localhost' });
    client.json = () => Promise.reject(Object.assign(new Error('no good'), { code }));
    const wait = () => Promise.reject(new Error('tried again'));
    const target = httpTarget(client, { maxRetries: 5, wait });
    expect(await refusal(target('/v1/x', '{}', new AbortController().signal))).toMatchObject({
      code: 'ERR_INVALID_PARAM',
      message: expect.stringContaining(`refused (${code}: no good); --insecure takes any`),
    });
  });

  it('an abort ends it at once', async () => {
    const abort = new AbortController();
    const { ask, waits } = await over(() => abort.abort());
    await expect(ask(abort.signal)).rejects.toThrow(/abort/);
    expect(waits).toEqual([]);
  });
});

describe('a server of this process', () => {
  async function own(script: Script) {
    const server = await scriptedServer(script);
    const client = new HttpClient({ baseUrl: server.url });
    closers.push(server.close, () => client.close());
    const waits: number[] = [];
    const target = ownTarget(client, async (ms) => waits.push(ms));
    const ask = () => target('/v1/completions', '{"a":1}', new AbortController().signal);
    return { server, ask, waits };
  }

  it('that is full is asked for as long as it is', async () => {
    const { ask, waits } = await own((_, r, i) =>
      i < 40 ? json(r, 429, 0, { 'retry-after': '1' }) : json(r, 200, i),
    );
    expect(await ask()).toMatchObject({ status: 200, body: 40 });
    expect(waits).toEqual(Array(40).fill(1000));
  });

  it('whose bodies are too many together is asked again until there is room', async () => {
    const headers = { 'retry-after': '1', 'x-should-retry': 'true' };
    let full = 40;
    const { ask, waits } = await own(({ method }, r, i) =>
      method === 'POST' && full-- > 0 ? json(r, 503, 0, headers) : json(r, 200, i),
    );
    expect(await ask()).toMatchObject({ status: 200 });
    expect(waits).toEqual(Array(40).fill(1000));
  });

  it('that refuses memory is asked a few times, then that is the answer', async () => {
    let refusals = 3;
    const { ask, server, waits } = await own(({ method }, r, i) =>
      method === 'POST' && refusals-- > 0
        ? json(r, 503, 'no memory', { 'retry-after': '1' })
        : json(r, 200, i),
    );
    expect(await ask()).toMatchObject({ status: 200 });
    expect(waits).toEqual(Array(3).fill(1000));
    refusals = Infinity;
    server.asked.length = 0;
    expect(await ask()).toMatchObject({ status: 503, body: 'no memory' });
    expect(server.asked.filter(({ method }) => method === 'POST')).toHaveLength(6);
  });

  it('whose wait is aborted is asked no more', async () => {
    const server = await scriptedServer((_, r) => json(r, 429, 0, { 'retry-after': '60' }));
    const client = new HttpClient({ baseUrl: server.url });
    closers.push(server.close, () => client.close());
    const abort = new AbortController();
    const asking = ownTarget(client)('/v1/completions', '{}', abort.signal);
    await until(() => server.asked.length === 1);
    setImmediate(() => abort.abort());
    await expect(asking).rejects.toThrow(/abort/);
    expect(server.asked).toHaveLength(1);
  });

  it.each([400, 408, 500, 503])('is well, so that its %d is an answer', async (status) => {
    const { ask, server } = await own((one, r) => json(r, one.method === 'GET' ? 200 : status, 1));
    expect(await ask()).toMatchObject({ status, body: 1 });
    expect(server.asked.filter(({ method }) => method === 'POST')).toHaveLength(1);
  });

  it('whose model is lost answers nobody any more', async () => {
    const { ask } = await own((_, r) => json(r, 503, { error: { message: 'a model is lost: x' } }));
    const error = await refusal(ask());
    expect(error.code).toBe('ERR_DEVICE_LOST');
    expect(error.message).toBe('a model is lost: x; the same command goes on from here');
  });
});
