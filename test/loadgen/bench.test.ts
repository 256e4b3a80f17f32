import { afterEach, describe, expect, it } from 'vitest';
import { type BenchPlan, runBench } from '../../lib/loadgen/bench.js';
import { HttpClient } from '../../lib/loadgen/http.js';
import { computeMetrics } from '../../lib/loadgen/metrics.js';
import { Random } from '../../lib/loadgen/random.js';
import { serverTokens } from '../../lib/loadgen/tokens.js';
import {
  chatChunk,
  completion,
  completionChunk,
  event,
  json,
  type Script,
  scriptedServer,
  stream,
  usageChunk,
} from '../support/openai-server.js';
import { refusal } from '../support/write-model.js';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function serve(script: Script, options?: { tokenize: boolean }) {
  const server = await scriptedServer(script, options);
  const client = new HttpClient({ baseUrl: server.url });
  closers.push(server.close, () => client.close());
  return { server, client };
}

const plan = (count: number, more: Partial<BenchPlan> = {}): BenchPlan => ({
  backend: 'openai',
  endpoint: '/v1/completions',
  model: 'm',
  requests: Array.from({ length: count }, (_, i) => ({
    prompt: [i],
    promptTokens: 1,
    outputTokens: 3,
  })),
  extraBody: { ignore_eos: 'true' },
  traffic: { requestRate: Infinity, burstiness: 1 },
  maxConcurrency: Infinity,
  numWarmups: 1,
  readyTimeoutMs: 0,
  ...more,
});

const hooks = () => ({ random: new Random(1), tokens: null });

describe('a run', () => {
  it('asks the first request to warm up, then each once', async () => {
    const { server, client } = await serve((_, response) => stream(response, completion(3, 5)));
    let ended = 0;
    const run = await runBench(client, plan(20, { numWarmups: 3 }), {
      ...hooks(),
      onEnd: () => ended++,
    });
    const prompts = server.asked.map(({ body }) => body.prompt[0]);
    expect(prompts.slice(0, 3)).toEqual([0, 0, 0]);
    expect(prompts.slice(3).sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect(server.asked[0].body).toEqual({
      model: 'm',
      prompt: [0],
      max_tokens: 3,
      stream: true,
      stream_options: { include_usage: true },
      ignore_eos: true,
    });
    expect(ended).toBe(20);
    expect(run).toMatchObject({ usageMissing: 0 });
    for (const one of run.results) {
      expect(one).toMatchObject({
        success: true,
        promptTokens: 5,
        outputTokens: 3,
        text: ' t0 t1 t2',
      });
      expect(one.itl).toHaveLength(2);
      expect(one.ttft + one.itl[0] + one.itl[1]).toBeCloseTo(one.latency, 9);
      expect(one.queueTime).toBeGreaterThanOrEqual(0);
    }
  });

  it('loses no failure: every kind is counted, with its error at its place', async () => {
    const faults: [Script, string | RegExp][] = [
      [(_, r) => json(r, 500, { error: { message: 'boom' } }), 'HTTP 500: boom'],
      [(_, r) => json(r, 429, { error: { message: 'full' } }), 'HTTP 429: full'],
      [(_, r) => r.destroy(), /^the connection was cut/],
      [(_, r) => stream(r, [completionChunk('a'), event('{oops')]), /no JSON object/],
      [(_, r) => stream(r, [completionChunk('a')]), /ended without/],
      [(_, r) => stream(r, [completionChunk('a'), event({ error: { message: 'late' } })]), 'late'],
      [(_, r) => stream(r, completion(2, 2)), ''],
    ];
    const { client } = await serve((asked, response, index) =>
      index === 0
        ? stream(response, completion(1, 1))
        : faults[asked.body.prompt[0]][0](asked, response, index),
    );
    const { results } = await runBench(client, plan(faults.length), hooks());
    results.forEach(({ error, success }, i) => {
      const [, want] = faults[i];
      if (typeof want === 'string') expect(error).toBe(want);
      else expect(error).toMatch(want);
      expect(success).toBe(want === '');
    });
    const metrics = computeMetrics(results, { duration: 1, percentiles: [] });
    expect(metrics).toMatchObject({ completed: 1, failed: 6, totalInput: 2, totalOutput: 2 });
  });

  it('says the same where answers are not kept until the end', async () => {
    const { client } = await serve((_, response) => stream(response, completion(3, 5)));
    const sizes = [0, 2000, Infinity];
    for (const maxKept of sizes) {
      const { results } = await runBench(client, plan(9), { ...hooks(), maxKept });
      expect(results.map(({ text }) => text)).toEqual(Array(9).fill(' t0 t1 t2'));
      expect(results.map(({ outputTokens }) => outputTokens)).toEqual(Array(9).fill(3));
    }
  });

  it('holds at most so many requests at once, and as many as that', async () => {
    const counts: number[] = [];
    let left = 30;
    let held: (() => unknown)[] = [];
    const { client } = await serve(async (_, response, index) => {
      const answer = () => stream(response, completion(1, 1));
      if (index === 0) return answer();
      counts.push(held.push(answer));
      // Answered once as many are here as may come, and one too many would have come as well.
      if (held.length !== Math.min(4, left)) return;
      for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
      left -= held.length;
      const answers = held;
      held = [];
      for (const one of answers) one();
    });
    await runBench(client, plan(30, { maxConcurrency: 4 }), hooks());
    expect(Math.max(...counts)).toBe(4);
    expect(counts).toHaveLength(30);
  });

  it('counts itself where usage is missing: by the tokenizer, else by chunks', async () => {
    const bare: Script = (_, response) =>
      stream(response, [completionChunk('one two'), completionChunk(' three', 'length')]);
    const { client } = await serve(bare, { tokenize: true });
    const tokens = await serverTokens(client, 'm');
    const counted = await runBench(client, plan(2), { ...hooks(), tokens });
    expect(counted).toMatchObject({ usageMissing: 2 });
    // "three" has more than three letters: two tokens.
    expect(counted.results.map((one) => one.outputTokens)).toEqual([4, 4]);
    expect(counted.results[0].promptTokens).toBe(1);
    const guessed = await runBench(client, plan(1), hooks());
    expect(guessed.results[0].outputTokens).toBe(2);
    const { client: without } = await serve(bare);
    expect(await serverTokens(without, 'm')).toBeNull();
  });

  it('a server that does not answer is not one without a tokenizer', async () => {
    const { server, client } = await serve(() => {}, { tokenize: true });
    const tokens = await serverTokens(client, 'm');
    await server.close();
    for (const ask of [() => serverTokens(client, 'm'), () => tokens!.encode('a')]) {
      expect(await refusal(ask())).toMatchObject({
        code: 'ERR_INVALID_PARAM',
        message: expect.stringMatching(/^the server does not answer: .*ECONNREFUSED/),
      });
    }
  });

  it('speaks chat', async () => {
    const { server, client } = await serve((_, response) =>
      stream(response, [
        chatChunk({ role: 'assistant', content: '' }),
        chatChunk({ content: 'a' }),
        chatChunk({}, 'stop'),
        usageChunk(9, 1),
      ]),
    );
    const chat = plan(1, {
      backend: 'openai-chat',
      endpoint: '/v1/chat/completions',
      requests: [{ prompt: 'hi', promptTokens: 1, outputTokens: 4 }],
      extraBody: { temperature: '0', seed: '9223372036854775807' },
    });
    const { results } = await runBench(client, chat, hooks());
    expect(results[0]).toMatchObject({ success: true, promptTokens: 9, outputTokens: 1, itl: [] });
    expect(server.asked[0]).toMatchObject({
      path: '/v1/chat/completions',
      body: {
        messages: [{ role: 'user', content: 'hi' }],
        max_completion_tokens: 4,
        temperature: 0,
      },
    });
    expect(server.asked[0].text).toContain('"seed":9223372036854775807');
  });

  it('a first request that fails ends it before anything is measured', async () => {
    const { server, client } = await serve((_, r) =>
      json(r, 404, { error: { message: 'no such model' } }),
    );
    expect(await refusal(runBench(client, plan(5), hooks()))).toEqual({
      code: 'ERR_INVALID_PARAM',
      message: 'the first request failed: HTTP 404: no such model',
    });
    expect(server.asked).toHaveLength(1);
  });

  it('waits for a server that is not ready', async () => {
    const { server, client } = await serve((_, response, index) =>
      index < 2 ? json(response, 503, {}) : stream(response, completion(1, 1)),
    );
    await runBench(client, plan(1, { readyTimeoutMs: 120_000 }), hooks());
    expect(server.asked).toHaveLength(4);
  });

  it('interrupted, it tells what was sent', async () => {
    const abort = new AbortController();
    const { client } = await serve((_, response, index) => {
      if (index < 3) return stream(response, completion(1, 1));
      abort.abort();
    });
    const { results } = await runBench(client, plan(9, { maxConcurrency: 1 }), {
      ...hooks(),
      signal: abort.signal,
    });
    expect(results.map(({ success }) => success)).toEqual([true, true, false]);
    expect(results[2].error).toBe('aborted');
  });
});
