import { expect, it } from 'vitest';
import { ROUTER_SCORES } from '../../../lib/native.js';
import { ggufSpecOf, settings, specOf, windowsOf } from '../../support/specs.js';

it('has experts in each layer, and no other MLP', async () => {
  for (const spec of [specOf(settings('mixtral')), await ggufSpecOf('mixtral')]) {
    for (const { mlp, experts } of spec.layers) {
      expect(mlp.intermediateSize).toBe(0);
      expect(experts).toMatchObject({ numExperts: 4, topK: 2, intermediateSize: 24 });
      expect(experts?.router).toMatchObject({ score: ROUTER_SCORES.softmax, normalize: true });
    }
  }
  expect((await ggufSpecOf('mixtral')).architecture).toBe('llama');
  expect(windowsOf(specOf(settings('mixtral', { sliding_window: 8 })))).toEqual([8, 8]);
});
