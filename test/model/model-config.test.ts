import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ggufConfig, hfConfig } from '../../lib/model/model-config.js';
import { ROOT } from '../support/addon.js';

const MODELS = join(ROOT, 'test/fixtures/models');
const json = (name: string) =>
  JSON.parse(readFileSync(join(MODELS, name, 'config.json'), 'utf8')) as Record<string, unknown>;
const parse = (values: object) => hfConfig(values as Record<string, unknown>, 'config.json');

const LLAMA = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: 100,
  hidden_size: 64,
  intermediate_size: 128,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 256,
  rms_norm_eps: 1e-5,
  hidden_act: 'silu',
};

// The shapes that checkpoints on the hub really have, shortened to what is read.
const REAL = {
  'Llama-2-7b': {
    _name_or_path: 'meta-llama/Llama-2-7b-hf',
    architectures: ['LlamaForCausalLM'],
    bos_token_id: 1,
    eos_token_id: 2,
    hidden_act: 'silu',
    hidden_size: 4096,
    initializer_range: 0.02,
    intermediate_size: 11008,
    max_position_embeddings: 4096,
    model_type: 'llama',
    num_attention_heads: 32,
    num_hidden_layers: 32,
    num_key_value_heads: 32,
    pretraining_tp: 1,
    rms_norm_eps: 1e-5,
    rope_scaling: null,
    tie_word_embeddings: false,
    torch_dtype: 'float16',
    transformers_version: '4.31.0',
    use_cache: true,
    vocab_size: 32000,
  },
  'Llama-3.1-8B-Instruct': {
    architectures: ['LlamaForCausalLM'],
    attention_bias: false,
    attention_dropout: 0,
    bos_token_id: 128000,
    eos_token_id: [128001, 128008, 128009],
    hidden_act: 'silu',
    hidden_size: 4096,
    initializer_range: 0.02,
    intermediate_size: 14336,
    max_position_embeddings: 131072,
    mlp_bias: false,
    model_type: 'llama',
    num_attention_heads: 32,
    num_hidden_layers: 32,
    num_key_value_heads: 8,
    pretraining_tp: 1,
    rms_norm_eps: 1e-5,
    rope_scaling: {
      factor: 8,
      high_freq_factor: 4,
      low_freq_factor: 1,
      original_max_position_embeddings: 8192,
      rope_type: 'llama3',
    },
    rope_theta: 500000,
    tie_word_embeddings: false,
    torch_dtype: 'bfloat16',
    use_cache: true,
    transformers_version: '4.43.0',
    vocab_size: 128256,
  },
  'SmolLM2-135M': {
    architectures: ['LlamaForCausalLM'],
    attention_bias: false,
    attention_dropout: 0,
    bos_token_id: 0,
    eos_token_id: 0,
    hidden_act: 'silu',
    hidden_size: 576,
    initializer_range: 0.041666666666666664,
    intermediate_size: 1536,
    is_llama_config: true,
    max_position_embeddings: 8192,
    model_type: 'llama',
    num_attention_heads: 9,
    num_hidden_layers: 30,
    num_key_value_heads: 3,
    pretraining_tp: 1,
    rms_norm_eps: 1e-5,
    rope_interleaved: false,
    rope_scaling: null,
    rope_theta: 100000,
    tie_word_embeddings: true,
    torch_dtype: 'bfloat16',
    transformers_version: '4.40.1',
    use_cache: true,
    vocab_size: 49152,
  },
  'Mistral-7B-v0.1': {
    architectures: ['MistralForCausalLM'],
    bos_token_id: 1,
    eos_token_id: 2,
    hidden_act: 'silu',
    hidden_size: 4096,
    initializer_range: 0.02,
    intermediate_size: 14336,
    max_position_embeddings: 32768,
    model_type: 'mistral',
    num_attention_heads: 32,
    num_hidden_layers: 32,
    num_key_value_heads: 8,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    sliding_window: 4096,
    tie_word_embeddings: false,
    torch_dtype: 'bfloat16',
    use_cache: true,
    transformers_version: '4.34.0.dev0',
    vocab_size: 32000,
  },
  'Qwen2.5-0.5B-Instruct': {
    architectures: ['Qwen2ForCausalLM'],
    attention_dropout: 0,
    bos_token_id: 151643,
    eos_token_id: 151645,
    hidden_act: 'silu',
    hidden_size: 896,
    initializer_range: 0.02,
    intermediate_size: 4864,
    max_position_embeddings: 32768,
    max_window_layers: 21,
    model_type: 'qwen2',
    num_attention_heads: 14,
    num_hidden_layers: 24,
    num_key_value_heads: 2,
    rms_norm_eps: 1e-6,
    rope_theta: 1000000,
    sliding_window: 32768,
    tie_word_embeddings: true,
    torch_dtype: 'bfloat16',
    transformers_version: '4.43.1',
    use_cache: true,
    use_sliding_window: false,
    vocab_size: 151936,
  },
  'Qwen3-0.6B': {
    architectures: ['Qwen3ForCausalLM'],
    attention_bias: false,
    attention_dropout: 0,
    bos_token_id: 151643,
    eos_token_id: 151645,
    head_dim: 128,
    hidden_act: 'silu',
    hidden_size: 1024,
    initializer_range: 0.02,
    intermediate_size: 3072,
    max_position_embeddings: 40960,
    max_window_layers: 28,
    model_type: 'qwen3',
    num_attention_heads: 16,
    num_hidden_layers: 28,
    num_key_value_heads: 8,
    rms_norm_eps: 1e-6,
    rope_scaling: null,
    rope_theta: 1000000,
    sliding_window: null,
    tie_word_embeddings: true,
    torch_dtype: 'bfloat16',
    transformers_version: '4.51.0',
    use_cache: true,
    use_sliding_window: false,
    vocab_size: 151936,
  },
};

describe('config.json', () => {
  it.each(Object.entries(REAL))('of %s is understood', (_, values) => {
    const config = parse(values);
    expect(config.headSize).toBe(
      'head_dim' in values ? 128 : values.hidden_size / values.num_attention_heads,
    );
    expect(config.tiedHead).toBe(values.tie_word_embeddings);
    expect(config.eosTokenIds).toEqual([values.eos_token_id].flat());
    expect([...new Set(config.windows)]).toEqual([values.model_type === 'mistral' ? 4096 : 0]);
    expect(config.qkNorm).toBe(values.model_type === 'qwen3');
    expect(config.biases.has('q')).toBe(values.model_type === 'qwen2');
    expect(config.biases.has('o')).toBe(false);
  });

  it('of every reference case is understood', () => {
    const names = readdirSync(MODELS);
    expect(names.length).toBe(16);
    for (const name of names) {
      const values = json(name);
      const config = parse(values);
      expect(config.inverseFrequencies).toHaveLength(config.headSize / 2);
      expect(config.windows).toHaveLength(config.numLayers);
      expect(config.attentionScale).toBeCloseTo(config.headSize ** -0.5, 12);
    }
    expect(parse(json('llama-bias')).biases).toEqual(
      new Set(['q', 'k', 'v', 'o', 'gate', 'up', 'down']),
    );
    expect([...parse(json('mistral-window')).windows]).toEqual([24, 24]);
    expect(parse(json('qwen2-yarn')).ropeAttentionFactor).toBeCloseTo(0.1 * Math.log(4) + 1, 9);
    expect(parse(json('llama-head112')).headSize).toBe(112);
  });

  it('windows: by layer, by flag, absent, null', () => {
    const mistral = { ...LLAMA, model_type: 'mistral' };
    expect([...parse(mistral).windows]).toEqual([4096, 4096, 4096]); // the family's own default
    expect([...parse({ ...mistral, sliding_window: null }).windows]).toEqual([0, 0, 0]);
    const qwen = { ...LLAMA, model_type: 'qwen2', sliding_window: 32, max_window_layers: 1 };
    expect([...parse(qwen).windows]).toEqual([0, 0, 0]);
    expect([...parse({ ...qwen, use_sliding_window: true }).windows]).toEqual([0, 32, 32]);
    const types = ['sliding_attention', 'full_attention', 'full_attention'];
    expect([...parse({ ...qwen, layer_types: types }).windows]).toEqual([32, 0, 0]);
    expect([...parse({ ...LLAMA, layer_types: Array(3).fill('full_attention') }).windows]).toEqual([
      0, 0, 0,
    ]);
  });

  it.each<[string, object, string]>([
    ['model_type', { model_type: 'mamba' }, 'ERR_MODEL_UNSUPPORTED'],
    ['model_type', { model_type: 'constructor' }, 'ERR_MODEL_UNSUPPORTED'],
    ['model_type', { model_type: undefined }, 'ERR_MODEL_FORMAT'],
    ['hidden_act', { hidden_act: 'gelu' }, 'ERR_MODEL_UNSUPPORTED'],
    ['quantization_config', { quantization_config: { bits: 4 } }, 'ERR_MODEL_UNSUPPORTED'],
    ['attn_logit_softcapping', { attn_logit_softcapping: 50 }, 'ERR_MODEL_UNSUPPORTED'],
    ['num_local_experts', { num_local_experts: 8 }, 'ERR_MODEL_UNSUPPORTED'],
    ['sliding_window', { sliding_window: 64 }, 'ERR_MODEL_UNSUPPORTED'],
    ['rope_interleaved', { rope_interleaved: true }, 'ERR_MODEL_UNSUPPORTED'],
    ['pretraining_tp', { pretraining_tp: 2 }, 'ERR_MODEL_UNSUPPORTED'],
    ['vocab_size', { vocab_size: 0 }, 'ERR_MODEL_FORMAT'],
    ['hidden_size', { hidden_size: '64' }, 'ERR_MODEL_FORMAT'],
    ['num_hidden_layers', { num_hidden_layers: 1.5 }, 'ERR_MODEL_FORMAT'],
    ['num_key_value_heads', { num_key_value_heads: 3 }, 'ERR_MODEL_FORMAT'],
    ['head_dim', { head_dim: 7 }, 'ERR_MODEL_FORMAT'],
    ['head_dim', { hidden_size: 66 }, 'ERR_MODEL_FORMAT'],
    ['layer_types', { model_type: 'qwen2', layer_types: ['full_attention'] }, 'ERR_MODEL_FORMAT'],
    ['layer type', { layer_types: Array(3).fill('linear_attention') }, 'ERR_MODEL_UNSUPPORTED'],
    ['eos_token_id', { eos_token_id: -1 }, 'ERR_MODEL_FORMAT'],
    ['attention_bias', { attention_bias: 'yes' }, 'ERR_MODEL_FORMAT'],
  ])('%s of %j is refused by name', (name, change, code) => {
    const call = () => parse({ ...LLAMA, ...change });
    expect(call).toThrow(expect.objectContaining({ code }));
    expect(call).toThrow(name);
  });

  it('unknown settings that say nothing are passed over', () => {
    expect(() =>
      parse({ ...LLAMA, some_flag: false, some_list: [], some_value: null }),
    ).not.toThrow();
  });
});

describe('GGUF metadata', () => {
  const META = {
    'general.architecture': 'llama',
    'general.name': 'x',
    'general.file_type': 7,
    'general.quantization_version': 2,
    'general.size_label': '135M',
    'general.license': 'mit',
    'llama.block_count': 2,
    'llama.context_length': 512,
    'llama.embedding_length': 96,
    'llama.feed_forward_length': 136,
    'llama.attention.head_count': 3,
    'llama.attention.head_count_kv': 1,
    'llama.attention.layer_norm_rms_epsilon': 1e-5,
    'llama.attention.key_length': 64,
    'llama.attention.value_length': 64,
    'llama.rope.dimension_count': 64,
    'llama.rope.freq_base': 10000,
    'llama.vocab_size': 320,
    'tokenizer.ggml.bos_token_id': 1,
    'tokenizer.ggml.eos_token_id': 2,
    'tokenizer.ggml.eot_token_id': 3,
  };
  const tensors = { vocabSize: 320, hasHead: false, biases: new Set<string>() };
  const gguf = (change: object) =>
    ggufConfig(new Map(Object.entries({ ...META, ...change })), 'm.gguf', tensors);

  it('is understood', () => {
    expect(gguf({})).toMatchObject({
      architecture: 'llama',
      headSize: 64,
      numKvHeads: 1,
      ropeInterleaved: true,
      tiedHead: true,
      eosTokenIds: [2, 3],
      bosTokenId: 1,
      maxPositionEmbeddings: 512,
    });
  });

  it.each([
    [{ 'general.architecture': 'rwkv' }, 'ERR_MODEL_UNSUPPORTED', /rwkv/],
    [{ 'llama.attention.value_length': 32 }, 'ERR_MODEL_UNSUPPORTED', /value head/],
    [{ 'llama.expert_count': 8 }, 'ERR_MODEL_UNSUPPORTED', /expert_count/],
    [{ 'llama.attention.sliding_window': 8 }, 'ERR_MODEL_UNSUPPORTED', /window/],
    [{ 'llama.block_count': 0 }, 'ERR_MODEL_FORMAT', /block_count/],
    [{ 'llama.attention.head_count': [3, 3] }, 'ERR_MODEL_FORMAT', /head_count/],
  ])('%j is refused by name', (change, code, why) => {
    expect(() => gguf(change)).toThrow(expect.objectContaining({ code }));
    expect(() => gguf(change)).toThrow(why);
  });
});
