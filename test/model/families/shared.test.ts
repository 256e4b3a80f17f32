import { describe, expect, it } from 'vitest';
import { Config } from '../../../lib/model/config.js';
import {
  biases,
  hiddenAct,
  layerNorm,
  layerTypes,
  rmsNorm,
  sizesOf,
  tiedHead,
  windowsOf,
} from '../../../lib/model/families/shared.js';
import { Fields } from '../../../lib/model/fields.js';
import { HIDDEN_ACTS, NORMS } from '../../../lib/native.js';

const TENSORS = {
  names: new Set(['output.weight']),
  vocabSize: 9,
  biases: new Set(['k', 'down']),
  shapes: new Map(),
  factors: new Map<string, Float32Array>(),
};
const HF = {
  vocab_size: 9,
  hidden_size: 64,
  intermediate_size: 80,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  max_position_embeddings: 128,
};
const GGUF = {
  embedding_length: 64,
  feed_forward_length: 80,
  block_count: 3,
  'attention.head_count': 4,
  context_length: 128,
};
const config = (fields: Fields, gguf = false) =>
  new Config(fields, fields, gguf ? TENSORS : undefined);
const hf = (values: object) => config(new Fields('c', values as Record<string, unknown>));
const gguf = (values: object) => config(new Fields('m', values as Record<string, unknown>), true);

describe('sizes', () => {
  it('are the same in both forms', () => {
    const all = { numHeads: 4, numKvHeads: 4, headSize: 16, intermediateSize: 80 };
    const sizes = { vocabSize: 9, hiddenSize: 64, maxPositionEmbeddings: 128 };
    expect(sizesOf(hf(HF))).toEqual({ ...sizes, layers: [all, all, all] });
    expect(sizesOf(gguf(GGUF))).toEqual({ ...sizes, layers: [all, all, all] });
  });

  it('may differ by layer', () => {
    const lists = {
      'attention.head_count_kv': Int32Array.of(4, 2, 1),
      feed_forward_length: Uint32Array.of(80, 40, 80),
    };
    const { layers } = sizesOf(gguf({ ...GGUF, ...lists }));
    expect(layers.map(({ numKvHeads }) => numKvHeads)).toEqual([4, 2, 1]);
    expect(layers.map(({ intermediateSize }) => intermediateSize)).toEqual([80, 40, 80]);
    const per_layer_config = { '2': { head_dim: 32, num_key_value_heads: 1 } };
    const [first, , last] = sizesOf(hf({ ...HF, per_layer_config })).layers;
    expect(first).toMatchObject({ headSize: 16, numKvHeads: 4 });
    expect(last).toMatchObject({ headSize: 32, numKvHeads: 1, intermediateSize: 80 });
  });

  it('count layers that draft apart, which GGUF files add to the others', () => {
    const drafting = gguf({ ...GGUF, nextn_predict_layers: 1 });
    expect(sizesOf(drafting).layers).toHaveLength(2);
    expect(sizesOf(hf({ ...HF, num_nextn_predict_layers: 1 })).layers).toHaveLength(3);
    expect(() => sizesOf(gguf({ ...GGUF, nextn_predict_layers: 3 }))).toThrow(/leaves no layer/);
  });

  it.each<[object, RegExp]>([
    [{ num_key_value_heads: 3 }, /num_key_value_heads \(3\) does not divide the 4/],
    [{ per_layer_config: { 1: { num_key_value_heads: 3 } } }, /\(3\) does not divide/],
    [{ per_layer_config: { 1: { experts: 3 } } }, /"experts" of one layer/],
    [{ per_layer_config: [] }, /per_layer_config must be an object/],
    [{ per_layer_config: { 3: { head_dim: 8 } } }, /per_layer_config\.3 is none of the 3 layers/],
    [{ per_layer_config: { '01': {} } }, /per_layer_config\.01 is none of the 3 layers/],
    [{ head_dim: 15 }, /head_dim is 15, which is odd/],
    [{ intermediate_size: [80, 80] }, /intermediate_size .* each of 3 layers/],
  ])('that are %j are refused', (change, why) => {
    expect(() => sizesOf(hf({ ...HF, ...change }))).toThrow(why);
  });
});

describe('windows', () => {
  const odd = (i: number) => i % 2 === 1;

  it('go by a list where there is one, else by the family', () => {
    const types = ['sliding_attention', 'full_attention', 'full_attention'];
    expect(windowsOf(hf({ sliding_window: 8 }), 3, odd)).toEqual([0, 8, 0]);
    expect(windowsOf(hf({ sliding_window: 8, layer_types: types }), 3, odd)).toEqual([8, 0, 0]);
    expect(windowsOf(hf({}), 3, odd)).toEqual([0, 0, 0]);
    const size = { 'attention.sliding_window': 8 };
    expect(windowsOf(gguf(size), 3, odd)).toEqual([0, 8, 0]);
    const pattern = (value: unknown) =>
      windowsOf(gguf({ ...size, 'attention.sliding_window_pattern': value }), 3, odd);
    expect(pattern(Uint8Array.of(1, 0, 1))).toEqual([8, 0, 8]);
    expect(pattern(2)).toEqual([8, 0, 8]);
    expect(windowsOf(gguf({ 'attention.sliding_window': 0 }), 3, odd)).toEqual([0, 0, 0]);
  });

  it('that cannot be are refused', () => {
    const list = (layer_types: unknown) => () => windowsOf(hf({ layer_types }), 2, odd);
    expect(list(['sliding_attention', 'full_attention'])).toThrow(/no sliding_window/);
    expect(list(['full_attention'])).toThrow(/each of the 2 layers/);
    expect(list(['full_attention', 'chunked_attention'])).toThrow(/"chunked_attention"/);
    expect(() => layerTypes(hf({ layer_types: 5 }).f, 1, [])).toThrow(/layer_types must be a list/);
    const short = { 'attention.sliding_window_pattern': Uint8Array.of(1) };
    expect(() => windowsOf(gguf(short), 2, odd)).toThrow(/sliding_window_pattern/);
  });
});

it('norms: 1 + w in Hugging Face files only', () => {
  expect(rmsNorm(hf({}), true)).toEqual({
    kind: NORMS.rms,
    eps: 1e-6,
    offset: true,
    weight: true,
    bias: false,
  });
  const eps = { 'attention.layer_norm_rms_epsilon': 1e-5 };
  expect(rmsNorm(gguf(eps), true)).toMatchObject({ eps: 1e-5, offset: false });
  expect(() => rmsNorm(gguf({}))).toThrow(/layer_norm_rms_epsilon/);
  expect(layerNorm(hf({ my_eps: 1e-3 }), 'my_eps')).toMatchObject({ eps: 1e-3, bias: true });
});

it('activations by their names', () => {
  const act = (hidden_act: string) => hiddenAct(hf({ hidden_act }), 'silu');
  expect([act('gelu_new'), act('gelu_fast'), act('gelu'), act('relu2')]).toEqual([
    ...[HIDDEN_ACTS.geluTanh, HIDDEN_ACTS.geluTanh, HIDDEN_ACTS.gelu, HIDDEN_ACTS.relu2],
  ]);
  expect(hiddenAct(gguf({ hidden_act: 'gelu' }), 'silu')).toBe(HIDDEN_ACTS.silu);
  expect(() => act('toString')).toThrow(/hidden_act "toString"/);
});

it('biases as the family says, of GGUF files as they show', () => {
  expect(biases(hf({}), ['q', 'k'], ['k', 'v'])).toEqual(['k']);
  expect([biases(hf({}), ['q', 'k'], true), biases(hf({}), ['q'], false)]).toEqual([
    ['q', 'k'],
    [],
  ]);
  expect(biases(gguf({}), ['q', 'k'], false)).toEqual(['k']);
});

it('a tied head: said outside before inside, in GGUF files by what is there', () => {
  const inner = (tie?: boolean) =>
    new Fields('c', tie === undefined ? {} : { tie_word_embeddings: tie });
  const tied = (outside?: boolean, inside?: boolean) =>
    tiedHead(new Config(inner(inside), inner(outside)));
  expect([tied(true, false), tied(undefined, true), tied(false, true), tied()]).toEqual([
    ...[true, true, false, false],
  ]);
  expect(tiedHead(gguf({}))).toBe(false);
});
