import { expect, it } from 'vitest';
import { Config } from '../../../lib/model/config.js';
import { expertsOf, ggufExperts, hfExperts, ofAll } from '../../../lib/model/families/experts.js';
import { Fields } from '../../../lib/model/fields.js';
import { GGUF_NAMES, HF_NAMES, placeOf } from '../../../lib/model/names.js';
import { ROUTER_SCORES } from '../../../lib/native.js';
import { settings, specOf } from '../../support/specs.js';

const hf = (values: object) => {
  const fields = new Fields('c', values as Record<string, unknown>);
  return new Config(fields, fields);
};
const gguf = (values: object) => {
  const fields = new Fields('m', values as Record<string, unknown>);
  const tensors = {
    names: new Set<string>(),
    biases: new Set<string>(),
    shapes: new Map(),
    factors: new Map(),
  };
  return new Config(fields, fields, { ...tensors, vocabSize: 9 });
};

it('counts them by whatever name a file has', () => {
  for (const name of ['num_experts', 'num_local_experts', 'n_routed_experts']) {
    const c = hf({ [name]: 6, num_experts_per_tok: 2 });
    expect(expertsOf(c, {})).toMatchObject({ numExperts: 6, topK: 2 });
  }
  const keys = { expert_count: 6, expert_used_count: 2 };
  expect(expertsOf(gguf(keys), {})).toMatchObject({ numExperts: 6, topK: 2 });
  const seven = { num_experts: 6, num_experts_per_tok: 7 };
  expect(() => expertsOf(hf(seven), {})).toThrow(/num_experts_per_tok is 7, .* from 1 to 6/);
  expect(() => expertsOf(hf({}), {})).toThrow(/num_local_experts/);
});

it('a GGUF file may say another rule than its family', () => {
  const keys = { expert_count: 8, expert_used_count: 2 };
  const own = { router: { score: ROUTER_SCORES.sigmoid, normalize: true, scale: 3 } };
  expect(expertsOf(gguf({ ...keys, expert_weights_scale: 0 }), own).router).toMatchObject(
    own.router,
  );
  const said = {
    ...{ expert_gating_func: 1, expert_weights_norm: false, expert_weights_scale: 2.5 },
    ...{ expert_group_count: 4, expert_group_used_count: 2 },
  };
  expect(expertsOf(gguf({ ...keys, ...said }), own).router).toMatchObject({
    ...{ score: ROUTER_SCORES.softmax, normalize: false, scale: 2.5 },
    ...{ numGroups: 4, topGroups: 2, groupBest: 2 }, // llama.cpp's rule, whatever the family's
  });
  expect(expertsOf(gguf({ ...keys, expert_group_count: 1 }), own).router.groupBest).toBe(1);
  const chosen = expertsOf(gguf({ ...keys, expert_gating_func: 3 }), own);
  expect(chosen.router.score).toBe(ROUTER_SCORES.chosenSoftmax);
  expect(() => expertsOf(gguf({ ...keys, expert_gating_func: 4 }), own)).toThrow(/gating_func/);
});

// As the native side has them: it would say so of an option that no caller gave.
it.each([
  [{ n_group: 3 }, 'ERR_MODEL_FORMAT', /n_group \(3\) does not divide the 8 experts/],
  [{ n_group: 4096 }, 'ERR_MODEL_FORMAT', /n_group \(4096\) does not divide/],
  [{ n_group: 8 }, 'ERR_MODEL_FORMAT', /n_group \(8\) leaves less than 2 in a group/],
  [{ n_group: 4, topk_group: 5 }, 'ERR_MODEL_FORMAT', /topk_group \(5\) .* 4 groups/],
  [{ n_group: 4, topk_group: 1 }, 'ERR_MODEL_FORMAT', /topk_group \(1\) .* less than the 3/],
  [
    { n_routed_experts: 64, num_experts_per_tok: 33 },
    'ERR_MODEL_UNSUPPORTED',
    /num_experts_per_tok 33 \(at most 32\)/,
  ],
])('experts and groups that cannot be are refused by file and setting: %j', (change, code, why) => {
  const said = { n_routed_experts: 8, num_experts_per_tok: 3, ...change };
  const read = () => specOf(settings('glm4-moe', said));
  expect(read).toThrow(expect.objectContaining({ code }));
  expect(read).toThrow(why);
  expect(read).toThrow('config.json');
});

it('in a GGUF file by its keys', () => {
  const keys = { expert_count: 8, expert_used_count: 3 };
  const read = (change: object) => () => expertsOf(gguf({ ...keys, ...change }), {});
  expect(read({ expert_group_count: 3 })).toThrow(/m: expert_group_count \(3\) does not divide/);
  expect(read({ expert_group_count: 4, expert_group_used_count: 1 })).toThrow(/group_used_count/);
  expect(read({ expert_count: 64, expert_used_count: 40 })).toThrow(/expert_used_count 40/);
  const groups = { expert_group_count: 2, expert_group_used_count: 2 };
  expect(read({ ...groups, expert_gating_func: 3 })).toThrow(/from groups/);
});

it('finds a tensor for each, and one for all', () => {
  const names = hfExperts(HF_NAMES, 2);
  const at = 'model.layers.1.mlp.';
  expect(placeOf(`${at}experts.1.up_proj.weight`, names)?.names).toEqual(['layers.1.experts.1.up']);
  expect(placeOf(`${at}experts.2.up_proj.weight`, names)).toBeUndefined();
  expect(placeOf(`${at}experts.gate_up_proj`, names)).toEqual({
    names: ['0.gate', '0.up', '1.gate', '1.up'].map((name) => `layers.1.experts.${name}`),
    slices: 2,
  });
  const gguf = ggufExperts(GGUF_NAMES, 2);
  const down = ofAll(2, 'down').map((name) => `layers.1.${name}`);
  expect(placeOf('blk.1.ffn_down_exps.weight', gguf)).toEqual({ names: down, slices: 2 });
  expect(placeOf('blk.1.ffn_down_exps.bias', gguf)?.names).toEqual(down.map((n) => `${n}.bias`));
  expect(placeOf('blk.1.ffn_gate.1.weight', gguf)?.names).toEqual(['layers.1.experts.1.gate']);
  expect(placeOf('blk.1.exp_probs_b.bias', gguf)?.names).toEqual(['layers.1.router.choice_bias']);
});
