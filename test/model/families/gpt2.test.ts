import { expect, it } from 'vitest';
import { placeOf } from '../../../lib/model/names.js';
import { hfSpec } from '../../../lib/model/read-spec.js';
import { HIDDEN_ACTS, NORMS } from '../../../lib/native.js';
import { ggufSpecOf, ropesOf, settings, specOf } from '../../support/specs.js';

it('learns positions, has LayerNorms and biases, and no gate', async () => {
  for (const [spec, positions, ffn] of [
    [specOf(settings('gpt2')), 96, 256],
    [await ggufSpecOf('gpt2'), 96, 256],
  ] as const) {
    expect(spec.embedding).toMatchObject({ scale: 1, numPositions: positions });
    expect(spec.maxPositionEmbeddings).toBe(positions);
    expect(spec.ropes).toEqual([]);
    expect(ropesOf(spec)).toEqual([-1, -1]);
    expect(spec.finalNorm).toMatchObject({ kind: NORMS.layer, bias: true });
    const [{ mlp, attention, attnNorm }] = spec.layers;
    expect(attnNorm).toEqual(spec.finalNorm);
    expect(attention!.biases).toEqual(['q', 'k', 'v', 'o']);
    expect(mlp).toEqual({
      intermediateSize: ffn,
      hiddenAct: HIDDEN_ACTS.geluTanh,
      gated: false,
      biases: ['up', 'down'],
    });
  }
});

it('scales scores by layer, or not at all, where it says so', () => {
  const scales = (change: object) =>
    specOf(settings('gpt2', { ...change })).layers.map(({ attention }) => attention!.scale);
  expect(scales({})).toEqual([32 ** -0.5, 32 ** -0.5]);
  expect(scales({ scale_attn_by_inverse_layer_idx: true })).toEqual([32 ** -0.5, 32 ** -0.5 / 2]);
  expect(scales({ scale_attn_weights: false })).toEqual([1, 1]);
});

it('finds its tensors with and without the prefix, and passes over masks', () => {
  const { names } = hfSpec(settings('gpt2'), 'config.json');
  for (const prefix of ['', 'transformer.']) {
    expect(placeOf(`${prefix}h.1.attn.c_attn.weight`, names)).toEqual({
      names: ['layers.1.q', 'layers.1.k', 'layers.1.v'],
      transposed: true,
    });
    expect(placeOf(`${prefix}wpe.weight`, names)?.names).toEqual(['positions']);
    expect(placeOf(`${prefix}h.0.attn.bias`, names)?.names).toEqual([]);
  }
});
