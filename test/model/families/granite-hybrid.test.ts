import { expect, it } from 'vitest';
import { placeOf } from '../../../lib/model/names.js';
import { hfSpec } from '../../../lib/model/read-spec.js';
import { RECURRENT_KINDS, ROUTER_SCORES } from '../../../lib/native.js';
import { byLayer, ggufSpecOf, ropesOf, settings, specOf } from '../../support/specs.js';

// As config.json of Granite 4 says it: the same model where all layers have attention, no experts.
const HYBRID = {
  ...{ model_type: 'granitemoehybrid', architectures: ['GraniteMoeHybridForCausalLM'] },
  ...{ num_local_experts: 0, num_experts_per_tok: 0, position_embedding_type: 'rope' },
  ...{ normalization_function: 'rmsnorm', mamba_n_heads: 4, router_aux_loss_coef: 0.01 },
};
const hybrid = (change: object = {}) => {
  const { intermediate_size, num_hidden_layers } = settings('granite');
  const layer_types = Array(num_hidden_layers).fill('attention');
  const shared = { shared_intermediate_size: intermediate_size, intermediate_size: 7, layer_types };
  return hfSpec(settings('granite', { ...HYBRID, ...shared, ...change }), 'c');
};

it('4 without Mamba is the same under another name', () => {
  const plain = specOf(settings('granite'));
  expect(hybrid().spec).toEqual({ ...plain, architecture: 'granitemoehybrid' });
  expect(ropesOf(hybrid({ position_embedding_type: null }).spec)).toContain(-1);
  const at = 'model.layers.1.shared_mlp.';
  const place = (name: string) => placeOf(`${at}${name}.weight`, hybrid().names)?.names;
  expect(place('input_linear')).toEqual(['layers.1.gate', 'layers.1.up']);
  expect(place('output_linear')).toEqual(['layers.1.down']);
});

const mamba = {
  ...{ mamba_n_heads: 4, mamba_d_head: 'auto', mamba_d_state: 16, mamba_n_groups: 2 },
  ...{ time_step_limit: [0, 'Infinity'] },
};

it('has Mamba in layers by both names, and in all where no list says which', () => {
  const kinds = (change: object) =>
    byLayer(hybrid({ ...mamba, ...change }).spec, ({ recurrent }) => recurrent !== undefined);
  const count = settings('granite').num_hidden_layers as number;
  const list = (...types: string[]) => ({
    layer_types: Array.from({ length: count }, (_, i) => types[i % types.length]),
  });
  const every = (n: number) => Array.from({ length: count }, (_, i) => i % n !== 0);
  expect(kinds(list('attention', 'mamba'))).toEqual(every(2));
  expect(kinds(list('full_attention', 'linear_attention'))).toEqual(every(2));
  expect(kinds({ layer_types: undefined })).toEqual(Array(count).fill(true));
  const { hidden_size: hidden } = settings('granite') as { hidden_size: number };
  expect(
    hybrid({ ...mamba, ...list('mamba', 'attention') }).spec.layers[0].recurrent,
  ).toMatchObject({
    ...{ kind: RECURRENT_KINDS.ssm, numKeyHeads: 2, numValueHeads: 4, keySize: 16 },
    ...{ valueSize: hidden / 2, normSize: hidden, normOwn: true, normFirst: false, skip: true },
    ...{ convWidth: 4, convBias: true, inBias: false, dtMin: 0 },
  });
});

it('weighs experts by a softmax over those chosen, beside a shared one', () => {
  const { layers } = hybrid({ num_local_experts: 4, num_experts_per_tok: 2 }).spec;
  expect(layers[0].experts).toMatchObject({
    ...{ numExperts: 4, topK: 2, intermediateSize: 7, sharedGate: false },
    router: { score: ROUTER_SCORES.chosenSoftmax },
  });
  expect(layers[0].mlp.intermediateSize).toBe(settings('granite').intermediate_size);
});

it('of a GGUF file has Mamba where there are no heads of keys, and its shared expert is not an other', async () => {
  const [mixing, attending] = (await ggufSpecOf('granite-hybrid')).layers;
  expect([mixing.attention, attending.recurrent]).toEqual([undefined, undefined]);
  expect([mixing.mlp.intermediateSize, mixing.experts?.intermediateSize]).toEqual([48, 24]);
  expect(mixing.recurrent).toMatchObject({ numKeyHeads: 2, numValueHeads: 4, valueSize: 32 });
});
