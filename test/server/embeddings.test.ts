/** Vectors, scores and labels over HTTP, beside the same calls of the library; and what is refused. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OpenAIEmbeddings } from '@langchain/openai';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LLM } from '../../lib/index.js';
import {
  classifyAnswer,
  embeddingAnswer,
  poolingAnswer,
  rerankAnswer,
  scoreAnswer,
} from '../../lib/server/schemas/pooling.js';
import { ENCODER, encoderFolder } from '../support/encoder-model.js';
import { until } from '../support/until.js';
import { type Json, serveModels, type TestServer } from './support.js';

const LABELS = ['calm', 'rough', 'frozen'];
const TEXTS = ['The sea was calm.', 'baca dede fifi', 'A ship, and no wind', 'é — 猫'];
const LONG = 'baca '.repeat(200);

/** The same model with this in its config.json. */
async function loaded(mark: object): Promise<LLM> {
  const folder = encoderFolder('vectors');
  const file = join(folder, 'config.json');
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), ...mark }));
  return LLM.load({ model: folder });
}

let server: TestServer;
let vectors: LLM;
let ranker: LLM;
let classifier: LLM;
let answerer: LLM;
beforeAll(async () => {
  const text = await LLM.load({ seed: 1, maxModelLen: 256 });
  vectors = await LLM.load({ model: encoderFolder('vectors') });
  ranker = await LLM.load({ model: encoderFolder(['relevant']) });
  classifier = await LLM.load({ model: encoderFolder(LABELS) });
  answerer = await LLM.load({ runner: 'pooling', maxNumBatchedTokens: 200 });
  const marked = await loaded({ is_matryoshka: true });
  const listed = await loaded({ matryoshka_dimensions: [16, 32, 64] });
  const models = { text, vectors, ranker, classifier, answerer, marked, listed };
  server = await serveModels(models, { apiKey: undefined });
});
afterAll(() => server.close());

const client = () => new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 });
const numbers = (vector: Float32Array) => Array.from(vector);
const refusalOf = async (path: string, body: object, status = 400): Promise<Json> =>
  (await server.json(path, body, status)).error;

describe('/v1/embeddings', () => {
  it("openai's client, which asks for base64, has the library's bits", async () => {
    const expected = await vectors.embed(TEXTS);
    const { data, usage, model } = await client().embeddings.create({
      ...{ model: 'vectors', input: TEXTS },
    });
    expect(model).toBe('vectors');
    expect(data.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
    expect(data.map(({ embedding }) => embedding)).toEqual(
      expected.map(({ embedding }) => numbers(embedding)),
    );
    const numTokens = expected.reduce((sum, { numPromptTokens }) => sum + numPromptTokens, 0);
    expect(usage).toEqual({ prompt_tokens: numTokens, total_tokens: numTokens });
  });

  it('floats are the same, of texts and of ids, one or several', async () => {
    const [{ embedding }] = await vectors.embed([TEXTS[0]]);
    const ids = await vectors.encode(TEXTS[0]);
    for (const input of [TEXTS[0], [TEXTS[0]], ids, [ids]]) {
      const body = { model: 'vectors', input, encoding_format: 'float', user: 'me' };
      const answer = await server.json('/v1/embeddings', body);
      embeddingAnswer.parse(answer);
      expect(answer.data).toEqual([
        { object: 'embedding', index: 0, embedding: numbers(embedding) },
      ]);
    }
  });

  it('base64 is of little-endian float32', async () => {
    const { embedding } = await vectors.embed(TEXTS[0]);
    const body = { model: 'vectors', input: TEXTS[0], encoding_format: 'base64' };
    const { data } = await server.json('/v1/embeddings', body);
    const bytes = Buffer.from(data[0].embedding, 'base64');
    expect(bytes.length).toBe(4 * ENCODER.hidden);
    expect(embedding.map((_, i) => bytes.readFloatLE(4 * i))).toEqual(embedding);
  });

  it("LangChain's embeddings", async () => {
    const langchain = new OpenAIEmbeddings({
      ...{ model: 'vectors', apiKey: 'none', configuration: { baseURL: `${server.url}/v1` } },
    });
    const expected = await vectors.embed(TEXTS);
    expect(await langchain.embedDocuments(TEXTS)).toEqual(
      expected.map(({ embedding }) => numbers(embedding)),
    );
  });

  it('options are those of the library', async () => {
    const options = { dimensions: 8, normalize: false, pooling: 'cls' as const };
    const { embedding } = await vectors.embed(TEXTS[1], options);
    const { data: cutData } = await server.json('/v1/embeddings', {
      ...{ model: 'marked', input: TEXTS[1] },
      ...options,
    });
    expect(cutData[0].embedding).toEqual(numbers(embedding));
    for (const [most, truncate] of [
      [-1, true],
      [7, 7],
    ] as const) {
      const cut = await vectors.embed(LONG, { truncate });
      const body = { input: LONG, truncate_prompt_tokens: most };
      const { data, usage } = await server.json('/v1/embeddings', body);
      expect(data[0].embedding).toEqual(numbers(cut.embedding));
      expect(usage.prompt_tokens).toBe(cut.numPromptTokens);
    }
  });

  it('of fewer values are those of models that were trained for it', async () => {
    const ask = async (model: string, dimensions: number, path = '/v1/embeddings') => {
      const answer = await server.post(path, { model, input: TEXTS[1], dimensions });
      const { error, data } = (await answer.json()) as Json;
      return error ? [error.param, error.message] : (data[0].embedding ?? data[0].data).length;
    };
    const whole = ENCODER.hidden;
    expect(await ask('marked', 5)).toBe(5);
    expect(await ask('vectors', whole)).toBe(whole);
    const unmarked = ['dimensions', expect.stringMatching(/do not say .* fewer than 64 values/)];
    expect(await ask('vectors', 8)).toEqual(unmarked);
    expect(await ask('vectors', 8, '/pooling')).toEqual(unmarked);
    const some = ['dimensions', 'dimensions: this model makes vectors of 16, 32 or 64 values'];
    expect([await ask('listed', 16), await ask('listed', whole)]).toEqual([16, whole]);
    expect(await ask('listed', 17)).toEqual(some);
    const lenient = await serveModels({ vectors: await loaded({}) }, { matryoshka: true });
    const body = { input: TEXTS[1], dimensions: 8 };
    expect((await lenient.json('/v1/embeddings', body)).data[0].embedding).toHaveLength(8);
    await lenient.close();
  });

  it('a long answer comes in pieces, and whole', async () => {
    const input = Array.from({ length: 300 }, (_, i) => `baca ${i}`);
    const response = await server.post('/v1/embeddings', { model: 'vectors', input });
    expect(response.headers.get('content-length')).toBe(null);
    const { data } = embeddingAnswer.parse(await response.json());
    expect(data.map(({ index }) => index)).toEqual(input.map((_, i) => i));
    const [first] = await vectors.embed([input[0]]);
    expect(data[0].embedding).toEqual(numbers(first.embedding));
  });

  it('refuses by name, of a list with its place', async () => {
    const ask = (body: object) => refusalOf('/v1/embeddings', { model: 'vectors', ...body });
    const tooLong = await ask({ input: [TEXTS[0], LONG] });
    expect(tooLong).toMatchObject({ param: 'input[1]', type: 'BadRequestError', code: 400 });
    expect(tooLong.message).toMatch(/^input\[1\]: /);
    const one = await ask({ input: LONG });
    expect([one.param, one.message]).toEqual([
      'input',
      expect.stringMatching(/^input: the text has /),
    ]);
    for (const [input, param, message] of [
      [[[]], 'input[0]', 'input[0]: is empty: it has no token'],
      [
        [[5], [9999]],
        'input[1]',
        'input[1]: token 0 is 9999, which is not an id of this model (0 to 511)',
      ],
    ]) {
      expect(await ask({ input })).toMatchObject({ param, message });
    }
    const many = Array.from({ length: 2049 }, () => 'x');
    expect((await ask({ input: many })).message).toMatch(/at most 2048 texts/);
    const wrong: [object, string][] = [
      [{ input: [] }, 'input'],
      [{ input: 5 }, 'input'],
      [{}, 'input'],
      [{ input: 'x', dimensions: 0 }, 'dimensions'],
      [{ input: 'x', dimensions: ENCODER.hidden + 1 }, 'dimensions'],
      [{ input: 'x', encoding_format: 'bytes' }, 'encoding_format'],
      [{ input: 'x', embed_dtype: 'float16' }, 'embed_dtype'],
      [{ input: 'x', endianness: 'big' }, 'endianness'],
      [{ input: 'x', prompt_name: 'none' }, 'prompt_name'],
      [{ input: 'x', truncate_prompt_tokens: 0 }, 'truncate_prompt_tokens'],
      [{ input: 'x', truncation_side: 'left' }, 'truncation_side'],
      [{ input: 'x', add_special_tokens: false }, 'add_special_tokens'],
    ];
    for (const [body, param] of wrong) {
      expect([body, (await ask(body)).param]).toEqual([body, param]);
    }
    await refusalOf('/v1/embeddings', { model: 'nobody', input: 'x' }, 404);
  });
});

describe('scores', () => {
  const query = 'Is the sea calm?';

  it.each(['/rerank', '/v1/rerank', '/v2/rerank'])('%s ranks as the library', async (path) => {
    const ranked = await ranker.rank(query, TEXTS);
    const body = { model: 'ranker', query, documents: TEXTS };
    const { results, usage } = rerankAnswer.parse(await server.json(path, body));
    expect(results).toEqual(
      ranked.map(({ index, score, document }) => ({
        ...{ index, relevance_score: score, document: { text: document } },
      })),
    );
    expect(usage.total_tokens).toBe(
      ranked.reduce((sum, { numPromptTokens }) => sum + numPromptTokens, 0),
    );
  });

  it('the best few, without their texts, of documents that are objects', async () => {
    const documents = TEXTS.map((text) => ({ text, title: 'passed over' }));
    const body = { model: 'ranker', query, documents, top_n: 2, return_documents: false };
    const { results } = await server.json('/v1/rerank', body);
    const ranked = await ranker.rank(query, TEXTS, { topN: 2 });
    expect(results).toEqual(ranked.map(({ index, score }) => ({ index, relevance_score: score })));
  });

  it.each(['/score', '/v1/score'])('%s: one query for all, or each its own', async (path) => {
    const scores = await ranker.score(query, TEXTS);
    const common = { model: 'ranker' };
    const expected = scores.map(({ index, score }) => ({ index, object: 'score', score }));
    for (const body of [
      { text_1: query, text_2: TEXTS },
      { queries: query, documents: TEXTS },
      { queries: TEXTS.map(() => query), items: TEXTS },
      { data_1: [query], data_2: TEXTS },
    ]) {
      const answer = scoreAnswer.parse(await server.json(path, { ...common, ...body }));
      expect(answer.data).toEqual(expected);
    }
  });

  it('of a model for vectors are their cosine', async () => {
    const scores = await vectors.score(query, TEXTS);
    const body = { model: 'vectors', text_1: query, text_2: TEXTS };
    const { data } = await server.json('/score', body);
    expect(data.map(({ score }: Json) => score)).toEqual(scores.map(({ score }) => score));
  });

  it('takes the question of a model that answers yes or no', async () => {
    const wishes = { template: '{query}? {document}!', tokens: ['a', 'b'], instruction: 'Judge' };
    const options = { ...wishes, tokens: ['a', 'b'] as const };
    const scores = await answerer.score(query, TEXTS, options);
    expect(scores).not.toEqual(await answerer.score(query, TEXTS, { tokens: ['a', 'b'] }));
    const given = { model: 'answerer', ...wishes };
    const { data } = await server.json('/score', { ...given, text_1: query, text_2: TEXTS });
    expect(data.map(({ score }: Json) => score)).toEqual(scores.map(({ score }) => score));
    const { results } = await server.json('/rerank', { ...given, query, documents: TEXTS });
    for (const { index, relevance_score } of results)
      expect(relevance_score).toBe(scores[index].score);
    const refused: [string, object, string][] = [
      ['ranker', { template: wishes.template }, 'template'],
      ['ranker', { tokens: wishes.tokens }, 'tokens'],
      ['answerer', { template: '{query}', tokens: wishes.tokens }, 'template'],
      ['answerer', { template: '{query}{document}'.repeat(5) }, 'template'],
      ['answerer', { tokens: ['a'] }, 'tokens'],
      ['answerer', { tokens: ['a', 'a'] }, 'tokens'],
    ];
    for (const [model, more, param] of refused) {
      const body = { model, query, documents: TEXTS, ...more };
      expect([more, (await refusalOf('/rerank', body)).param]).toEqual([more, param]);
    }
  });

  it('refuses by name, of a list with its place', async () => {
    const long = await refusalOf('/rerank', {
      ...{ model: 'ranker', query, documents: ['x', 'y', LONG] },
    });
    expect(long).toMatchObject({ param: 'documents[2]' });
    expect(long.message).toMatch(/^documents\[2\]: /);
    const body = { model: 'ranker', queries: ['x', 'y'], documents: ['x', LONG] };
    expect((await refusalOf('/score', body)).message).toMatch(/^documents\[1\]: /);
    for (const [texts, param] of [
      [{ text_1: LONG, text_2: 'x' }, 'text_1'],
      [{ text_1: 'x', text_2: LONG }, 'text_2'],
      [{ text_1: ['x', LONG], text_2: ['x', 'y'] }, 'text_1[1]'],
    ] as const) {
      const { message, ...error } = await refusalOf('/score', { model: 'vectors', ...texts });
      expect(error).toMatchObject({ param });
      expect(message.startsWith(`${param}: `)).toBe(true);
    }
    const wrong: [string, object][] = [
      ['/score', { text_1: 'x' }],
      ['/score', { text_1: 'x', text_2: 'y', queries: 'x', documents: 'y' }],
      ['/score', { text_1: ['x', 'y'], text_2: ['x', 'y', 'z'] }],
      ['/score', { text_1: 'x', text_2: [] }],
      ['/rerank', { query, documents: [] }],
      ['/rerank', { documents: TEXTS }],
      ['/rerank', { query, documents: [{ title: 'x' }] }],
      ['/rerank', { query, documents: TEXTS, max_tokens_per_doc: 5 }],
      ['/rerank', { query, documents: TEXTS, use_activation: false }],
      ['/score', { text_1: 'x', text_2: 'y', activation: false }],
      ['/rerank', { query, documents: Array.from({ length: 2049 }, () => 'x') }],
    ];
    for (const [path, given] of wrong) {
      await refusalOf(path, { model: 'ranker', ...given });
    }
    await server.idle();
  });
});

describe('labels', () => {
  it('/classify gives what the library does', async () => {
    const expected = await classifier.classify(TEXTS);
    const body = { model: 'classifier', input: TEXTS };
    const { data } = classifyAnswer.parse(await server.json('/classify', body));
    expect(data).toEqual(
      expected.map(({ label, scores }, index) => ({
        ...{ index, label, probs: numbers(scores), num_classes: LABELS.length },
      })),
    );
    const { message } = await refusalOf('/classify', { model: 'vectors', input: 'x' });
    expect(message).toMatch(
      /no classification head.*answers \/v1\/embeddings, \/score, \/rerank and \/pooling$/,
    );
    for (const [path, body] of [
      ['/v1/embeddings', { input: 'x' }],
      ['/score', { text_1: 'x', text_2: 'y' }],
      ['/rerank', { query: 'x', documents: ['y'] }],
    ] as const) {
      const refused = await refusalOf(path, { model: 'classifier', ...body });
      expect(refused.message).toMatch(/it answers \/classify and \/pooling$/);
      expect(refused.message).not.toContain('()');
    }
    for (const name of ['use_activation', 'activation']) {
      expect((await server.json('/classify', { ...body, [name]: true })).data).toEqual(data);
      for (const path of ['/classify', '/pooling']) {
        const { param, message } = await refusalOf(path, { ...body, [name]: false });
        expect([param, message]).toEqual([name, expect.stringContaining('activation')]);
      }
    }
  });

  it('/pooling gives vectors or probabilities, by what the model makes', async () => {
    const [{ scores }] = await classifier.classify([TEXTS[0]]);
    const [{ embedding }] = await vectors.embed([TEXTS[0]]);
    for (const [model, values] of [
      ['classifier', scores],
      ['vectors', embedding],
    ] as const) {
      const answer = await server.json('/pooling', { model, input: TEXTS[0] });
      expect(poolingAnswer.parse(answer).data[0].data).toEqual(numbers(values));
    }
    await refusalOf('/pooling', { model: 'vectors', input: 'x', task: 'classify' });
    await refusalOf('/pooling', { model: 'classifier', input: 'x', task: 'embed' });
    await refusalOf('/pooling', { model: 'classifier', input: 'x', dimensions: 2 });
  });
});

describe('a model of the other kind', () => {
  it('is refused with a sentence, never a fault', async () => {
    const messages = [{ role: 'user', content: 'x' }];
    const toWrite: [string, object][] = [
      ['/v1/chat/completions', { messages, n: 3 }],
      ['/v1/chat/completions/render', { messages }],
      ['/v1/completions', { prompt: 'x', stream: true }],
      ['/v1/responses', { input: 'x' }],
      ['/v1/messages', { messages, max_tokens: 2 }],
      ['/inference/v1/generate', { token_ids: [5], sampling_params: { n: 2 } }],
    ];
    for (const [path, body] of toWrite) {
      const { message } = await refusalOf(path, { model: 'vectors', ...body });
      expect([path, message]).toEqual([path, expect.stringContaining('--runner generate')]);
    }
    const toPool: [string, object][] = [
      ['/v1/embeddings', { input: 'x' }],
      ['/classify', { input: 'x' }],
      ['/pooling', { input: 'x' }],
      ['/score', { text_1: 'x', text_2: 'y' }],
      ['/v1/rerank', { query: 'x', documents: ['y'] }],
    ];
    for (const [path, body] of toPool) {
      const error = await refusalOf(path, { model: 'text', ...body });
      expect(error).toMatchObject({ param: 'model', code: 400 });
      expect(error.message).toContain('--runner pooling');
    }
  });

  it('is passed over where a request names none', async () => {
    const query = { query: 'x', documents: ['y'] };
    for (const [path, body, model] of [
      ['/v1/embeddings', { input: 'x' }, 'vectors'],
      ['/classify', { input: 'x' }, 'classifier'],
      ['/rerank', query, 'ranker'],
      ['/score', { text_1: 'x', text_2: 'y' }, 'ranker'],
      ['/pooling', { input: 'x' }, 'vectors'],
      ['/pooling', { input: 'x', task: 'classify' }, 'classifier'],
      ['/v1/completions', { prompt: 'x', max_tokens: 1 }, 'text'],
    ] as const) {
      expect([path, (await server.json(path, body)).model]).toEqual([path, model]);
    }
  });
});

describe('what is wrong with a body', () => {
  it('is said in words', async () => {
    const documents = ['x'];
    for (const [path, body, message] of [
      ['/rerank', { documents }, 'query: is needed'],
      ['/rerank', { query: 5, documents }, 'query: must be a string'],
      ['/rerank', { query: 'x', documents: [] }, 'documents: must not be empty'],
      ['/rerank', { query: 'x', documents, top_n: -1 }, 'top_n: must be at least 0'],
      ['/rerank', { query: 'x', documents, top_n: 0.5 }, 'top_n: must be an integer'],
      ['/v1/embeddings', { input: 'x', normalize: 1 }, 'normalize: must be true or false'],
      [
        '/v1/embeddings',
        { input: 'x', pooling: 'max' },
        "pooling: must be 'mean', 'cls' or 'last'",
      ],
      ['/v1/chat/completions', {}, 'messages: is needed'],
    ] as const) {
      expect([path, (await refusalOf(path, body)).message]).toEqual([path, message]);
    }
    const body = { query: 'x', documents: ['x', { title: 'y' }] };
    expect(await refusalOf('/rerank', body)).toMatchObject({ param: 'documents[1]' });
  });
});

describe('the other routes', () => {
  it('know a model that is loaded to pool', async () => {
    const { data } = (await (await fetch(`${server.url}/v1/models`)).json()) as Json;
    const card = data.find(({ id }: Json) => id === 'vectors');
    expect(card).toMatchObject({ max_model_len: vectors.info.maxModelLen });
    // A step of fewer tokens than the context has no room for a longer text.
    const short = data.find(({ id }: Json) => id === 'answerer');
    expect(short.max_model_len).toBe(200);
    const counted = await server.json('/tokenize', { model: 'answerer', prompt: 'x' });
    expect(counted.max_model_len).toBe(200);
    const body = { model: 'vectors', prompt: 'baca', return_token_strs: true };
    const { token_strs } = await server.json('/tokenize', body);
    expect(token_strs).toEqual(['[CLS]', 'baca', '[SEP]']);
    const tokens = await vectors.encode('baca dede');
    const spelled = { model: 'vectors', tokens, skip_special_tokens: true };
    expect((await server.json('/detokenize', spelled)).prompt).toBe('baca dede');
    for (const path of ['/health', '/health/ready', '/load', '/openapi.json']) {
      expect([path, (await fetch(server.url + path)).status]).toEqual([path, 200]);
    }
  });

  it('metrics count its texts', async () => {
    const read = async (name: string) => {
      const text = await (await fetch(`${server.url}/metrics`)).text();
      const line = text.split('\n').find((one) => one.startsWith(`${name}{model_name="vectors"`));
      return Number(line?.split(' ').at(-1));
    };
    const names = ['vllm:prompt_tokens_total', 'vllm:request_prompt_tokens_count'];
    const before = await Promise.all(names.map(read));
    const { usage } = await server.json('/v1/embeddings', { model: 'vectors', input: TEXTS });
    const after = await Promise.all(names.map(read));
    expect(after.map((n, i) => n - before[i])).toEqual([usage.prompt_tokens, TEXTS.length]);
    expect(await read('vllm:num_requests_running')).toBe(0);
    expect(await read('vllm:kv_cache_usage_perc')).toBe(0);
  });
});

describe('a client that leaves', () => {
  it('takes its texts along', async () => {
    const input = Array.from({ length: 2000 }, () => 'baca '.repeat(100));
    const left = new AbortController();
    const asked = client().embeddings.create({ model: 'vectors', input }, { signal: left.signal });
    const given = expect(asked).rejects.toThrow(OpenAI.APIUserAbortError);
    await until(() => vectors.stats().numRequestsRunning + vectors.stats().numRequestsWaiting > 0);
    left.abort();
    await given;
    await server.idle();
    const before = vectors.stats();
    expect(before.numRequestsBy.abort).toBeGreaterThan(0);
    const [{ embedding }] = await vectors.embed([TEXTS[0]]);
    expect(embedding.every(Number.isFinite)).toBe(true);
  });

  it('and one that waits too long gets 408', async () => {
    const input = Array.from({ length: 2000 }, () => 'baca '.repeat(100));
    const headers = { 'x-request-timeout-ms': '1' };
    const response = await server.post('/v1/embeddings', { model: 'vectors', input }, headers);
    expect(response.status).toBe(408);
    await server.idle();
  });
});
