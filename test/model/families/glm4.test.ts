import { expect, it } from 'vitest';
import { NORMS } from '../../../lib/native.js';
import { ggufSpecOf, settings, specOf } from '../../support/specs.js';

it('has four norms, and turns half of each head by neighbour pairs', async () => {
  for (const spec of [specOf(settings('glm4')), await ggufSpecOf('glm4')]) {
    const [{ attnNorm, postAttnNorm, mlpNorm, postMlpNorm, attention }] = spec.layers;
    const kinds = [attnNorm, postAttnNorm, mlpNorm, postMlpNorm].map(({ kind }) => kind);
    expect(kinds).toEqual(Array(4).fill(NORMS.rms));
    expect(attention!.biases).toEqual(['q', 'k', 'v']);
    expect(spec.ropes[0]).toMatchObject({ interleaved: true });
    expect(spec.ropes[0].inverseFrequencies).toHaveLength(8); // pairs of a head of 32
  }
});
