import { describe, expect, it } from 'vitest';
import { ROUTER_SCORES } from '../../../lib/native.js';
import { ggufSpecOf, settings, specOf } from '../../support/specs.js';

it('has rows of a latent and what turns, with and without a low rank of q', async () => {
  const [v2, v3] = [specOf(settings('deepseek-v2-lite')), specOf(settings('deepseek-v3'))];
  for (const [spec, queryRank] of [
    [v2, 0],
    [v3, 40],
  ] as const) {
    expect(spec.layers[0].attention).toMatchObject({
      ...{ numHeads: 3, numKvHeads: 1, headSize: 64 },
      latent: { rank: 48, queryRank, nopeSize: 32, valueSize: 24, norm: { eps: 1e-6 } },
    });
    expect(spec.ropes[0]).toMatchObject({ interleaved: true, attentionFactor: 1 });
    expect(spec.ropes[0].inverseFrequencies).toHaveLength(8);
  }
  const gguf = await ggufSpecOf('deepseek-v3');
  expect(gguf.layers[0].attention?.latent).toMatchObject({ rank: 48, queryRank: 40, nopeSize: 32 });
});

it('multiplies scores by the square of what yarn says of all dimensions', async () => {
  const mscale = 0.1 * Math.log(8) + 1;
  for (const spec of [specOf(settings('deepseek-v3')), await ggufSpecOf('deepseek-v3')]) {
    expect(spec.layers[0].attention?.scale).toBeCloseTo(48 ** -0.5 * mscale ** 2, 7);
    expect(spec.ropes[0].attentionFactor).toBeCloseTo(1, 7);
  }
});

it('lets queries of Mistral 4 grow with what lies behind them', async () => {
  for (const spec of [specOf(settings('mistral4')), await ggufSpecOf('mistral4')]) {
    expect(spec.layers[0].attention?.temperature).toMatchObject({ length: 64 });
    expect(spec.layers[0].attention?.temperature.beta).toBeCloseTo(0.1, 7);
  }
});

describe('groups of experts', () => {
  const router = (name: string, change: Record<string, unknown>) =>
    specOf(settings(name, change)).layers.at(-1)?.experts?.router;
  const groups = { n_group: 4, topk_group: 2 };

  it('rank by their best expert in V2, and only where the method is of groups', () => {
    const limited = { ...groups, topk_method: 'group_limited_greedy' };
    expect(router('deepseek-v2-lite', limited)).toMatchObject({
      ...{ score: ROUTER_SCORES.softmax, numGroups: 4, topGroups: 2, groupBest: 1 },
      normalize: false,
    });
    expect(router('deepseek-v2-lite', groups)).toMatchObject({ numGroups: 1, topGroups: 1 });
  });

  it('rank by their best two in V3, chosen by a bias too', () => {
    expect(router('deepseek-v3', {})).toMatchObject({
      ...{ score: ROUTER_SCORES.sigmoid, numGroups: 4, topGroups: 2, groupBest: 2 },
      ...{ choiceBias: true, normalize: true, scale: 2.5 },
    });
    expect(router('mistral4', {})).toMatchObject({
      ...{ score: ROUTER_SCORES.softmax, numGroups: 1, choiceBias: false },
    });
  });
});

it('is dense in front, by a number or a list', () => {
  const kinds = (name: string, change = {}) =>
    specOf(settings(name, change)).layers.map(({ experts }) => experts !== undefined);
  expect(kinds('deepseek-v3')).toEqual([false, true, true]);
  expect(kinds('deepseek-v3', { first_k_dense_replace: 3 })).toEqual([false, false, false]);
  expect(kinds('glm4-moe-lite')).toEqual([false, true, true]);
  const types = ['sparse', 'dense', 'sparse'];
  expect(kinds('glm4-moe-lite', { mlp_layer_types: types })).toEqual([true, false, true]);
});

it.each([
  ['deepseek-v2-lite', { norm_topk_prob: true }, 'norm_topk_prob'],
  ['deepseek-v2-lite', { scoring_func: 'sigmoid' }, 'scoring_func'],
  ['deepseek-v3', { topk_method: 'greedy' }, 'topk_method'],
  ['deepseek-v3', { qk_head_dim: 50 }, 'qk_head_dim'],
  ['deepseek-v3', { kv_lora_rank: 47 }, 'latent rows of 47'],
  ['deepseek-v3', { moe_layer_freq: 2 }, 'moe_layer_freq'],
  ['glm4-moe-lite', { mlp_layer_types: ['dense'] }, 'mlp_layer_types'],
])('refuses of %s %j', (name, change, what) => {
  expect(() => specOf(settings(name, change))).toThrow(what);
});
