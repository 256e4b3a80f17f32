import { expect, it } from 'vitest';
import type { Config } from '../../../lib/model/config.js';
import { gemma4Names } from '../../../lib/model/families/shared-gemma4.js';
import { placeOf } from '../../../lib/model/names.js';
import type { NativeExperts } from '../../../lib/native.js';

const parts = { experts: { numExperts: 2 } as NativeExperts, shared: [undefined, undefined, 0] };
const hf = gemma4Names({} as Config, 3, parts);
const gguf = gemma4Names({ gguf: {} } as Config, 3, parts);
const names = (stored: string, table = hf) => placeOf(stored, table)?.names;

it('shares out one projection among the layers, and one table', () => {
  const projections = [0, 1, 2].map((i) => `layers.${i}.input_proj`);
  expect(names('model.per_layer_model_projection.weight')).toEqual(projections);
  expect(names('per_layer_model_proj.weight', gguf)).toEqual(projections);
  expect(placeOf('model.embed_tokens_per_layer.weight', hf)).toEqual({
    names: ['layer_inputs'],
    flat: true,
  });
});

it('knows norms and scales by what they are of', () => {
  expect(names('model.layers.1.layer_scalar')).toEqual(['layers.1.scale']);
  expect(names('blk.1.layer_output_scale.weight', gguf)).toEqual(['layers.1.scale']);
  expect(names('model.layers.1.router.scale')).toEqual(['layers.1.router_norm']);
  expect(names('blk.1.ffn_gate_inp.scale', gguf)).toEqual(['layers.1.router_norm']);
  expect(names('model.layers.0.experts.1.up_proj.weight')).toEqual(['layers.0.experts.1.up']);
  expect(names('model.layers.0.experts.down_proj')).toHaveLength(2);
});

it('passes over K and V of layers that read those of others', () => {
  expect(names('model.layers.2.self_attn.k_proj.weight')).toEqual([]);
  expect(names('blk.2.attn_k_norm.weight', gguf)).toEqual([]);
  expect(names('model.layers.1.self_attn.k_proj.weight')).toEqual(['layers.1.k']);
  expect(names('model.layers.2.self_attn.q_proj.weight')).toEqual(['layers.2.q']);
  expect(names('rope_freqs.weight', gguf)).toEqual([]);
  const none = gemma4Names({} as Config, 1, { experts: undefined, shared: [undefined] });
  expect(names('model.layers.0.self_attn.v_proj.weight', none)).toEqual(['layers.0.v']);
});
