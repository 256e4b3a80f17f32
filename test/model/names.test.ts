import { expect, it } from 'vitest';
import {
  GGUF_NAMES,
  HF_NAMES,
  placeOf,
  skippedPart,
  type TensorNames,
  unnested,
  withLayer,
} from '../../lib/model/names.js';

const nameOf = (stored: string, table: TensorNames) => placeOf(stored, table)?.names.join();

it('both namings meet', () => {
  const pairs = [
    ['model.embed_tokens.weight', 'token_embd.weight', 'embed'],
    ['lm_head.weight', 'output.weight', 'head'],
    ['model.norm.weight', 'output_norm.weight', 'final_norm'],
    ['model.layers.11.self_attn.o_proj.weight', 'blk.11.attn_output.weight', 'layers.11.o'],
    ['model.layers.0.self_attn.q_proj.bias', 'blk.0.attn_q.bias', 'layers.0.q.bias'],
    ['model.layers.3.mlp.down_proj.weight', 'blk.3.ffn_down.weight', 'layers.3.down'],
    [
      'model.layers.3.post_attention_layernorm.weight',
      'blk.3.ffn_norm.weight',
      'layers.3.mlp_norm',
    ],
    ['model.layers.3.self_attn.k_norm.weight', 'blk.3.attn_k_norm.weight', 'layers.3.k_norm'],
  ];
  for (const [hf, gguf, name] of pairs) {
    expect([nameOf(hf, HF_NAMES), nameOf(gguf, GGUF_NAMES)]).toEqual([name, name]);
  }
});

it('what nobody needs is passed over, what nobody knows is not', () => {
  expect(nameOf('model.layers.0.self_attn.rotary_emb.inv_freq', HF_NAMES)).toBe('');
  for (const name of ['rope_freqs', 'rope_factors_short', 'rope_factors_long']) {
    expect(nameOf(`${name}.weight`, GGUF_NAMES)).toBe('');
  }
  const unknown = [
    'model.layers.0.mlp.experts.0.w1.weight',
    'model.layers.x.mlp.up_proj.weight',
    'constructor',
    'constructor.weight',
  ];
  for (const name of [...unknown, 'model.layers.0.self_attn.q_proj.scales']) {
    expect(nameOf(name, HF_NAMES)).toBeUndefined();
  }
  for (const name of ['blk.0.ffn_gate_exps.weight', 'blk.0.toString.weight', '__proto__']) {
    expect(nameOf(name, GGUF_NAMES)).toBeUndefined();
  }
});

it('one tensor may hold several, one after the other, or turned around', () => {
  expect(placeOf('blk.2.attn_qkv.bias', GGUF_NAMES)).toEqual({
    names: ['layers.2.q.bias', 'layers.2.k.bias', 'layers.2.v.bias'],
  });
  const conv = withLayer(HF_NAMES, { 'attn.c_attn': { of: ['q', 'k'], transposed: true } });
  expect(placeOf('model.layers.0.attn.c_attn.weight', conv)).toEqual({
    names: ['layers.0.q', 'layers.0.k'],
    transposed: true,
  });
  expect(placeOf('model.layers.0.attn.c_attn.bias', conv)?.transposed).toBeUndefined();
  expect(nameOf('model.layers.0.mlp.up_proj.weight', conv)).toBe('layers.0.up');
});

it('some names have no suffix, and only those', () => {
  const inner = { of: ['e.0.up', 'e.1.up'], slices: 2, transposed: true } as const;
  const table = withLayer(HF_NAMES, {}, { 'self_attn.sinks': 'sinks', 'mlp.up': inner });
  expect(nameOf('model.layers.4.self_attn.sinks', table)).toBe('layers.4.sinks');
  expect(nameOf('model.layers.4.self_attn.sinks.weight', table)).toBeUndefined();
  expect(nameOf('model.layers.4.self_attn.q_proj', table)).toBeUndefined();
  expect(nameOf('model.norm', table)).toBeUndefined();
  expect(placeOf('model.layers.1.mlp.up', table)).toEqual({
    ...{ names: ['layers.1.e.0.up', 'layers.1.e.1.up'], slices: 2, transposed: true },
  });
});

it('a text model inside another is found by both prefixes', () => {
  for (const prefix of ['model.language_model.', 'language_model.model.']) {
    expect(unnested(`${prefix}layers.0.mlp.up_proj.weight`)).toBe(
      'model.layers.0.mlp.up_proj.weight',
    );
  }
  expect(unnested('language_model.lm_head.weight')).toBe('lm_head.weight');
  expect(unnested('lm_head.weight')).toBe('lm_head.weight');
});

it.each([
  ['model.visual.blocks.0.attn.qkv.weight', 'vision'],
  ['vision_tower.vision_model.embeddings.patch_embedding.weight', 'vision'],
  ['model.multi_modal_projector.linear_1.weight', 'vision'],
  ['model.vision_adapter.fc1.weight', 'vision'],
  ['audio_tower.layers.0.fc1.weight', 'audio'],
  ['mtp.fc.weight', 'mtp'],
  ['model.layers.4.eh_proj.weight', 'mtp'],
  ['model.layers.5.mlp.up_proj.weight', undefined],
  ['model.layers.3.mlp.up_proj.weight', undefined],
  ['model.embed_tokens.weight', undefined],
])('%s belongs to %s', (name, part) => {
  expect(skippedPart(name, HF_NAMES, { count: 4, mtp: 1 })).toBe(part);
});
