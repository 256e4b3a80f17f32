import { expect, it } from 'vitest';
import { byLayer, ggufSpecOf } from '../../support/specs.js';

it('has experts that a bias helps to choose, behind dense layers', async () => {
  const spec = await ggufSpecOf('lfm2-moe');
  const experts = byLayer(spec, (layer) => layer.experts?.numExperts ?? 0);
  expect(experts).toEqual([0, 6, 6]);
  expect(spec.layers[2].experts?.router).toMatchObject({ choiceBias: true, normalize: true });
});
