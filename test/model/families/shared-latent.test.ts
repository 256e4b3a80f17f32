import { expect, it } from 'vitest';
import { ggufSpecWith, settings, specOf } from '../../support/specs.js';

/** Of a small deepseek2, whose heads are [16 + 8, 12] made of rows of 24 + 8. */
const KEYS = {
  ...{ 'attention.kv_lora_rank': 24, 'rope.dimension_count': 8, expert_count: 4 },
  ...{ expert_used_count: 2, expert_feed_forward_length: 8 },
  'attention.layer_norm_rms_epsilon': 1e-5,
};
const APART = {
  ...{ 'attention.key_length': 32, 'attention.value_length': 24 },
  ...{ 'attention.key_length_mla': 24, 'attention.value_length_mla': 12 },
};
const latentOf = (keys: object) => ggufSpecWith('deepseek2', { ...KEYS, ...keys }).layers[0];

it('reads sizes of heads by keys of their own, in older files by the usual ones', () => {
  const old = { 'attention.key_length': 24, 'attention.value_length': 12 };
  for (const keys of [APART, { ...old, 'attention.head_count_kv': 2 }]) {
    expect(latentOf(keys).attention).toMatchObject({
      ...{ numKvHeads: 1, headSize: 32 },
      latent: { rank: 24, queryRank: 0, nopeSize: 16, valueSize: 12 },
    });
  }
  const low = { ...APART, 'attention.q_lora_rank': 20 };
  expect(latentOf(low).attention?.latent).toMatchObject({ queryRank: 20 });
  expect(() => latentOf({ ...APART, 'attention.key_length_mla': 8 })).toThrow('key_length_mla');
});

it('ranks groups of a softmax by their best, of sigmoids by their best two', () => {
  const groups = { ...APART, expert_group_count: 2, expert_group_used_count: 1 };
  const best = (keys: object) => latentOf({ ...groups, ...keys }).experts?.router.groupBest;
  expect(best({ expert_gating_func: 1 })).toBe(1);
  expect(best({ expert_gating_func: 2 })).toBe(2);
});

it('turns the whole of what turns, or a part of a head that is as large', () => {
  const turning = (partial_rotary_factor: number | undefined) => {
    const rope_parameters = { rope_type: 'default', rope_theta: 1e4, partial_rotary_factor };
    return specOf(settings('deepseek-v3', { rope_parameters })).ropes[0].inverseFrequencies.length;
  };
  expect([turning(undefined), turning(1), turning(16 / 48)]).toEqual([8, 8, 8]);
  expect(() => turning(0.5)).toThrow('turns 24 values, qk_rope_head_dim 16');
});
