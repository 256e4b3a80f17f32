import { mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readModules } from '../../lib/model/modules.js';
import { HIDDEN_ACTS } from '../../lib/native.js';
import { refusal, safetensorsFile, temporaryFolder, write } from '../support/write-model.js';

const ALL = temporaryFolder();
const OLD = 'sentence_transformers.models.';
const PARTS = { Transformer: '', Pooling: '1_Pooling', Dense: '2_Dense', Normalize: '3_Normalize' };
const MEAN = { word_embedding_dimension: 8, pooling_mode_mean_tokens: true };
const DENSE = {
  ...{ in_features: 8, out_features: 6, bias: true },
  activation_function: 'torch.nn.modules.activation.Tanh',
};

interface Parts {
  readonly list?: unknown;
  readonly pooling?: object | string;
  readonly dense?: object;
  /** Whatever is in place of Tensors of Dense. */
  readonly weights?: Buffer;
}

const module = (type: string, path: unknown = '') => ({ idx: 0, name: '0', path, type });
const usual = (...kinds: (keyof typeof PARTS)[]) =>
  kinds.map((kind) => module(OLD + kind, PARTS[kind]));

function denseWeights(rows = 6, cols = 8): Buffer {
  const bytes = rows * cols * 4;
  const header = {
    'linear.weight': { dtype: 'F32', shape: [rows, cols], data_offsets: [0, bytes] },
    'linear.bias': { dtype: 'F32', shape: [rows], data_offsets: [bytes, bytes + rows * 4] },
  };
  return safetensorsFile(header, bytes + rows * 4);
}

function modules({ list, pooling = MEAN, dense = DENSE, weights = denseWeights() }: Parts = {}) {
  const folder = mkdtempSync(join(ALL, 'case-'));
  write(folder, 'modules.json', JSON.stringify(list ?? usual('Transformer', 'Pooling')));
  mkdirSync(join(folder, '1_Pooling'));
  mkdirSync(join(folder, '2_Dense'));
  write(join(folder, '1_Pooling'), 'config.json', pooling);
  write(join(folder, '2_Dense'), 'config.json', dense);
  write(join(folder, '2_Dense'), 'model.safetensors', weights);
  return readModules(folder, ['modules.json'], 8);
}

const refused = async (parts: Parts) => (await refusal(modules(parts))).message;

it('is undefined where there is no modules.json', async () => {
  expect(await readModules(ALL, ['config.json'], 8)).toBeUndefined();
});

it('are known by their class, wherever a version has it', async () => {
  const newer = [
    module('sentence_transformers.base.modules.transformer.Transformer'),
    module('sentence_transformers.sentence_transformer.modules.pooling.Pooling', '1_Pooling'),
    module('sentence_transformers.base.modules.normalize.Normalize', '2_Normalize'),
  ];
  const pooling = { embedding_dimension: 8, pooling_mode: 'mean', include_prompt: true };
  const want = { pooling: 'mean', dense: [], normalize: true };
  expect(await modules({ list: newer, pooling })).toEqual(want);
  expect(await modules({ list: usual('Transformer', 'Pooling', 'Normalize') })).toEqual(want);
  const dropout = [...usual('Transformer', 'Pooling'), module(`${OLD}Dropout`, '2_Dropout')];
  expect(await modules({ list: dropout })).toMatchObject({ normalize: false });
});

it('may leave the pooling to a head of the model', async () => {
  const list = usual('Transformer');
  expect(await modules({ list })).toEqual({ pooling: undefined, dense: [], normalize: false });
});

describe('Pooling', () => {
  it.each([
    ['pooling_mode_cls_token', 'cls'],
    ['pooling_mode_mean_tokens', 'mean'],
    ['pooling_mode_lasttoken', 'last'],
  ])('takes %s for %s', async (name, want) => {
    const all = { pooling_mode_mean_tokens: false, pooling_mode_max_tokens: false };
    const pooling = { word_embedding_dimension: 8, ...all, [name]: true, include_prompt: true };
    expect((await modules({ pooling }))?.pooling).toBe(want);
  });

  it.each([
    ['"max"', { pooling_mode_max_tokens: true }],
    ['mean_sqrt_len_tokens', { pooling_mode_mean_sqrt_len_tokens: true }],
    ['weightedmean', { pooling_mode_weightedmean_tokens: true }],
    ['several ways (cls, mean)', { pooling_mode_cls_token: true, pooling_mode_mean_tokens: true }],
    ['several ways (cls, mean)', { pooling_mode: ['cls', 'mean'] }],
    ['without a mode', { pooling_mode_mean_tokens: false }],
    ['"constructor"', { pooling_mode: 'constructor' }],
    ['include_prompt', { ...MEAN, include_prompt: false }],
    ['"pooling_of_tomorrow"', { ...MEAN, pooling_of_tomorrow: 1 }],
    ['word_embedding_dimension is 9', { ...MEAN, word_embedding_dimension: 9 }],
    ['pooling_mode_mean_tokens', { pooling_mode_mean_tokens: 'yes' }],
    ['is damaged', '{'],
  ])('refuses with %s', async (named, pooling) => {
    expect(await refused({ pooling })).toContain(named);
  });
});

describe('Dense', () => {
  const list = usual('Transformer', 'Pooling', 'Dense', 'Normalize');

  it('brings a layer and tensors of its own', async () => {
    const read = await modules({ list });
    expect(read?.dense).toHaveLength(1);
    const [{ layer, tensor, found, file }] = read!.dense;
    expect(layer).toMatchObject({ outSize: 6, bias: true, act: HIDDEN_ACTS.tanh });
    expect(found.map(({ name }) => name)).toEqual(['2_Dense.linear.weight', '2_Dense.linear.bias']);
    expect(tensor).toBe('2_Dense.linear');
    expect(readFileSync(file).length).toBeGreaterThan(100);
  });

  it.each([
    ['torch.nn.modules.linear.Identity', undefined],
    ['torch.nn.modules.activation.GELU', HIDDEN_ACTS.gelu],
    ['torch.nn.modules.activation.SiLU', HIDDEN_ACTS.silu],
    ['torch.nn.modules.activation.Sigmoid', HIDDEN_ACTS.sigmoid],
  ])('may have the activation %s', async (activation_function, act) => {
    const read = await modules({ list, dense: { ...DENSE, activation_function } });
    expect(read?.dense[0].layer.act).toBe(act);
  });

  it.each([
    ['activation_function "torch.nn.modules.activation.ReLU"', 'torch.nn.modules.activation.ReLU'],
    ['activation_function "evil.Tanh"', 'evil.Tanh'],
  ])('refuses %s', async (named, activation_function) => {
    expect(await refused({ list, dense: { ...DENSE, activation_function } })).toContain(named);
  });

  it.each([
    ['in_features is 9', { ...DENSE, in_features: 9 }],
    ['out_features', { ...DENSE, out_features: 0 }],
    ['"use_residual"', { ...DENSE, use_residual: true }],
    ['module_input_name "token_embeddings"', { ...DENSE, module_input_name: 'token_embeddings' }],
  ])('refuses with %s', async (named, dense) => {
    expect(await refused({ list, dense })).toContain(named);
  });

  it('must fit what stands before it', async () => {
    const twice = [...usual('Transformer', 'Pooling', 'Dense'), module(`${OLD}Dense`, '2_Dense')];
    expect(await refused({ list: twice })).toContain('in_features is 8, but 6 values come in');
  });

  it('with damaged weights is refused', async () => {
    expect(await refused({ list, weights: Buffer.from('none') })).toMatch(/2_Dense.*too short/);
  });
});

it.each<[string, unknown]>([
  ['custom_st.Transformer', [module('custom_st.Transformer')]],
  ['WordEmbeddings', [module(`${OLD}WordEmbeddings`)]],
  ['"LSTM"', [...usual('Transformer'), module(`${OLD}LSTM`, '1')]],
  ['order Pooling, Transformer', usual('Pooling', 'Transformer')],
  ['order Transformer, Dense', usual('Transformer', 'Dense')],
  ['order', usual('Transformer', 'Pooling', 'Normalize', 'Dense')],
  ['order', usual('Transformer', 'Pooling', 'Pooling')],
  ['order', []],
  ['no folder', [...usual('Transformer'), module(`${OLD}Pooling`, '../1_Pooling')]],
  ['no folder', [...usual('Transformer'), module(`${OLD}Pooling`, '..')]],
  ['no folder', [...usual('Transformer'), module(`${OLD}Pooling`, 5)]],
  ['"0_Transformer"', [module(`${OLD}Transformer`, '0_Transformer')]],
  ['module 0', [null]],
  ['undefined', [{}]],
  ['must be a list', {}],
])('refuses %s', async (named, list) => {
  const { code, message } = await refusal(modules({ list }));
  expect(code).toMatch(/^ERR_MODEL_(FORMAT|UNSUPPORTED)$/);
  expect(message).toContain(named);
  expect(message).toContain('modules.json');
});

it('whose folder is missing are refused by its name', async () => {
  const list = [...usual('Transformer'), module(`${OLD}Pooling`, '9_Pooling')];
  const { code, message } = await refusal(modules({ list }));
  expect([code, message]).toEqual(['ERR_MODEL_NOT_FOUND', expect.stringContaining('9_Pooling')]);
});
