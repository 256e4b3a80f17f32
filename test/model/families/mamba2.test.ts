import { expect, it } from 'vitest';
import { placeOf } from '../../../lib/model/names.js';
import { hfSpec } from '../../../lib/model/read-spec.js';
import { RECURRENT_KINDS } from '../../../lib/native.js';
import { ggufSpecWith, settings, specOf } from '../../support/specs.js';

const of = (change: Record<string, unknown> = {}) => specOf(settings('mamba2', change));

it('is nothing but mixers', () => {
  const { layers, ropes, head, maxPositionEmbeddings } = of();
  expect(layers).toHaveLength(2);
  expect([layers[0].attention, layers[0].mlp.intermediateSize, ropes]).toEqual([undefined, 0, []]);
  expect(layers[1].recurrent).toMatchObject({
    ...{ kind: RECURRENT_KINDS.ssm, numKeyHeads: 2, numValueHeads: 6, keySize: 16, valueSize: 32 },
    ...{ convWidth: 4, convBias: true, inBias: false, outBias: false, normFirst: false },
  });
  expect(head?.tied).toBe(false);
  expect(maxPositionEmbeddings).toBe(2 ** 20);
  expect(() => of({ num_heads: 5 })).toThrow(/does not share out the 192 values/);
  expect(() => of({ hidden_act: 'gelu' })).toThrow(/hidden_act that is not silu/);
});

it('finds its embedding in both spellings', () => {
  const { names } = hfSpec(settings('mamba2'), 'c');
  for (const name of ['backbone.embeddings', 'backbone.embedding', 'model.embeddings']) {
    expect(placeOf(`${name}.weight`, names)?.names).toEqual(['embed']);
  }
  const place = (name: string) => placeOf(`backbone.layers.1.${name}`, names)?.names;
  expect(place('norm.weight')).toEqual(['layers.1.attn_norm']);
  expect(place('mixer.A_log')).toEqual(['layers.1.decay']);
});

it('of a GGUF file has sizes by other names', () => {
  const { layers, maxPositionEmbeddings } = ggufSpecWith('mamba2', {
    ...{ 'ssm.conv_kernel': 4, 'ssm.inner_size': 128, 'ssm.state_size': 16 },
    ...{ 'ssm.time_step_rank': 4, 'ssm.group_count': 2, feed_forward_length: 0 },
    ...{ 'attention.head_count': 0, 'attention.head_count_kv': undefined },
    ...{ 'rope.freq_base': undefined, 'attention.layer_norm_rms_epsilon': 1e-5 },
  });
  expect([layers.length, maxPositionEmbeddings]).toEqual([4, 512]);
  expect(layers[0].recurrent).toMatchObject({ numValueHeads: 4, valueSize: 32, normSize: 64 });
});

it('takes what a file leaves out as transformers does', () => {
  const { layers, vocabSize, hiddenSize, head, finalNorm } = specOf({ model_type: 'mamba2' });
  expect([layers.length, vocabSize, hiddenSize]).toEqual([64, 32_768, 4096]);
  expect([head?.tied, finalNorm.eps]).toEqual([false, 1e-5]);
  expect(layers[0].recurrent).toMatchObject({
    ...{ numKeyHeads: 8, numValueHeads: 128, keySize: 128, valueSize: 64, convWidth: 4 },
  });
});
