/**
 * Requests that are wrong in every way, over all routes that take a body: each gets a coded 4xx or
 * a right answer, none a 5xx, none nothing. `OCTAVO_SEED=…` asks the same again, `FUZZ_RUNS=…` more.
 */
import { request } from 'node:http';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { inMemory } from '../../lib/batch/in-memory.js';
import { LLM } from '../../lib/index.js';
import { createServer, type Handler } from '../../lib/server/index.js';
import { chatAnswer } from '../../lib/server/schemas/chat.js';
import { completionAnswer } from '../../lib/server/schemas/completions.js';
import { generateAnswer } from '../../lib/server/schemas/generate.js';
import { messageAnswer } from '../../lib/server/schemas/messages.js';
import {
  classifyAnswer,
  embeddingAnswer,
  poolingAnswer,
  rerankAnswer,
  scoreAnswer,
} from '../../lib/server/schemas/pooling.js';
import { responseAnswer } from '../../lib/server/schemas/responses.js';
import { sample, WHOLE } from '../support/all.js';
import { encoderFolder } from '../support/encoder-model.js';
import { random } from '../support/random.js';
import { SEED } from '../support/seed.js';
import { type Ask, anAsk, BODIES, brokenAtEveryByte } from '../support/server-bodies.js';
import { until } from '../support/until.js';

const RUNS = Number(process.env.FUZZ_RUNS ?? sample(600, 20_000));
/** So many at once: they are batched as others are. */
const WIDTH = 24;
const LIMIT_MS = 120_000;

const ANSWERS: Readonly<Record<string, { parse(value: unknown): unknown }>> = {
  '/v1/chat/completions': chatAnswer,
  '/v1/completions': completionAnswer,
  '/v1/responses': responseAnswer,
  '/v1/messages': messageAnswer,
  '/inference/v1/generate': generateAnswer,
  '/v1/embeddings': embeddingAnswer,
  '/classify': classifyAnswer,
  '/pooling': poolingAnswer,
  '/score': scoreAnswer,
  '/v1/score': scoreAnswer,
  '/rerank': rerankAnswer,
  '/v1/rerank': rerankAnswer,
  '/v2/rerank': rerankAnswer,
};

let llm: LLM;
let models: Record<string, LLM>;
let handler: Handler;
let connect: ReturnType<typeof inMemory>;
const known: Record<string, string[]> = {};
const errors: object[] = [];

beforeAll(async () => {
  llm = await LLM.load({ seed: 1, maxModelLen: 64, maxNumSeqs: 16, maxNumBatchedTokens: 128 });
  const nothing = () => {};
  const logger = {
    ...{ debug: nothing, info: nothing, warn: nothing },
    error: (line: object) => errors.push(line),
  };
  models = {
    text: llm,
    vectors: await LLM.load({ model: encoderFolder('vectors') }),
    classifier: await LLM.load({ model: encoderFolder(['calm', 'rough', 'frozen']) }),
  };
  const trust = { trustRequestChatTemplate: true, matryoshka: true };
  handler = createServer(models, { maxBodyBytes: 40_000, ...trust, logger });
  connect = inMemory(handler);
  const answer = await ask({ method: 'GET', path: '/openapi.json', headers: {}, body: NO_BODY });
  for (const [path, { post }] of Object.entries<Described>(JSON.parse(answer.text).paths)) {
    if (!post) continue;
    const schema = post.requestBody?.content['application/json'].schema;
    known[path] = Object.keys(schema?.properties ?? {});
  }
});
afterAll(async () => {
  handler.close();
  for (const one of Object.values(models)) await one.close();
});

interface Described {
  readonly post?: {
    readonly requestBody?: {
      readonly content: Record<string, { schema: { properties?: object } }>;
    };
  };
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

const NO_BODY = Buffer.alloc(0);

function ask({ method, path, headers, body }: Ask): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const createConnection = connect;
    const options = { method, path, headers: { ...headers, 'content-length': body.length } };
    const req = request({ host: 'localhost', ...options, createConnection }, (res) => {
      const chunks: Buffer[] = [];
      res.on('data', (chunk) => chunks.push(chunk));
      res.on('error', reject);
      res.on('end', () => {
        clearTimeout(timer);
        const text = Buffer.concat(chunks).toString();
        const type = res.headers['content-type'] ?? '';
        resolve({ status: res.statusCode as number, type, text });
      });
    });
    const timer = setTimeout(() => req.destroy(new Error('no answer')), LIMIT_MS);
    req.on('error', reject);
    req.end(body);
  });
}

/** Whose form errors have, and what a right answer of the path looks like. */
function check({ path }: Ask, { status, type, text }: Answer): void {
  expect(status).toBeLessThan(500);
  if (type.startsWith('text/event-stream')) {
    expect(status).toBe(200);
    expect(text).toMatch(/\n\n$/);
    // An error of a stream that has begun says its status in the last frame.
    expect(text).not.toMatch(/"code":"?5\d\d|api_error|overloaded_error/);
    for (const frame of text.slice(0, -2).split('\n\n')) {
      const data = /^(?:event: \S+\n)?data: ([^\n]*)$/.exec(frame)?.[1];
      if (data !== '[DONE]' && frame !== ': ping') JSON.parse(data as string);
    }
    return;
  }
  expect(type).toMatch(/^application\/json/);
  const said = JSON.parse(text);
  if (status < 300) {
    ANSWERS[path]?.parse(said);
    return;
  }
  expect(status).toBeGreaterThanOrEqual(400);
  expect(said.error).toMatchObject({ type: expect.any(String), message: expect.any(String) });
  expect(said.error.message).not.toBe('');
  if (path.startsWith('/v1/messages')) expect(said.type).toBe('error');
  else expect(said.error.code).toBe(status);
}

const describe = ({ method, path, headers, body }: Ask) =>
  `${method} ${path} ${JSON.stringify(headers)} ${body.subarray(0, 3000)}`;

/** How many had each status. */
async function run(asks: Iterator<Ask>) {
  const counts: Record<string, number> = {};
  const numErrors = errors.length;
  let [slowest, slow] = [0, ''];
  let number = 0;
  const work = async () => {
    for (let next = asks.next(); !next.done; next = asks.next()) {
      const at = number++;
      const began = performance.now();
      try {
        const answer = await ask(next.value);
        check(next.value, answer);
        const kind = `${answer.status}`;
        counts[kind] = (counts[kind] ?? 0) + 1;
      } catch (cause) {
        throw new Error(`request ${at}: ${describe(next.value)}`, { cause });
      }
      const ms = performance.now() - began;
      if (ms > slowest) [slowest, slow] = [ms, describe(next.value)];
    }
  };
  await Promise.all(Array.from({ length: WIDTH }, work));
  expect(errors.slice(numErrors)).toEqual([]);
  const seconds = (slowest / 1000).toFixed(1);
  console.log(`fuzz: ${JSON.stringify(counts)}, slowest ${seconds} s: ${slow}`);
  return counts;
}

async function idle(): Promise<void> {
  await until(() => handler.numActive === 0);
  await until(() =>
    Object.values(models).every((one) => {
      const { numRequestsRunning, numRequestsWaiting, kvCacheUsage } = one.stats();
      return numRequestsRunning + numRequestsWaiting === 0 && kvCacheUsage === 0;
    }),
  );
}

const greedy = { maxTokens: 8, temperature: 0, ignoreEos: true, logprobs: 2 };

it('knows every route that takes a body', () => {
  expect(Object.keys(BODIES).sort()).toEqual(Object.keys(known).sort());
});

it('right bodies get right answers', async () => {
  for (const [path, bodies] of Object.entries(BODIES)) {
    for (const body of bodies) {
      const headers = { 'content-type': 'application/json' };
      const right = { method: 'POST', path, headers, body: Buffer.from(JSON.stringify(body)) };
      const answer = await ask(right);
      expect([path, answer.status, answer.status < 300 ? '' : answer.text]).toEqual([
        path,
        200,
        '',
      ]);
      check(right, answer);
    }
  }
});

it('bodies with a fault at every byte', async () => {
  const counts = await run(everyFewth());
  expect(counts['400']).toBeGreaterThan(0);
  await idle();
});

/** All of them in test:all. */
function* everyFewth(): Generator<Ask> {
  const step = sample(29, 1);
  let i = SEED % step;
  for (const one of brokenAtEveryByte()) if (i++ % step === 0) yield one;
}

it(`${RUNS} requests that are wrong in every way`, async () => {
  const { outputs: before } = await llm.generate('The sea', greedy);
  function* asks() {
    for (let i = 0; i < RUNS; i++) yield anAsk(random(SEED + i), known);
  }
  const counts = await run(asks());
  // A run in which nothing was right, or nothing wrong, has tried nothing.
  for (const status of ['200', '400', ...(WHOLE ? ['404', '405'] : [])]) {
    expect([status, counts[status]]).toEqual([status, expect.any(Number)]);
  }
  await idle();
  const { outputs: after } = await llm.generate('The sea', greedy);
  expect(after).toEqual(before);
});
