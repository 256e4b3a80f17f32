import { expect, it } from 'vitest';
import { RECURRENT_KINDS } from '../../../lib/native.js';
import { byLayer, ggufSpecOf, settings, specOf } from '../../support/specs.js';

const attends = (spec: ReturnType<typeof specOf>) =>
  byLayer(spec, ({ attention }) => attention !== undefined);

it('says which layers attend by a list of words, of numbers, or by heads of keys', async () => {
  const text = settings('lfm2');
  const listed = { layer_types: undefined, full_attn_idxs: [0, 3] };
  expect(attends(specOf(text))).toEqual([false, true, false, true]);
  expect(attends(specOf({ ...text, ...listed }))).toEqual([true, false, false, true]);
  const neither = { layer_types: undefined, full_attn_idxs: undefined };
  expect(attends(specOf({ ...text, ...neither }))).toEqual([true, true, true, true]);
  expect(attends(await ggufSpecOf('lfm2-moe'))).toEqual([false, true, false]);
});

it('convolves three tokens of all values, without a state beside', () => {
  const [{ recurrent, mlp }] = specOf(settings('lfm2')).layers;
  expect(recurrent).toMatchObject({
    ...{ kind: RECURRENT_KINDS.conv, numKeyHeads: 1, keySize: 96, valueSize: 96 },
    ...{ convWidth: 3, convBias: false, inBias: false, outBias: false },
  });
  // Two thirds of 200, as a multiple of 32.
  expect(mlp.intermediateSize).toBe(160);
  const of = (change: Record<string, unknown>) =>
    specOf(settings('lfm2', change)).layers[0].mlp.intermediateSize;
  expect(of({ block_auto_adjust_ff_dim: false })).toBe(200);
  expect(of({ block_ffn_dim_multiplier: 2 })).toBe(288);
  expect(of({ block_ffn_dim_multiplier: null })).toBe(160);
});
