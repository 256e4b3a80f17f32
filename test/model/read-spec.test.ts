import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ggufSpec, hfSpec } from '../../lib/model/read-spec.js';
import { NORMS } from '../../lib/native.js';
import { ROOT } from '../support/addon.js';

const MODELS = join(ROOT, 'test/fixtures/models');
const json = (name: string) =>
  JSON.parse(readFileSync(join(MODELS, name, 'config.json'), 'utf8')) as Record<string, unknown>;
const parse = (values: object) => hfSpec(values as Record<string, unknown>, 'config.json').spec;
const windows = (values: object) => parse(values).layers.map(({ attention }) => attention!.window);

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

const HUB = JSON.parse(
  readFileSync(join(ROOT, 'test/fixtures/configs/hub.json'), 'utf8'),
) as Record<string, Record<string, unknown>>;

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
    const spec = parse(values);
    expect(spec.layers).toHaveLength(values.num_hidden_layers);
    const type = values.model_type;
    for (const { attention } of spec.layers) {
      expect(attention!.headSize).toBe(
        'head_dim' in values ? 128 : values.hidden_size / values.num_attention_heads,
      );
      expect(attention!.window).toBe(type === 'mistral' ? 4096 : 0);
      expect(attention!.qkNorm.kind).toBe(type === 'qwen3' ? NORMS.rms : NORMS.none);
      expect(attention!.biases).toEqual(type === 'qwen2' ? ['q', 'k', 'v'] : []);
    }
    expect(spec.head?.tied).toBe(values.tie_word_embeddings);
    expect(spec.eosTokenIds).toEqual([values.eos_token_id].flat());
  });

  // Settings that these carry beside what their family reads.
  it.each([
    {
      ...{ model_type: 'gemma2', num_hidden_layers: 42, num_attention_heads: 16, head_dim: 256 },
      ...{ architectures: ['Gemma2ForCausalLM'], attention_bias: false, attention_dropout: 0 },
      ...{ attn_logit_softcapping: 50, bos_token_id: 2, cache_implementation: 'hybrid' },
      ...{ eos_token_id: 1, final_logit_softcapping: 30, hidden_act: 'gelu_pytorch_tanh' },
      ...{ hidden_activation: 'gelu_pytorch_tanh', hidden_size: 3584, initializer_range: 0.02 },
      ...{ intermediate_size: 14336, max_position_embeddings: 8192, num_key_value_heads: 8 },
      ...{ pad_token_id: 0, query_pre_attn_scalar: 256, rms_norm_eps: 1e-6, rope_theta: 10000 },
      ...{ sliding_window: 4096, sliding_window_size: 4096, torch_dtype: 'bfloat16' },
      ...{ transformers_version: '4.45.2', use_cache: true, vocab_size: 256000 },
    },
    {
      ...{ model_type: 'phi3', num_hidden_layers: 32, num_attention_heads: 32 },
      ...{ architectures: ['Phi3ForCausalLM'], attention_bias: false, attention_dropout: 0 },
      ...{ auto_map: { AutoConfig: 'configuration_phi3.Phi3Config' }, bos_token_id: 1 },
      ...{ embd_pdrop: 0, eos_token_id: 32000, hidden_act: 'silu', hidden_size: 3072 },
      ...{ initializer_range: 0.02, intermediate_size: 8192, max_position_embeddings: 4096 },
      ...{ num_key_value_heads: 32, original_max_position_embeddings: 4096, pad_token_id: 32000 },
      ...{ resid_pdrop: 0, rms_norm_eps: 1e-5, rope_scaling: null, rope_theta: 10000 },
      ...{ sliding_window: 2047, tie_word_embeddings: false, torch_dtype: 'bfloat16' },
      ...{ transformers_version: '4.40.2', use_cache: true, vocab_size: 32064 },
    },
    {
      ...{ model_type: 'smollm3', num_hidden_layers: 36, num_attention_heads: 16 },
      ...{ architectures: ['SmolLM3ForCausalLM'], attention_bias: false, attention_dropout: 0 },
      ...{ bos_token_id: 128000, eos_token_id: 128012, hidden_act: 'silu', hidden_size: 2048 },
      ...{ initializer_range: 0.02, intermediate_size: 11008, max_position_embeddings: 65536 },
      ...{ layer_types: Array(36).fill('full_attention'), max_window_layers: 28, mlp_bias: false },
      ...{ no_rope_layer_interval: 4, no_rope_layers: Array(9).fill([1, 1, 1, 0]).flat() },
      ...{ num_key_value_heads: 4, pad_token_id: 128004, pretraining_tp: 2, rms_norm_eps: 1e-6 },
      ...{ rope_scaling: null, rope_theta: 5e6, sliding_window: null, torch_dtype: 'bfloat16' },
      ...{ transformers_version: '4.54.0.dev0', use_cache: false, use_sliding_window: false },
      ...{ tie_word_embeddings: true, vocab_size: 128256 },
    },
    {
      ...{ model_type: 'gpt2', n_layer: 12, n_head: 12, n_embd: 768, n_ctx: 1024 },
      ...{ activation_function: 'gelu_new', architectures: ['GPT2LMHeadModel'], attn_pdrop: 0.1 },
      ...{ bos_token_id: 50256, embd_pdrop: 0.1, eos_token_id: 50256, initializer_range: 0.02 },
      ...{ layer_norm_epsilon: 1e-5, n_positions: 1024, resid_pdrop: 0.1, vocab_size: 50257 },
      ...{ summary_activation: null, summary_first_dropout: 0.1, summary_proj_to_labels: true },
      ...{ summary_type: 'cls_index', summary_use_proj: true },
      task_specific_params: { 'text-generation': { do_sample: true, max_length: 50 } },
    },
  ])('of a $model_type on the hub is understood', (values) => {
    const { layers, architecture } = parse(values);
    const said: Record<string, unknown> = values;
    expect(architecture).toBe(values.model_type);
    expect(layers).toHaveLength((said.num_hidden_layers ?? said.n_layer) as number);
    expect(layers[0].attention!.numHeads).toBe(said.num_attention_heads ?? said.n_head);
  });

  // As models on the hub have them, seen or not: no setting is unknown.
  it.each(Object.entries(HUB))('of %s is understood', (name, values) => {
    const { layers, eosTokenIds } = hfSpec(values, name).spec;
    const text = (values.text_config ?? values) as Record<string, unknown>;
    expect(layers).toHaveLength(text.num_hidden_layers as number);
    const experts = text.num_experts ?? text.num_local_experts ?? text.n_routed_experts;
    expect(layers.at(-1)?.experts?.numExperts).toBe(experts);
    expect(eosTokenIds).toEqual([values.eos_token_id ?? text.eos_token_id ?? []].flat());
  });

  it('of every reference case is understood', () => {
    const names = readdirSync(MODELS);
    expect(names.length).toBeGreaterThanOrEqual(16);
    for (const name of names) {
      const values = json(name);
      const { architecture, layers } = parse(values);
      const text = (values.text_config ?? values) as Record<string, unknown>;
      expect(architecture).toBe(text.model_type);
      const listed = (text.layers_block_type as string[] | undefined)?.length;
      expect(layers).toHaveLength((text.num_hidden_layers ?? text.n_layer ?? listed) as number);
    }
    const [biased] = parse(json('llama-bias')).layers;
    expect(biased.attention!.biases).toEqual(['q', 'k', 'v', 'o']);
    expect(biased.mlp.biases).toEqual(['gate', 'up', 'down']);
    expect(windows(json('mistral-window'))).toEqual([24, 24]);
    const [yarn] = parse(json('qwen2-yarn')).ropes;
    expect(yarn.attentionFactor).toBeCloseTo(0.1 * Math.log(4) + 1, 9);
    expect(parse(json('llama-head112')).layers[0].attention!.headSize).toBe(112);
  });

  it('windows: by layer, by flag, absent, null', () => {
    const mistral = { ...LLAMA, model_type: 'mistral' };
    expect(windows(mistral)).toEqual([4096, 4096, 4096]); // the family's own default
    expect(windows({ ...mistral, sliding_window: null })).toEqual([0, 0, 0]);
    const qwen = { ...LLAMA, model_type: 'qwen2', sliding_window: 32, max_window_layers: 1 };
    expect(windows(qwen)).toEqual([0, 0, 0]);
    expect(windows({ ...qwen, use_sliding_window: true })).toEqual([0, 32, 32]);
    const types = ['sliding_attention', 'full_attention', 'full_attention'];
    expect(windows({ ...qwen, use_sliding_window: true, layer_types: types })).toEqual([32, 0, 0]);
    expect(windows({ ...LLAMA, layer_types: Array(3).fill('full_attention') })).toEqual([0, 0, 0]);
  });

  it.each<[string, object, string]>([
    ['model_type', { model_type: 'mamba' }, 'ERR_MODEL_UNSUPPORTED'],
    ['model_type', { model_type: 'constructor' }, 'ERR_MODEL_UNSUPPORTED'],
    ['ForToken', { architectures: ['LlamaForTokenClassification'] }, 'ERR_MODEL_UNSUPPORTED'],
    ['ForQuestion', { architectures: ['LlamaForQuestionAnswering'] }, 'ERR_MODEL_UNSUPPORTED'],
    ['model_type', { model_type: undefined }, 'ERR_MODEL_FORMAT'],
    ['hidden_act', { hidden_act: 'tanh' }, 'ERR_MODEL_UNSUPPORTED'],
    ['quantization_config', { quantization_config: { bits: 4 } }, 'ERR_MODEL_UNSUPPORTED'],
    ['quantization_config', { quantization_config: 4 }, 'ERR_MODEL_FORMAT'],
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
    ['is_causal', { is_causal: false }, 'ERR_MODEL_UNSUPPORTED'],
    ['is_encoder_decoder', { is_encoder_decoder: true }, 'ERR_MODEL_UNSUPPORTED'],
    ['add_cross_attention', { add_cross_attention: true }, 'ERR_MODEL_UNSUPPORTED'],
    ['pruned_heads', { pruned_heads: { 0: [1] } }, 'ERR_MODEL_UNSUPPORTED'],
    ['eos_token_id', { eos_token_id: -1 }, 'ERR_MODEL_FORMAT'],
    ['attention_bias', { attention_bias: 'yes' }, 'ERR_MODEL_FORMAT'],
  ])('%s of %j is refused by name', (name, change, code) => {
    const call = () => parse({ ...LLAMA, ...change });
    expect(call).toThrow(expect.objectContaining({ code }));
    expect(call).toThrow(name);
  });

  it('more experts than any model has are refused before their tensors are looked for', () => {
    const values = { ...LLAMA, model_type: 'mixtral', num_local_experts: 4096 };
    expect(parse(values).layers[2].experts?.numExperts).toBe(4096);
    expect(() => parse({ ...values, num_hidden_layers: 33 })).toThrow(/of 135168 experts/);
  });

  it.each([
    ['stablelm', 'qk_layernorm'],
    ['cohere', 'use_qk_norm'],
  ])('and so are more norms of single heads: %s', (name, setting) => {
    const heads = { num_attention_heads: 2048, num_key_value_heads: 2048, hidden_size: 2 ** 16 };
    const deep = (num_hidden_layers: number, on = true) =>
      parse({ ...json(name), ...heads, num_hidden_layers, [setting]: on }).layers.length;
    expect(deep(32)).toBe(32);
    expect(deep(4096, false)).toBe(4096);
    expect(() => deep(4096)).toThrow(expect.objectContaining({ code: 'ERR_MODEL_UNSUPPORTED' }));
    expect(() => deep(4096)).toThrow(/of 16777216 heads/);
  });

  it('norms of q and k are as a family has them that reads no switch for them', () => {
    const said = (name: string, use_qk_norm: unknown) => () =>
      parse({ ...json(name), use_qk_norm });
    for (const name of ['qwen3', 'hunyuan-dense', 'minimax-m2', 'olmo2']) {
      expect(said(name, true)().layers.length).toBeGreaterThan(0);
      expect(said(name, false), name).toThrow(/"use_qk_norm" of \w+ at false/);
    }
    for (const value of [false, null]) expect(said('llama-gqa', value)).not.toThrow();
    expect(said('llama-gqa', true)).toThrow(/"use_qk_norm" of llama at true/);
  });

  it('a layer whose heads are smaller than what turns of the first is refused', () => {
    const small = { ...LLAMA, per_layer_config: { 2: { head_dim: 8 } } };
    expect(() => parse(small)).toThrow(/config\.json: layer 2 turns 16 values of heads of 8/);
  });

  it.each([false, 0, null, '', [], {}])('an unknown setting is refused even at %j', (value) => {
    expect(() => parse({ ...LLAMA, some_setting: value })).toThrow(/"some_setting" of llama/);
  });

  it('scaling lengthens the context, as in vLLM', () => {
    const length = (rope_scaling: object, more = {}) =>
      parse({ ...LLAMA, rope_scaling, ...more }).maxPositionEmbeddings;
    const yarn = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 256 };
    expect(length(yarn)).toBe(1024);
    expect(length(yarn, { max_position_embeddings: 1024 })).toBe(1024);
    expect(length({ ...yarn, original_max_position_embeddings: undefined })).toBe(1024);
    expect(length({ type: 'linear', factor: 2.5 })).toBe(640);
    const llama3 = { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4 };
    expect(length({ ...llama3, original_max_position_embeddings: 128 })).toBe(256);
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
  };
  const tensors = {
    names: new Set(['token_embd.weight']),
    vocabSize: 320,
    biases: new Set<string>(),
    shapes: new Map(),
    factors: new Map(),
  };
  const tokens = { bosTokenId: 1, eosTokenIds: [2, 3] };
  const gguf = (change: object) =>
    ggufSpec(new Map(Object.entries({ ...META, ...change })), 'm.gguf', tensors, tokens).spec;

  it('is understood', () => {
    expect(gguf({})).toMatchObject({
      architecture: 'llama',
      ropes: [{ interleaved: true }],
      head: { tied: true },
      eosTokenIds: [2, 3],
      bosTokenId: 1,
      maxPositionEmbeddings: 512,
    });
    expect(gguf({}).layers[1].attention).toMatchObject({ headSize: 64, numKvHeads: 1 });
  });

  it.each([
    { 'llama.attention.causal': true },
    { 'llama.rope.scale_linear': 1 },
    { 'llama.attention.layer_norm_epsilon': 1e-5 },
    { 'llama.expert_count': 0, 'llama.expert_used_count': 0 },
  ])('%j changes nothing', (change) => {
    expect(gguf(change)).toEqual(gguf({}));
  });

  it('yarn lengthens the context', () => {
    const yarn = { 'llama.rope.scaling.type': 'yarn', 'llama.rope.scaling.factor': 4 };
    expect(gguf(yarn).maxPositionEmbeddings).toBe(2048);
    const from = { ...yarn, 'llama.rope.scaling.original_context_length': 128 };
    expect(gguf(from).maxPositionEmbeddings).toBe(512);
  });

  it.each([
    [{ 'general.architecture': 'rwkv' }, 'ERR_MODEL_UNSUPPORTED', /rwkv/],
    [{ 'llama.attention.value_length': 32 }, 'ERR_MODEL_UNSUPPORTED', /value head/],
    [{ 'llama.expert_count': 8 }, 'ERR_MODEL_FORMAT', /expert_used_count/],
    [{ 'llama.attention.sliding_window': 8 }, 'ERR_MODEL_UNSUPPORTED', /window/],
    [{ 'llama.block_count': 0 }, 'ERR_MODEL_FORMAT', /block_count/],
    [{ 'llama.attention.causal': false }, 'ERR_MODEL_UNSUPPORTED', /attention\.causal/],
    [{ 'llama.rope.scale_linear': 2 }, 'ERR_MODEL_UNSUPPORTED', /scale_linear/],
    [{ 'llama.some_key': 0 }, 'ERR_MODEL_UNSUPPORTED', /some_key/],
    [{ 'llama.attention.head_count': Int32Array.of(3, 3) }, 'ERR_MODEL_FORMAT', /head_count/],
  ])('%j is refused by name', (change, code, why) => {
    expect(() => gguf(change)).toThrow(expect.objectContaining({ code }));
    expect(() => gguf(change)).toThrow(why);
  });
});
