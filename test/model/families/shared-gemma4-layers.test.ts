import { expect, it } from 'vitest';
import type { ModelSpec } from '../../../lib/model/spec.js';
import { byLayer, ggufSpecOf, type Settings, settings, specOf } from '../../support/specs.js';

const headSizes = (spec: ModelSpec) => byLayer(spec, ({ attention }) => attention!.headSize);
const kvHeads = (spec: ModelSpec) => byLayer(spec, ({ attention }) => attention!.numKvHeads);
const kvLayers = (spec: ModelSpec) => byLayer(spec, ({ attention }) => attention!.kvLayer);
const ffns = (spec: ModelSpec) => byLayer(spec, ({ mlp }) => mlp.intermediateSize);
const text = settings('gemma4-ple').text_config as Settings;

it('counts heads of its own for layers that see all only where their values are keys', () => {
  const own = { num_attention_heads: 4, num_global_key_value_heads: 4 };
  expect(kvHeads(specOf(settings('gemma4-kv', own)))).toEqual([2, 2, 4]);
  const apart = { ...own, attention_k_eq_v: false };
  expect(kvHeads(specOf(settings('gemma4-kv', apart)))).toEqual([2, 2, 2]);
  const odd = { num_global_key_value_heads: 3 };
  expect(() => specOf(settings('gemma4-kv', odd))).toThrow('does not divide the 4 query heads');
});

it('is read where sizes are named by layer, and where they are named once for such layers', () => {
  const named = { per_layer_config: { 2: { head_dim: 64, num_key_value_heads: 1 } } };
  const gone = { global_head_dim: undefined, num_global_key_value_heads: undefined };
  expect(specOf(settings('gemma4-kv', { ...named, ...gone }))).toEqual(
    specOf(settings('gemma4-kv')),
  );
  const usual = { head_dim: undefined, global_head_dim: undefined, rope_parameters: undefined };
  const spec = specOf(settings('gemma4-kv', usual));
  expect(headSizes(spec)).toEqual([256, 256, 512]);
  expect(spec.ropes.map((rope) => rope.inverseFrequencies.length)).toEqual([256, 128]);
});

it('turns a quarter of the pairs where it sees all, as if all turned', async () => {
  const { ropes } = specOf(settings('gemma4-kv'));
  const [all, sliding] = ropes.map((rope) => [...rope.inverseFrequencies]);
  expect(all.length).toBe(32);
  expect(all.slice(8).every((f) => f === 0)).toBe(true);
  expect(all[7]).toBeCloseTo(1e6 ** (-14 / 64), 8);
  expect([sliding.length, sliding[15]]).toEqual([16, Math.fround(1e4 ** (-30 / 32))]);
  const gguf = await ggufSpecOf('gemma4-kv');
  gguf.ropes[0].inverseFrequencies.forEach((f, i) => void expect(f).toBeCloseTo(all[i], 8));
  expect([...gguf.ropes[1].inverseFrequencies]).toEqual(sliding);
});

it('has its last layers read the KV of the last before them that look as far', async () => {
  const spec = specOf(settings('gemma4-ple'));
  expect(kvLayers(spec)).toEqual([...Array(5).fill(undefined), 2, 4, 2]);
  expect(ffns(spec)).toEqual([136, 136, 136, 136, 136, 272, 272, 272]);
  const gguf = await ggufSpecOf('gemma4-ple');
  expect(kvLayers(gguf)).toEqual([undefined, undefined, 0, 0, 1]);
  const shared = (n: number) => ({ ...text, num_kv_shared_layers: n });
  for (const n of [6, 8, 9]) {
    expect(() => specOf(shared(n)), `${n} shared`).toThrow('num_kv_shared_layers');
  }
  const other = { 2: { head_dim: 64 }, 5: { head_dim: 32 }, 7: { head_dim: 64 } };
  expect(() => specOf({ ...text, per_layer_config: other })).toThrow(
    'layer 5 read the KV of layer 2, whose heads are others',
  );
});
