/** What clients and logs are told of what goes wrong: in the client's words, and no more than it is. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { octavoError } from '../../lib/errors.js';
import { isExpected, Problem } from '../../lib/server/problem.js';
import { type Json, serveDemo, type TestServer } from './support.js';

let server: TestServer;
let lines: (Json & { level: string })[] = [];
beforeAll(async () => {
  const at = (level: string) => (fields: object) => lines.push({ ...fields, level });
  const logger = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  server = await serveDemo({ logger }, { maxNumSeqs: 2, maxListLength: 3 });
});
afterAll(() => server.close());

const COMPLETIONS = '/v1/completions';

it.each<[path: string, body: object, words: RegExp, param: string]>([
  [COMPLETIONS, { prompt: Array(1100).fill(5) }, /raise --max-model-len$/, 'prompt'],
  [COMPLETIONS, { prompt: 'x', n: 3 }, /raise --max-num-seqs$/, 'n'],
  [COMPLETIONS, { prompt: 'x', logprobs: 90 }, /--max-logprobs/, 'logprobs'],
  [COMPLETIONS, { prompt: 'x', stop: ['a', 'b', 'c', 'd'] }, /--max-list-length/, 'stop'],
  [COMPLETIONS, { prompt: 'x', priority: 1 }, /--scheduling-policy/, 'priority'],
  ['/inference/v1/generate', { token_ids: Array(1100).fill(5) }, /--max-model-len/, 'prompt'],
  ['/detokenize', { tokens: [1, 1e9] }, /position 1/, 'tokens'],
])('%s %#: words of requests and of flags only', async (path, body, words, param) => {
  const { error } = await server.json(path, body, 400);
  expect(error).toMatchObject({ param, message: expect.stringMatching(words) });
  expect(error.message).not.toMatch(/\b[a-z]+[A-Z]/);
});

it('a request that is late is told the time that it asked for', async () => {
  const limit = { 'x-request-timeout-ms': '1.5' };
  const body = { prompt: 'sea '.repeat(900), max_tokens: 900, ignore_eos: true };
  const answer = await server.post(COMPLETIONS, body, limit);
  const { error } = (await answer.json()) as Json;
  expect([answer.status, error.message]).toEqual([408, 'the request did not end within 1.5 ms']);
  await server.idle();
});

it('what is meant to be is no error in the log, and has no stack', async () => {
  const own = { level: 'warn', status: 503, path: '/health/ready' };
  server.handler.drain();
  lines = [];
  expect((await fetch(`${server.url}/health/ready`)).status).toBe(503);
  expect((await server.post(COMPLETIONS, { prompt: 'x' })).status).toBe(503);
  await server.idle();
  expect(lines).toMatchObject([own, { ...own, path: COMPLETIONS }]);
  for (const line of lines) expect(line).not.toHaveProperty('stack');
  for (const [error, isMeant] of [
    [new Problem(503, 'x'), true],
    [octavoError('ERR_DRAINING', 'x'), true],
    [octavoError('ERR_OVERLOADED', 'x'), true],
    [octavoError('ERR_DEVICE_LOST', 'x'), false],
    [octavoError('ERR_INTERNAL', 'x'), false],
    [new TypeError('x'), false],
  ] as const) {
    expect([error.message, isExpected(error)]).toEqual(['x', isMeant]);
  }
});
