import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LLM } from '../../lib/engine/llm.js';
import type { EmbedOptions, EngineOptions, ScoreOptions } from '../../lib/index.js';
import { ROOT, testAddon } from '../support/addon.js';
import { someOf } from '../support/all.js';
import { codeOf } from '../support/code-of.js';
import { readF32Tensors, rowError } from '../support/goldens.js';
import { until } from '../support/until.js';

// |ours − reference| ≤ 1e-4 · max|row|, the bound of the reference's README.
const TOLERANCE = 1e-4;
const CASES = join(ROOT, 'test', 'fixtures', 'embeddings');

interface Golden {
  readonly max_seq_length: number;
  readonly texts?: string[];
  readonly pairs?: [string, string][];
  readonly prompts?: Record<string, object>;
  readonly cut?: number;
  readonly template?: { prefix: string; body: string; suffix: string; instruction: string };
}

const goldenOf = (name: string) =>
  JSON.parse(readFileSync(join(CASES, name, 'golden.json'), 'utf8')) as Golden;

function open(name: string, options: Partial<EngineOptions> = {}): Promise<LLM> {
  const model = join(CASES, name);
  const all = { model, runner: 'pooling', device: 'cpu', numThreads: 2, ...options } as const;
  return LLM.loadWith(all, testAddon());
}

function rowsOf(name: string, file: string, tensor: string): Float32Array[] {
  const { shape, data } = readF32Tensors(join(CASES, name, file)).get(tensor)!;
  const width = data.length / shape[0];
  return Array.from({ length: shape[0] }, (_, i) => data.slice(i * width, (i + 1) * width));
}

function worst(ours: readonly Float32Array[], theirs: readonly Float32Array[]): number {
  expect(ours.length).toBe(theirs.length);
  return Math.max(...ours.map((row, i) => rowError(row, theirs[i])));
}

/** What the model makes of everything the reference has, by the reference's names. */
async function answers(llm: LLM, golden: Golden): Promise<Map<string, Float32Array[]>> {
  const out = new Map<string, Float32Array[]>();
  const { texts = [], pairs = [], prompts = {}, cut, template } = golden;
  const truncate = golden.max_seq_length;
  if (pairs.length > 0) {
    const options: ScoreOptions =
      template === undefined
        ? { truncate }
        : {
            truncate,
            template: template.prefix + template.body + template.suffix,
            instruction: template.instruction,
          };
    const all = await Promise.all(pairs.map(([q, d]) => llm.score(q, d, options)));
    out.set(
      'logits',
      all.map(([{ logits }]) => logits!),
    );
    out.set(
      'scores',
      all.map(([{ score }]) => Float32Array.of(score)),
    );
  } else if (llm.info.pooling!.labels !== undefined) {
    const all = await llm.classify(texts, { truncate });
    out.set(
      'scores',
      all.map(({ scores }) => scores),
    );
  } else {
    const embed = async (some: string[], options: EmbedOptions = {}) =>
      (await llm.embed(some, { truncate, ...options })).map(({ embedding }) => embedding);
    out.set('vectors', await embed(texts, { promptName: '' }));
    for (const promptName of Object.keys(prompts)) {
      out.set(`vectors.${promptName}`, await embed(texts.slice(0, 9), { promptName }));
    }
    if (cut !== undefined)
      out.set('vectors.cut', await embed(texts, { dimensions: cut, promptName: '' }));
  }
  return out;
}

/** The largest error of all that the reference has. */
async function errorOf(name: string, llm: LLM, most = Number.POSITIVE_INFINITY): Promise<number> {
  const whole = goldenOf(name);
  const golden = {
    ...whole,
    texts: whole.texts?.slice(0, most),
    pairs: whole.pairs?.slice(0, most),
  };
  const file =
    golden.pairs || llm.info.pooling!.labels ? 'scores.safetensors' : 'vectors.safetensors';
  let largest = 0;
  for (const [tensor, rows] of await answers(llm, golden)) {
    largest = Math.max(largest, worst(rows, rowsOf(name, file, tensor).slice(0, rows.length)));
  }
  return largest;
}

const names = readdirSync(CASES).filter((name) => existsSync(join(CASES, name, 'golden.json')));

it('there are as many cases as the reference has', () => {
  expect(names.length).toBe(13);
});

describe.each(names)('%s', (name) => {
  it('is as the reference says', async () => {
    await using llm = await open(name, { activations: 'f32' });
    expect(await errorOf(name, llm)).toBeLessThanOrEqual(TOLERANCE);
  });

  it('is close with activations of 16 bits', async () => {
    await using llm = await open(name);
    expect(await errorOf(name, llm)).toBeLessThanOrEqual(0.03);
  });

  it('gives the same bits alone, in lists, whatever the steps, threads and instruction set', async () => {
    const golden = goldenOf(name);
    const bits = async (options: Partial<EngineOptions>) => {
      await using llm = await open(name, options);
      return await answers(llm, golden);
    };
    const together = await bits({ maxNumBatchedTokens: 4096 });
    expect(await bits({ maxNumSeqs: 1 })).toEqual(together);
    expect(await bits({ maxNumSeqs: 3, numThreads: 1 })).toEqual(together);
    for (const isa of testAddon().isas) {
      expect(await bits({ isa: isa as EngineOptions['isa'] }), isa).toEqual(together);
    }
  });

  it('is close with weights of eight bits', async () => {
    await using llm = await open(name, { quantize: 'q8_0' });
    expect(await errorOf(name, llm)).toBeLessThanOrEqual(0.2);
  });
});

// The small encoders have heads of 16, which no kernel is made for alone.
it.each(someOf(names, 4))('%s is as the reference says on a GPU, within 16 bits', async (name) => {
  await using llm = await open(name, { device: 'simt', dtype: 'float16' });
  expect(await errorOf(name, llm, 5)).toBeLessThanOrEqual(0.02);
});

describe('a model under load', () => {
  const texts = goldenOf('bert-mean').texts!.filter((text) => text.length < 500);
  const many = Array.from({ length: 300 }, (_, i) => texts[i % texts.length]);

  it('gives each call its own, whoever leaves meanwhile', async () => {
    await using llm = await open('bert-mean', { maxNumBatchedTokens: 256 });
    const alone: Float32Array[] = [];
    for (const text of texts) alone.push((await llm.embed(text)).embedding);
    const leaver = new AbortController();
    const left = codeOf(llm.embed(many, { signal: leaver.signal }));
    const late = codeOf(llm.embed(Array(20_000).fill(texts[1]), { timeoutMs: 30 }));
    const list = llm.embed(many);
    const singles = Promise.all(many.map((text) => llm.embed(text)));
    setTimeout(() => leaver.abort(), 5);
    for (const outputs of [await list, await singles]) {
      outputs.forEach(({ embedding }, i) => {
        expect(embedding).toEqual(alone[i % texts.length]);
      });
    }
    expect(await left).toMatch(/ERR_ABORTED|no error/);
    expect(await late).toBe('ERR_TIMEOUT');
    expect(llm.stats()).toMatchObject({ numRequestsRunning: 0, numRequestsWaiting: 0 });
  });

  it('ends by close() in the middle of a step, and by drain() when all is done', async () => {
    const closing = await open('bert-mean');
    const ends = [codeOf(closing.embed(many)), codeOf(closing.embed('a'))];
    await until(() => closing.stats().numRequestsRunning > 0);
    await closing.close();
    for (const code of await Promise.all(ends)) expect(code).toMatch(/ERR_CLOSED|no error/);
    const draining = await open('bert-mean');
    const all = draining.embed(many);
    expect(await draining.drain()).toEqual({ numAborted: 0 });
    expect(await all).toHaveLength(many.length);
    await Promise.all([draining.close(), draining.close()]);
  });
});
