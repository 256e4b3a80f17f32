import { expect, it } from 'vitest';
import { NORMS } from '../../../lib/native.js';
import {
  byLayer,
  ggufSpecWith,
  ropesOf,
  type Settings,
  settings,
  specOf,
  windowsOf,
} from '../../support/specs.js';

it('sees chunks where it turns, all where it does not, and sharpens there', () => {
  const spec = specOf(settings('llama4'));
  expect(windowsOf(spec)).toEqual([32, 32, 32, 0]);
  expect(ropesOf(spec)).toEqual([0, 0, 0, -1]);
  expect(byLayer(spec, ({ attention }) => attention!.chunked)).toEqual([true, true, true, false]);
  const [turning, , , still] = byLayer(spec, ({ attention }) => attention);
  expect(turning!.qkNorm).toMatchObject({ kind: NORMS.rms, weight: false });
  expect(turning!.qkNormAfterRope).toBe(true);
  expect(still!.qkNorm.kind).toBe(NORMS.none);
  expect(still!.temperature).toEqual({ beta: 0.1, length: 32, offset: 1 });
  expect(turning!.temperature.beta).toBe(0);
});

it('has experts by list or by step, weighing what goes in', () => {
  const sparse = (change: Settings) =>
    byLayer(specOf(settings('llama4', change)), ({ experts }) => Boolean(experts));
  expect(sparse({})).toEqual([false, true, false, true]);
  expect(sparse({ moe_layers: undefined })).toEqual([false, true, false, true]);
  expect(sparse({ moe_layers: [0] })).toEqual([true, false, false, false]);
  expect(() => sparse({ moe_layers: [4] })).toThrow(/moe_layers .* layers from 0 to 3/);
  const [dense, shared] = specOf(settings('llama4')).layers;
  expect([dense.mlp.intermediateSize, shared.mlp.intermediateSize]).toEqual([136, 56]);
  expect(shared.experts).toMatchObject({ topK: 1, scalesInput: true });
});

it('says by switches what it leaves', () => {
  const change = {
    ...{ attention_chunk_size: null, attn_temperature_tuning: false, use_qk_norm: false },
    ...{ no_rope_layers: [], no_rope_layer_interval: 2, layer_types: undefined },
  };
  const spec = specOf(settings('llama4', change));
  expect(windowsOf(spec)).toEqual([0, 0, 0, 0]);
  expect(ropesOf(spec)).toEqual([0, -1, 0, -1]);
  for (const { attention } of spec.layers) {
    expect([attention!.temperature.beta, attention!.qkNorm.kind]).toEqual([0, NORMS.none]);
  }
  const inside = { model_type: 'llama4', text_config: settings('llama4'), vision_config: {} };
  expect(specOf(inside).layers).toEqual(specOf(settings('llama4')).layers);
});

it('of a GGUF file has chunks of 8,192, or none and turns everywhere', () => {
  const keys = {
    ...{ 'attention.layer_norm_rms_epsilon': 1e-5, interleave_moe_layer_step: 2 },
    ...{ expert_count: 16, expert_used_count: 1, expert_feed_forward_length: 24 },
  };
  const spec = ggufSpecWith('llama4', keys);
  expect([windowsOf(spec), ropesOf(spec)]).toEqual([
    [8192, 8192, 8192, 0],
    [0, 0, 0, -1],
  ]);
  expect(spec.layers[3].attention!.temperature).toEqual({ beta: 0.1, length: 8192, offset: 1 });
  expect(byLayer(spec, ({ mlp, experts }) => [mlp.intermediateSize, experts?.numExperts])).toEqual([
    ...[
      [48, undefined],
      [24, 16],
      [48, undefined],
      [24, 16],
    ],
  ]);
  expect(spec.layers[0].attention!.qkNorm.kind).toBe(NORMS.rms);
  const many = ggufSpecWith('llama4', { ...keys, expert_count: 128 });
  expect(many.layers[0].attention!.qkNorm.kind).toBe(NORMS.none);
  const plain = ggufSpecWith('llama4', { ...keys, 'attention.sliding_window': 0 });
  expect([windowsOf(plain), ropesOf(plain)]).toEqual([Array(4).fill(0), Array(4).fill(0)]);
});
