import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isOctavoError, LLM, type RequestOutput } from '../../lib/index.js';
import { ROOT } from '../support/addon.js';

let llm: LLM;
beforeAll(async () => {
  llm = await LLM.load();
});
afterAll(() => llm.close());

const GREEDY = { temperature: 0, maxTokens: 12 } as const;

/** The code of what a call throws. */
async function codeOf(call: () => unknown): Promise<string> {
  try {
    await call();
  } catch (error) {
    if (!isOctavoError(error)) throw error;
    expect(error.message.length).toBeGreaterThan(10);
    return error.code;
  }
  return 'no error';
}

/** Waits until nothing runs and every block is free. */
async function idle(): Promise<void> {
  for (;;) {
    const { numRequestsRunning, numRequestsWaiting, kvCacheUsage } = llm.stats();
    if (numRequestsRunning + numRequestsWaiting === 0 && kvCacheUsage === 0) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('generate', () => {
  it('takes text, ids and messages, one or many', async () => {
    const one = await llm.generate('Call me Ishmael.', GREEDY);
    const [a, b] = await llm.generate(
      [{ promptTokenIds: one.promptTokenIds }, { prompt: 'Call me Ishmael.' }],
      GREEDY,
    );
    expect(a.outputs[0].text).toBe(one.outputs[0].text);
    expect(b.outputs[0].tokenIds).toEqual(one.outputs[0].tokenIds);
    const chat = await llm.chat([{ role: 'user', content: 'Who are you?' }], GREEDY);
    expect(chat.prompt).toContain('Who are you?');
    expect(chat.promptTokenIds.filter((id) => id === 0)).toHaveLength(1);
  });

  it('takes control tokens in messages for text, unless asked, and in texts the other way', async () => {
    const { tokenizer } = llm;
    const eos = tokenizer.eosToken as string;
    const count = (ids: readonly number[]) => ids.filter((id) => tokenizer.isSpecial(id)).length;
    const ask = (content: string, options = {}) =>
      llm.chat([{ role: 'user', content }], GREEDY, options).then((o) => o.promptTokenIds);
    const [plain, hostile] = [await ask('Who?'), await ask(`${eos}Who?`)];
    expect(count(hostile)).toBe(count(plain));
    expect(count(await ask(`${eos}Who?`, { parseSpecialTokens: true }))).toBe(count(plain) + 1);
    expect(await ask('Who?', { parseSpecialTokens: true })).toEqual(plain);
    const textIds = async (prompt: object) =>
      (await llm.generate(prompt as { prompt: string }, GREEDY)).promptTokenIds;
    const whole = count(await textIds({ prompt: `A${eos}` }));
    expect(count(await textIds({ prompt: `A${eos}`, parseSpecialTokens: false }))).toBe(whole - 1);
    const wrong = [
      { prompt: 'A', parseSpecialTokens: 1 },
      { promptTokenIds: [5], parseSpecialTokens: true },
    ];
    for (const prompt of wrong) {
      expect(await codeOf(() => textIds(prompt))).toBe('ERR_INVALID_PROMPT');
    }
  });

  it('adds no special token to what a chat template writes, and takes texts only', async () => {
    const template = { chatTemplate: '{% for p in messages[0].content %}{{ p.text }}{% endfor %}' };
    const ask = (part: { type: string; text?: string }) =>
      llm.chat([{ role: 'user', content: [part] }], GREEDY, { template });
    const chat = await ask({ type: 'text', text: 'Call me' });
    const bare = await llm.tokenizer.encode('Call me', { addSpecialTokens: false });
    expect([...chat.promptTokenIds]).toEqual(bare);
    expect(await codeOf(() => ask({ type: 'image', text: 'x' }))).toBe('ERR_INVALID_PROMPT');
  });

  it('reports what it did', async () => {
    const params = { n: 3, maxTokens: 20, seed: 5, logprobs: 2, ignoreEos: true };
    const output = await llm.generate('In the beginning God created the heaven and', params);
    expect(output).toMatchObject({ finished: true, seed: 5, numPreemptions: 0 });
    expect(output.outputs.map((o) => o.index)).toEqual([0, 1, 2]);
    expect(output.metrics.timeToFirstTokenMs).toBeGreaterThan(0);
    for (const o of output.outputs) {
      expect(o.finishReason).toBe('length');
      expect(o.logprobs).toHaveLength(20);
      const sum = o.logprobs!.reduce((total, t) => total + t.logprob, 0);
      expect(o.cumulativeLogprob).toBeCloseTo(sum, 9);
      for (const t of o.logprobs!) {
        expect(t.top).toHaveLength(2);
        expect(t.top[0].logprob).toBeGreaterThanOrEqual(t.top[1].logprob);
        if (t.rank <= 2) expect(t.top[t.rank - 1].tokenId).toBe(t.tokenId);
      }
    }
    expect(llm.stats().kvCacheUsage).toBe(0);
  });

  it('ends at stop strings that straddle tokens, and nowhere else', async () => {
    const whole = (await llm.generate('Call me Ishmael.', { ...GREEDY, maxTokens: 40 })).outputs[0];
    const at = 11;
    const stop = whole.text.slice(at, at + 7);
    const cut = (await llm.generate('Call me Ishmael.', { ...GREEDY, maxTokens: 40, stop }))
      .outputs[0];
    expect(cut).toMatchObject({ finishReason: 'stop', stopReason: stop });
    expect(cut.text).toBe(whole.text.slice(0, whole.text.indexOf(stop)));
    const kept = await llm.generate('Call me Ishmael.', {
      ...GREEDY,
      maxTokens: 40,
      stop,
      includeStopStrInOutput: true,
    });
    expect(kept.outputs[0].text).toBe(cut.text + stop);
  });

  it('keeps bad words, bias and allowed tokens', async () => {
    const free = (await llm.generate('Call me Ishmael.', GREEDY)).outputs[0];
    const word = free.text.trim().split(' ')[1];
    const without = await llm.generate('Call me Ishmael.', { ...GREEDY, badWords: [word] });
    expect(without.outputs[0].text.split(/\W+/)).not.toContain(word);
    const only = await llm.generate('A', { maxTokens: 8, allowedTokenIds: [400, 401], seed: 1 });
    expect(only.outputs[0].tokenIds.every((id) => id === 400 || id === 401)).toBe(true);
    const pushed = await llm.generate('A', { ...GREEDY, logitBias: { 777: 100 }, maxTokens: 3 });
    expect(pushed.outputs[0].tokenIds).toEqual([777, 777, 777]);
    const stopped = await llm.generate('A', {
      ...GREEDY,
      logitBias: { 777: 100 },
      stopTokenIds: [777],
      minTokens: 2,
    });
    expect(stopped.outputs[0].tokenIds).toHaveLength(3);
    expect(stopped.outputs[0]).toMatchObject({ finishReason: 'stop', stopReason: 777 });
  });

  it('batches concurrent calls with no further call', async () => {
    const before = llm.stats().numSteps;
    const calls = Array.from({ length: 40 }, (_, i) =>
      llm.generate(`${i} and`, { maxTokens: 30, ignoreEos: true }),
    );
    await Promise.all(calls);
    expect(llm.stats().numSteps - before).toBeLessThan(80); // one by one it would be 1,200
  });

  it('draws a seed, reports it, and repeats it', async () => {
    const first = await llm.generate('The whale', { maxTokens: 20 });
    const again = await llm.generate('The whale', { maxTokens: 20, seed: first.seed });
    expect(again.outputs[0].tokenIds).toEqual(first.outputs[0].tokenIds);
  });
});

describe('stream', () => {
  it('gives deltas that add up, the last one finished', async () => {
    let text = '';
    let last: RequestOutput | undefined;
    for await (const output of llm.stream('The sea', { maxTokens: 40, seed: 3, n: 1 })) {
      text += output.outputs[0].delta;
      last = output;
    }
    expect(last!.finished).toBe(true);
    expect(text).toBe(last!.outputs[0].text);
    const plain = await llm.generate('The sea', { maxTokens: 40, seed: 3 });
    expect(plain.outputs[0].text).toBe(text);
  });

  it('frees everything when its reader goes away', async () => {
    for await (const output of llm.stream('The sea', { maxTokens: 900, ignoreEos: true })) {
      if (output.outputs[0].tokenIds.length > 3) break;
    }
    await idle();
  });

  it('loses nothing to a slow reader', async () => {
    let text = '';
    for await (const output of llm.stream('The sea', { maxTokens: 60, seed: 3 })) {
      text += output.outputs[0].delta;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const plain = await llm.generate('The sea', { maxTokens: 60, seed: 3 });
    expect(text).toBe(plain.outputs[0].text);
  });
});

describe('abort', () => {
  it('by signal: before, during, after', async () => {
    const aborted = AbortSignal.abort();
    const long = { maxTokens: 900, ignoreEos: true };
    expect(await codeOf(() => llm.generate('A', long, { signal: aborted }))).toBe('ERR_ABORTED');
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 30);
    const { signal } = controller;
    expect(await codeOf(() => llm.generate('A', long, { signal }))).toBe('ERR_ABORTED');
    await idle();
    const later = new AbortController();
    await llm.generate('A', GREEDY, { signal: later.signal });
    later.abort();
    const stream = new AbortController();
    setTimeout(() => stream.abort(), 30);
    expect(
      await codeOf(async () => {
        for await (const _ of llm.stream('A', long, { signal: stream.signal }));
      }),
    ).toBe('ERR_ABORTED');
    await idle();
  });

  it('of a batch ends all of it', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 40);
    const prompts = Array.from({ length: 20 }, (_, i) => `${i}`);
    const call = () =>
      llm.generate(prompts, { maxTokens: 800, ignoreEos: true }, { signal: controller.signal });
    expect(await codeOf(call)).toBe('ERR_ABORTED');
    await idle();
  });
});

describe('bad input', () => {
  const P = 'Hello';
  it.each<[string, string, () => unknown]>([
    ['no ids', 'ERR_INVALID_PROMPT', () => llm.generate({ promptTokenIds: [] })],
    ['an id too large', 'ERR_INVALID_PROMPT', () => llm.generate({ promptTokenIds: [4096] })],
    ['a NaN id', 'ERR_INVALID_PROMPT', () => llm.generate({ promptTokenIds: [Number.NaN] })],
    ['a number', 'ERR_INVALID_PROMPT', () => llm.generate(5 as never)],
    ['undefined', 'ERR_INVALID_PROMPT', () => llm.generate(undefined as never)],
    ['no messages', 'ERR_INVALID_PROMPT', () => llm.chat([])],
    ['a prompt too long', 'ERR_PROMPT_TOO_LONG', () => llm.generate('whale '.repeat(3000))],
    ['NaN temperature', 'ERR_INVALID_PARAM', () => llm.generate(P, { temperature: Number.NaN })],
    ['topP 0', 'ERR_INVALID_PARAM', () => llm.generate(P, { topP: 0 })],
    ['n 0', 'ERR_INVALID_PARAM', () => llm.generate(P, { n: 0 })],
    ['n of thousands', 'ERR_REQUEST_TOO_LARGE', () => llm.generate(P, { n: 5000 })],
    ['n of billions', 'ERR_REQUEST_TOO_LARGE', () => llm.generate(P, { n: 2 ** 31 - 1 })],
    ['maxTokens 0', 'ERR_INVALID_PARAM', () => llm.generate(P, { maxTokens: 0 })],
    ['an unknown name', 'ERR_INVALID_PARAM', () => llm.generate(P, { tempereture: 1 } as never)],
    ['a foreign bias', 'ERR_INVALID_PARAM', () => llm.generate(P, { logitBias: { 9999: 1 } })],
    ['params not matching', 'ERR_INVALID_PARAM', () => llm.generate([P, P], [{}])],
    ['a batch with one bad', 'ERR_INVALID_PROMPT', () => llm.generate([P, 3 as never])],
    ['no params', 'ERR_INVALID_PARAM', () => llm.generate(P, null as never)],
    ['params that are a list', 'ERR_INVALID_PARAM', () => llm.generate(P, [] as never)],
    [
      'params that are a promise',
      'ERR_INVALID_PARAM',
      () => llm.generate(P, Promise.resolve({}) as never),
    ],
    ['params of beams as null', 'ERR_INVALID_PARAM', () => llm.beamSearch(P, null as never)],
    ['options null', 'ERR_INVALID_PARAM', () => llm.generate(P, {}, null as never)],
    ['options of chat null', 'ERR_INVALID_PARAM', () => llm.chat([], {}, null as never)],
    [
      'an unknown option of a call',
      'ERR_INVALID_PARAM',
      () => llm.generate(P, {}, { timeoutMS: 5 } as never),
    ],
    [
      'onOutput of one prompt',
      'ERR_INVALID_PARAM',
      () => llm.generate(P, {}, { onOutput() {} } as never),
    ],
    ['more logprobs than may be', 'ERR_INVALID_PARAM', () => llm.generate(P, { logprobs: 21 })],
    ['all logprobs', 'ERR_INVALID_PARAM', () => llm.generate(P, { promptLogprobs: -1 })],
    [
      'stop strings too many',
      'ERR_INVALID_PARAM',
      () => llm.generate(P, { stop: Array(4097).fill('x') }),
    ],
    [
      'a template that is none',
      'ERR_INVALID_PROMPT',
      () => llm.chat([], {}, { template: null as never }),
    ],
    [
      'an id without a primitive value',
      'ERR_INVALID_PROMPT',
      () => llm.generate({ promptTokenIds: [Object.create(null)] }),
    ],
    [
      'two prompts in one',
      'ERR_INVALID_PROMPT',
      () => llm.generate({ prompt: P, promptTokenIds: [5] } as never),
    ],
    [
      'every token banned',
      'ERR_INVALID_PARAM',
      () =>
        llm.generate(P, {
          allowedTokenIds: [9],
          badWords: ['&'],
          maxTokens: 1,
          logitBias: {},
          stopTokenIds: [9],
          minTokens: 1,
        }),
    ],
    ['an unknown option', 'ERR_INVALID_OPTION', () => LLM.load({ modell: 'x' } as never)],
    ['block size 12', 'ERR_INVALID_OPTION', () => LLM.load({ blockSize: 12 as never })],
    ['no model there', 'ERR_MODEL_NOT_FOUND', () => LLM.load({ model: '/nowhere/at/all' })],
    ['a folder that is none', 'ERR_MODEL_NOT_FOUND', () => LLM.load({ model: join(ROOT, 'lib') })],
    [
      'a file that is none',
      'ERR_MODEL_FORMAT',
      () => LLM.load({ model: join(ROOT, 'package.json') }),
    ],
    ['a GPU', 'ERR_DEVICE_NOT_FOUND', () => LLM.load({ device: 'cuda:7' })],
    ['context beyond the model', 'ERR_INVALID_OPTION', () => LLM.load({ maxModelLen: 4096 })],
    [
      'a pool too small',
      'ERR_INVALID_OPTION',
      () => LLM.load({ numGpuBlocksOverride: 2, maxModelLen: 64 }),
    ],
  ])('%s', async (_, code, call) => {
    expect(await codeOf(call)).toBe(code);
    await idle();
    expect((await llm.generate('Call me Ishmael.', GREEDY)).finished).toBe(true);
  });

  it('nothing of a batch starts when one of it is bad', async () => {
    const before = llm.stats();
    await codeOf(() => llm.generate(['a', 'b', 'whale '.repeat(3000)], GREEDY));
    expect(llm.stats()).toEqual(before);
  });

  it('a pool of 2 blocks still serves what fits', async () => {
    const tiny = await LLM.load({ numGpuBlocksOverride: 2 });
    try {
      expect(tiny.info.maxModelLen).toBe(16);
      const outputs = await tiny.generate(['A', 'B', 'C'], { maxTokens: 8, temperature: 0 });
      const roomy = await llm.generate(['A', 'B', 'C'], { maxTokens: 8, temperature: 0 });
      expect(outputs.map((o) => o.outputs[0].text)).toEqual(roomy.map((o) => o.outputs[0].text));
    } finally {
      await tiny.close();
    }
  });

  it('a full queue is said so, and what waits is not lost', async () => {
    const small = await LLM.load({ maxNumSeqs: 1, maxNumWaiting: 2, maxNumBatchedTokens: 16 });
    try {
      const calls = Array.from({ length: 8 }, () =>
        codeOf(() => small.generate('A', { maxTokens: 20, ignoreEos: true })),
      );
      const codes = await Promise.all(calls);
      expect(codes.filter((c) => c === 'ERR_OVERLOADED').length).toBeGreaterThanOrEqual(5);
      expect(codes.filter((c) => c === 'no error').length).toBeGreaterThanOrEqual(2);
      const batch = await small.generate(Array(9).fill('A'), { maxTokens: 3 });
      expect(batch).toHaveLength(9); // a batch waits outside
    } finally {
      await small.close();
    }
  });
});

describe('close', () => {
  it('ends what runs, is idempotent, and refuses what comes after', async () => {
    const other = await LLM.load();
    const running = codeOf(() => other.generate('A', { maxTokens: 900, ignoreEos: true }));
    const streaming = codeOf(async () => {
      for await (const _ of other.stream('B', { maxTokens: 900, ignoreEos: true }));
    });
    await new Promise((resolve) => setTimeout(resolve, 30));
    await Promise.all([other.close(), other.close()]);
    expect(await running).toBe('ERR_CLOSED');
    expect(await streaming).toBe('ERR_CLOSED');
    await other.close();
    expect(await codeOf(() => other.generate('A'))).toBe('ERR_CLOSED');
    expect(other.stats().kvCacheUsage).toBe(0);
  });

  it('right after load, and a load refused at its end, leave nothing behind', async () => {
    const open = () => ['task', 'fd'].map((what) => readdirSync(`/proc/self/${what}`).length);
    const refused = () =>
      codeOf(() => LLM.load({ numThreads: 3, traceFile: join(ROOT, 'none', 'a.jsonl') }));
    await refused(); // what the process starts once is there
    const before = open();
    for (let i = 0; i < 3; i++) {
      expect(await refused()).toBe('ERR_FILE');
      const [one, two] = await Promise.all([LLM.load({ numThreads: 3 }), LLM.load()]);
      expect(open()[0]).toBeGreaterThan(before[0]);
      await Promise.all([one.close(), two.close()]);
    }
    expect(open()).toEqual(before);
  });

  it('two engines in one process do not disturb each other', async () => {
    const other = await LLM.load({ numThreads: 1 });
    const [a, b] = await Promise.all([
      llm.generate('The sea', { maxTokens: 40, seed: 1 }),
      other.generate('The sea', { maxTokens: 40, seed: 1 }),
    ]);
    expect(a.outputs[0].tokenIds).toEqual(b.outputs[0].tokenIds);
    await other.close();
  });
});

describe('other ways to live and die', () => {
  const url = JSON.stringify(join(ROOT, 'dist', 'index.js'));
  const script = (body: string) =>
    spawnSync(
      process.execPath,
      ['--input-type=module', '-e', `import { LLM } from ${url};\n${body}`],
      {
        encoding: 'utf8',
        timeout: 300_000, // ends what hangs
      },
    );

  it('a process that forgets close() ends by itself', () => {
    const { status, stdout } = script(
      `const llm = await LLM.load(); console.log((await llm.generate('A', {maxTokens: 3})).finished);`,
    );
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'true\n' });
  });

  it('process.exit in the middle of a step is clean', () => {
    const { status, stderr } = script(
      `const llm = await LLM.load();
       for await (const _ of llm.stream('A', {maxTokens: 900, ignoreEos: true})) process.exit(7);`,
    );
    expect({ status, stderr }).toEqual({ status: 7, stderr: '' });
  });

  it.each([0, 1, 5, 20])('process.exit after %i ms of loading is clean', (ms) => {
    const { status, stderr } = script(`LLM.load(); setTimeout(() => process.exit(7), ${ms});`);
    expect({ status, stderr }).toEqual({ status: 7, stderr: '' });
  });

  it('require() works too', () => {
    const { stdout, status } = spawnSync(
      process.execPath,
      ['-e', `const { LLM } = require(${url}); console.log(typeof LLM.load)`],
      { encoding: 'utf8' },
    );
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'function\n' });
  });

  it('runs in a worker thread, also one that is terminated in the middle', async () => {
    const body = `
      const { parentPort } = require('node:worker_threads');
      import(${url}).then(async ({ LLM }) => {
        const llm = await LLM.load({ numThreads: 1 });
        const output = await llm.generate('The sea', { maxTokens: 10, seed: 1 });
        parentPort.postMessage(output.outputs[0].tokenIds);
        await llm.generate('The sea', { maxTokens: 1000, ignoreEos: true });
      });`;
    const worker = new Worker(body, { eval: true });
    const ids = await new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    const here = await llm.generate('The sea', { maxTokens: 10, seed: 1 });
    expect(ids).toEqual(here.outputs[0].tokenIds);
    await new Promise((resolve) => setTimeout(resolve, 30));
    await worker.terminate();
    expect((await llm.generate('A', GREEDY)).finished).toBe(true);
  });
});
