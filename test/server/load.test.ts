/** Many clients at once, and clients that misbehave: all are answered or dropped, nothing stays. */
import { once } from 'node:events';
import { createServer as createHttp, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { itAll, sample } from '../support/all.js';
import { random } from '../support/random.js';
import {
  bodiesOf,
  memory,
  open,
  readAll,
  type TimerWatch,
  untilUnconnected,
  watchTimers,
  wire,
} from '../support/server-load.js';
import { until } from '../support/until.js';
import { dataOf, type Json, portOf, serveDemo, type TestServer } from './support.js';

const CHAT = '/v1/chat/completions';
const TEXT = '/v1/completions';
const messages = [{ role: 'user', content: 'The sea' }];
const greedy = { temperature: 0, ignore_eos: true };
const short = { messages, max_tokens: 6, ...greedy };

let server: TestServer;
/** Answers that are open, to see what waits in them. */
const answers = new Set<ServerResponse>();
/** Most bytes that waited in one of them. */
let most = 0;

beforeAll(async () => {
  // Steps so small that the prompts of some are computed while others stream.
  const engine = { maxNumSeqs: 64, maxNumBatchedTokens: 96, maxLogprobs: 200 };
  server = await serveDemo({ pingIntervalMs: 20, maxBufferedBytes: 100_000 }, engine);
  server.http.on('request', (_, res: ServerResponse) => {
    answers.add(res);
    const write = res.write.bind(res) as (chunk: string) => boolean;
    res.write = (chunk: string) => {
      const isTaken = write(chunk);
      most = Math.max(most, res.writableLength);
      return isTaken;
    };
    res.on('close', () => answers.delete(res));
  });
});
afterAll(() => server.close());

let timers: TimerWatch;
beforeEach(() => {
  timers = watchTimers();
});

/** After every test: blocks, requests, connections and timers are as they were. */
afterEach(async () => {
  await server.idle();
  server.http.closeIdleConnections();
  await untilUnconnected(server.http);
  // What came last from clients that had left was begun, and is given up.
  await server.idle();
  expect(server.llm.stats()).toMatchObject({
    ...{ numRequestsRunning: 0, numRequestsWaiting: 0, numRequestsSwapped: 0, kvCacheUsage: 0 },
  });
  expect(answers.size).toBe(0);
  await until(() => timers.count === 0);
  timers.stop();
});

const post = (path: string, body: object, more = 'connection: close\r\n') =>
  readAll(open(server.port, wire(path, body, more)));

it(`${sample(50, 500)} streams at once are each what one alone is`, async () => {
  const prompts = Array.from({ length: 10 }, (_, i) => `Sea ${i}, where`);
  const bodyOf = (i: number) => ({ prompt: prompts[i % 10], max_tokens: 8, ...greedy });
  const texts = await Promise.all(
    prompts.map(async (_, i) => (await server.json(TEXT, bodyOf(i))).choices[0].text),
  );
  const streams = Array.from({ length: sample(50, 500) }, async (_, i) => {
    const [{ status, body }] = bodiesOf(await post(TEXT, { ...bodyOf(i), stream: true }));
    expect(status).toBe(200);
    const frames = body.slice(0, -2).split('\n\n');
    const said = dataOf(frames.filter((frame) => frame !== ': ping'));
    expect(said.map(({ choices: [one] }: Json) => one.text).join('')).toBe(texts[i % 10]);
  });
  await Promise.all(streams);
  // What looks for timers that stay has seen some.
  expect(timers.made).toBeGreaterThanOrEqual(streams.length);
});

/** Bytes of a request as far as a client may send them. */
function beginnings(): string[] {
  const whole = wire(CHAT, short);
  const body = whole.indexOf('\r\n\r\n') + 4;
  return ['', 'P', 'POST', whole.slice(0, 30), whole.slice(0, body), whole.slice(0, body + 9)];
}

it(`${sample(400, 10_000)} connections are opened and dropped`, async () => {
  const parts = [...beginnings(), wire(CHAT, short), wire(CHAT, { ...short, stream: true })];
  for (let i = 0; i < sample(400, 10_000); i += 100) {
    const sockets = Array.from({ length: 100 }, (_, k) =>
      open(server.port, parts[k % parts.length]),
    );
    await Promise.all(
      sockets.map(async (socket, k) => {
        await once(socket, 'connect');
        if (k % 3 === 1) await sleep(k % 7);
        if (k % 2 === 0) socket.destroy();
        else socket.resetAndDestroy();
      }),
    );
  }
  expect((await server.json(CHAT, short)).usage.completion_tokens).toBe(6);
});

describe('a client that does not read', () => {
  const wish = { messages, ...greedy, n: 4, logprobs: true, top_logprobs: 200, stream: true };

  it(`has little waiting for it, and is dropped (${sample(1, 16)} of them)`, async () => {
    most = 0;
    const sockets = Array.from({ length: sample(1, 16) }, () => {
      const socket = open(server.port, wire(CHAT, wish));
      return socket.pause();
    });
    await until(() => server.llm.stats().numRequestsRunning > 0);
    await until(() => {
      const { numRequestsRunning, numRequestsWaiting } = server.llm.stats();
      return numRequestsRunning + numRequestsWaiting === 0;
    });
    expect(most).toBeGreaterThan(0);
    // What waited when it was dropped, as it is written: a frame has more bytes than are counted.
    expect(most).toBeLessThan(4_000_000);
    // The connection ends although nobody reads.
    await until(() => answers.size === 0);
    for (const socket of sockets) socket.destroy();
  });

  it('and does then, reads why it was dropped', async () => {
    const socket = open(server.port, wire(CHAT, wish, 'connection: close\r\n')).pause();
    await until(() => server.llm.stats().numRequestsRunning === 1);
    await until(() => server.llm.stats().numRequestsRunning === 0);
    const [{ body }] = bodiesOf(await readAll(socket.resume()));
    const last = body.slice(0, -2).split('\n\n').at(-1);
    expect(last).toMatch(/^data: \{"error":\{"message":"more than 100000 bytes wait to be read",/);
  });
});

it('requests whose body or head never ends are given up', async () => {
  const limits = { headersTimeout: 150, requestTimeout: 300, connectionsCheckingInterval: 40 };
  const http = createHttp(limits, server.handler);
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const ends = beginnings()
    .filter((part) => part !== '')
    .map((part) => readAll(open(portOf(http), part)));
  await until(() => server.handler.numActive > 0);
  for (const text of await Promise.all(ends)) expect(text).toMatch(/^HTTP\/1\.1 408 /);
  await new Promise((resolve) => http.close(resolve));
});

it(`${sample(12, 200)} requests in one write are answered in their order`, async () => {
  const count = sample(12, 200);
  const bodyOf = (i: number) => ({ prompt: `Sea ${i}`, max_tokens: 2 + (i % 3), ...greedy });
  const requests = Array.from({ length: count }, (_, i) =>
    wire(
      TEXT,
      { ...bodyOf(i), stream: i % 4 === 3 },
      i === count - 1 ? 'connection: close\r\n' : '',
    ),
  );
  const all = bodiesOf(await readAll(open(server.port, requests.join(''))));
  expect(all.map(({ status }) => status)).toEqual(Array(count).fill(200));
  for (const [i, { body }] of all.entries()) {
    if (i % 4 === 3) expect(body).toMatch(/^(: ping\n\n)*data: .*data: \[DONE\]\n\n$/s);
    else expect(JSON.parse(body).usage.completion_tokens).toBe(2 + (i % 3));
  }
});

it(`bodies of 50 MB are refused, and not kept (${sample(2, 12)} at once)`, async () => {
  const before = memory();
  const part = Buffer.alloc(1 << 20, 'x');
  let most = 0;
  const send = async (i: number) => {
    const isChunked = i % 2 === 1;
    const length = isChunked ? 'transfer-encoding: chunked' : `content-length: ${50 << 20}`;
    const socket = open(
      server.port,
      `POST ${CHAT} HTTP/1.1\r\nhost: localhost\r\n${length}\r\n\r\n`,
    );
    const answer = readAll(socket);
    for (let sent = 0; sent < 50; sent++) {
      if (isChunked) socket.write(`${part.length.toString(16)}\r\n`);
      socket.write(part);
      const isTaken = socket.write(isChunked ? '\r\n' : '');
      if (!isTaken) await once(socket, 'drain');
      most = Math.max(most, process.memoryUsage().rss);
    }
    if (isChunked) socket.write('0\r\n\r\n');
    // The connection is as good as before.
    socket.write(wire(CHAT, short, 'connection: close\r\n'));
    const [refused, next] = bodiesOf(await answer);
    expect([refused.status, next.status]).toEqual([413, 200]);
    expect(JSON.parse(refused.body).error.message).toMatch(/at most 16777216 bytes/);
  };
  await Promise.all(Array.from({ length: sample(2, 12) }, (_, i) => send(i)));
  // Half of them are taken up to 16 MiB; 50 MB each would be 600.
  expect(most - before.rss).toBeLessThan(400 << 20);
});

/** Requests of every kind, each long enough to be left in every stage. */
const KINDS: readonly [string, object][] = [
  [CHAT, { messages, max_tokens: 400, ...greedy, n: 2 }],
  [CHAT, { messages: [{ role: 'user', content: 'sea '.repeat(300) }], max_tokens: 50, ...greedy }],
  [TEXT, { prompt: ['The sea', 'A', 'x'], max_tokens: 200, ignore_eos: true, logprobs: 5 }],
  [TEXT, { prompt: 'sea '.repeat(60_000), truncate_prompt_tokens: 20, max_tokens: 50 }],
  [TEXT, { prompt: 'x', max_tokens: 100, n: 4, use_beam_search: true }],
  ['/v1/responses', { input: 'The sea', max_output_tokens: 300 }],
  ['/v1/messages', { messages, max_tokens: 300 }],
  ['/v1/messages/count_tokens', { messages: [{ role: 'user', content: 'sea '.repeat(9000) }] }],
  ['/inference/v1/generate', { token_ids: [5, 6], sampling_params: { max_tokens: 300, n: 3 } }],
  ['/tokenize', { prompt: 'sea '.repeat(60_000) }],
];

/** Clients leave anywhere: in the middle of their bytes, after a while, after some of the answer. */
async function leaveAnywhere(count: number, seed: number): Promise<void> {
  const one = async (i: number) => {
    const rng = random(seed + i);
    const [path, body] = KINDS[rng.integer(KINDS.length)];
    const bytes = wire(path, { ...body, stream: rng.integer(2) === 0 });
    const stage = rng.integer(4);
    const cut = stage === 0 ? rng.integer(bytes.length) : bytes.length;
    const socket = open(server.port, bytes.slice(0, cut));
    await once(socket, 'connect');
    if (stage === 1) await sleep(rng.integer(4));
    else if (stage === 2) await sleep(rng.integer(150));
    else if (stage === 3) await Promise.race([once(socket, 'data'), sleep(100)]);
    if (rng.integer(2) === 0) socket.destroy();
    else socket.resetAndDestroy();
  };
  // More than run at once: some leave while they wait.
  const width = 96;
  let next = 0;
  const work = async () => {
    while (next < count) await one(next++);
  };
  await Promise.all(Array.from({ length: Math.min(width, count) }, work));
  await server.idle();
}

it(`${sample(80, 4000)} clients leave at every stage`, async () => {
  const alone = await server.json(CHAT, short);
  await leaveAnywhere(sample(80, 4000), 77);
  expect((await server.json(CHAT, short)).choices).toEqual(alone.choices);
});

itAll('rounds of all that leave memory as it is', async () => {
  const round = async (seed: number) => {
    await leaveAnywhere(300, seed);
    await Promise.all(Array.from({ length: 100 }, () => post(CHAT, { ...short, stream: true })));
    await Promise.all(Array.from({ length: 8 }, () => post(CHAT, short)));
    await post(CHAT, '{oops' as never);
  };
  let next = 0;
  const grown = async (rounds: number) => {
    const before = memory();
    for (const end = next + rounds; next < end; next++) await round(1000 * next);
    const after = memory();
    return { heap: (after.heap - before.heap) / 2 ** 20, rss: (after.rss - before.rss) / 2 ** 20 };
  };
  await grown(3);
  const isFlat = ({ heap, rss }: { heap: number; rss: number }) => heap < 8 && rss < 96;
  // On a loaded machine more waits at once than ever before; what leaks grows every time.
  const parts = [await grown(12)];
  while (!isFlat(parts.at(-1)!) && parts.length < 4) parts.push(await grown(12));
  expect(parts).toContainEqual(expect.toSatisfy(isFlat));
});
