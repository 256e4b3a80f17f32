import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openCheckpoint } from '../../../lib/model/checkpoint.js';
import type { ModelSpec } from '../../../lib/model/spec.js';
import { NORMS } from '../../../lib/native.js';
import { ROOT } from '../../support/addon.js';
import {
  byLayer,
  ggufSpecOf,
  ggufSpecWith,
  ropesOf,
  type Settings,
  settings,
  specOf,
  windowsOf,
} from '../../support/specs.js';

const headSizes = (spec: ModelSpec) => byLayer(spec, ({ attention }) => attention!.headSize);
const kvHeads = (spec: ModelSpec) => byLayer(spec, ({ attention }) => attention!.numKvHeads);
const valuesAreKeys = (spec: ModelSpec) => byLayer(spec, ({ attention: a }) => a!.valueIsKey);
const text = settings('gemma4-ple').text_config as Settings;

it('has other heads in layers that see all, whose values may be their keys', async () => {
  const spec = specOf(settings('gemma4-kv'));
  expect(windowsOf(spec)).toEqual([20, 20, 0]);
  expect(ropesOf(spec)).toEqual([1, 1, 0]);
  expect([headSizes(spec), kvHeads(spec)]).toEqual([
    [32, 32, 64],
    [2, 2, 1],
  ]);
  expect(valuesAreKeys(spec)).toEqual([undefined, undefined, true]);
  const { vNorm, scale, qkNorm } = spec.layers[0].attention!;
  expect(vNorm).toMatchObject({ kind: NORMS.rms, weight: false });
  expect(qkNorm).toMatchObject({ kind: NORMS.rms, weight: true, offset: false });
  expect([scale, spec.layers[0].scaled, spec.head?.softcap]).toEqual([1, true, 30]);
  const gguf = await ggufSpecOf('gemma4-kv');
  expect([headSizes(gguf), kvHeads(gguf)]).toEqual([headSizes(spec), kvHeads(spec)]);
  expect(valuesAreKeys(gguf)).toEqual(valuesAreKeys(spec));
});

it('is unified as well: nested, with windows of 1,024 where none are said, without tables', () => {
  const { sliding_window, hidden_size_per_layer_input, ...rest } = settings('gemma4-kv');
  expect([sliding_window, hidden_size_per_layer_input]).toEqual([20, 0]);
  const inner = {
    ...rest,
    model_type: 'gemma4_unified_text',
    use_bidirectional_attention: 'vision',
  };
  const spec = specOf({ model_type: 'gemma4_unified', text_config: inner });
  expect(windowsOf(spec)).toEqual([1024, 1024, 0]);
  expect(spec.layerInputs).toBeUndefined();
  const { architecture, ...said } = specOf({ ...inner, sliding_window: 20 });
  expect(architecture).toBe('gemma4_unified_text');
  expect(specOf(settings('gemma4-kv'))).toMatchObject(said);
});

it('caps its logits where a GGUF file does not say it, not where config.json does not', () => {
  const keys = { 'attention.layer_norm_rms_epsilon': 1e-6, 'attention.sliding_window': 20 };
  expect(ggufSpecWith('gemma4', keys).head?.softcap).toBe(30);
  expect(ggufSpecWith('gemma4', keys).layers[0].scaled).toBeUndefined();
  const none = { final_logit_softcapping: null };
  expect(specOf(settings('gemma4-kv', none)).head?.softcap).toBe(0);
});

it('sees all in its last layer, whatever a list says', () => {
  const types = ['full_attention', 'sliding_attention', 'sliding_attention'];
  expect(windowsOf(specOf(settings('gemma4-kv', { layer_types: types })))).toEqual([0, 20, 0]);
});

it('passes over what sees and hears, and refuses what would change its text', async () => {
  const { spec } = await openCheckpoint(join(ROOT, 'test', 'fixtures', 'models', 'gemma4-ple'));
  expect(spec.skipped).toEqual({ vision: 16 });
  expect(() => specOf({ ...text, use_bidirectional_attention: 'vision' })).not.toThrow();
  expect(() => specOf({ ...text, use_bidirectional_attention: 'all' })).toThrow(
    'use_bidirectional_attention',
  );
});
