import { expect, it } from 'vitest';
import {
  byLayer,
  ggufSpecOf,
  ggufSpecWith,
  settings,
  specOf,
  windowsOf,
} from '../../support/specs.js';

const sparse = (change: object) =>
  byLayer(specOf(settings('qwen3-moe', { num_hidden_layers: 6, ...change })), ({ experts }) =>
    Boolean(experts),
  );

it('has experts but in the layers that are named, or in each n-th', () => {
  expect(sparse({})).toEqual(Array(6).fill(true));
  expect(sparse({ decoder_sparse_step: 2 })).toEqual([false, true, false, true, false, true]);
  expect(sparse({ mlp_only_layers: [0, 3] })).toEqual([false, true, true, false, true, true]);
  for (const mlp_only_layers of [[99], [6], [-1], [1, 1], [0.5], 3, ['0']]) {
    expect(() => sparse({ mlp_only_layers })).toThrow(/mlp_only_layers .* layers from 0 to 5/);
  }
  const [dense, other] = specOf(settings('qwen3-moe', { mlp_only_layers: [0] })).layers;
  expect([dense.mlp.intermediateSize, other.mlp.intermediateSize]).toEqual([48, 0]);
});

it('divides weights by their sum if it is told to; as GGUF files do', async () => {
  const normalize = (spec: Awaited<ReturnType<typeof ggufSpecOf>>) =>
    spec.layers[0].experts?.router.normalize;
  expect(normalize(specOf(settings('qwen3-moe', { norm_topk_prob: undefined })))).toBe(false);
  expect(normalize(await ggufSpecOf('qwen3-moe'))).toBe(true);
  expect(normalize(await ggufSpecOf('qwen2-moe'))).toBe(false);
});

it('Qwen 2: a shared expert with a gate, every second of the lower layers slides', async () => {
  for (const spec of [specOf(settings('qwen2-moe')), await ggufSpecOf('qwen2-moe')]) {
    const [{ mlp, experts, attention }] = spec.layers;
    expect(mlp.intermediateSize).toBe(48);
    expect(experts).toMatchObject({ intermediateSize: 24, sharedGate: true });
    expect(attention!.biases).toEqual(['q', 'k', 'v']);
    expect(windowsOf(spec)).toEqual([0, 0]);
  }
  const change = {
    ...{ num_hidden_layers: 6, max_window_layers: 3, use_sliding_window: true },
    ...{ sliding_window: 9, layer_types: undefined },
  };
  expect(windowsOf(specOf(settings('qwen2-moe', change)))).toEqual([9, 0, 9, 0, 0, 0]);
});

// As files were before the keys of experts' sizes: llama.cpp reads them so.
it('shares out the size of a dense layer where a GGUF file names no other', () => {
  const keys = {
    ...{ 'attention.layer_norm_rms_epsilon': 1e-6, feed_forward_length: 5632 },
    ...{ expert_count: 60, expert_used_count: 4 },
  };
  const sizes = (architecture: string, more: object = {}) => {
    const [{ mlp, experts }] = ggufSpecWith(architecture, { ...keys, ...more }).layers;
    return [experts?.intermediateSize, mlp.intermediateSize];
  };
  expect(sizes('qwen2moe')).toEqual([1408, 5632]);
  expect(sizes('qwen2moe', { expert_feed_forward_length: 96 })).toEqual([96, 5632]);
  expect(sizes('qwen2moe', { expert_shared_feed_forward_length: 72 })).toEqual([1408, 72]);
  expect(sizes('qwen3moe')).toEqual([1408, 0]);
  expect(sizes('glm4moe', { expert_shared_count: 2 })).toEqual([1408, 2816]);
  const folder = settings('qwen3-moe', { moe_intermediate_size: null });
  expect(() => specOf(folder)).toThrow(/moe_intermediate_size/);
});
