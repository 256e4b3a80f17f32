import { expect, it } from 'vitest';
import { placeOf } from '../../../lib/model/names.js';
import { hfSpec } from '../../../lib/model/read-spec.js';
import { BRANCHES, HIDDEN_ACTS, NORMS } from '../../../lib/native.js';
import {
  byLayer,
  ggufSpecWith,
  ropesOf,
  type Settings,
  specOf,
  windowsOf,
} from '../../support/specs.js';

const OLD: Settings = {
  ...{ model_type: 'modernbert', architectures: ['ModernBertModel'] },
  ...{ vocab_size: 30, hidden_size: 64, intermediate_size: 80, num_hidden_layers: 5 },
  ...{ num_attention_heads: 4, max_position_embeddings: 40, local_attention: 16 },
  ...{ global_rope_theta: 160_000, local_rope_theta: 10_000, global_attn_every_n_layers: 3 },
};
const rank = (more: Settings = {}) =>
  hfSpec(
    { ...OLD, architectures: ['ModernBertForSequenceClassification'], num_labels: 1, ...more },
    'c',
  );

it('sees all in each third layer from the first on, else half of its window to either side', () => {
  const spec = specOf(OLD);
  expect(windowsOf(spec)).toEqual([0, 9, 9, 0, 9]);
  expect(ropesOf(spec)).toEqual([0, 1, 1, 0, 1]);
  expect(byLayer(spec, ({ attention }) => attention!.causal)).not.toContain(true);
  const [full, sliding] = spec.ropes.map(({ inverseFrequencies: f }) => f[f.length - 1]);
  expect(full).toBeCloseTo(160_000 ** (-14 / 16), 9);
  expect(sliding).toBeCloseTo(10_000 ** (-14 / 16), 9);
  expect(specOf({ ...OLD, local_rope_theta: null }).ropes[1]).toEqual(spec.ropes[0]);
});

it('is read in both spellings, and with nothing but its sizes', () => {
  const NEW = {
    ...{ global_rope_theta: undefined, local_rope_theta: undefined },
    ...{ global_attn_every_n_layers: undefined },
    layer_types: [0, 1, 1, 0, 1].map((i) => ['full_attention', 'sliding_attention'][i]),
    rope_parameters: {
      full_attention: { rope_theta: 160_000, rope_type: 'default' },
      sliding_attention: { rope_theta: 10_000, rope_type: 'default' },
    },
  };
  expect(specOf({ ...OLD, ...NEW })).toEqual(specOf(OLD));
  const bare = { ...NEW, layer_types: undefined, rope_parameters: undefined };
  expect(specOf({ ...OLD, ...bare })).toEqual(specOf(OLD));
  const wide = specOf({ ...OLD, local_attention: undefined, max_position_embeddings: undefined });
  expect(wide.maxPositionEmbeddings).toBe(8192);
  expect(windowsOf(wide)[1]).toBe(65);
});

it('normalises before its branches, but in the first layer reads the embedding as it is', () => {
  const spec = specOf(OLD);
  const norm = { kind: NORMS.layer, eps: 1e-5, offset: false, weight: true, bias: false };
  expect(spec.embedding.norm).toEqual(norm);
  expect(spec.finalNorm).toEqual(norm);
  expect(spec.head).toBeUndefined();
  expect(byLayer(spec, ({ attnNorm }) => attnNorm.kind)).toEqual([0, 2, 2, 2, 2]);
  expect(spec.layers[0]).toMatchObject({ branches: BRANCHES.serial, mlpNorm: norm });
  expect(spec.layers[0].mlp).toMatchObject({
    gated: true,
    hiddenAct: HIDDEN_ACTS.gelu,
    biases: [],
  });
});

it('classifies behind a layer and its norm', () => {
  const { spec, pooling, names } = rank();
  expect(pooling).toBe('cls');
  expect(spec.pooler?.layers).toMatchObject([
    { outSize: 64, bias: false, act: HIDDEN_ACTS.gelu, norm: { kind: NORMS.layer } },
    { outSize: 1, bias: true, norm: { kind: NORMS.none } },
  ]);
  expect(placeOf('head.norm.weight', names)?.names).toEqual(['pooled.0.norm']);
  expect(rank({ classifier_pooling: 'mean' }).pooling).toBe('mean');
  expect(() => rank({ classifier_pooling: 'max' })).toThrow(/classifier_pooling "max"/);
  expect(rank({ classifier_bias: true }).spec.pooler?.layers[0].bias).toBe(true);
});

it('passes over the head of masked words', () => {
  const { names } = hfSpec({ ...OLD, architectures: ['ModernBertForMaskedLM'] }, 'c');
  for (const name of ['head.dense.weight', 'head.norm.weight', 'decoder.bias']) {
    expect(placeOf(name, names)?.names).toEqual([]);
  }
  expect(placeOf('model.layers.1.mlp.Wi.weight', names)?.names).toEqual([
    'layers.1.gate',
    'layers.1.up',
  ]);
});

it('refuses settings that it does not know, by name', () => {
  expect(() => specOf({ ...OLD, rope_scaling: { type: 'yarn' } })).toThrow(/"rope_scaling"/);
  expect(() => specOf({ ...OLD, num_experts: 8 })).toThrow(/"num_experts"/);
});

it('has a GGUF form', () => {
  const keys = {
    ...{ 'attention.layer_norm_epsilon': 1e-5, 'attention.sliding_window': 16, pooling_type: 4 },
    ...{ 'rope.freq_base': 160_000, 'rope.freq_base_swa': 10_000, 'rope.scaling.type': 'none' },
    ...{ 'attention.sliding_window_pattern': 3, 'attention.head_count_kv': 2 },
  };
  const head = { 'cls.weight': [64, 64], 'cls.norm.weight': [64], 'cls.output.weight': [64] };
  const spec = ggufSpecWith('modern-bert', keys, head);
  expect(windowsOf(spec)).toEqual([0, 9, 9, 0]);
  expect(spec.pooler?.layers).toMatchObject([
    { outSize: 64, bias: false, act: HIDDEN_ACTS.gelu, norm: { kind: NORMS.layer } },
    { outSize: 1, bias: false },
  ]);
  const { 'cls.norm.weight': _, ...without } = head;
  const plain = ggufSpecWith('modern-bert', keys, without);
  expect(plain.pooler?.layers[0].norm.kind).toBe(NORMS.none);
  const causal = { ...keys, pooling_type: 1, 'attention.causal': true };
  expect(() => ggufSpecWith('modern-bert', causal)).toThrow(/causal/);
});
