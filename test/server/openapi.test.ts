/** /openapi.json, and answers beside it: what a generator of requests finds (schemathesis, of PyPI). */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LLM } from '../../lib/index.js';
import { encoderFolder } from '../support/encoder-model.js';
import { pythonWith } from '../support/python.js';
import { SEED } from '../support/seed.js';
import { temporaryFolder } from '../support/write-model.js';
import { dataOf, type Json, serveModels, type TestServer } from './support.js';

const REFERENCE = fileURLToPath(new URL('../reference', import.meta.url));
const python = pythonWith('schemathesis', '4.32.5');

let server: TestServer;
let document: Json;
beforeAll(async () => {
  const models = {
    text: await LLM.load({ seed: 1, maxModelLen: 256 }),
    vectors: await LLM.load({ model: encoderFolder('vectors') }),
  };
  server = await serveModels(models, { apiKey: 'key' });
  document = await (await fetch(`${server.url}/openapi.json`)).json();
});
afterAll(() => server.close());

const headers = { authorization: 'Bearer key' };

/** Every operation: its method, its path, and what the document says of it. */
function operations(): [method: string, path: string, operation: Json][] {
  return Object.entries<Json>(document.paths).flatMap(([path, methods]) =>
    Object.entries<Json>(methods).map(([method, operation]): [string, string, Json] => [
      method.toUpperCase(),
      path,
      operation,
    ]),
  );
}

const schemaOf = (part: Json, type = 'application/json') => part.content[type]?.schema;

it('says what is answered, well or ill, in which form', () => {
  for (const [method, path, { responses }] of operations()) {
    const isMessage = path.startsWith('/v1/messages');
    const members = Object.keys(schemaOf(responses.default).properties);
    const expected = isMessage ? ['type', 'error', 'request_id'] : ['error'];
    expect([method, path, members]).toEqual([method, path, expected]);
    const types = Object.keys(responses[200].content);
    expect([path, types[0]]).toEqual([
      path,
      path === '/metrics' ? 'text/plain' : 'application/json',
    ]);
    const streams = /\/(completions|responses|messages|generate)$/.test(path);
    expect([path, types[1]]).toEqual([path, streams ? 'text/event-stream' : undefined]);
  }
  expect(operations().length).toBeGreaterThan(20);
});

it('each field of each body that has a wrong type is refused by its name, with a sentence', async () => {
  let count = 0;
  for (const [method, path, { requestBody }] of operations()) {
    if (requestBody === undefined) continue;
    for (const [name, schema] of Object.entries<Json>(schemaOf(requestBody).properties)) {
      if (Object.keys(schema).length === 0) continue;
      const wrong = { [name]: { not: ['this'] } };
      const allowsObjects = JSON.stringify(schema).includes('"object"');
      const body = allowsObjects ? { [name]: 0.5 } : wrong;
      const answer = await fetch(server.url + path, {
        ...{ method, headers },
        body: JSON.stringify({ messages: [{ role: 'user', content: 'x' }], ...body }),
      });
      const { error } = (await answer.json()) as Json;
      expect([path, name, answer.status]).toEqual([path, name, 400]);
      expect(error.message).not.toMatch(/^[^:]*: Invalid input$/);
      count++;
    }
  }
  expect(count).toBeGreaterThan(200);
});

it('says which values are taken of what is not there yet', async () => {
  const { post } = document.paths['/v1/chat/completions'];
  const { properties } = schemaOf(post.requestBody);
  expect(properties.audio).toEqual({ type: 'null' });
  expect(JSON.stringify(properties.response_format)).toContain('"json_schema"');
  expect(JSON.stringify(properties.tools)).toContain('"parameters"');
  const messages = [{ role: 'user', content: 'x' }];
  const taken = { tools: [], tool_choice: 'none', response_format: { type: 'text' }, audio: null };
  const body = { messages, max_tokens: 1, ...taken, modalities: ['text'], stream: true };
  const answer = await server.post('/v1/chat/completions', body, headers);
  expect(answer.headers.get('content-type')).toMatch(/^text\/event-stream/);
  expect(dataOf((await answer.text()).slice(0, -2).split('\n\n')).length).toBeGreaterThan(2);
});

/** All checks, but that what the document allows is taken: a model has limits that it cannot say. */
function schemathesis(seed: number): Promise<{ status: number | null; output: string }> {
  const child = spawn(
    join(python!.bin, 'st'),
    [
      ...['run', `${server.url}/openapi.json`, '--seed', `${seed}`, '--phases', 'fuzzing'],
      ...['--max-examples', '25', '--exclude-checks', 'positive_data_acceptance'],
      ...['--header', 'Authorization: Bearer key', '--generation-database', 'none'],
      ...['--request-timeout', '120', '--continue-on-failure', '--suppress-health-check', 'all'],
    ],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      // It keeps what it finds where it runs.
      cwd: temporaryFolder(),
      env: {
        ...process.env,
        SCHEMATHESIS_HOOKS: 'openapi_hooks',
        PYTHONPATH: REFERENCE,
        PYTHONDONTWRITEBYTECODE: '1',
      },
    },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      output += data;
    });
  }
  return new Promise((resolve) => child.on('close', (status) => resolve({ status, output })));
}

it.skipIf(python === undefined)('schemathesis finds no answer that it does not allow', async () => {
  const { status, output } = await schemathesis(SEED);
  expect(status, output).toBe(0);
  const [, tested] = /Tested: (\d+)/.exec(output) ?? [];
  expect(Number(tested)).toBe(operations().length);
  await server.idle();
});
