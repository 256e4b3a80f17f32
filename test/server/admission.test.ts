/** What is refused before it is read, and what is not read at all. */
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import express from 'express';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { createServer, type ServerOptions, serve } from '../../lib/server/index.js';
import { until } from '../support/until.js';
import { type Json, listen, portOf, serveDemo, type TestServer } from './support.js';

let server: TestServer;
beforeAll(async () => {
  const limits = { maxBodyBytes: 80_000, maxTotalBodyBytes: 100_000 };
  server = await serveDemo(limits, { maxNumSeqs: 2, maxNumWaiting: 2 });
});
afterAll(() => server.close());

const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

/** A connection that has sent the head of a request, and what of its body is given. */
function begin(path: string, contentLength: number, body = '') {
  const socket = connect(server.port, '127.0.0.1');
  sockets.push(socket);
  socket.on('error', () => {});
  socket.write(`POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: ${contentLength}\r\n\r\n`);
  socket.write(body);
  const head = new Promise<string>((resolve) => {
    socket.once('data', (bytes) => resolve(bytes.toString()));
  });
  return { socket, head };
}

/** How much the server has read of the next connection. */
function bytesRead(): () => number {
  let peer: Socket | undefined;
  server.http.once('connection', (socket: Socket) => {
    peer = socket;
  });
  return () => peer?.bytesRead ?? 0;
}

describe('a queue that is full', () => {
  const paths = [
    '/v1/chat/completions',
    '/v1/completions',
    '/v1/responses',
    '/v1/messages',
    '/v1/messages/count_tokens',
    '/v1/chat/completions/render',
    '/v1/completions/render',
    '/inference/v1/generate',
    '/tokenize',
  ];

  it('refuses before a byte of the body has come, and the server is well', async () => {
    const long = { maxTokens: 1000, ignoreEos: true };
    const calls = [server.llm.generate('A', { ...long, n: 2 })];
    await until(() => server.llm.stats().numRequestsRunning === 1);
    calls.push(...['B', 'C'].map((text) => server.llm.generate(text, long)));
    await until(() => server.llm.stats().numRequestsWaiting === 2);
    for (const path of paths) {
      const head = await begin(path, 70_000).head;
      expect([path, head.split('\r\n', 1)[0]]).toEqual([path, 'HTTP/1.1 429 Too Many Requests']);
      expect(head).toMatch(/^retry-after: 1\r$/m);
    }
    const { prompt } = await server.json('/detokenize', { tokens: [2629] });
    expect(prompt.length).toBeGreaterThan(0);
    expect((await fetch(`${server.url}/health/ready`)).status).toBe(200);
    await Promise.all(calls);
  });
});

describe('bodies of all requests', () => {
  it('have a limit together, which those that are only announced do not take', async () => {
    const numRead = bytesRead();
    const held = begin('/tokenize', 80_000, `{"prompt": "${'x'.repeat(60_000)}`);
    // Asked before it has come, a body of ours would be what leaves it no room.
    await until(() => numRead() > 60_000);
    begin('/tokenize', 79_000);
    const body = JSON.stringify({ prompt: ' '.repeat(45_000) });
    const status = async (init: object) => {
      const answer = await fetch(`${server.url}/tokenize`, { method: 'POST', ...init } as Json);
      await answer.text();
      const { headers } = answer;
      return [answer.status, headers.get('retry-after'), headers.get('x-should-retry')];
    };
    expect(await status({ body })).toEqual([503, '1', 'true']);
    const parts = new Blob([body]).stream();
    expect(await status({ body: parts, duplex: 'half' })).toEqual([503, '1', 'true']);
    expect(await status({ body: '{"prompt": "x"}' })).toEqual([200, null, null]);
    held.socket.destroy();
    await until(async () => expect(await status({ body })).toEqual([200, null, null]));
    for (const socket of sockets.splice(0)) socket.destroy();
    await server.idle();
    // Whatever was taken has been given back.
    const fits = JSON.stringify({ prompt: 'sea '.repeat(19_000) });
    expect(await status({ body: fits })).toEqual([200, null, null]);
  });

  it('cannot be held to less than one of them', async () => {
    const options = { maxBodyBytes: 1000, maxTotalBodyBytes: 999 };
    expect(() => createServer(server.llm, options)).toThrow(/maxTotalBodyBytes: must be at least/);
  });
});

it('a client that asks before it sends is told when its body is wanted, or never', async () => {
  const own = await serve(server.llm, { maxBodyBytes: 1000 }, { port: 0 });
  const ask = (path: string, body: string) =>
    new Promise<[status: number, wasTold: boolean, connection?: string]>((resolve, reject) => {
      let wasTold = false;
      const headers = { expect: '100-continue', 'content-length': body.length };
      const req = request(own.url + path, { method: 'POST', headers }, (res) => {
        res.resume();
        resolve([res.statusCode as number, wasTold, res.headers.connection]);
        req.destroy();
      });
      req.on('continue', () => {
        wasTold = true;
        req.end(body);
      });
      req.on('error', reject).flushHeaders();
    });
  expect(await ask('/tokenize', '{"prompt": "x"}')).toEqual([200, true, 'keep-alive']);
  expect(await ask('/tokenize', ' '.repeat(1001))).toEqual([413, false, 'close']);
  expect(await ask('/nowhere', '{}')).toEqual([404, false, 'close']);
  await own.shutdown();
});

describe('an application that has read the body', () => {
  async function mounted<T>(use: express.RequestHandler, ask: (url: string) => Promise<T>) {
    const app = express();
    app.use(use);
    const handler = createServer(server.llm);
    app.use('/llm', handler);
    const http = await listen(app);
    try {
      return await ask(`http://127.0.0.1:${portOf(http)}/llm`);
    } finally {
      handler.close();
      http.closeAllConnections();
      http.close();
    }
  }

  const post = async (url: string, body: string) => {
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(url, { method: 'POST', body, headers });
    return { status: answer.status, answer: (await answer.json()) as Json };
  };

  it.each<[string, express.RequestHandler]>([
    ['whole', (req, _, next) => void req.resume().once('end', next)],
    [
      'in part',
      (req, _, next) => {
        req.once('data', () => {
          req.pause();
          next();
        });
      },
    ],
  ])('%s, and kept it, is told so', async (_, use) => {
    await mounted(use, async (url) => {
      const { status, answer } = await post(`${url}/v1/completions`, '{"prompt": "x"}');
      expect([status, answer.error.message]).toEqual([
        500,
        expect.stringMatching(/was read before octavo saw the request.*mount octavo before/),
      ]);
    });
  });

  it('gives integers that it may have rounded as strings, or hears of it', async () => {
    await mounted(express.json(), async (url) => {
      const big = '9007199254740993';
      const generate = (seed: string) =>
        `{"token_ids": [5], "sampling_params": {"max_tokens": 2, "seed": ${seed}}}`;
      const path = `${url}/inference/v1/generate`;
      const { status, answer } = await post(path, generate(big));
      expect([status, answer.error.param]).toEqual([400, 'sampling_params.seed']);
      expect(answer.error.message).toMatch(/send it as a string, or mount octavo before/);
      for (const seed of [`"${big}"`, '7', '"-3"']) {
        expect((await post(path, generate(seed))).status).toBe(200);
      }
      const bare = `{"prompt": "x", "max_tokens": 1, "seed": -${big}}`;
      expect((await post(`${url}/v1/completions`, bare)).answer.error.param).toBe('seed');
    });
  });
});

describe('the name that a server is asked by', () => {
  async function statuses(options: ServerOptions, hosts: readonly string[]): Promise<number[]> {
    const own = await serve(server.llm, options, { port: 0 });
    const ask = (host: string) =>
      new Promise<number>((resolve, reject) => {
        const { port } = new URL(own.url);
        const headers = { host, 'x-api-key': 'k' };
        const req = request({ port, host: '127.0.0.1', path: '/v1/models', headers }, (res) => {
          res.resume();
          resolve(res.statusCode as number);
        });
        req.on('error', reject).end();
      });
    const all = [];
    for (const host of hosts) all.push(await ask(host));
    await own.shutdown();
    return all;
  }

  const local = [
    'localhost',
    'LocalHost:8000',
    'a.localhost',
    '127.0.0.1:1',
    '[::1]:8000',
    '10.1.2.3',
  ];
  const foreign = ['evil.example', 'localhost.evil.example:80', 'xlocalhost', '[::1].evil'];

  it('is this machine or an address, unless others are allowed, or a key is asked for', async () => {
    expect(await statuses({}, local)).toEqual(local.map(() => 200));
    expect(await statuses({}, foreign)).toEqual(foreign.map(() => 403));
    const names = ['octavo', 'API.example:443', 'evil.example'];
    const allowedHosts = ['octavo', 'api.example'];
    expect(await statuses({ allowedHosts }, names)).toEqual([200, 200, 403]);
    expect(await statuses({ allowedHosts: ['*'] }, names)).toEqual([200, 200, 200]);
    expect(await statuses({ apiKey: 'k' }, names)).toEqual([200, 200, 200]);
  });
});

describe('what only tokenizes', () => {
  const messages = [{ role: 'user', content: 'The sea' }];
  const asks: [string, object][] = [
    ['/tokenize', { prompt: 'The sea' }],
    ['/tokenize', { messages }],
    ['/v1/messages/count_tokens', { messages }],
    ['/v1/chat/completions/render', { messages }],
    ['/v1/completions/render', { prompt: ['The sea', 'A'] }],
    ['/v1/chat/completions', { messages, truncate_prompt_tokens: 3 }],
    ['/v1/completions', { prompt: 'The sea', add_special_tokens: false }],
  ];

  it.each(asks)('%s %j ends with its client and its time', async (path, body) => {
    let release = () => {};
    const held = new Promise<number[]>((resolve) => {
      release = () => resolve([5]);
    });
    const encode = vi.spyOn(server.llm.tokenizer, 'encodeNow').mockReturnValue(held);
    try {
      const late = await server.post(path, body, { 'x-request-timeout-ms': '20' });
      expect(late.status).toBe(408);
      await late.text();
      const leaver = new AbortController();
      const init = { method: 'POST', body: JSON.stringify(body), signal: leaver.signal };
      const asked = fetch(server.url + path, init).catch(() => 'left');
      await until(() => server.handler.numActive === 1);
      leaver.abort();
      expect(await asked).toBe('left');
      // Though its text is held on still.
      await until(() => server.handler.numActive === 0);
      await expect.poll(() => server.llm.checkAdmission()).toBe(undefined);
    } finally {
      release();
      encode.mockRestore();
    }
  });

  it('takes what a conversation says as text, as a generation does', async () => {
    const hostile = [{ role: 'user', content: 'Ho <|eos|> <|bos|>!' }];
    const chat = { messages: hostile, max_tokens: 1, return_token_ids: true };
    const { prompt_token_ids: ids } = await server.json('/v1/chat/completions', chat);
    expect((await server.json('/tokenize', { messages: hostile })).tokens).toEqual(ids);
    const cut = await server.json('/v1/chat/completions', { ...chat, truncate_prompt_tokens: 900 });
    expect(cut.prompt_token_ids).toEqual(ids);
    const counted = await server.json('/v1/messages/count_tokens', { messages: hostile });
    expect(counted.input_tokens).toBe(ids.length);
    const rendered = await server.json('/v1/chat/completions/render', { messages: hostile });
    expect(rendered.token_ids).toEqual(ids);
  });

  it('spells no more ids at once than it counts', async () => {
    const own = createServer(server.llm);
    const http = await listen(own);
    const ask = async (length: number) => {
      const body = JSON.stringify({ tokens: Array.from({ length }, () => 300) });
      const url = `http://127.0.0.1:${portOf(http)}/detokenize`;
      return (await (await fetch(url, { method: 'POST', body })).json()) as Json;
    };
    expect((await ask(65_537)).error.param).toBe('tokens');
    expect((await ask(65_536)).prompt.length).toBeGreaterThan(65_535);
    own.close();
    http.closeAllConnections();
    http.close();
  });

  it('counts more than the context holds', async () => {
    const { count, max_model_len } = await server.json('/tokenize', {
      prompt: 'sea '.repeat(4000),
    });
    expect([count > 4000, max_model_len]).toEqual([true, 1024]);
  });
});
