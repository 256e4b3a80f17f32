import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readGguf } from '../../../lib/model/gguf.js';
import { ggufSpec } from '../../../lib/model/read-spec.js';
import { NORMS } from '../../../lib/native.js';
import { ROOT } from '../../support/addon.js';
import {
  ggufSpecOf,
  ggufSpecWith,
  ropesOf,
  settings,
  specOf,
  windowsOf,
} from '../../support/specs.js';

const OLD = {
  dtype: undefined,
  torch_dtype: 'bfloat16',
  rope_parameters: undefined,
  layer_types: undefined,
  rope_theta: 1_000_000,
  rope_scaling: { rope_type: 'linear', factor: 8 },
  rope_local_base_freq: 10_000,
  _sliding_window_pattern: undefined,
  sliding_window_pattern: 3,
};

it('slides by its list or its pattern, sliding layers with a rope of their own', async () => {
  const spec = specOf(settings('gemma3'));
  expect(windowsOf(spec)).toEqual([20, 20, 0, 20]);
  expect(ropesOf(spec)).toEqual([1, 1, 0, 1]);
  expect(spec.ropes[0].inverseFrequencies[0]).toBe(1 / 8);
  expect(spec.ropes[1].inverseFrequencies[0]).toBe(1);
  expect(spec.ropes[1].inverseFrequencies[1]).toBeCloseTo(10_000 ** (-2 / 64), 6);
  const six = specOf(settings('gemma3', { layer_types: undefined, num_hidden_layers: 12 }));
  expect(ropesOf(six).flatMap((rope, i) => (rope === 0 ? [i] : []))).toEqual([5, 11]);
  const gguf = await ggufSpecOf('gemma3');
  expect(ropesOf(gguf)).toEqual([1, 1, 1, 1, 1, 0]);
  expect(gguf.ropes.map((rope) => rope.inverseFrequencies[0])).toEqual([1 / 8, 1]);
});

it('is read in both spellings', () => {
  expect(specOf(settings('gemma3', OLD))).toEqual(specOf(settings('gemma3')));
});

it('normalises q and k, and caps nothing', () => {
  const { layers, head } = specOf(settings('gemma3'));
  expect(layers[0].attention!.qkNorm).toMatchObject({ kind: NORMS.rms, offset: true });
  expect([layers[0].attention!.softcap, head?.softcap]).toEqual([0, 0]);
});

// As google/gemma-3-4b-it has it: all else is the class's default.
it('may stand inside a model that sees, with next to no settings', () => {
  const spec = specOf({
    architectures: ['Gemma3ForConditionalGeneration'],
    boi_token_index: 255_999,
    eoi_token_index: 256_000,
    eos_token_id: [1, 106],
    image_token_index: 262_144,
    initializer_range: 0.02,
    mm_tokens_per_image: 256,
    model_type: 'gemma3',
    text_config: {
      hidden_size: 2560,
      intermediate_size: 10_240,
      model_type: 'gemma3_text',
      num_hidden_layers: 34,
      rope_scaling: { factor: 8, rope_type: 'linear' },
      sliding_window: 1024,
    },
    torch_dtype: 'bfloat16',
    transformers_version: '4.50.0.dev0',
    vision_config: { hidden_size: 1152, model_type: 'siglip_vision_model' },
  });
  expect(spec).toMatchObject({
    architecture: 'gemma3_text',
    vocabSize: 262_208,
    maxPositionEmbeddings: 131_072,
    eosTokenIds: [1, 106],
    embedding: { scale: 50.5 },
    head: { tied: true, softcap: 0 },
  });
  expect(spec.layers[0].attention).toMatchObject({
    ...{ numHeads: 8, numKvHeads: 4, headSize: 256, scale: 1 / 16, window: 1024, rope: 1 },
  });
  expect(ropesOf(spec).filter((rope) => rope === 0)).toHaveLength(5);
});

it('without a window is refused', () => {
  expect(() => specOf(settings('gemma3', { sliding_window: null }))).toThrow(/sliding_window/);
});

it('turns the same part of each head in all layers of a GGUF file', async () => {
  const path = join(ROOT, 'test/fixtures/gguf/gemma3.gguf');
  const { metadata, tensors } = await readGguf(path);
  const changed = new Map(metadata).set('gemma3.rope.dimension_count', 8);
  const stored = {
    names: new Set(tensors.map(({ name }) => name)),
    ...{
      vocabSize: 320,
      biases: new Set<string>(),
      shapes: new Map(),
      factors: new Map<string, Float32Array>(),
    },
  };
  const read = (keys: typeof metadata) =>
    ggufSpec(keys, path, stored, { bosTokenId: undefined, eosTokenIds: [] }).spec;
  expect(read(changed).ropes.map((rope) => rope.inverseFrequencies.length)).toEqual([4, 4]);
  expect(() => read(new Map(metadata).set('gemma3.sliding_window_pattern', 2))).toThrow(
    /"gemma3\.sliding_window_pattern"/,
  );
});

it('is EmbeddingGemma where it looks both ways: half of its window to either side', async () => {
  const spec = specOf(settings('gemma3', { use_bidirectional_attention: true }));
  expect(windowsOf(spec)).toEqual([11, 11, 0, 11]);
  expect(spec.layers.some(({ attention }) => attention!.causal)).toBe(false);
  expect(spec.head).toBeUndefined();
  const keys = {
    ...{ 'attention.layer_norm_rms_epsilon': 1e-6, 'attention.sliding_window': 16 },
    ...{ pooling_type: 1, dense_2_feat_in: 64, dense_2_feat_out: 96 },
    ...{ dense_3_feat_in: 96, dense_3_feat_out: 32, block_count: 6 },
  };
  const gguf = ggufSpecWith('gemma-embedding', keys, ['dense_2.weight', 'dense_3.weight']);
  expect(windowsOf(gguf)).toEqual([9, 9, 9, 9, 9, 0]);
  expect(gguf.pooler?.layers).toMatchObject([{ outSize: 96 }, { outSize: 32 }]);
  expect(gguf.head).toBeUndefined();
  expect(ggufSpecWith('gemma-embedding', keys).pooler).toBeUndefined();
  const wrong = { ...keys, dense_2_feat_in: 63 };
  expect(() => ggufSpecWith('gemma-embedding', wrong, ['dense_2.weight'])).toThrow(
    /dense_2_feat_in/,
  );
  const causal = { ...keys, 'attention.causal': true };
  expect(() => ggufSpecWith('gemma-embedding', causal)).toThrow(/causal/);
});
