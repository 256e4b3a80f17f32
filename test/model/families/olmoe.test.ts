import { expect, it } from 'vitest';
import { QK_NORM_SPANS } from '../../../lib/native.js';
import { ggufSpecWith, settings, specOf } from '../../support/specs.js';

it('has norms over whole projections, and clips nothing', () => {
  const [{ attention, experts }] = specOf(settings('olmoe')).layers;
  expect(attention!.qkNormSpan).toBe(QK_NORM_SPANS.projection);
  expect(experts).toMatchObject({ numExperts: 8, topK: 3, intermediateSize: 48 });
  expect(experts?.router.normalize).toBe(false);
  expect(() => specOf(settings('olmoe', { clip_qkv: 8 }))).toThrow(/"clip_qkv"/);
});

it('is the same in a GGUF file', () => {
  const keys = { 'attention.layer_norm_rms_epsilon': 1e-5, expert_count: 8, expert_used_count: 3 };
  const [{ attention, experts }] = ggufSpecWith('olmoe', keys).layers;
  expect(attention!.qkNormSpan).toBe(QK_NORM_SPANS.projection);
  expect(experts).toMatchObject({ numExperts: 8, topK: 3, intermediateSize: 48 });
  expect(experts?.router.normalize).toBe(false);
});
