import { expect, it } from 'vitest';
import { GGUF, HF } from '../../../lib/model/families/shared-falcon.js';
import { placeOf } from '../../../lib/model/names.js';

it('has both mixers in a layer, and a norm without an ending in GGUF files', () => {
  const hf = (name: string) => placeOf(`model.layers.3.${name}`, HF)?.names;
  expect(hf('self_attn.q_proj.weight')).toEqual(['layers.3.q']);
  expect(hf('mamba.out_proj.bias')).toEqual(['layers.3.mix_out.bias']);
  expect(hf('mamba.dt_bias')).toEqual(['layers.3.dt_bias']);
  expect(hf('pre_ff_layernorm.weight')).toEqual(['layers.3.mlp_norm']);
  expect(placeOf('model.final_layernorm.weight', HF)?.names).toEqual(['final_norm']);
  expect(placeOf('blk.3.ffn_norm', GGUF)?.names).toEqual(['layers.3.mlp_norm']);
  expect(placeOf('blk.3.ssm_d', GGUF)?.names).toEqual(['layers.3.skip']);
});
