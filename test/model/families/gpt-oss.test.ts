import { expect, it } from 'vitest';
import { ROUTER_SCORES } from '../../../lib/native.js';
import { ggufSpecOf, settings, specOf, windowsOf } from '../../support/specs.js';

it('has sinks, windows in turn, and experts of its own kind', async () => {
  for (const spec of [specOf(settings('gpt-oss')), await ggufSpecOf('gpt-oss')]) {
    expect(windowsOf(spec)).toEqual([20, 0]);
    for (const { attention, experts } of spec.layers) {
      expect(attention).toMatchObject({ sinks: true, biases: ['q', 'k', 'v', 'o'] });
      expect(experts).toMatchObject({ intermediateSize: 32, alpha: 1.702, limit: 7, upOffset: 1 });
      expect(experts?.biases).toEqual(['gate', 'up', 'down']);
      expect(experts?.router).toMatchObject({ score: ROUTER_SCORES.chosenSoftmax, bias: true });
    }
  }
});

it('comes in four bits where a file says so and nothing beside it', () => {
  const read = (quantization_config: unknown, change = {}) =>
    specOf(settings('gpt-oss', { quantization_config, ...change }));
  const plain = specOf(settings('gpt-oss'));
  expect(read({ quant_method: 'mxfp4', modules_to_not_convert: ['lm_head'] })).toEqual(plain);
  expect(() => read({ quant_method: 'mxfp4', activation_scheme: 'static' })).toThrow(
    /"activation_scheme" of quantization_config/,
  );
  expect(() => read({ quant_method: 'fp7' })).toThrow(/quantization_config of quant_method "fp7"/);
  expect(() => read({})).toThrow(/quantization_config of quant_method ""/);
  expect(() => read({ quant_method: 4 })).toThrow(/quantization_config\.quant_method is 4/);
  const quantization_config = { quant_method: 'mxfp4' };
  expect(() => specOf(settings('llama-gqa', { quantization_config }))).toThrow(/"mxfp4"/);
  expect(() => read(undefined, { swiglu_alpha: 1e-5 })).toThrow(/swiglu_alpha is 0.00001/);
});

it('does not round where the ramp of YaRN ends, whatever a GGUF file leaves out', async () => {
  const angles = ({ ropes }: ReturnType<typeof specOf>) => [...ropes[0].inverseFrequencies];
  const theta = (settings('gpt-oss').rope_parameters as { rope_theta: number }).rope_theta;
  const ramp = {
    ...{ rope_type: 'yarn', rope_theta: 1e4, factor: 8, original_max_position_embeddings: 64 },
    ...{ beta_fast: 32, beta_slow: 1 },
  };
  const of = (truncate: boolean) =>
    angles(specOf(settings('gpt-oss', { rope_parameters: { ...ramp, truncate } })));
  expect(of(true)).not.toEqual(of(false));
  expect(theta).toBe(237_700); // at which both are one
  const gguf = angles(await ggufSpecOf('gpt-oss'));
  const folder = angles(specOf(settings('gpt-oss')));
  for (const [i, f] of folder.entries()) expect(gguf[i]).toBeCloseTo(f, 6);
});
