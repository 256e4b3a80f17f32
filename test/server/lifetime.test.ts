/** How requests end: by their clients' leaving, slow reading, a limit of time, a shutdown. */
import { once } from 'node:events';
import { Agent, get, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createServer, serve } from '../../lib/server/index.js';
import { until } from '../support/until.js';
import { dataOf, type Json, listen, portOf, serveDemo, type TestServer } from './support.js';

const CHAT = '/v1/chat/completions';
const messages = [{ role: 'user', content: 'The sea' }];
const long = { messages, ignore_eos: true, n: 4, seed: 1 };

let server: TestServer;
// So many logprobs that no kernel's buffers take all of an answer.
const engine = { maxNumSeqs: 4, maxLogprobs: 200 };
beforeAll(async () => {
  server = await serveDemo({ pingIntervalMs: 20, maxBufferedBytes: 50_000 }, engine);
});
afterAll(() => server.close());

/** A request whose client leaves when it is told. */
function leaving(path: string, body: object) {
  const req = request(server.url + path, { method: 'POST' });
  req.on('error', () => {});
  req.end(JSON.stringify(body));
  const answered = new Promise<void>((resolve) => {
    req.on('response', (res) => {
      res.on('error', () => {});
      res.once('data', () => resolve());
    });
  });
  return { answered, leave: () => req.destroy() };
}

const running = () => server.llm.stats().numRequestsRunning;
const waiting = () => server.llm.stats().numRequestsWaiting;

it('who reads is not given up, though a step is more than may wait', async () => {
  const options = { maxBufferedBytes: 1000 };
  const narrow = await serveDemo(options, { maxNumSeqs: 4, maxLogprobs: 200 });
  const wish = { messages, max_tokens: 30, ignore_eos: true, logprobs: true, top_logprobs: 200 };
  for (const n of [1, 3]) {
    const chunks = dataOf(await narrow.frames(CHAT, { ...wish, n }));
    const lengths = chunks.map(({ choices: [one] }: Json) => one.logprobs?.content.length ?? 0);
    expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(30 * n);
  }
  await narrow.close();
});

describe('a client that leaves frees everything', () => {
  const paths: [string, object][] = [
    [CHAT, long],
    ['/v1/completions', { prompt: ['The sea', 'A'], max_tokens: 900, n: 2, ignore_eos: true }],
    ['/v1/responses', { input: 'The sea', max_output_tokens: 900, stop: ['never said'] }],
    ['/v1/messages', { messages, max_tokens: 900 }],
    ['/inference/v1/generate', { token_ids: [5, 6], sampling_params: { max_tokens: 900, n: 4 } }],
    ['/v1/completions', { prompt: 'x', max_tokens: 900, n: 4, use_beam_search: true }],
  ];
  const ways = paths.flatMap(([path, body]) => [
    [path, body, false] as const,
    [path, body, true] as const,
  ]);

  it.each(ways)('%s %j, stream: %s', async (path, body, stream) => {
    const { leave, answered } = leaving(path, { ...body, stream });
    await until(() => running() > 0);
    // A client that has seen something of its stream, or nothing at all.
    if (stream && path !== '/v1/completions') await answered;
    leave();
    await server.idle();
  });

  it('while it waits, while its prompt is computed, before its body has come', async () => {
    const first = leaving(CHAT, long);
    await until(() => running() === 1);
    const queued = [false, true].map((stream) => leaving(CHAT, { ...long, stream }));
    await until(() => waiting() === 2);
    for (const { leave } of queued) leave();
    await until(() => waiting() === 0);
    expect(running()).toBe(1);
    first.leave();
    await server.idle();
    const { numSteps } = server.llm.stats();
    const half = connect(server.port, '127.0.0.1');
    half.write(`POST ${CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{"mess`);
    await until(() => server.handler.numActive === 1);
    half.destroy();
    await server.idle();
    expect(server.llm.stats().numSteps).toBe(numSteps);
  });

  it('whenever that is', async () => {
    for (let ms = 0; ms < 12; ms++) {
      const { leave } = leaving(CHAT, { ...long, stream: ms % 2 === 0 });
      await new Promise((resolve) => setTimeout(resolve, ms));
      leave();
    }
    await server.idle();
  });
});

describe('a stream', () => {
  it('says that it lives while nothing comes', async () => {
    const first = leaving(CHAT, long);
    await until(() => running() === 1);
    const answer = await server.post(CHAT, { messages, max_tokens: 2, stream: true });
    const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
    const { value } = await reader.read();
    expect(Buffer.from(value as Uint8Array).toString()).toMatch(/^(: ping\n\n)+$/);
    first.leave();
    let rest = '';
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      rest += Buffer.from(part.value);
    }
    const frames = rest.slice(0, -2).split('\n\n');
    expect(
      dataOf(frames.filter((frame) => frame !== ': ping')).at(-1).choices[0].finish_reason,
    ).toBe('length');
  });

  it('that ends with an error after its first byte says so in a frame', async () => {
    const first = leaving(CHAT, long);
    await until(() => running() === 1);
    const limit = { 'x-request-timeout-ms': '150' };
    const wants = { messages, max_tokens: 900, stream: true };
    const paths: [string, object, RegExp][] = [
      [
        CHAT,
        wants,
        /^data: \{"error":\{"message":".*","type":"RequestTimeoutError","param":null,"code":408\}\}$/,
      ],
      [
        '/v1/messages',
        wants,
        /^event: error\ndata: \{"type":"error","error":\{"type":"timeout_error"/,
      ],
      [
        '/v1/responses',
        { input: 'x', stream: true },
        /^event: error\ndata: \{"type":"error","code":"408"/,
      ],
    ];
    for (const [path, body, frame] of paths) {
      const answer = await server.post(path, body, limit);
      expect([path, answer.status]).toEqual([path, 200]);
      const frames = (await answer.text()).slice(0, -2).split('\n\n');
      expect(frames.at(-1)).toMatch(frame);
    }
    first.leave();
    await server.idle();
  });

  it('that nobody reads is given up after a limit of bytes, and its KV is free', async () => {
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.pause();
    const wish = { ...long, stream: true, logprobs: true, top_logprobs: 200 };
    const body = JSON.stringify(wish);
    socket.write(
      `POST ${CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    await until(() => running() === 1);
    const { generationTokens } = server.llm.stats();
    await until(() => running() === 0);
    // Not all of the 4 × 1,000 tokens were drawn for it.
    expect(server.llm.stats().generationTokens - generationTokens).toBeLessThan(4 * 900);
    socket.destroy();
    await server.idle();
  });
});

it('64 streams at once, half of which leave, are right and leave nothing', async () => {
  const body = { messages, max_tokens: 12, temperature: 0, ignore_eos: true };
  const whole = await server.json(CHAT, body);
  const streams = Array.from({ length: 64 }, async (_, i) => {
    if (i % 2 === 1) {
      const { answered, leave } = leaving(CHAT, { ...long, n: 1, stream: true });
      await answered;
      return leave();
    }
    const frames = (await server.frames(CHAT, body)).filter((frame) => frame !== ': ping');
    const text = dataOf(frames)
      .map(({ choices: [one] }) => one.delta.content ?? '')
      .join('');
    expect(text).toBe(whole.choices[0].message.content);
  });
  await Promise.all(streams);
  await server.idle();
});

describe('a shutdown', () => {
  const begin = (shutdownTimeoutMs: number) =>
    serve(server.llm, {}, { port: 0, shutdownTimeoutMs, keepAliveTimeoutMs: 80_000 });

  it('lets what runs end, and refuses what comes', async () => {
    const own = await begin(60_000);
    expect(own.http.keepAliveTimeout).toBe(80_000);
    expect(own.http.headersTimeout).toBeGreaterThan(80_000);
    const ask = (path: string, body?: object) =>
      fetch(own.url + path, body && { method: 'POST', body: JSON.stringify(body) });
    const answer = await ask(CHAT, { ...long, max_tokens: 200, stream: true });
    const done = own.shutdown();
    expect((await ask('/health/ready')).status).toBe(503);
    const refused = await ask(CHAT, { messages });
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '5']);
    expect((await answer.text()).endsWith('data: [DONE]\n\n')).toBe(true);
    await done;
    await expect(ask('/health')).rejects.toThrow();
    await server.idle();
  });

  it('waits for no connection that is kept for a next request', async () => {
    const own = await begin(60_000);
    const close = vi.spyOn(own.http, 'closeIdleConnections');
    const agent = new Agent({ keepAlive: true });
    const sockets: Socket[] = [];
    for (const path of ['/health', '/health', '/v1/models']) {
      const asked = get(own.url + path, { agent });
      const [answer] = await once(asked, 'response');
      answer.resume();
      sockets.push(answer.socket);
      await once(asked, 'close');
    }
    const [kept] = sockets;
    expect([new Set(sockets).size, kept.destroyed]).toEqual([1, false]);
    const ended = new Promise((resolve) => kept.once('close', resolve));
    const begun = performance.now();
    await own.shutdown();
    expect(await ended).toBe(false); // no error
    // Those that have not asked for anything yet get a second.
    expect(performance.now() - begun).toBeLessThan(900);
    expect(close).toHaveBeenCalled();
    agent.destroy();
  });

  it('ends what runs when time is up, or when it is asked a second time', async () => {
    for (const hurry of [false, true]) {
      const own = await begin(hurry ? 60_000 : 30);
      const answer = await fetch(own.url + CHAT, {
        method: 'POST',
        body: JSON.stringify({ ...long, stream: true }),
      });
      const text = answer.text().then(
        () => 'all',
        () => 'cut',
      );
      const done = own.shutdown();
      if (hurry) void own.shutdown();
      await done;
      expect(await text).toBe('cut');
      await server.idle();
    }
  });

  it('leaves no listener on a model', async () => {
    const events = vi.spyOn(server.llm, 'events');
    const handler = createServer(server.llm);
    const http = await listen(handler);
    const text = await (await fetch(`http://127.0.0.1:${portOf(http)}/metrics`)).text();
    expect(text).toMatch(/^vllm:num_requests_running/m);
    handler.close();
    http.closeAllConnections();
    http.close();
    await once(http, 'close');
    expect(events).toHaveBeenCalledTimes(1);
    expect(await events.mock.results[0].value.next()).toEqual({ done: true, value: undefined });
    events.mockRestore();
  });
});

it('a model that was closed is told of, and the server is no longer well', async () => {
  const own = await serveDemo();
  expect((await fetch(`${own.url}/health`)).status).toBe(200);
  await own.llm.close();
  const answer = await own.post(CHAT, { messages });
  expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1']);
  for (const path of ['/health', '/health/ready', '/ping']) {
    expect([path, (await fetch(own.url + path)).status]).toEqual([path, 503]);
  }
  await own.close();
});

it('a model that is drained takes nothing new, and the server is well but not ready', async () => {
  const own = await serveDemo();
  const running = own.post(CHAT, { ...long, n: 1, max_tokens: 300 });
  await until(() => own.llm.stats().numRequestsRunning === 1);
  const drained = own.llm.drain();
  const answer = await own.post(CHAT, { messages });
  expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1']);
  expect((await own.post('/tokenize', { prompt: 'x' })).status).toBe(503);
  for (const [path, status] of [
    ['/health', 200],
    ['/health/ready', 503],
  ] as const) {
    expect([path, (await fetch(own.url + path)).status]).toEqual([path, status]);
  }
  expect((await running).status).toBe(200);
  expect(await drained).toEqual({ numAborted: 0 });
  await own.close();
});

it('an address that is taken, and options that are none, are told', async () => {
  const taken = serve(server.llm, {}, { port: server.port });
  await expect(taken).rejects.toMatchObject({ code: 'EADDRINUSE' });
  const wrong = serve(server.llm, {}, { prot: 1 } as Json);
  await expect(wrong).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
});
