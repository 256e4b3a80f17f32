import { expect, it } from 'vitest';
import { ggufSpecOf, type Settings, settings, specOf } from '../../support/specs.js';

const text = settings('gemma4-ple').text_config as Settings;

it('adds what a table says of each token, in each layer', async () => {
  const { layerInputs, hiddenSize } = specOf(settings('gemma4-ple'));
  expect(layerInputs).toMatchObject({ size: 24, scale: Math.sqrt(12) });
  expect(layerInputs!.norm).toMatchObject({ eps: 1e-6 * hiddenSize, scale: Math.SQRT1_2 });
  expect((await ggufSpecOf('gemma4-ple')).layerInputs).toMatchObject({ size: 8, scale: 2 });
  expect(specOf(settings('gemma4-kv')).layerInputs).toBeUndefined();
  expect(() => specOf({ ...text, vocab_size_per_layer_input: 300 })).toThrow(
    'vocab_size_per_layer_input 300 beside 320 tokens',
  );
});

it('has experts beside the FFN, routed by a norm of what the FFN reads', async () => {
  const hf = specOf(settings('gemma4-moe'));
  for (const spec of [hf, await ggufSpecOf('gemma4-moe')]) {
    const { experts, mlp } = spec.layers[0];
    expect(experts).toMatchObject({ numExperts: 6, topK: 3, intermediateSize: 24 });
    expect(experts!.router).toMatchObject({ normalize: true, expertScale: true, scale: 1 });
    expect(experts!.beside!.routerNorm.scale).toBe(1 / 8);
    expect(mlp.intermediateSize).toBe(48);
  }
});
