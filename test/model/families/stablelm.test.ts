import { expect, it } from 'vitest';
import { BRANCHES, NORMS, QK_NORM_SPANS } from '../../../lib/native.js';
import { ggufSpecOf, settings, specOf } from '../../support/specs.js';

it('has LayerNorms with biases, and turns a quarter of each head', async () => {
  for (const spec of [specOf(settings('stablelm')), await ggufSpecOf('stablelm')]) {
    const [{ branches, mlpNorm, attention }] = spec.layers;
    expect(branches).toBe(BRANCHES.serial);
    expect(mlpNorm).toMatchObject({ kind: NORMS.layer, bias: true });
    expect(attention!.biases).toEqual(['q', 'k', 'v']);
    expect(spec.ropes[0].inverseFrequencies).toHaveLength(4); // pairs of a head of 32
  }
});

it('has both branches read one norm and norms each head, if it is told to', () => {
  const [{ branches, mlpNorm, attention }] = specOf(settings('stablelm-parallel')).layers;
  expect(branches).toBe(BRANCHES.shared);
  expect(mlpNorm.kind).toBe(NORMS.none);
  expect(attention!.qkNorm).toMatchObject({ kind: NORMS.layer, bias: false });
  expect(attention!.qkNormSpan).toBe(QK_NORM_SPANS.ownHead);
});
