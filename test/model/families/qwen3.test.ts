import { expect, it } from 'vitest';
import { NORMS, QK_NORM_SPANS } from '../../../lib/native.js';
import { settings, specOf } from '../../support/specs.js';

it('normalises q and k in each head', () => {
  const [{ attention }] = specOf(settings('qwen3')).layers;
  expect(attention!.qkNorm).toMatchObject({ kind: NORMS.rms, eps: 1e-6, offset: false });
  expect(attention!.qkNormSpan).toBe(QK_NORM_SPANS.head);
  expect(attention!.biases).toEqual([]);
});

it('has heads of 128 where none are named', () => {
  const [{ attention }] = specOf(settings('qwen3', { head_dim: undefined })).layers;
  expect(attention).toMatchObject({ headSize: 128, scale: 1 / Math.sqrt(128) });
});
