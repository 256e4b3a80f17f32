/** config.json of published models that make vectors and scores, as their repositories have it. */
import { expect, it } from 'vitest';
import { hfSpec } from '../../lib/model/read-spec.js';
import type { Settings } from '../support/specs.js';

const BERT = {
  ...{ attention_probs_dropout_prob: 0.1, hidden_act: 'gelu', hidden_dropout_prob: 0.1 },
  ...{ hidden_size: 384, initializer_range: 0.02, intermediate_size: 1536, layer_norm_eps: 1e-12 },
  ...{ max_position_embeddings: 512, model_type: 'bert', num_attention_heads: 12 },
  ...{ num_hidden_layers: 6, pad_token_id: 0, position_embedding_type: 'absolute' },
  ...{ transformers_version: '4.8.2', type_vocab_size: 2, use_cache: true, vocab_size: 30_522 },
};
const XLMR = {
  ...BERT,
  ...{ model_type: 'xlm-roberta', bos_token_id: 0, eos_token_id: 2, pad_token_id: 1 },
  ...{ hidden_size: 1024, intermediate_size: 4096, layer_norm_eps: 1e-5, num_attention_heads: 16 },
  ...{ max_position_embeddings: 8194, num_hidden_layers: 24, type_vocab_size: 1 },
  ...{ output_past: true, classifier_dropout: null, vocab_size: 250_002, torch_dtype: 'float32' },
};
const MODERN = {
  ...{ attention_bias: false, attention_dropout: 0, bos_token_id: 50_281, cls_token_id: 50_281 },
  ...{ classifier_activation: 'gelu', classifier_bias: false, classifier_dropout: 0 },
  ...{ classifier_pooling: 'mean', decoder_bias: true, deterministic_flash_attn: false },
  ...{ embedding_dropout: 0, eos_token_id: 50_282, global_attn_every_n_layers: 3 },
  ...{ global_rope_theta: 160_000, gradient_checkpointing: false, hidden_activation: 'gelu' },
  ...{ hidden_size: 768, initializer_cutoff_factor: 2, initializer_range: 0.02 },
  ...{ intermediate_size: 1152, layer_norm_eps: 1e-5, local_attention: 128, mlp_bias: false },
  ...{ local_rope_theta: 10_000, max_position_embeddings: 8192, mlp_dropout: 0 },
  ...{ model_type: 'modernbert', norm_bias: false, norm_eps: 1e-5, num_attention_heads: 12 },
  ...{ num_hidden_layers: 22, pad_token_id: 50_283, position_embedding_type: 'absolute' },
  ...{ reference_compile: false, repad_logits_with_grad: false, sep_token_id: 50_282 },
  ...{ sparse_pred_ignore_index: -100, sparse_prediction: false, torch_dtype: 'float16' },
  ...{ transformers_version: '4.48.0', vocab_size: 50_368 },
};
const QWEN3 = {
  ...{ attention_bias: false, attention_dropout: 0, bos_token_id: 151_643, eos_token_id: 151_643 },
  ...{ head_dim: 128, hidden_act: 'silu', hidden_size: 1024, initializer_range: 0.02 },
  ...{ intermediate_size: 3072, max_position_embeddings: 32_768, max_window_layers: 28 },
  ...{ model_type: 'qwen3', num_attention_heads: 16, num_hidden_layers: 28, use_cache: true },
  ...{ num_key_value_heads: 8, rms_norm_eps: 1e-6, rope_scaling: null, rope_theta: 1_000_000 },
  ...{ sliding_window: null, tie_word_embeddings: true, torch_dtype: 'bfloat16' },
  ...{ transformers_version: '4.51.3', use_sliding_window: false, vocab_size: 151_669 },
};
const IDENTITY = 'torch.nn.modules.linear.Identity';
const ONE = { id2label: { 0: 'LABEL_0' }, label2id: { LABEL_0: 0 } };

const VECTORS = { isForPooling: true, labels: undefined };
const CASES: Record<string, [Settings, object]> = {
  'sentence-transformers/all-MiniLM-L6-v2': [
    { ...BERT, architectures: ['BertModel'], gradient_checkpointing: false },
    { ...VECTORS, pooling: 'mean' },
  ],
  'BAAI/bge-small-en-v1.5': [
    { ...BERT, ...ONE, architectures: ['BertModel'], classifier_dropout: null },
    VECTORS,
  ],
  'google-bert/bert-base-multilingual-cased': [
    {
      ...{ ...BERT, architectures: ['BertForMaskedLM'], directionality: 'bidi' },
      ...{ pooler_fc_size: 768, pooler_num_attention_heads: 12, pooler_num_fc_layers: 3 },
      ...{ pooler_size_per_head: 128, pooler_type: 'first_token_transform' },
    },
    VECTORS,
  ],
  'BAAI/bge-m3': [{ ...XLMR, architectures: ['XLMRobertaModel'] }, VECTORS],
  'BAAI/bge-reranker-v2-m3': [
    { ...XLMR, ...ONE, architectures: ['XLMRobertaForSequenceClassification'] },
    { pooling: 'cls', labels: { names: ['LABEL_0'], activation: 'sigmoid' } },
  ],
  'cross-encoder/ms-marco-MiniLM-L6-v2': [
    {
      ...{ ...BERT, ...ONE, architectures: ['BertForSequenceClassification'] },
      sbert_ce_default_activation_function: IDENTITY,
      sentence_transformers: { activation_fn: IDENTITY, version: '4.0.1' },
    },
    { pooling: 'cls', labels: { names: ['LABEL_0'], activation: 'none' } },
  ],
  'intfloat/multilingual-e5-small': [
    {
      ...{ ...BERT, architectures: ['BertModel'], tokenizer_class: 'XLMRobertaTokenizer' },
      ...{ classifier_dropout: null, vocab_size: 250_037 },
    },
    VECTORS,
  ],
  'nlptown/bert-base-multilingual-uncased-sentiment': [
    {
      ...{ ...BERT, architectures: ['BertForSequenceClassification'], _num_labels: 5 },
      ...{ id2label: { 0: '1 star', 1: '2 stars' }, output_past: true },
    },
    { labels: { names: ['1 star', '2 stars'], activation: 'softmax' } },
  ],
  'Alibaba-NLP/gte-modernbert-base': [
    { ...MODERN, architectures: ['ModernBertModel'] },
    { ...VECTORS, pooling: 'mean' },
  ],
  'Alibaba-NLP/gte-reranker-modernbert-base': [
    { ...MODERN, ...ONE, architectures: ['ModernBertForSequenceClassification'] },
    { pooling: 'mean', labels: { names: ['LABEL_0'], activation: 'sigmoid' } },
  ],
  'google/embeddinggemma-300m': [
    {
      ...{ architectures: ['Gemma3TextModel'], model_type: 'gemma3_text', vocab_size: 262_144 },
      ...{ _sliding_window_pattern: 6, attention_bias: false, attention_dropout: 0 },
      ...{ attn_logit_softcapping: null, bos_token_id: 2, dtype: 'float32', eos_token_id: 1 },
      ...{ final_logit_softcapping: null, head_dim: 256, hidden_size: 768 },
      ...{ hidden_activation: 'gelu_pytorch_tanh', initializer_range: 0.02, pad_token_id: 0 },
      ...{ intermediate_size: 1152, max_position_embeddings: 2048, num_attention_heads: 3 },
      ...{ num_hidden_layers: 24, num_key_value_heads: 1, query_pre_attn_scalar: 256 },
      ...{ rms_norm_eps: 1e-6, rope_local_base_freq: 10_000, rope_scaling: null },
      ...{ rope_theta: 1_000_000, sliding_window: 512, use_bidirectional_attention: true },
      ...{ transformers_version: '4.57.0.dev0', use_cache: true },
    },
    { ...VECTORS, pooling: 'mean' },
  ],
  'Qwen/Qwen3-Embedding-0.6B': [
    { ...QWEN3, architectures: ['Qwen3ForCausalLM'] },
    { task: 'text', pooling: 'last', isForPooling: false },
  ],
  'tomaarsen/Qwen3-Reranker-0.6B-seq-cls': [
    { ...QWEN3, ...ONE, architectures: ['Qwen3ForSequenceClassification'] },
    { pooling: 'last', labels: { names: ['LABEL_0'], activation: 'sigmoid' } },
  ],
};

it.each(Object.entries(CASES))('reads %s', (_, [values, want]) => {
  const read = hfSpec(values, 'config.json');
  expect(read).toMatchObject(want);
  expect(read.spec.layers).toHaveLength(values.num_hidden_layers as number);
});

it('sees what the layers of the largest must', () => {
  const gemma = hfSpec(CASES['google/embeddinggemma-300m'][0], 'c').spec;
  expect(new Set(gemma.layers.map(({ attention }) => attention!.window))).toEqual(
    new Set([257, 0]),
  );
  const m3 = hfSpec(CASES['BAAI/bge-m3'][0], 'c').spec;
  expect(m3.maxPositionEmbeddings).toBe(8192);
  const modern = hfSpec(CASES['Alibaba-NLP/gte-modernbert-base'][0], 'c').spec;
  expect(modern.layers[1].attention!.window).toBe(65);
});

it.each(['nomic_bert', 'mpnet', 'distilbert', 'deberta-v2', 'electra', 'new', 'jina_bert_v3'])(
  'refuses %s by its name',
  (model_type) => {
    expect(() => hfSpec({ ...BERT, model_type }, 'config.json')).toThrow(`"${model_type}"`);
  },
);
