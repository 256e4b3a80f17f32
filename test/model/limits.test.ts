import { expect, it } from 'vitest';
import { layerOf } from '../../lib/model/families/shared.js';
import { checkLimits } from '../../lib/model/limits.js';
import { type NativeLayer, NORMS, QK_NORM_SPANS } from '../../lib/native.js';
import { settings, specOf } from '../support/specs.js';

const NORM = { kind: NORMS.rms, eps: 1e-6, offset: false, weight: true, bias: false };
const { ropes, layers } = specOf(settings('llama-gqa'));

const layer = (numHeads: number, headSize = 256): NativeLayer =>
  layerOf({ numHeads, numKvHeads: 2, headSize, intermediateSize: 20 }, NORM, {
    qkNorm: NORM,
    qkNormSpan: QK_NORM_SPANS.ownHead,
  });
const check = (all: readonly NativeLayer[]) => () => checkLimits({ layers: all, ropes }, 'x.json');

it('takes what is usual', () => {
  expect(check(layers)).not.toThrow();
  expect(check(Array.from({ length: 61 }, () => layer(128)))).not.toThrow();
});

it('refuses more heads with norms of their own than any model has', () => {
  // 2¹⁷ in all are the last that pass.
  expect(check(Array.from({ length: 64 }, () => layer(2046)))).not.toThrow();
  expect(check(Array.from({ length: 64 }, () => layer(2047)))).toThrow(
    /x\.json.*131136 heads with norms of their own \(at most 131072\)/,
  );
});

it('counts heads only where each has its norm', () => {
  const many = Array.from({ length: 64 }, () => {
    const one = layer(4096);
    return { ...one, attention: { ...one.attention!, qkNormSpan: QK_NORM_SPANS.head } };
  });
  expect(check(many)).not.toThrow();
});

it('refuses experts without end', () => {
  const experts = { numExperts: 2 ** 17 } as NativeLayer['experts'];
  expect(check([{ ...layer(4), experts }])).not.toThrow();
  expect(
    check([
      { ...layer(4), experts },
      { ...layer(4), experts },
    ]),
  ).toThrow(/262144 experts \(at most 131072\)/);
});

it('refuses a rope that turns more values than a head has', () => {
  const turning = 2 * ropes[0].inverseFrequencies.length;
  expect(check([layer(4), layer(4, turning)])).not.toThrow();
  expect(check([layer(4), layer(4, turning - 2)])).toThrow(
    new RegExp(`layer 1.*turns ${turning} values of heads of ${turning - 2}`),
  );
});
