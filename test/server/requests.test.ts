/** What a request says of itself: its name, and how large the frames of its stream are. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../support/until.js';
import { dataOf, type Json, serveDemo, type TestServer } from './support.js';

let server: TestServer;
beforeAll(async () => {
  server = await serveDemo();
});
afterAll(() => server.close());

const CHAT = '/v1/chat/completions';
const COMPLETIONS = '/v1/completions';
const GENERATE = '/inference/v1/generate';
const messages = [{ role: 'user', content: 'The sea' }];

describe('request_id', () => {
  const sized = { max_tokens: 2, ignore_eos: true };
  const BODIES: [path: string, prefix: string, body: object][] = [
    [CHAT, 'chatcmpl-', { messages, ...sized }],
    [COMPLETIONS, 'cmpl-', { prompt: 'The sea', ...sized }],
  ];

  it.each(BODIES)(
    'of %s names the answer, and the exchange where no header does',
    async (...one) => {
      const [path, prefix, body] = one;
      const named = { ...body, request_id: 'mine:1' };
      const answer = await server.post(path, named);
      expect(answer.headers.get('x-request-id')).toBe('mine:1');
      expect(((await answer.json()) as Json).id).toBe(`${prefix}mine:1`);
      const both = await server.post(path, named, { 'x-request-id': 'trace' });
      expect(both.headers.get('x-request-id')).toBe('trace');
      expect(((await both.json()) as Json).id).toBe(`${prefix}mine:1`);
      const ids = dataOf(await server.frames(path, named)).map(({ id }) => id);
      expect(new Set(ids)).toEqual(new Set([`${prefix}mine:1`]));
      expect((await server.json(path, body)).id).toMatch(/^(chat)?cmpl-[0-9a-f]{32}$/);
    },
  );

  it('is what the engine knows the request by, each prompt with its place', async () => {
    const ids: string[] = [];
    const { llm } = server;
    const { streamDeltas } = llm;
    llm.streamDeltas = (prompt: Json, params: Json, options: Json) => {
      ids.push(options.requestId);
      return streamDeltas.call(llm, prompt, params, options);
    };
    await server.json(COMPLETIONS, { prompt: ['a', 'b'], max_tokens: 1, request_id: 'mine' });
    await server.json(COMPLETIONS, { prompt: 'a', max_tokens: 1, request_id: 'mine' });
    const sampling = { max_tokens: 1 };
    const given = { token_ids: [5], sampling_params: sampling, request_id: 'mine' };
    expect((await server.json(GENERATE, given)).request_id).toBe('mine');
    await server.json(CHAT, { messages, max_tokens: 1 });
    llm.streamDeltas = streamDeltas;
    expect(ids.slice(0, 2).sort()).toEqual(['cmpl-mine-0', 'cmpl-mine-1']);
    expect(ids.slice(2)).toEqual(['cmpl-mine', 'mine', expect.stringMatching(/^chatcmpl-/)]);
  });

  it('that is in use is refused, streaming or not, until it is free again', async () => {
    const leaver = new AbortController();
    const long = { prompt: 'The sea', max_tokens: 1000, ignore_eos: true, request_id: 'one' };
    const init = { method: 'POST', body: JSON.stringify(long), signal: leaver.signal };
    const left = fetch(server.url + COMPLETIONS, init).catch(() => 'left');
    await until(() => server.llm.stats().numRequestsRunning === 1);
    for (const stream of [false, true]) {
      const body = { prompt: 'The sea', max_tokens: 1, request_id: 'one', stream };
      const { error } = await server.json(COMPLETIONS, body, 400);
      expect(error).toMatchObject({ param: 'request_id', type: 'BadRequestError' });
      expect(error.message).toMatch(/"cmpl-one" is not finished/);
    }
    leaver.abort();
    expect(await left).toBe('left');
    await server.idle();
    await server.json(COMPLETIONS, { prompt: 'The sea', max_tokens: 1, request_id: 'one' });
  });

  it.each(['', 'a b', 'a\r\nx: y', 'ä', 'x'.repeat(129), 5])('%j is refused', async (name) => {
    for (const [path, , body] of BODIES) {
      const { error } = await server.json(path, { ...body, request_id: name }, 400);
      expect(error.param).toBe('request_id');
    }
  });

  it('is rendered with the request, several prompts under several', async () => {
    const named = { max_tokens: 1, request_id: 'mine' };
    const chat = await server.json(`${CHAT}/render`, { messages, ...named });
    expect([chat.request_id, chat.sampling_params.request_id]).toEqual(['mine', undefined]);
    const prompts = { prompt: ['a', 'b'], ...named };
    const rendered: Json[] = await server.json(`${COMPLETIONS}/render`, prompts);
    expect(rendered.map((one) => one.request_id)).toEqual(['mine-0', 'mine-1']);
  });
});

describe('stream_interval', () => {
  const body = { prompt: 'One', max_tokens: 16, ignore_eos: true, return_token_ids: true, seed: 3 };

  /** Tokens of each frame that has some. */
  async function sizes(of: TestServer, more: object): Promise<number[]> {
    const chunks = dataOf(await of.frames(COMPLETIONS, { ...body, ...more }));
    return chunks.map(({ choices }) => choices[0].token_ids?.length ?? 0).filter(Boolean);
  }

  it('makes frames larger, but never smaller than the server does', async () => {
    expect(await sizes(server, { stream_interval: 5 })).toEqual([1, 5, 5, 5]);
    expect(await sizes(server, { stream_interval: null })).toHaveLength(16);
    const coarse = await serveDemo({ streamInterval: 5 });
    expect(await sizes(coarse, { stream_interval: 2 })).toEqual([1, 5, 5, 5]);
    await coarse.close();
    for (const wrong of [0, 1.5, 'a']) {
      const { error } = await server.json(COMPLETIONS, { ...body, stream_interval: wrong }, 400);
      expect(error.param).toBe('stream_interval');
    }
  });

  it('is taken by the other routes that stream, too', async () => {
    const wishes = { max_tokens: 9, ignore_eos: true, stream_interval: 4, return_token_ids: true };
    const chunks = dataOf(await server.frames(CHAT, { messages, ...wishes }));
    const ofChat = chunks.map(({ choices }) => choices[0].token_ids?.length ?? 0).filter(Boolean);
    expect(ofChat).toEqual([1, 4, 4]);
    const { return_token_ids: _, ...sampling_params } = wishes;
    const frames = dataOf(await server.frames(GENERATE, { token_ids: [5], sampling_params }));
    const ofIds = frames.map(({ choices }) => choices[0].token_ids.length).filter(Boolean);
    expect(ofIds).toEqual([1, 4, 4]);
  });
});
