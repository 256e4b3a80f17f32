/** Every example runs, offline, and does what it says. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { LLM } from '../../lib/index.js';
import type { Json } from '../server/support.js';
import { ROOT } from '../support/addon.js';
import { installExamples, run, serving } from './support.js';

let folder: string;
let llm: LLM;
beforeAll(async () => {
  folder = installExamples();
  llm = await LLM.load();
});
afterAll(async () => {
  await llm.close();
  rmSync(folder, { recursive: true });
});

/** What the demo model says: the same in every process. */
const greedy = async (prompt: string, maxTokens: number) =>
  (await llm.generate(prompt, { maxTokens, temperature: 0 })).outputs[0].text;

it('each of them is in this file', () => {
  const text = readFileSync(join(ROOT, 'test/examples/examples.test.ts'), 'utf8');
  const names = readdirSync(join(ROOT, 'examples')).filter((name) => !text.includes(`'${name}`));
  expect(names).toEqual([]);
});

it('structured.mjs: data by its schema', async () => {
  const [line, ...rest] = await run(folder, 'structured.mjs');
  expect(rest).toEqual([]);
  const trade = z.enum(['harpooneer', 'captain', 'cook', 'carpenter']);
  const age = z.int().min(0).max(120);
  z.strictObject({ name: z.string().min(1).max(40), age, trade }).parse(JSON.parse(line));
});

it('tools.mjs: calls by their schemas, and their results', async () => {
  const lines = await run(folder, 'tools.mjs');
  const calls = lines.flatMap((line) => {
    const [, name, args, result] = /^(multiply|now)\((.*)\) = (.*)$/.exec(line) ?? [];
    return name ? [{ name, args: JSON.parse(args), result: JSON.parse(result) }] : [];
  });
  // Its seed is its own, so these are the calls of every machine.
  expect(calls.map(({ name }) => name)).toEqual(['multiply', 'now']);
  const [{ args, result }, { result: now }] = calls;
  expect(result).toEqual({ product: args.a * args.b });
  expect(Date.parse(now.time)).toBeGreaterThan(0);
});

it('batch.mjs: a line for each prompt of a file, whichever ends first', async () => {
  const text = 'The sea\r\nCall me\r\n \r\n\nAnd it came to pass\n';
  writeFileSync(join(folder, 'prompts.txt'), text);
  const model = join(ROOT, 'models/octavo-demo');
  const lines = (await run(folder, 'batch.mjs', model, 'prompts.txt')).map((s) => JSON.parse(s));
  lines.sort((a, b) => a.index - b.index);
  expect(lines.map(({ index, prompt }) => [index, prompt])).toEqual([
    [0, 'The sea'],
    [1, 'Call me'],
    [2, 'And it came to pass'],
  ]);
  const params = { maxTokens: 48, temperature: 0.7, seed: 1 };
  const alone = await llm.generate('Call me', params);
  expect(lines[1].text).toBe(alone.outputs[0].text);
});

it('worker.mjs: texts as without a thread, and one that is stopped', async () => {
  const lines = await run(folder, 'worker.mjs');
  const texts = await Promise.all([greedy('The sea', 32), greedy('My fellow citizens', 32)]);
  expect(lines).toEqual([...texts.map((text) => JSON.stringify(text)), 'stopped: ERR_ABORTED']);
});

it('samples-and-beams.mjs: they cost fewer blocks than apart', async () => {
  const lines = await run(folder, 'samples-and-beams.mjs');
  const costs = lines.flatMap((line) => {
    const found = /^(\d) (\w+): (\d+) blocks, (\d+) if unshared, (\d+) copied$/.exec(line);
    return found ? [found.slice(3).map(Number)] : [];
  });
  const [[one, oneApart, noCopies], [used, apart, copies], [byBeams, beamsApart]] = costs;
  expect([oneApart, noCopies]).toEqual([one, 0]);
  // Three of four write into the begun block that all have; the prompt is there once.
  expect([apart, copies]).toEqual([4 * one, 3]);
  expect(used).toBeLessThan(apart);
  expect(byBeams).toBeLessThan(beamsApart);
  const scores = lines.slice(-4).map((line) => Number.parseFloat(line));
  expect(scores.every((score) => score < 0)).toBe(true);
  expect(scores).toEqual(scores.toSorted((a, b) => b - a));
});

it('session.mjs: each turn finds those before it, another salt nothing', async () => {
  const lines = await run(folder, 'session.mjs');
  const turns = lines.map((line) => {
    const [, cached, all] = /: (\d+) of (\d+) tokens cached, TTFT \d+ ms$/.exec(line)!;
    return [Number(cached), Number(all)];
  });
  expect(turns).toHaveLength(4);
  expect([turns[0][0], turns[3][0]]).toEqual([0, 0]);
  for (const i of [1, 2]) {
    expect(turns[i][0]).toBeGreaterThan(turns[i - 1][1] - 16);
    expect(turns[i][0] % 16).toBe(0);
  }
});

it('rag.mjs: the nearest passages, and an answer', async () => {
  const text = '\n\none two\n\nthe night sea\r\n \r\na sheet is folded\n\n \n';
  writeFileSync(join(folder, 'passages.txt'), text);
  const embedder = join(ROOT, 'test/fixtures/embeddings/bert-mean');
  const more = ['--embedder', embedder, '--file', 'passages.txt'];
  const lines = await run(folder, 'rag.mjs', 'the night sea', ...more);
  expect(lines[0]).toBe('1.000 the night sea');
  expect(lines[1]).toMatch(/^0\.\d{3} (one two|a sheet is folded)$/);
  expect(lines.slice(2).join('\n').length).toBeGreaterThan(10);
  // Without a model on disk its name is asked for, and says so.
  await expect(run(folder, 'rag.mjs')).rejects.toThrow(
    /HF_HUB_OFFLINE is set, and sentence-transformers\/all-MiniLM-L6-v2/,
  );
});

const jsonOf = async (answer: Response) => (await answer.json()) as Json;

/** Text to complete, as JSON. */
const posted = (prompt?: unknown) => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ prompt }),
});

/** What stream() would take, and what nobody would. */
const NO_TEXTS = [
  undefined,
  null,
  7,
  { promptTokenIds: [5] },
  { messages: [{ role: 'user', content: 'x' }], template: { chatTemplate: 'x' } },
];

it.each(['express.mjs', 'fastify.mjs'])('%s: what runs at SIGTERM ends as ever', async (file) => {
  const long = { prompt: 'Call me', max_tokens: 300, temperature: 0, ignore_eos: true };
  await serving(folder, file, async (url, stop) => {
    const body = JSON.stringify({ ...long, stream: true });
    const answer = await fetch(`${url}/llm/v1/completions`, { ...posted(), body });
    const own = await fetch(`${url}/complete`, posted('The sea'));
    stop();
    expect(await own.text()).toBe(await greedy('The sea', 64));
    expect(await answer.text()).toMatch(/"finish_reason":"length"[\s\S]*\[DONE\]\n\n$/);
  });
});

it.each(['express.mjs', 'fastify.mjs'])(
  '%s: streams, refuses, has the API beside it',
  async (file) => {
    await serving(folder, file, async (url) => {
      const text = await greedy('The sea', 64);
      const whole = await fetch(`${url}/complete`, posted('The sea'));
      expect(whole.headers.get('content-type')).toMatch(/^text\/plain/);
      expect(await whole.text()).toBe(text);
      const refused = await fetch(`${url}/complete`, posted('x '.repeat(40_000)));
      expect([refused.status, (await jsonOf(refused)).code]).toEqual([400, 'ERR_PROMPT_TOO_LONG']);
      for (const prompt of NO_TEXTS) {
        expect([prompt, (await fetch(`${url}/complete`, posted(prompt))).status]).toEqual([
          prompt,
          400,
        ]);
      }
      const { data } = await jsonOf(await fetch(`${url}/llm/v1/models`));
      expect(data[0].id).toBe('octavo-demo');
      const asked = { ...posted(), body: JSON.stringify({ prompt: 'The sea', max_tokens: 8 }) };
      const answer = await jsonOf(await fetch(`${url}/llm/v1/completions`, asked));
      expect(answer.usage.completion_tokens).toBe(8);
      // Who leaves is missed by nobody: the end does not wait for it.
      const left = new AbortController();
      const leaving = await fetch(`${url}/complete`, {
        ...posted('The whale'),
        signal: left.signal,
      });
      await leaving.body!.getReader().read();
      left.abort();
    });
  },
);

const ROUTE = `
import { POST } from './next/app/api/complete/route.js';
const ask = (body, signal) =>
  POST(new Request('http://x/api/complete', { method: 'POST', body, signal }));
const whole = await ask('{"prompt": "The sea"}');
console.log(JSON.stringify([whole.status, await whole.text()]));
for (const body of ['{}', '{', 'null', '{"prompt": {"messages": []}}', '']) {
  const refused = await ask(body);
  console.log(JSON.stringify([refused.status, (await refused.json()).code]));
}
const left = await ask('{"prompt": "The whale"}');
await left.body.cancel();
const llm = await globalThis.llm;
await llm.drain();
console.log(JSON.stringify(llm.stats().numRequestsBy));
await llm.close();
`;

it("'next': its route is a handler of requests, its config leaves octavo to Node", async () => {
  const { default: config } = await import(join(folder, 'next/next.config.mjs'));
  expect(config.serverExternalPackages).toEqual(['octavo']);
  writeFileSync(join(folder, 'ask.mjs'), ROUTE);
  const lines = (await run(folder, 'ask.mjs')).map((line) => JSON.parse(line));
  expect(lines[0]).toEqual([200, await greedy('The sea', 64)]);
  expect(lines.slice(1, -1)).toEqual(Array(5).fill([400, 'ERR_INVALID_PROMPT']));
  expect(lines.at(-1)).toMatchObject({ abort: 1, error: 0 });
});

const FAILING = `
process.env.OCTAVO_MODEL = './secret-folder';
console.error = (error) => console.log(error.code);
const { POST } = await import('./next/app/api/complete/route.js');
const asked = () => new Request('http://x', { method: 'POST', body: '{"prompt": "The sea"}' });
for (let i = 0; i < 2; i++) {
  const answer = await POST(asked());
  console.log(answer.status + (await answer.text()));
}
`;

it("'next': a model that does not load is told to the log, not to the client", async () => {
  writeFileSync(join(folder, 'failing.mjs'), FAILING);
  const lines = await run(folder, 'failing.mjs');
  const told = expect.stringMatching(/^503(?!.*secret)/);
  const each = ['ERR_MODEL_NOT_FOUND', told];
  expect(lines).toEqual([...each, ...each]);
});

it("'next': with what its config names octavo runs in a folder of what was traced", async () => {
  const from = join(folder, 'traced-from');
  const to = join(folder, 'standalone');
  const octavo = join('node_modules', 'octavo');
  // A package as it is installed: an addon that is shipped lies in prebuilds/.
  const shipped = `prebuilds/${process.platform}-${process.arch}/octavo.glibc.node`;
  cpSync(join(ROOT, 'models'), join(from, octavo, 'models'), { recursive: true });
  cpSync(join(ROOT, 'build/Release/octavo.node'), join(from, octavo, shipped));
  const loader = join('node_modules', 'node-gyp-build');
  cpSync(join(ROOT, loader), join(from, loader), { recursive: true });
  // What is imported is traced without being named.
  for (const name of ['dist', 'package.json']) {
    cpSync(join(ROOT, name), join(to, octavo, name), { recursive: true });
  }
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  for (const name of Object.keys(dependencies)) {
    if (name === 'node-gyp-build') continue;
    mkdirSync(dirname(join(to, 'node_modules', name)), { recursive: true });
    symlinkSync(join(ROOT, 'node_modules', name), join(to, 'node_modules', name));
  }
  const use =
    "import { LLM } from 'octavo'; await (await LLM.load()).close(); console.log('well');";
  writeFileSync(join(to, 'use.mjs'), use);
  await expect(run(to, 'use.mjs')).rejects.toThrow(/node-gyp-build/);
  const { default: config } = await import(join(folder, 'next/next.config.mjs'));
  for (const glob of config.outputFileTracingIncludes['/api/complete']) {
    const path = glob.replace(/\/\*\*\/\*$/, '');
    if (existsSync(join(from, path))) cpSync(join(from, path), join(to, path), { recursive: true });
  }
  expect(await run(to, 'use.mjs')).toEqual(['well']);
});
