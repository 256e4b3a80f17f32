import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { engineConfig } from '../../lib/config/options.js';
import { CPU } from '../../lib/engine/device.js';
import { planPooling, runnerOf } from '../../lib/engine/pooling-plan.js';
import { openCheckpoint } from '../../lib/model/checkpoint.js';
import { plainPooling } from '../../lib/model/pooling.js';
import { HIDDEN_ACTS } from '../../lib/native.js';
import { ROOT } from '../support/addon.js';
import { refusal, temporaryFolder, write } from '../support/write-model.js';

const CASES = join(ROOT, 'test', 'fixtures', 'embeddings');
const ALL = temporaryFolder();
const MODELS = join(ROOT, 'test', 'fixtures', 'models');

/** A copy of a case with files in place of its own; of JSON files, fields on top of theirs. */
function changed(name: string, files: Record<string, object | string>): string {
  const folder = mkdtempSync(join(ALL, 'case-'));
  cpSync(join(CASES, name), folder, { recursive: true });
  for (const [file, change] of Object.entries(files)) {
    const own = existsSync(join(folder, file))
      ? (JSON.parse(readFileSync(join(folder, file), 'utf8')) as object)
      : {};
    write(folder, file, typeof change === 'string' ? change : { ...own, ...change });
  }
  return folder;
}

function configOf(folder: string): object {
  return JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as object;
}

const poolingOf = async (name: string, files: Record<string, object | string> = {}) =>
  (await openCheckpoint(changed(name, files))).pooling;
const refused = async (name: string, files: Record<string, object | string>) =>
  (await refusal(poolingOf(name, files))).message;

const VECTORS = { labels: undefined, activation: 'none', isDeclared: true };
const ONE_LABEL = {
  ...{ normalize: false, width: 1, labels: ['LABEL_0'], activation: 'sigmoid', isDeclared: true },
};

describe('of the reference cases', () => {
  it.each([
    ['bert-cls', { ...VECTORS, pooling: 'cls', normalize: true, width: 48, maxSeqLength: 512 }],
    ['bert-mean', { ...VECTORS, pooling: 'mean', normalize: true, maxSeqLength: 256 }],
    ['xlmr-cls', { ...VECTORS, pooling: 'cls', normalize: true, maxSeqLength: 512 }],
    ['modernbert-mean', { ...VECTORS, pooling: 'mean', normalize: false, maxSeqLength: 1024 }],
    ['embeddinggemma', { ...VECTORS, pooling: 'mean', normalize: true, maxSeqLength: 1024 }],
    ['qwen3-embedding', { ...VECTORS, pooling: 'last', normalize: true, maxSeqLength: 512 }],
    ['bert-rank', { ...ONE_LABEL, pooling: 'cls', maxSeqLength: 512 }],
    ['xlmr-rank', { ...ONE_LABEL, pooling: 'cls', maxSeqLength: 512 }],
    ['modernbert-rank', { ...ONE_LABEL, pooling: 'mean', maxSeqLength: 1024 }],
    ['llama-classify-1', { ...ONE_LABEL, pooling: 'last' }],
    ['qwen3-classify-1', { ...ONE_LABEL, pooling: 'last' }],
    [
      'qwen3-classify-3',
      { pooling: 'last', width: 3, labels: ['no', 'perhaps', 'yes'], activation: 'softmax' },
    ],
    ['qwen3-reranker', { pooling: 'last', width: 64, isDeclared: false, maxSeqLength: undefined }],
  ])('%s is what its files say', async (name, want) => {
    const { pooling, spec } = await openCheckpoint(join(CASES, name));
    expect(pooling).toMatchObject(want);
    const generates = name === 'qwen3-reranker';
    expect(spec.head !== undefined).toBe(generates);
    expect(spec.pooler !== undefined).toBe(
      pooling.labels !== undefined || name === 'embeddinggemma',
    );
  });

  it('have prompts by name', async () => {
    const gemma = await poolingOf('embeddinggemma');
    expect(Object.keys(gemma.prompts)).toEqual(['query', 'document']);
    expect(gemma.defaultPromptName).toBeUndefined();
    const chosen = { default_prompt_name: 'query' };
    const file = 'config_sentence_transformers.json';
    expect((await poolingOf('bert-cls', { [file]: chosen })).defaultPromptName).toBe('query');
  });
});

it('of a model that generates is plain', async () => {
  const { pooling } = await openCheckpoint(join(MODELS, 'llama-gqa'));
  expect(pooling).toEqual({
    ...{ pooling: 'last', normalize: true, prompts: {}, defaultPromptName: undefined },
    ...{ maxSeqLength: undefined, width: 128, labels: undefined, activation: 'none' },
    ...{ isDeclared: false, similarity: 'cosine', refusal: undefined, matryoshka: false },
  });
});

it('of an encoder alone is the mean', () => {
  const spec = { hiddenSize: 8 };
  const read = {
    ...{ spec, pooling: 'mean' as const, labels: undefined, isForPooling: true, matryoshka: false },
  };
  expect(plainPooling(read)).toMatchObject({ pooling: 'mean', normalize: true, width: 8 });
});

it('has vectors of fewer values where config.json says so', async () => {
  const of = async (config: object) =>
    (await poolingOf('bert-mean', { 'config.json': config })).matryoshka;
  expect(await of({})).toBe(false);
  expect(await of({ is_matryoshka: true })).toBe(true);
  expect(await of({ is_matryoshka: null, matryoshka_dimensions: [] })).toBe(false);
  expect(await of({ is_matryoshka: false, matryoshka_dimensions: [16, 32] })).toEqual([16, 32]);
  for (const config of [{ is_matryoshka: 'yes' }, { matryoshka_dimensions: [0] }]) {
    expect(await refused('bert-mean', { 'config.json': config })).toContain('matryoshka');
  }
});

it('goes through the layers of Dense modules, tensors from their own files', async () => {
  const checkpoint = await openCheckpoint(join(CASES, 'embeddinggemma'));
  expect(checkpoint.spec.pooler?.layers).toMatchObject([{ outSize: 96 }, { outSize: 64 }]);
  const dense = checkpoint.tensors.filter(({ name }) => name.startsWith('pooled.'));
  expect(dense.map(({ name, rows, cols, file }) => [name, rows, cols, file])).toEqual([
    ['pooled.0', 96, 64, 1],
    ['pooled.1', 64, 96, 2],
  ]);
  expect(checkpoint.files.map((file) => file.split('/').slice(-2).join('/'))).toEqual([
    ...['embeddinggemma/model.safetensors', '2_Dense/model.safetensors'],
    '3_Dense/model.safetensors',
  ]);
  const tanh = { activation_function: 'torch.nn.modules.activation.Tanh' };
  const folder = changed('embeddinggemma', { '3_Dense/config.json': tanh });
  const { spec } = await openCheckpoint(folder);
  expect(spec.pooler?.layers[1].act).toBe(HIDDEN_ACTS.tanh);
  const wide = { '2_Dense/config.json': { out_features: 95 } };
  expect(await refused('embeddinggemma', wide)).toContain('in_features is 96, but 95');
  const both = { ...wide, '3_Dense/config.json': { in_features: 95 } };
  expect(await refused('embeddinggemma', both)).toContain('has shape [96, 64], not [95, 64]');
  const bias = { '2_Dense/config.json': { bias: true } };
  expect(await refused('embeddinggemma', bias)).toContain('pooled.0.bias is missing');
});

describe('limits of a text', () => {
  const SENTENCE = 'sentence_bert_config.json';
  const TOKENIZER = 'tokenizer_config.json';
  const limit = async (own: object, model_max_length: unknown = 512) =>
    (await poolingOf('bert-mean', { [SENTENCE]: own, [TOKENIZER]: { model_max_length } }))
      .maxSeqLength;

  it('are those of sentence-transformers, else of the tokenizer, at most the model’s', async () => {
    expect(await limit({ max_seq_length: 100 })).toBe(100);
    expect(await limit({ max_seq_length: null }, 90)).toBe(90);
    expect(await limit({ max_seq_length: 10_000 })).toBe(512);
    expect(await limit({ max_seq_length: null }, 1e30)).toBe(512);
    expect(await limit({ max_seq_length: null }, 'long')).toBeUndefined();
  });

  it('stand in a file that was called after the model’s kind', async () => {
    const folder = changed('xlmr-rank', {
      'sentence_xlm-roberta_config.json': { max_seq_length: 7 },
    });
    expect((await openCheckpoint(folder)).pooling.maxSeqLength).toBe(7);
  });

  it('come with settings of which those that are not known are refused', async () => {
    const lower = { [SENTENCE]: { do_lower_case: true } };
    expect((await poolingOf('bert-mean', lower)).maxSeqLength).toBe(256);
    expect(await refused('bert-cls', lower)).toContain('do_lower_case');
    const today = {
      ...{ transformer_task: 'feature-extraction', module_output_name: 'token_embeddings' },
      ...{ modality_config: { text: { method: 'forward' } }, processing_kwargs: {} },
    };
    expect((await poolingOf('bert-mean', { [SENTENCE]: today })).maxSeqLength).toBe(256);
    for (const [field, value] of Object.entries({
      ...{ transformer_task: 'fill-mask', module_output_name: 'pooler', of_tomorrow: 1 },
      ...{ max_seq_length: 0, do_lower_case: 'no' },
    })) {
      expect(await refused('bert-mean', { [SENTENCE]: { [field]: value } })).toContain(field);
    }
  });
});

describe('config_sentence_transformers.json', () => {
  const FILE = 'config_sentence_transformers.json';

  it.each([
    ['default_prompt_name', { default_prompt_name: 'none' }],
    ['prompts has no text at "query"', { prompts: { query: 5 } }],
    ['prompts must be an object', { prompts: [] }],
    ['"SparseEncoder"', { model_type: 'SparseEncoder' }],
    ['"of_tomorrow"', { of_tomorrow: 1 }],
    ['similarity_fn_name "euclidean" (known: cosine, dot', { similarity_fn_name: 'euclidean' }],
    ['similarity_fn_name "manhattan"', { similarity_fn_name: 'manhattan' }],
    ['similarity_fn_name "constructor"', { similarity_fn_name: 'constructor' }],
    ['similarity_fn_name is 1', { similarity_fn_name: 1 }],
    ['truncate_dim 32', { truncate_dim: 32 }],
    ['is damaged', '{'],
  ])('is refused with %s', async (named, change) => {
    expect(await refused('bert-cls', { [FILE]: change })).toContain(named);
  });

  it.each([
    ['cosine', 'cosine'],
    ['dot', 'dot'],
    ['dot_score', 'dot'],
    ['', 'cosine'],
    [null, 'cosine'],
  ])('says by %j what compares vectors', async (similarity_fn_name, similarity) => {
    const change = { similarity_fn_name, truncate_dim: null };
    expect(await poolingOf('bert-cls', { [FILE]: change })).toMatchObject({ similarity });
  });

  it('may say versions, what compares vectors, and what makes scores of logits', async () => {
    const said = { __version__: { pytorch: '2' }, similarity_fn_name: 'cosine' };
    const plain = await poolingOf('bert-cls', {
      [FILE]: { ...said, model_type: 'SentenceTransformer' },
    });
    expect(plain).toEqual(await poolingOf('bert-cls'));
    const activation_fn = 'torch.nn.modules.linear.Identity';
    const scorer = { model_type: 'CrossEncoder', activation_fn, prompts: {} };
    expect((await poolingOf('bert-rank', { [FILE]: scorer })).activation).toBe('none');
    const older = { sbert_ce_default_activation_function: activation_fn };
    expect((await poolingOf('bert-rank', { 'config.json': older })).activation).toBe('none');
  });
});

const PATHS: Readonly<Record<string, string>> = {
  ...{ Transformer: '', Pooling: '1_Pooling', Normalize: '2_Normalize', Dropout: '1_Dropout' },
};

it('behind a classification head has no modules that pool, whichever', async () => {
  const folder = changed('embeddinggemma', {
    'config.json': { architectures: ['Gemma3TextForSequenceClassification'], num_labels: 2 },
  });
  const sentence = 'a classification head beside modules that pool';
  expect((await refusal(openCheckpoint(folder))).message).toContain(sentence);
  const listed = (...kinds: string[]) => ({
    'modules.json': JSON.stringify(
      kinds.map((kind) => ({ type: `sentence_transformers.models.${kind}`, path: PATHS[kind] })),
    ),
  });
  const pooled = changed('bert-rank', listed('Transformer', 'Pooling', 'Normalize'));
  cpSync(join(CASES, 'bert-cls', '1_Pooling'), join(pooled, '1_Pooling'), { recursive: true });
  expect((await refusal(openCheckpoint(pooled))).message).toContain(sentence);
  expect(await poolingOf('bert-rank', listed('Transformer', 'Dropout'))).toMatchObject(ONE_LABEL);
});

it('of a model without a product with its vocabulary needs modules, or a class without one', async () => {
  const { spec, tensors } = await openCheckpoint(join(CASES, 'qwen3-embedding'));
  expect(spec.head).toBeUndefined();
  expect(tensors.some(({ name }) => name === 'layers.1.q_norm')).toBe(true);
  const folder = changed('qwen3-embedding', {});
  rmSync(join(folder, 'modules.json'));
  expect((await refusal(openCheckpoint(folder))).message).toContain('tensor for head is missing');
  write(folder, 'config.json', { ...configOf(folder), architectures: ['Qwen3Model'] });
  const { spec: bare, pooling } = await openCheckpoint(folder);
  expect(bare.head).toBeUndefined();
  expect(pooling).toMatchObject({ pooling: 'last', normalize: true, isDeclared: false });
});

describe('what the files say of texts and is not known', () => {
  const module = (type: string, path: string) => ({ idx: 0, name: '0', path, type });
  const LOGITS = JSON.stringify([
    module('sentence_transformers.base.modules.transformer.Transformer', ''),
    module('sentence_transformers.cross_encoder.modules.logit_score.LogitScore', '1_LogitScore'),
  ]);

  it('leaves a model that generates to generate, and is kept for who wants it to pool', async () => {
    const folder = changed('qwen3-reranker', { 'modules.json': LOGITS });
    const { pooling, spec } = await openCheckpoint(folder);
    expect(pooling).toMatchObject({
      isDeclared: true,
      refusal: expect.stringMatching(/LogitScore/),
    });
    expect(spec.head).toBeDefined();
    const setting = { 'config_sentence_transformers.json': { of_tomorrow: 1 } };
    const refused = { isDeclared: false, refusal: expect.stringContaining('"of_tomorrow"') };
    expect(await poolingOf('qwen3-reranker', setting)).toMatchObject(refused);
  });

  it('refuses one that cannot, and what is damaged', async () => {
    expect(await refused('qwen3-embedding', { 'modules.json': LOGITS })).toContain('LogitScore');
    expect(await refused('bert-cls', { 'modules.json': LOGITS })).toContain('LogitScore');
    expect(await refused('qwen3-reranker', { 'modules.json': '{' })).toContain('is damaged');
  });

  it('is told by the runner that pools', async () => {
    const model = changed('qwen3-reranker', { 'modules.json': LOGITS });
    const checkpoint = await openCheckpoint(model);
    for (const runner of ['auto', 'pooling', 'generate'] as const) {
      const config = engineConfig({ model, runner });
      expect(runnerOf(config, checkpoint)).toBe(runner === 'auto' ? 'pooling' : runner);
      const refused = /LogitScore.*; runner "generate" loads this model/;
      expect(() => planPooling(config, checkpoint, CPU)).toThrow(refused);
    }
  });
});
