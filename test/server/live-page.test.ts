/** /dashboard: who gets the page, what its stream says, and that it holds nothing up. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:http';
import { Duplex } from 'node:stream';
import express from 'express';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LLM } from '../../lib/index.js';
import { decodeCells } from '../../lib/server/cell-runs.js';
import { createServer, type ServerOptions, serve } from '../../lib/server/index.js';
import type { HelloFrame, LiveFrame, LiveMessage } from '../../lib/server/live-frames.js';
import { until } from '../support/until.js';
import { listen, portOf } from './support.js';

let llm: LLM;
beforeAll(async () => {
  llm = await LLM.load({ seed: 1 });
});
afterAll(() => llm.close());

const ON = { enableDashboard: true, servedModelName: 'demo' };
const long = { maxTokens: 12, ignoreEos: true };

const serveOn = (options: ServerOptions = ON) => serve(llm, options, { port: 0 });

/** The messages of a stream as they come; leaving the loop leaves the stream. */
async function* messagesOf(url: string, headers: Record<string, string> = {}) {
  const left = new AbortController();
  try {
    const response = await fetch(url, { headers, signal: left.signal });
    if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
    let text = '';
    for await (const part of response.body!.pipeThrough(new TextDecoderStream())) {
      text += part;
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const frame = text.slice(0, end);
        text = text.slice(end + 2);
        if (frame.startsWith('data: ')) yield JSON.parse(frame.slice(6)) as LiveMessage;
      }
    }
  } finally {
    left.abort();
  }
}

/** Until a request has ended: the first message, and all frames. */
async function watchOne(url: string, headers?: Record<string, string>, begin = () => {}) {
  const frames: LiveFrame[] = [];
  let hello: HelloFrame | undefined;
  for await (const message of messagesOf(url, headers)) {
    if (message.type === 'hello') {
      hello = message;
      begin();
    } else if (message.type === 'frame') frames.push(message);
    if (frames.some(({ spans }) => spans.some(({ ended }) => ended !== null))) break;
  }
  return { hello: hello!, frames };
}

describe('the page', () => {
  it('is there only where it is asked for', async () => {
    const server = await serveOn({ servedModelName: 'demo' });
    for (const path of ['/dashboard', '/dashboard/events', '/dashboard/blocks/1']) {
      expect((await fetch(server.url + path)).status).toBe(404);
    }
    await server.shutdown();
  });

  it('is one file that may run its own script, ask its own server, and nothing else', async () => {
    const server = await serveOn();
    const response = await fetch(`${server.url}/dashboard`);
    const text = await response.text();
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
    const policy = response.headers.get('content-security-policy')!;
    const rules = new Map(
      policy.split('; ').map((rule) => rule.split(/ (.*)/) as [string, string]),
    );
    expect(rules.get('default-src')).toBe("'none'");
    expect(rules.get('connect-src')).toBe("'self'");
    expect(policy).not.toMatch(/unsafe|https?:|\*/);
    const [, script] = /<script>([\s\S]*)<\/script>/.exec(text)!;
    const hash = createHash('sha256').update(script).digest('base64');
    expect(rules.get('script-src')).toBe(`'sha256-${hash}'`);
    const body = text
      .replace(/<!--[\s\S]*?-->/g, '')
      .replace(/<(script|style)>[\s\S]*?<\/\1>/g, '');
    expect(body).not.toMatch(/(src|href)="?(https?:)?\/\//);
    expect(body).not.toMatch(/ style=| on\w+=/);
    expect((await fetch(`${server.url}/dashboard/`, { method: 'HEAD' })).status).toBe(200);
    await server.shutdown();
  });

  it('is given to anybody, what it shows to those with the key', async () => {
    const server = await serveOn({ ...ON, apiKey: 'secret' });
    expect((await fetch(`${server.url}/dashboard`)).status).toBe(200);
    for (const path of ['/dashboard/events', '/dashboard/blocks/1']) {
      const answer = await fetch(server.url + path, { headers: { authorization: 'Bearer no' } });
      expect(answer.status).toBe(401);
      expect(await answer.json()).toMatchObject({ error: { code: 401 } });
    }
    const headers = { authorization: 'Bearer secret' };
    const begin = () => void llm.generate('The sea', long);
    const { hello } = await watchOne(`${server.url}/dashboard/events`, headers, begin);
    expect(hello.model).toBe('demo');
    await server.shutdown();
  });

  /** By node:http: fetch() says what origin and host it likes. */
  const post = async (url: string, headers: Record<string, string>) => {
    const body = JSON.stringify({ prompt: 'a', max_tokens: 1 });
    const asked = request(`${url}/v1/completions`, { method: 'POST', headers });
    asked.end(body);
    const [answer] = await once(asked, 'response');
    answer.resume();
    return answer.statusCode;
  };

  it('may ask its own server, by any name where there is a key, else by an address', async () => {
    const name = { host: 'llm.example:8000', origin: 'https://llm.example:8000' };
    const other = { host: 'llm.example:8000', origin: 'https://other.example' };
    const address = { host: '10.0.0.5:8000', origin: 'http://10.0.0.5:8000' };
    const key = { authorization: 'Bearer k' };
    const options = { ...ON, allowedHosts: ['*'] };
    const [open, guarded, without] = await Promise.all([
      serveOn(options),
      serveOn({ ...options, apiKey: 'k' }),
      serveOn({ ...options, enableDashboard: false }),
    ]);
    expect(await post(open.url, address)).toBe(200);
    expect(await post(open.url, name)).toBe(403);
    expect(await post(guarded.url, { ...name, ...key })).toBe(200);
    expect(await post(guarded.url, { ...other, ...key })).toBe(403);
    expect(await post(without.url, address)).toBe(403);
    for (const server of [open, guarded, without]) await server.shutdown();
  });
});

describe('the stream', () => {
  it('is not begun by HEAD, on this and on any other route that is got', async () => {
    const server = await serveOn({ ...ON, apiKey: 'k' });
    const { paths } = (await (await fetch(`${server.url}/openapi.json`)).json()) as {
      paths: Record<string, Record<string, unknown>>;
    };
    const got = Object.keys(paths).filter((path) => 'get' in paths[path]);
    expect(got).toContain('/dashboard/events');
    const headers = { authorization: 'Bearer k' };
    for (let i = 0; i < 33; i++) {
      for (const path of i === 0 ? got : ['/dashboard/events']) {
        const url = server.url + path.replace('{id}', '1');
        const answer = await fetch(url, { method: 'HEAD', headers });
        expect(await answer.text()).toBe('');
        if (path !== '/dashboard/events') continue;
        expect(answer.status).toBe(200);
        expect(answer.headers.get('content-type')).toMatch(/^text\/event-stream/);
      }
    }
    expect((await fetch(`${server.url}/dashboard/events`, { method: 'HEAD' })).status).toBe(401);
    await until(() => server.handler.numActive === 0);
    await server.shutdown();
  });

  it('says each second that nothing happens', async () => {
    const server = await serveOn();
    const times: number[] = [];
    for await (const message of messagesOf(`${server.url}/dashboard/events`)) {
      if (message.type === 'idle') times.push(message.now);
      if (times.length === 2) break;
    }
    expect(times[1] - times[0]).toBeGreaterThan(500);
    await server.shutdown();
  });

  it('goes on while a server drains, to the end of the last request', async () => {
    const server = await serveOn();
    const url = `${server.url}/dashboard/events`;
    const ask = () =>
      fetch(`${server.url}/v1/completions`, {
        method: 'POST',
        body: JSON.stringify({ prompt: 'The sea', max_tokens: 400, ignore_eos: true }),
      });
    let answer: Promise<Response> | undefined;
    let drained: Promise<void> | undefined;
    let numAfter = 0;
    const spans = new Map<number, LiveFrame['spans'][number]>();
    let last = '';
    for await (const message of messagesOf(url)) {
      last = message.type;
      if (message.type === 'hello') answer = ask();
      if (message.type !== 'frame') continue;
      if (drained !== undefined) numAfter++;
      for (const span of message.spans) spans.set(span.key, { ...spans.get(span.key), ...span });
      if (spans.size === 1) drained ??= server.handler.drain();
    }
    const { id } = (await (await answer!).json()) as { id: string };
    await drained;
    expect(last).toBe('bye');
    expect(numAfter).toBeGreaterThan(0);
    expect([...spans.values()]).toMatchObject([{ head: { id }, reason: 'length' }]);
    expect((await fetch(url)).status).toBe(503);
    await server.shutdown();
  });

  it('knows requests by the ids that clients and the log know', async () => {
    const lines: Record<string, unknown>[] = [];
    const write = (fields: object) => void lines.push({ ...fields });
    const logger = { debug: write, info: write, warn: write, error: write };
    const server = await serveOn({ ...ON, logger });
    const watcher = llm.watch()!;
    const messages = [{ role: 'user', content: 'The sea' }];
    const post = async (path: string, body: object) => {
      const headers = { 'x-request-id': 'mine' };
      const given = { model: 'demo', max_tokens: 2, ...body };
      const init = { method: 'POST', body: JSON.stringify(given), headers };
      const text = await (await fetch(server.url + path, init)).text();
      return /"(?:id|request_id)":"([^"]+)"/.exec(text)![1];
    };
    const asked: [path: string, body: object, suffixes: string[]][] = [
      ['/v1/completions', { prompt: 'a' }, ['']],
      ['/v1/completions', { prompt: 'a', stream: true }, ['']],
      ['/v1/completions', { prompt: ['a', 'b'], n: 2 }, ['-0', '-1']],
      ['/v1/chat/completions', { messages }, ['']],
      ['/v1/chat/completions', { messages, stream: true }, ['']],
      ['/v1/messages', { messages }, ['']],
      ['/v1/messages', { messages, stream: true }, ['']],
      ['/v1/responses', { input: 'a', max_output_tokens: 2 }, ['']],
    ];
    for (const [path, body, suffixes] of asked) {
      const id = await post(path, body);
      const own = watcher.take().spans.flatMap(({ head }) => head?.id ?? []);
      expect(own.sort(), path).toEqual(suffixes.map((suffix) => id + suffix));
      await until(() => lines.at(-1)?.response_id === id);
      expect(lines.at(-1)).toMatchObject({ request_id: 'mine' });
    }
    // Ids of clients need not be unique.
    const ids = { token_ids: [5], sampling_params: { max_tokens: 2 } };
    const both = ['one', 'two'].map(() => post('/inference/v1/generate', ids));
    expect(await Promise.all(both)).toEqual(['mine', 'mine']);
    const own = watcher.take().spans.flatMap(({ head }) => head?.id ?? []);
    expect(own).toEqual([1, 2].map(() => expect.stringMatching(/^mine-[0-9a-f]{32}$/)));
    expect(new Set(own).size).toBe(2);
    watcher.leave();
    await server.shutdown();
  });

  it('tells of prefixes with their first words', async () => {
    const own = await LLM.load({ seed: 1 });
    const server = await serve(own, ON, { port: 0 });
    const prompt = 'Call me Ishmael. Some years ago, never mind how long precisely';
    for await (const message of messagesOf(`${server.url}/dashboard/events`)) {
      if (message.type === 'hello') void own.generate(prompt, long);
      if (message.type !== 'frame' || !message.prefixes?.length) continue;
      const [{ text, numBlocks }] = message.prefixes;
      expect(prompt.startsWith(text)).toBe(true);
      expect([text.length > 20, text.length <= 40, numBlocks > 0]).toEqual([true, true, true]);
      break;
    }
    await server.shutdown();
    await own.close();
  });

  it('tells several who watch of requests and of blocks', async () => {
    const server = await serveOn();
    const url = `${server.url}/dashboard/events`;
    let waiting = 2;
    const begin = () => {
      if (--waiting === 0) void llm.generate('The sea was calm', { ...long, n: 3 });
    };
    const told = await Promise.all([watchOne(url, {}, begin), watchOne(url, {}, begin)]);
    for (const { hello, frames } of told) {
      expect(hello.info).toMatchObject({ runner: 'generate', numBlocks: llm.info.numBlocks });
      expect(hello.numCells).toBe(llm.info.numBlocks - 1);
      const cells = new Uint8Array(hello.numCells);
      for (const frame of frames) {
        if (frame.cells) decodeCells(Buffer.from(frame.cells, 'base64'), cells);
      }
      const { pool } = frames.at(-1)!;
      expect(cells.filter((cell) => cell > 1)).toHaveLength(pool.numBlocks - pool.numFree);
      const spans = frames.flatMap((frame) => frame.spans);
      const own = spans.filter(({ key }) => key === spans.at(-1)!.key);
      expect(own[0].head).toMatchObject({ n: 3 });
      expect(own.at(-1)).toMatchObject({ reason: 'length', numGeneratedTokens: 36 });
    }
    await server.shutdown();
  });

  it('spells the tokens of beams', async () => {
    const server = await serveOn();
    let best = '';
    const begin = () =>
      void llm.beamSearch('Call me', { beamWidth: 2, maxTokens: 5 }).then(({ outputs }) => {
        best = outputs[0].text;
      });
    const { frames } = await watchOne(`${server.url}/dashboard/events`, {}, begin);
    const nodes: [number, string][] = [];
    let finished = 0;
    for (const { beams } of frames.flatMap(({ spans }) => spans)) {
      if (beams === undefined) continue;
      nodes.length = beams.first;
      beams.nodes.forEach(([parent], i) => {
        nodes.push([parent, beams.words[i]]);
      });
      [[finished]] = beams.finished.length > 0 ? beams.finished : [[0]];
    }
    let text = '';
    for (let at = finished; at > 0; at = nodes[at][0]) text = nodes[at][1] + text;
    await until(() => best !== '');
    expect(text).toBe(best);
    await server.shutdown();
  });

  it('works under a root path, in Express, and of each of several models', async () => {
    const small = await LLM.load({ numGpuBlocksOverride: 40, maxModelLen: 128 });
    const vectors = await LLM.load({ runner: 'pooling' });
    const models = { demo: llm, small, vectors };
    const app = express().use('/llm', createServer(models, { enableDashboard: true }));
    const rooted = createServer(models, { enableDashboard: true, rootPath: '/llm' });
    for (const handler of [app, rooted]) {
      const http = await listen(handler as Parameters<typeof listen>[0]);
      const base = `http://127.0.0.1:${portOf(http)}/llm/dashboard`;
      expect(await (await fetch(base)).text()).toContain('<h1>octavo</h1>');
      const begin = () => void small.generate('a', long);
      const { hello } = await watchOne(`${base}/events?model=small`, {}, begin);
      expect(hello).toMatchObject({ model: 'small', models: ['demo', 'small', 'vectors'] });
      expect(hello.info.numBlocks).toBe(40);
      const kinds: string[] = [];
      for await (const { type } of messagesOf(`${base}/events?model=vectors`)) {
        if (type === 'idle') continue;
        kinds.push(type);
        if (kinds.length === 1) void vectors.embed('a text');
        if (kinds.length === 3) break;
      }
      expect(kinds).toEqual(['hello', 'figures', 'figures']);
      expect((await fetch(`${base}/events?model=none`)).status).toBe(404);
      const use = await (await fetch(`${base}/blocks/1?model=small`)).json();
      expect(use).toMatchObject({ block: 1, refCount: 0, users: [] });
      for (const id of ['0', '40', 'x']) {
        expect((await fetch(`${base}/blocks/${id}?model=small`)).status).toBe(400);
      }
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    }
    await Promise.all([small.close(), vectors.close()]);
  });

  it('ends with the server and with its model, and is refused by one that ends', async () => {
    const other = await LLM.load();
    const server = await serve({ demo: llm, other }, { enableDashboard: true }, { port: 0 });
    const kinds = async (model: string, begin: () => void) => {
      const seen: string[] = [];
      for await (const { type } of messagesOf(`${server.url}/dashboard/events?model=${model}`)) {
        seen.push(type);
        if (type === 'hello') begin();
      }
      return seen.at(-1);
    };
    expect(await kinds('other', () => void other.close())).toBe('bye');
    let ended: Promise<void> | undefined;
    expect(await kinds('demo', () => (ended = server.handler.drain()))).toBe('bye');
    await ended;
    expect((await fetch(`${server.url}/dashboard/events`)).status).toBe(503);
    await server.shutdown();
  });

  it('waits for nobody who does not read', async () => {
    /** A connection that takes a first piece and is never done with it. */
    class Stuck extends Duplex {
      numPieces = 0;
      override _read() {}
      override _write() {
        this.numPieces++;
      }
      override _final() {}
    }
    const server = await serveOn();
    const stuck = new Stuck();
    server.http.emit('connection', stuck);
    stuck.push('GET /dashboard/events HTTP/1.1\r\nhost: localhost\r\n\r\n');
    await until(() => stuck.numPieces > 0);
    for (let i = 0; i < 3; i++) await llm.generate('The sea', long);
    expect(stuck.numPieces).toBe(1);
    expect(stuck.writableLength).toBeLessThan(2 ** 20);
    await server.shutdown();
    expect(stuck.destroyed).toBe(true);
  });

  it('takes so many who watch, and no more', async () => {
    const server = await serveOn();
    const url = `${server.url}/dashboard/events`;
    const open = Array.from({ length: 32 }, () => messagesOf(url));
    for (const one of open) expect((await one.next()).value?.type).toBe('hello');
    expect((await fetch(url)).status).toBe(503);
    await open[0].return();
    const status = async () => {
      const left = new AbortController();
      const answer = await fetch(url, { signal: left.signal });
      left.abort();
      return answer.status;
    };
    await until(async () => (await status()) === 200);
    for (const one of open) await one.return();
    await server.shutdown();
  });
});
