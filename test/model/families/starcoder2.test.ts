import { expect, it } from 'vitest';
import { HIDDEN_ACTS, NORMS } from '../../../lib/native.js';
import { ggufSpecOf, settings, specOf, windowsOf } from '../../support/specs.js';

it('has LayerNorms, biases, a GELU without a gate', async () => {
  for (const spec of [specOf(settings('starcoder2')), await ggufSpecOf('starcoder2')]) {
    const [{ attnNorm, mlp, attention }] = spec.layers;
    expect(attnNorm).toMatchObject({ kind: NORMS.layer, bias: true });
    expect(attention!.biases).toEqual(['q', 'k', 'v', 'o']);
    expect(mlp).toMatchObject({
      gated: false,
      hiddenAct: HIDDEN_ACTS.geluTanh,
      biases: ['up', 'down'],
    });
    expect(spec.head?.tied).toBe(true);
  }
});

it('may do without biases, and may slide', () => {
  const change = { use_bias: false, sliding_window: 50, tie_word_embeddings: undefined };
  const spec = specOf(settings('starcoder2', change));
  expect(spec.layers[0].attention!.biases).toEqual([]);
  expect(windowsOf(spec)).toEqual([50, 50]);
  expect(spec.head?.tied).toBe(true);
});
