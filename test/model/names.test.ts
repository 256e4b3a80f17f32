import { expect, it } from 'vitest';
import { fromGgufName, fromHfName } from '../../lib/model/names.js';

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
  for (const [hf, gguf, name] of pairs)
    expect([fromHfName(hf), fromGgufName(gguf)]).toEqual([name, name]);
});

it('what nobody needs is passed over, what nobody knows is not', () => {
  expect(fromHfName('model.layers.0.self_attn.rotary_emb.inv_freq')).toBe('');
  expect(fromGgufName('rope_freqs.weight')).toBe('');
  const unknown = [
    'model.layers.0.mlp.experts.0.w1.weight',
    'model.layers.x.mlp.up_proj.weight',
    'constructor',
  ];
  for (const name of [...unknown, 'model.layers.0.self_attn.q_proj.scales']) {
    expect(fromHfName(name)).toBeUndefined();
  }
  for (const name of ['blk.0.ffn_gate_exps.weight', 'blk.0.toString.weight', '__proto__']) {
    expect(fromGgufName(name)).toBeUndefined();
  }
});
