import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { engineConfig } from '../../lib/config/options.js';
import type { Device } from '../../lib/engine/device.js';
import { LLM } from '../../lib/engine/llm.js';
import { planPooling } from '../../lib/engine/pooling-plan.js';
import type { EngineOptions } from '../../lib/index.js';
import { openCheckpoint } from '../../lib/model/checkpoint.js';
import { ROOT } from '../support/addon.js';
import { codeOf } from '../support/code-of.js';
import { FakeAddon, fakeValues } from '../support/fake-pooling.js';
import { until } from '../support/until.js';

const CASES = join(ROOT, 'test', 'fixtures', 'embeddings');

async function load(name: string, options: Partial<EngineOptions> = {}) {
  const fake = new FakeAddon();
  const model = join(CASES, name);
  const llm = await LLM.loadWith({ model, device: 'cpu', ...options }, fake.addon);
  return { llm, fake: fake.last!, request: fake.request! };
}

const length = (vector: Float32Array) => Math.hypot(...vector);

describe('a model that is loaded to pool', () => {
  it('says what it is, keeps no cache, and generates nothing', async () => {
    const { llm, request } = await load('bert-mean');
    expect(llm.info).toMatchObject({ runner: 'pooling', numBlocks: 0, kvGroups: [] });
    const facts = { pooling: 'mean', normalize: true, maxSeqLength: 256, labels: undefined };
    expect(llm.info.pooling).toMatchObject({ ...facts, scoring: 'cosine' });
    expect(request.limits).toMatchObject({ groups: [], numBlocks: 0, blocksPerRow: 0 });
    expect(await codeOf(llm.generate('x'))).toBe('ERR_MODEL_TASK');
    expect(await codeOf(llm.generate(['x']))).toBe('ERR_MODEL_TASK');
    expect(await codeOf(llm.beamSearch('x'))).toBe('ERR_MODEL_TASK');
    expect(await codeOf(llm.stream('x').next())).toBe('ERR_MODEL_TASK');
    expect(await codeOf(llm.classify('x'))).toBe('ERR_MODEL_TASK');
    expect(await llm.encode('a whale')).toEqual(expect.arrayContaining([2, 3]));
    expect(llm.resetPrefixCache()).toBe(true);
    llm.checkAdmission();
    await llm.close();
    expect(await codeOf(llm.embed('x'))).toBe('ERR_CLOSED');
  });

  it('is told by its files, or by the option', async () => {
    const at = (name: string, options?: Partial<EngineOptions>) => codeOf(load(name, options));
    expect(await at('bert-mean', { runner: 'generate' })).toBe('ERR_INVALID_OPTION');
    expect(await at('bert-mean', { traceFile: '/tmp/x' })).toBe('ERR_INVALID_OPTION');
    expect(await at('bert-mean', { maxModelLen: 100_000 })).toBe('ERR_INVALID_OPTION');
    expect(await at('bert-mean', { kvCacheDtype: 'fp8' })).toBe('ERR_INVALID_OPTION');
    for (const given of [
      { kvCacheMemoryBytes: 2 ** 20 },
      { numGpuBlocksOverride: 8 },
      { swapSpace: 0 },
    ]) {
      const [param] = Object.keys(given);
      const refusal = {
        code: 'ERR_INVALID_OPTION',
        param,
        message: expect.stringContaining(param),
      };
      await expect(load('bert-mean', given)).rejects.toMatchObject(refusal);
    }
    expect(await at('bert-mean', { runner: 'both' as never })).toBe('ERR_INVALID_OPTION');
    const model = join(ROOT, 'test', 'fixtures', 'models', 'qwen3_5');
    await expect(LLM.load({ model, runner: 'pooling' })).rejects.toMatchObject({
      ...{ code: 'ERR_MODEL_UNSUPPORTED', param: 'runner' },
      message: expect.stringContaining('layers that keep a state'),
    });
    const { llm } = await load('qwen3-reranker', { runner: 'pooling' });
    expect(llm.info.pooling?.scoring).toBe('tokens');
    await llm.close();
  });
});

it('asks only a reranker of two answers for them', async () => {
  const of = async (name: string, names: string[]) => {
    const { spec, pooling } = await openCheckpoint(join(CASES, name));
    const asked = { spec, pooling: { ...pooling, labels: names } };
    return planPooling(engineConfig(), asked, { kind: 'cpu' } as Device).info.scoring;
  };
  expect(await of('qwen3-classify-1', ['yes', 'no'])).toBe('tokens');
  expect(await of('qwen3-classify-1', ['no', 'maybe'])).toBeUndefined();
  expect(await of('bert-rank', ['no', 'yes'])).toBeUndefined();
  expect(await of('bert-rank', ['relevant'])).toBe('head');
});

describe('embed()', () => {
  it('gives a text its vector, and a list theirs, whatever its size', async () => {
    const { llm, fake } = await load('bert-mean', { maxNumWaiting: 2, maxNumSeqs: 16 });
    const texts = Array.from(
      { length: 500 },
      (_, i) => `text ${i} of the whale ${'x '.repeat(i % 40)}`,
    );
    const outputs = await llm.embed(texts);
    expect(fake.batches.length).toBeGreaterThan(20);
    for (const i of [0, 7, 499]) {
      const alone = await llm.embed(texts[i]);
      expect(outputs[i]).toEqual(alone);
      const { ids, types } = fake.batches.at(-1)!.texts[0];
      const values = fakeValues({ ids, types, pooling: 0, longRope: 0 }, llm.info.pooling!.width);
      const whole = length(Float32Array.from(values));
      expect(alone.embedding[0]).toBeCloseTo(values[0] / whole, 6);
      expect(alone).toMatchObject({ numPromptTokens: ids.length, isTruncated: false });
      expect(length(alone.embedding)).toBeCloseTo(1, 5);
    }
    expect(await llm.embed([])).toEqual([]);
    expect((await llm.embed('')).numPromptTokens).toBe(2);
    expect(llm.stats()).toMatchObject({ numRequestsFinished: 504, numRequestsWaiting: 0 });
    await llm.close();
  });

  it('takes a list as it is when it is called', async () => {
    const { llm } = await load('bert-mean');
    const texts = ['one', 'two'];
    const running = llm.embed(texts);
    texts.length = 0;
    texts.push('three');
    expect(await running).toEqual(await llm.embed(['one', 'two']));
    await llm.close();
  });

  it('cuts, normalises and pools as it is told', async () => {
    const { llm, fake } = await load('qwen3-embedding');
    const raw = await llm.embed('a', { normalize: false });
    const cut = await llm.embed('a', { normalize: false, dimensions: 3 });
    expect(cut.embedding).toEqual(raw.embedding.slice(0, 3));
    const again = await llm.embed('a', { dimensions: 3 });
    expect(length(again.embedding)).toBeCloseTo(1, 5);
    await llm.embed('a', { pooling: 'mean' });
    expect(fake.batches.at(-1)!.texts[0].pooling).toBe(0);
    const { llm: plain } = await load('modernbert-mean');
    expect(length((await plain.embed('a')).embedding)).not.toBeCloseTo(1, 2);
    await Promise.all([llm.close(), plain.close()]);
  });

  it('puts prompts in front', async () => {
    const { llm } = await load('qwen3-embedding');
    const { query } = llm.info.pooling!.prompts;
    const named = await llm.embed('a', { promptName: 'query' });
    expect(await llm.embed(`${query}a`)).toEqual(named);
    const instruction = /^Instruct: (.*)\nQuery:$/.exec(query)![1];
    expect(await llm.embed('a', { instruction })).toEqual(named);
    expect(await llm.embed('a', { promptName: '' })).toEqual(await llm.embed('a'));
    const code = (options: object) => codeOf(llm.embed('a', options));
    expect(await code({ promptName: 'nobody' })).toBe('ERR_INVALID_PARAM');
    expect(await code({ promptName: 'query', instruction })).toBe('ERR_INVALID_PARAM');
    const ids = { promptTokenIds: [5, 6] };
    expect(await codeOf(llm.embed(ids, { promptName: 'query' }))).toBe('ERR_INVALID_PROMPT');
    expect((await llm.embed(ids)).numPromptTokens).toBe(2);
    await llm.close();
  });

  it('refuses what is too long, or cuts it', async () => {
    const { llm, fake } = await load('qwen3-embedding', { maxModelLen: 8 });
    const long = 'the whale swims in the northern sea';
    expect(await codeOf(llm.embed(long))).toBe('ERR_PROMPT_TOO_LONG');
    const cut = await llm.embed(long, { truncate: true });
    expect(cut).toMatchObject({ numPromptTokens: 8, isTruncated: true });
    expect(fake.batches.at(-1)!.texts[0].ids.at(-1)).toBe(0);
    expect((await llm.embed(long, { truncate: 5 })).numPromptTokens).toBe(5);
    expect((await llm.embed(long, { truncate: 500 })).numPromptTokens).toBe(8);
    const ids = [...(await llm.encode(long, { maxTokens: 100 }))];
    expect(ids.at(-1)).toBe(0);
    expect(await codeOf(llm.embed({ promptTokenIds: ids }))).toBe('ERR_PROMPT_TOO_LONG');
    await llm.embed({ promptTokenIds: ids }, { truncate: true });
    expect(fake.batches.at(-1)!.texts[0].ids).toEqual([...ids.slice(0, 7), 0]);
    await llm.close();
  });

  it('refuses what it does not know, by name', async () => {
    const { llm } = await load('bert-mean');
    const boom = () => {
      throw new Error('boom');
    };
    const hostile = new Proxy({}, { get: boom, ownKeys: boom, getPrototypeOf: boom });
    const wrong = (options: unknown) =>
      llm.embed('a', options as object).catch(({ code, param }) => [code, param]);
    const width = llm.info.pooling!.width;
    for (const [options, param] of [
      [{ pool: 'mean' }, 'pool'],
      [{ pooling: 'max' }, 'pooling'],
      [{ normalize: 1 }, 'normalize'],
      [{ dimensions: 0 }, 'dimensions'],
      [{ dimensions: width + 1 }, 'dimensions'],
      [{ truncate: 'yes' }, 'truncate'],
      [{ truncate: 0 }, 'truncate'],
      [{ timeoutMs: 0 }, 'timeoutMs'],
      [{ signal: {} }, 'signal'],
      [{ instruction: 5 }, 'instruction'],
      [hostile, 'options'],
      [null, 'options'],
    ] as const) {
      expect(await wrong(options)).toEqual(['ERR_INVALID_PARAM', param]);
    }
    for (const text of [
      5,
      null,
      undefined,
      {},
      hostile,
      { messages: [] },
      { promptTokenIds: [] },
    ]) {
      expect(await codeOf(llm.embed(text as never))).toBe('ERR_INVALID_PROMPT');
    }
    const far = { promptTokenIds: [2 ** 30] };
    expect(await codeOf(llm.embed(far))).toBe('ERR_INVALID_PROMPT');
    const list = llm.embed(['a', 'b', 5 as never]);
    await expect(list).rejects.toMatchObject({ code: 'ERR_INVALID_PROMPT', promptIndex: 2 });
    const long = llm.embed(['a', 'b '.repeat(500), 'c']);
    await expect(long).rejects.toMatchObject({ code: 'ERR_PROMPT_TOO_LONG', promptIndex: 1 });
    expect(llm.stats().numRequestsWaiting).toBe(0);
    await llm.close();
  });

  it('says of which text the model made no numbers', async () => {
    const { llm, fake } = await load('bert-mean', { maxNumSeqs: 1 });
    fake.fateOf = (_, count) => (count === 2 ? { values: Number.NaN } : 'run');
    const list = llm.embed(['a', 'b', 'c', 'd']);
    await expect(list).rejects.toMatchObject({ code: 'ERR_NON_FINITE', promptIndex: 2 });
    await llm.close();
  });
});

describe('calls of a pooling model', () => {
  it('leave at once by their signal or deadline, and end by drain()', async () => {
    const { llm, fake } = await load('bert-mean', { maxNumSeqs: 2 });
    fake.fateOf = (_, count) => (count === 0 ? 'hang' : 'run');
    const texts = Array(50).fill('a whale');
    const leaver = new AbortController();
    const left = codeOf(llm.embed(texts, { signal: leaver.signal }));
    const late = codeOf(llm.score('q', texts, { timeoutMs: 20 }));
    await until(() => fake.batches.length === 1);
    const kept = codeOf(llm.embed('b'));
    leaver.abort();
    expect(await left).toBe('ERR_ABORTED');
    expect(await late).toBe('ERR_TIMEOUT');
    expect(llm.stats().numRequestsWaiting).toBe(1);
    const drained = llm.drain({ timeoutMs: 20 });
    expect(await codeOf(llm.embed('c'))).toBe('ERR_DRAINING');
    expect(await kept).toBe('ERR_DRAINING');
    expect(await drained).toEqual({ numAborted: 1 });
    expect(await codeOf(llm.embed('c', { signal: AbortSignal.abort() }))).toBe('ERR_DRAINING');
    await llm.close();
  });

  it('are refused where the queue is full, a list counting as one', async () => {
    const { llm, fake } = await load('bert-mean', { maxNumWaiting: 2, maxNumSeqs: 1 });
    fake.fateOf = () => 'hang';
    const running = llm.embed('a');
    await until(() => fake.batches.length === 1);
    const waiting = [llm.embed(['a', 'b', 'c']), llm.embed('d')];
    expect(await codeOf(llm.embed('e'))).toBe('ERR_OVERLOADED');
    expect(() => llm.checkAdmission()).toThrow(expect.objectContaining({ code: 'ERR_OVERLOADED' }));
    const ends = [running, ...waiting].map((call) => codeOf(call));
    await llm.close();
    expect(await Promise.all(ends)).toEqual(Array(3).fill('ERR_CLOSED'));
  });

  it('have a place in the queue all the time', async () => {
    const { llm, fake } = await load('bert-mean', { maxNumWaiting: 1, maxNumSeqs: 1 });
    fake.fateOf = () => 'hang';
    const running = codeOf(llm.embed('a'));
    await until(() => fake.batches.length === 1);
    const waiting = codeOf(llm.embed('b'));
    for (let turn = 0; turn < 40; turn++) {
      expect(() => llm.checkAdmission(), `${turn}`).toThrow(/queue|wait/);
      await null;
    }
    await llm.close();
    expect(await Promise.all([running, waiting])).toEqual(Array(2).fill('ERR_CLOSED'));
  });

  it('end with the model, wherever they are', async () => {
    const { llm } = await load('bert-mean');
    const ends = [llm.embed('a'), llm.embed(Array(2000).fill('b')), llm.rank('q', ['c'])];
    const codes = ends.map((call) => codeOf(call as Promise<unknown>));
    await llm.close();
    for (const code of await Promise.all(codes)) expect(code).toBe('ERR_CLOSED');
  });
});

describe('score(), rank() and classify()', () => {
  it('compare through a head of one label', async () => {
    const { llm, fake } = await load('bert-rank');
    const scores = await llm.score('a', ['b', 'c whale']);
    expect(fake.batches.at(-1)!.texts[1].types).toContain(1);
    for (const { score, logits, index } of scores) {
      expect(score).toBeCloseTo(1 / (1 + Math.exp(-logits![0])), 6);
      expect(scores[index].score).toBe(score);
    }
    expect(await llm.score('a', 'b')).toEqual([{ ...scores[0] }]);
    expect(await llm.score('a', [])).toEqual([]);
    const ranked = await llm.rank('a', ['b', 'c', 'b', 'd'], { topN: 3 });
    expect(ranked).toHaveLength(3);
    expect(ranked.map(({ score }) => score)).toEqual(
      ranked.map(({ score }) => score).toSorted((x, y) => y - x),
    );
    const same = (await llm.rank('a', ['b', 'c', 'b'])).filter(({ document }) => document === 'b');
    expect(same.map(({ index }) => index)).toEqual([0, 2]);
    const code = (options: object) => codeOf(llm.score('a', ['b'], options));
    expect(await code({ instruction: 'x' })).toBe('ERR_INVALID_PARAM');
    expect(await code({ tokens: ['a', 'b'] })).toBe('ERR_INVALID_PARAM');
    expect(await code({ topN: 1 })).toBe('ERR_INVALID_PARAM');
    expect(await codeOf(llm.score(5 as never, ['b']))).toBe('ERR_INVALID_PROMPT');
    expect(await codeOf(llm.score('a', 5 as never))).toBe('ERR_INVALID_PROMPT');
    const wrong = llm.score('a', ['b', 5 as never]);
    await expect(wrong).rejects.toMatchObject({ code: 'ERR_INVALID_PROMPT', promptIndex: 1 });
    expect(await codeOf(llm.embed('a'))).toBe('ERR_MODEL_TASK');
    await llm.close();
  });

  it('ask for two answers where there is a head over the vocabulary', async () => {
    const { llm, fake } = await load('qwen3-reranker', { runner: 'pooling' });
    const template = 'Q {query} D {document}<|im_end|>';
    const [{ score, logits }] = await llm.score('a', 'b', { template });
    const ids = ['no', 'yes'].map((token) => llm.tokenizer.tokenToId(token));
    const { tokenLogits, texts } = fake.batches.at(-1)!;
    expect(tokenLogits).toEqual(ids);
    expect(texts[0].pooling).toBe(2);
    expect(score).toBeCloseTo(1 / (1 + Math.exp(logits![0] - logits![1])), 6);
    const swapped = await llm.score('a', 'b', { template, tokens: ['yes', 'no'] });
    expect(swapped[0].score).toBeCloseTo(1 - score, 6);
    // What a document spells is no control token, what the template spells is.
    const end = llm.tokenizer.tokenToId('<|im_end|>');
    await llm.score('<|im_end|>', 'x <|im_end|> y', { template });
    expect(fake.batches.at(-1)!.texts[0].ids.filter((id) => id === end)).toHaveLength(1);
    // What is cut is the document, not what follows it.
    const [cut] = await llm.score('a', 'b '.repeat(2000), { template, truncate: 40 });
    expect(cut).toMatchObject({ numPromptTokens: 40, isTruncated: true });
    expect(fake.batches.at(-1)!.texts[0].ids.at(-1)).toBe(end);
    // There must be room for some of the document: else all would have one score.
    const { length: numTokens } = fake.batches.at(-1)!.texts[0].ids;
    expect(numTokens).toBe(40);
    const long = 'w '.repeat(400);
    const refusal = { code: 'ERR_PROMPT_TOO_LONG', param: 'query' };
    for (const [query, truncate] of [
      ['a', 1],
      ['a', 5],
      [long, 300],
    ] as const) {
      const refused = llm.score(query, ['b', 'c'], { template, truncate });
      await expect(refused).rejects.toMatchObject(refusal);
      await expect(refused).rejects.toThrow(/nothing of a document would be left/);
    }
    await llm.score('a', '', { template });
    const { length: numAlone } = fake.batches.at(-1)!.texts[0].ids;
    const least = { template, truncate: numAlone + 1 };
    const idsWith = async (document: string) => {
      await llm.score('a', document, least);
      return fake.batches.at(-1)!.texts[0].ids;
    };
    expect(await idsWith('whale sea')).toHaveLength(numAlone + 1);
    expect(await idsWith('whale sea')).not.toEqual(await idsWith('zebra sea'));
    expect(await codeOf(llm.score('a', 'b', { ...least, truncate: numAlone }))).toBe(
      'ERR_PROMPT_TOO_LONG',
    );
    const late = llm.score('a', 'b', { signal: AbortSignal.abort() });
    expect(await codeOf(late)).toBe('ERR_ABORTED');
    const code = (options: object) => codeOf(llm.score('a', 'b', options));
    expect(await code({ template: 'no place' })).toBe('ERR_INVALID_PARAM');
    expect(await code({ tokens: ['no', 'zzzzzz'] })).toBe('ERR_INVALID_PARAM');
    expect(await code({ tokens: ['no'] })).toBe('ERR_INVALID_PARAM');
    expect(await code({ tokens: ['no', 'no'] })).toBe('ERR_INVALID_PARAM');
    expect((await llm.embed('a')).embedding).toHaveLength(llm.info.pooling!.width);
    await llm.close();
  });

  it('take the cosine of vectors', async () => {
    const { llm } = await load('embeddinggemma');
    const documents = ['one', 'two', 'a whale'];
    const scores = await llm.score('a whale', documents);
    const { prompts } = llm.info.pooling!;
    const query = await llm.embed(`${prompts.query ?? ''}a whale`);
    for (const [i, document] of documents.entries()) {
      const own = await llm.embed((prompts.document ?? '') + document);
      const cosine = own.embedding.reduce((sum, x, j) => sum + x * query.embedding[j], 0);
      expect(scores[i].score).toBeCloseTo(cosine, 5);
      expect(scores[i].index).toBe(i);
    }
    expect(await llm.rank('q', ['x', 'y'], { instruction: 'find' })).toHaveLength(2);
    await llm.close();
  });

  it('take the product of vectors as they are, where the files say dot', async () => {
    const model = mkdtempSync(join(tmpdir(), 'octavo-dot-'));
    cpSync(join(CASES, 'bert-mean'), model, { recursive: true });
    const name = join(model, 'config_sentence_transformers.json');
    const said = existsSync(name) ? JSON.parse(readFileSync(name, 'utf8')) : {};
    writeFileSync(name, JSON.stringify({ ...said, similarity_fn_name: 'dot' }));
    const modules = join(model, 'modules.json');
    const withoutNormalize = JSON.parse(readFileSync(modules, 'utf8')).slice(0, 2);
    writeFileSync(modules, JSON.stringify(withoutNormalize));
    const llm = await LLM.loadWith({ model, device: 'cpu' }, new FakeAddon().addon);
    rmSync(model, { recursive: true });
    expect(llm.info.pooling).toMatchObject({ similarity: 'dot', scoring: 'dot', normalize: false });
    const documents = ['one', 'two', 'a whale'];
    const scores = await llm.score('a whale', documents);
    const vectors = await llm.embed(['a whale', ...documents], { normalize: false });
    const [query, ...own] = vectors.map(({ embedding }) => embedding);
    for (const [i, vector] of own.entries()) {
      const product = vector.reduce((sum, x, j) => sum + x * query[j], 0);
      expect(scores[i].score).toBeCloseTo(product, 4);
    }
    expect(scores[2].score).toBeGreaterThan(2); // of a text with itself: its length, squared
    expect(await codeOf(llm.score('a', 'b', { template: 'x' }))).toBe('ERR_INVALID_PARAM');
    await llm.close();
  });

  it('give labels their scores', async () => {
    const { llm } = await load('qwen3-classify-3');
    const { labels } = llm.info.pooling!;
    const outputs = await llm.classify(['a', 'b']);
    for (const { label, score, scores } of outputs) {
      expect(scores.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 5);
      expect(score).toBe(Math.max(...scores));
      expect(label).toBe(labels![scores.indexOf(score)]);
    }
    expect(await llm.classify('a')).toEqual(outputs[0]);
    expect(await codeOf(llm.score('a', 'b'))).toBe('ERR_MODEL_TASK');
    await llm.close();
  });
});
