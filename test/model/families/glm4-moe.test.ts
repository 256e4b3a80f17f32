import { expect, it } from 'vitest';
import { NORMS, ROUTER_SCORES } from '../../../lib/native.js';
import { ggufSpecOf, settings, specOf } from '../../support/specs.js';

it('is dense first, then sparse with a shared expert', async () => {
  for (const spec of [specOf(settings('glm4-moe')), await ggufSpecOf('glm4-moe')]) {
    const [dense, sparse] = spec.layers;
    expect(dense.experts).toBeUndefined();
    expect(dense.mlp.intermediateSize).toBe(48);
    expect(sparse.mlp.intermediateSize).toBe(24);
    expect(sparse.experts).toMatchObject({ numExperts: 6, topK: 3, intermediateSize: 24 });
    expect(sparse.experts?.router).toMatchObject({
      ...{ score: ROUTER_SCORES.sigmoid, choiceBias: true, normalize: true, groupBest: 2 },
      ...{ numGroups: 1, topGroups: 1 },
    });
    expect(sparse.experts?.router.scale).toBeCloseTo(1.8, 6);
    expect(sparse.attention!.qkNorm.kind).toBe(NORMS.rms);
    expect(spec.ropes[0].inverseFrequencies).toHaveLength(8); // half of a head of 32
  }
});

it('counts groups of experts and shared ones', () => {
  const change = { n_group: 3, topk_group: 2, n_shared_experts: 2, use_qk_norm: false };
  const [, { experts, mlp, attention }] = specOf(settings('glm4-moe', change)).layers;
  expect(experts?.router).toMatchObject({ numGroups: 3, topGroups: 2 });
  expect(mlp.intermediateSize).toBe(48);
  expect(attention!.qkNorm.kind).toBe(NORMS.none);
});
