import { expect, it } from 'vitest';
import { GGUF, HF } from '../../../lib/model/families/shared-lfm2.js';
import { placeOf } from '../../../lib/model/names.js';

it('names what goes into the convolution by its part in it: B, C and x', () => {
  const parts = ['layers.2.mix_k', 'layers.2.mix_q', 'layers.2.mix_v'];
  expect(placeOf('model.layers.2.conv.in_proj.weight', HF)?.names).toEqual(parts);
  expect(placeOf('blk.2.shortconv.in_proj.weight', GGUF)?.names).toEqual(parts);
  expect(placeOf('layers.2.conv.conv.bias', HF)?.names).toEqual(['layers.2.conv_v.bias']);
});

it('has the last norm under the name of another', () => {
  expect(placeOf('model.embedding_norm.weight', HF)?.names).toEqual(['final_norm']);
  expect(placeOf('token_embd_norm.weight', GGUF)?.names).toEqual(['final_norm']);
});
