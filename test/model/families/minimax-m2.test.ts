import { expect, it } from 'vitest';
import { hfSpec } from '../../../lib/model/read-spec.js';
import { ROUTER_SCORES } from '../../../lib/native.js';
import { ggufSpecWith, settings, specOf } from '../../support/specs.js';

it('has sigmoid experts only, and turns a part of each head', () => {
  const spec = specOf(settings('minimax-m2'));
  const [{ mlp, experts }] = spec.layers;
  expect(mlp.intermediateSize).toBe(0);
  expect(experts).toMatchObject({ numExperts: 8, topK: 3, intermediateSize: 40 });
  expect(experts?.router).toMatchObject({
    ...{ score: ROUTER_SCORES.sigmoid, choiceBias: true, normalize: true },
  });
  expect(spec.ropes[0].inverseFrequencies).toHaveLength(16); // half of a head of 64
  const old = { rope_parameters: undefined, rope_theta: 5e6, rotary_dim: 16 };
  expect(specOf(settings('minimax-m2', old)).ropes[0].inverseFrequencies).toHaveLength(8);
});

// As the published files say them, beside what the class reads.
it('knows the one value of each switch that it has, and counts layers that draft', () => {
  const said = {
    ...{ attn_type_list: [1, 1], use_qk_norm: true, qk_norm_type: 'per_layer' },
    ...{ scoring_func: 'sigmoid', use_routing_bias: true, shared_intermediate_size: 0 },
    ...{ use_mtp: true, num_mtp_modules: 3, mtp_transformer_layers: 1 },
  };
  const read = (change: object) => hfSpec(settings('minimax-m2', { ...said, ...change }), 'c');
  expect(read({}).numMtpLayers).toBe(3);
  expect(read({ num_mtp_modules: 2, mtp_transformer_layers: 2 }).numMtpLayers).toBe(4);
  expect(read({}).spec).toEqual(specOf(settings('minimax-m2')));
  for (const change of [
    ...[{ attn_type_list: [1, 0] }, { use_qk_norm: false }, { qk_norm_type: 'per_head' }],
    ...[{ scoring_func: 'softmax' }, { use_routing_bias: false }, { shared_intermediate_size: 8 }],
  ]) {
    expect(() => read(change)).toThrow(Object.keys(change)[0]);
  }
});

it('is the same in a GGUF file', () => {
  const spec = ggufSpecWith('minimax-m2', {
    ...{ 'attention.layer_norm_rms_epsilon': 1e-6, 'rope.dimension_count': 16 },
    ...{ expert_count: 8, expert_used_count: 3, expert_feed_forward_length: 40 },
    expert_gating_func: 2,
  });
  expect(spec.ropes[0].inverseFrequencies).toHaveLength(8);
  expect(spec.layers[0].experts).toMatchObject({
    ...{ numExperts: 8, topK: 3, intermediateSize: 40 },
    router: { score: ROUTER_SCORES.sigmoid, choiceBias: true, normalize: true },
  });
});
