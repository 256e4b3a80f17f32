import { expect, it } from 'vitest';
import { HIDDEN_ACTS, NORMS } from '../../../lib/native.js';
import { ggufSpecOf, settings, specOf } from '../../support/specs.js';

it('is the plain layer', () => {
  const spec = specOf(settings('llama-gqa'));
  expect(spec).toMatchObject({ architecture: 'llama', maxPositionEmbeddings: 512, skipped: {} });
  expect(spec.ropes).toMatchObject([{ interleaved: false, attentionFactor: 1 }]);
  expect(spec.layers).toHaveLength(3);
  const [{ attnNorm, postAttnNorm, mlp, attention }] = spec.layers;
  expect(attnNorm).toEqual({
    kind: NORMS.rms,
    eps: 1e-6,
    offset: false,
    weight: true,
    bias: false,
  });
  expect(postAttnNorm.kind).toBe(NORMS.none);
  expect(mlp).toMatchObject({ intermediateSize: 192, gated: true, biases: [] });
  expect(attention).toMatchObject({ numHeads: 4, numKvHeads: 2, headSize: 32, rope: 0, window: 0 });
});

it('has biases and another activation where its config says so', () => {
  const [{ attention, mlp }] = specOf(settings('llama-bias', { hidden_act: 'gelu' })).layers;
  expect(attention!.biases).toEqual(['q', 'k', 'v', 'o']);
  expect(mlp.biases).toEqual(['gate', 'up', 'down']);
  expect(mlp.hiddenAct).toBe(HIDDEN_ACTS.gelu);
});

it('in GGUF files turns neighbour pairs, by factors that stand there', async () => {
  const spec = await ggufSpecOf('llama3-rope');
  expect(spec.ropes[0].interleaved).toBe(true);
  const theirs = specOf(settings('llama-rope-llama3')).ropes[0].inverseFrequencies;
  expect(spec.ropes[0].inverseFrequencies).toHaveLength(theirs.length);
});
