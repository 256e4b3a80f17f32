/** What is refused is named as the request named it. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Json, serveDemo, type TestServer } from './support.js';

const CHAT = '/v1/chat/completions';
const COMPLETIONS = '/v1/completions';
const short = { messages: [{ role: 'user', content: 'The sea' }], max_tokens: 2 };

let server: TestServer;
beforeAll(async () => {
  server = await serveDemo();
});
afterAll(() => server.close());

it('by its field and its own limit', async () => {
  const of = async (more: object) => {
    const { error } = await server.json(COMPLETIONS, { prompt: 'x', ...more }, 400);
    return [error.param, error.message];
  };
  expect(await of({ n: 1e30 })).toEqual(['n', 'n: must be at most 128']);
  expect(await of({ n: -1e30 })).toEqual(['n', 'n: must be at least 1']);
  expect(await of({ logprobs: 21 })).toEqual(['logprobs', expect.stringMatching(/^logprobs must/)]);
  const inChat = { ...short, logprobs: true, top_logprobs: 21 };
  const { error } = await server.json(CHAT, inChat, 400);
  expect(error).toMatchObject({
    param: 'top_logprobs',
    message: expect.stringMatching(
      /^top_logprobs must be an integer from 0 to 20 .*--max-logprobs/,
    ),
  });
  const inResponse = { input: 'x', top_logprobs: 21 };
  expect((await server.json('/v1/responses', inResponse, 400)).error.param).toBe('top_logprobs');
});

it('a body that is compressed is refused before it is read, one that says it is not is taken', async () => {
  const body = { prompt: 'x', max_tokens: 1 };
  for (const encoding of ['gzip', 'br', 'identity, gzip']) {
    const answer = await server.post(COMPLETIONS, body, { 'content-encoding': encoding });
    expect(answer.status).toBe(415);
    const { error } = (await answer.json()) as Json;
    expect(error).toMatchObject({ param: 'content-encoding', type: 'UnsupportedMediaTypeError' });
    expect(error.message).toContain(encoding);
  }
  const plain = await server.post(COMPLETIONS, body, { 'content-encoding': 'Identity' });
  expect(plain.status).toBe(200);
  await plain.text();
});
