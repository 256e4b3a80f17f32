import { expect, it } from 'vitest';
import { placeOf } from '../../../lib/model/names.js';
import { hfSpec } from '../../../lib/model/read-spec.js';
import { BRANCHES, HIDDEN_ACTS, NORMS } from '../../../lib/native.js';
import { ggufSpecWith, type Settings, specOf } from '../../support/specs.js';

const SIZES = {
  ...{ vocab_size: 30, hidden_size: 64, intermediate_size: 80, num_hidden_layers: 2 },
  ...{ num_attention_heads: 4, max_position_embeddings: 40 },
};
const BERT: Settings = { model_type: 'bert', architectures: ['BertModel'], ...SIZES };
const XLMR: Settings = { ...BERT, model_type: 'xlm-roberta', type_vocab_size: 1, pad_token_id: 1 };
const read = (values: Settings) => hfSpec(values, 'config.json');

it('sees both sides, and normalises sums', () => {
  const spec = specOf(BERT);
  expect(spec.head).toBeUndefined();
  expect(spec.finalNorm.kind).toBe(NORMS.none);
  expect(spec.ropes).toEqual([]);
  const norm = { kind: NORMS.layer, eps: 1e-12, offset: false, weight: true, bias: true };
  expect(spec.embedding).toEqual({ scale: 1, numPositions: 40, numTokenTypes: 2, norm });
  for (const layer of spec.layers) {
    expect(layer).toMatchObject({ branches: BRANCHES.post, attnNorm: norm, mlpNorm: norm });
    expect(layer.attention).toMatchObject({ causal: false, window: 0, rope: -1 });
    expect(layer.attention!.biases).toEqual(['q', 'k', 'v', 'o']);
    expect(layer.mlp).toMatchObject({ gated: false, hiddenAct: HIDDEN_ACTS.gelu });
    expect(layer.mlp.biases).toEqual(['up', 'down']);
  }
});

it('counts positions from behind the padding where it is a RoBERTa', () => {
  const { spec, names } = read(XLMR);
  expect(spec).toMatchObject({
    maxPositionEmbeddings: 38,
    embedding: { numPositions: 38, numTokenTypes: 1 },
  });
  const table = 'roberta.embeddings.position_embeddings.weight';
  expect(placeOf(table, names)).toEqual({ names: ['positions'], skippedRows: 2 });
  expect(specOf({ ...XLMR, pad_token_id: undefined }).maxPositionEmbeddings).toBe(38);
  expect(specOf({ ...XLMR, model_type: 'roberta', pad_token_id: 0 }).maxPositionEmbeddings).toBe(
    39,
  );
  expect(() => specOf({ ...XLMR, max_position_embeddings: 2 })).toThrow(/leaves no position/);
});

it('passes over what trained it, and a pooler that nobody reads, by name', () => {
  const { names } = read(BERT);
  const unused = ['bert.embeddings.position_ids', 'bert.pooler.dense.weight', 'lm_head.bias'];
  unused.push('cls.predictions.transform.dense.weight', 'cls.seq_relationship.bias');
  for (const name of unused) expect(placeOf(name, names)?.names, name).toEqual([]);
  expect(placeOf('classifier.weight', names)).toBeUndefined();
  expect(placeOf('encoder.layer.1.attention.output.LayerNorm.gamma', names)?.names).toEqual([
    'layers.1.attn_norm',
  ]);
  expect(placeOf('bert.encoder.layer.0.output.LayerNorm.beta', names)?.names).toEqual([
    'layers.0.mlp_norm.bias',
  ]);
});

it('classifies behind a layer with tanh', () => {
  const architectures = ['BertForSequenceClassification'];
  const { spec, names, ...task } = read({ ...BERT, architectures, num_labels: 1 });
  expect(spec.pooler?.layers).toMatchObject([
    { outSize: 64, bias: true, act: HIDDEN_ACTS.tanh },
    { outSize: 1, bias: true },
  ]);
  expect(spec.pooler?.layers[1].act).toBeUndefined();
  expect(task).toMatchObject({ pooling: 'cls', isForPooling: true });
  expect(placeOf('bert.pooler.dense.weight', names)?.names).toEqual(['pooled.0']);
  expect(placeOf('classifier.bias', names)?.names).toEqual(['pooled.1.bias']);
  const roberta = read({ ...XLMR, architectures: ['XLMRobertaForSequenceClassification'] });
  expect(placeOf('classifier.dense.weight', roberta.names)?.names).toEqual(['pooled.0']);
  expect(placeOf('classifier.out_proj.weight', roberta.names)?.names).toEqual(['pooled.1']);
  expect(placeOf('roberta.pooler.dense.weight', roberta.names)?.names).toEqual([]);
});

it('refuses switches that would change its layers, by name', () => {
  const relative = { position_embedding_type: 'relative_key' };
  expect(() => specOf({ ...BERT, ...relative })).toThrow(/position_embedding_type "relative_key"/);
  expect(() => specOf({ ...BERT, is_decoder: true })).toThrow(/causal/);
  expect(() => specOf({ ...BERT, embedding_size: 128 })).toThrow(/"embedding_size"/);
  expect(() => specOf({ ...BERT, hidden_act: 'mish' })).toThrow(/hidden_act "mish"/);
});

// As the hub has them, shortened to what is read.
it('reads what published models say beside it', () => {
  const harmless = {
    ...{
      attention_probs_dropout_prob: 0.1,
      classifier_dropout: null,
      gradient_checkpointing: false,
    },
    ...{ hidden_dropout_prob: 0.1, id2label: { 0: 'LABEL_0' }, label2id: { LABEL_0: 0 } },
    ...{ initializer_range: 0.02, layer_norm_eps: 1e-12, pad_token_id: 0, use_cache: true },
    ...{ position_embedding_type: 'absolute', transformers_version: '4.8.2', type_vocab_size: 2 },
    ...{ directionality: 'bidi', pooler_fc_size: 768, pooler_type: 'first_token_transform' },
    ...{
      output_past: true,
      sbert_ce_default_activation_function: 'torch.nn.modules.linear.Identity',
    },
  };
  expect(specOf({ ...BERT, ...harmless })).toEqual(specOf(BERT));
});

it('has a GGUF form, which may hold a head', () => {
  const keys = {
    ...{ 'attention.layer_norm_epsilon': 1e-12, 'attention.causal': false },
    'rope.freq_base': undefined,
  };
  const spec = ggufSpecWith(
    'bert',
    { ...keys, pooling_type: 2 },
    { 'token_types.weight': [2, 64] },
  );
  expect(spec).toMatchObject({
    embedding: { numPositions: 512, numTokenTypes: 2 },
    maxPositionEmbeddings: 512,
  });
  expect(spec.pooler).toBeUndefined();
  const vector = ggufSpecWith('bert', keys, { 'token_types.weight': [64] });
  expect(vector.embedding.numTokenTypes).toBe(1);
  const head = { 'cls.weight': [64, 64], 'cls.bias': [64], 'cls.output.weight': [64] };
  const rank = ggufSpecWith('bert', { ...keys, pooling_type: 4 }, head);
  expect(rank.embedding.numTokenTypes).toBe(0);
  expect(rank.pooler?.layers).toMatchObject([
    { outSize: 64, bias: true, act: HIDDEN_ACTS.tanh },
    { outSize: 1, bias: false },
  ]);
  const alone = ggufSpecWith('bert', keys, { 'cls.output.weight': [3, 64] });
  expect(alone.pooler?.layers).toMatchObject([{ outSize: 3, bias: false }]);
  expect(() => ggufSpecWith('bert', { ...keys, 'attention.causal': true })).toThrow(/causal/);
});
