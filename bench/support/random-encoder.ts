/** Encoders of random weights in BERT's form: a folder as sentence-transformers publishes one. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface EncoderShape {
  readonly hidden: number;
  readonly heads: number;
  readonly layers: number;
  readonly ffn: number;
  readonly vocab: number;
  readonly positions: number;
}

/** Of all-MiniLM-L6-v2. */
export const MINILM: EncoderShape = {
  ...{ hidden: 384, heads: 12, layers: 6, ffn: 1536, vocab: 30_522, positions: 512 },
};

/** What a folder is for: vectors, or scores and labels by so many labels. */
export type EncoderTask = 'vectors' | readonly string[];

export interface Tensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Uniform in [-1, 1), the same in every run (xorshift). */
function randomSource(seed: number): () => number {
  let state = (seed | 1) >>> 0;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 31 - 1;
  };
}

/** Weights by the names of BertModel, in the order that they are computed with. */
export function encoderTensors(s: EncoderShape, task: EncoderTask, seed = 1): Tensor[] {
  const random = randomSource(seed);
  const tensors: Tensor[] = [];
  const add = (name: string, shape: number[], scale: number, offset = 0) => {
    const size = shape.reduce((product, n) => product * n, 1);
    const data = Float32Array.from({ length: size }, () => offset + scale * random());
    tensors.push({ name, shape, data });
  };
  const linear = (name: string, rows: number, cols: number) => {
    add(`${name}.weight`, [rows, cols], 2 / Math.sqrt(cols));
    add(`${name}.bias`, [rows], 0.1);
  };
  const norm = (name: string) => {
    add(`${name}.weight`, [s.hidden], 0.2, 1);
    add(`${name}.bias`, [s.hidden], 0.1);
  };
  const bert = task === 'vectors' ? '' : 'bert.';
  add(`${bert}embeddings.word_embeddings.weight`, [s.vocab, s.hidden], 1);
  add(`${bert}embeddings.position_embeddings.weight`, [s.positions, s.hidden], 0.5);
  add(`${bert}embeddings.token_type_embeddings.weight`, [2, s.hidden], 0.5);
  norm(`${bert}embeddings.LayerNorm`);
  for (let i = 0; i < s.layers; i++) {
    const layer = `${bert}encoder.layer.${i}.`;
    for (const name of ['query', 'key', 'value']) {
      linear(`${layer}attention.self.${name}`, s.hidden, s.hidden);
    }
    linear(`${layer}attention.output.dense`, s.hidden, s.hidden);
    norm(`${layer}attention.output.LayerNorm`);
    linear(`${layer}intermediate.dense`, s.ffn, s.hidden);
    linear(`${layer}output.dense`, s.hidden, s.ffn);
    norm(`${layer}output.LayerNorm`);
  }
  if (task !== 'vectors') {
    linear('bert.pooler.dense', s.hidden, s.hidden);
    linear('classifier', task.length, s.hidden);
  }
  return tensors;
}

const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
const CONSONANTS = [...'bcdfghjklmnpqrstvwxyz'];
const VOWELS = [...'aeiou'];

/** Letters and their continuations, then made-up words, each a token. */
export function wordPieces(size: number): { tokens: string[]; words: string[] } {
  const letters = [...'abcdefghijklmnopqrstuvwxyz0123456789'];
  const tokens = [...SPECIAL, ...'.,?!-', ...letters, ...letters.map((one) => `##${one}`)];
  const words: string[] = [];
  const syllables = CONSONANTS.flatMap((c) => VOWELS.map((v) => c + v));
  for (let starts = ['']; tokens.length + words.length < size; ) {
    const next = starts.flatMap((start) => syllables.map((one) => start + one));
    words.push(...next.slice(0, size - tokens.length - words.length));
    starts = next;
  }
  return { tokens: [...tokens, ...words], words };
}

function tokenizerOf(size: number): object {
  const { tokens } = wordPieces(size);
  const piece = (id: string, type_id: number) => ({ SpecialToken: { id, type_id } });
  const text = (id: string, type_id: number) => ({ Sequence: { id, type_id } });
  const single = [piece('[CLS]', 0), text('A', 0), piece('[SEP]', 0)];
  const special = (token: string, id: number) => [token, { id: token, ids: [id], tokens: [token] }];
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map((content, id) => ({
      ...{ id, content, special: true },
      ...{ single_word: false, lstrip: false, rstrip: false, normalized: false },
    })),
    normalizer: {
      ...{ type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true },
      ...{ strip_accents: null, lowercase: true },
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single,
      pair: [...single, text('B', 1), piece('[SEP]', 1)],
      special_tokens: Object.fromEntries([special('[CLS]', 2), special('[SEP]', 3)]),
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      ...{ type: 'WordPiece', unk_token: '[UNK]', continuing_subword_prefix: '##' },
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
    },
  };
}

function configOf(s: EncoderShape, task: EncoderTask): object {
  const labels = task === 'vectors' ? [] : task;
  return {
    architectures: [task === 'vectors' ? 'BertModel' : 'BertForSequenceClassification'],
    model_type: 'bert',
    hidden_act: 'gelu',
    hidden_size: s.hidden,
    intermediate_size: s.ffn,
    num_attention_heads: s.heads,
    num_hidden_layers: s.layers,
    max_position_embeddings: s.positions,
    vocab_size: s.vocab,
    type_vocab_size: 2,
    layer_norm_eps: 1e-12,
    pad_token_id: 0,
    ...(labels.length > 0 ? { id2label: Object.fromEntries(labels.entries()) } : {}),
  };
}

/** What says that a folder is for vectors: the mean over tokens, divided by its length. */
function sentenceFiles(s: EncoderShape): Record<string, object> {
  const module = (idx: number, path: string, type: string) => ({
    ...{ idx, name: String(idx), path, type: `sentence_transformers.models.${type}` },
  });
  return {
    'modules.json': [
      module(0, '', 'Transformer'),
      module(1, '1_Pooling', 'Pooling'),
      module(2, '2_Normalize', 'Normalize'),
    ],
    '1_Pooling/config.json': {
      word_embedding_dimension: s.hidden,
      pooling_mode_cls_token: false,
      pooling_mode_mean_tokens: true,
    },
    'sentence_bert_config.json': { max_seq_length: s.positions, do_lower_case: false },
  };
}

function safetensors(tensors: readonly Tensor[]): Buffer {
  let at = 0;
  const header: Record<string, object> = {};
  for (const { name, shape, data } of tensors) {
    const end = at + data.byteLength;
    header[name] = { dtype: 'F32', shape, data_offsets: [at, end] };
    at = end;
  }
  const json = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.length));
  const bytes = tensors.map(({ data }) => Buffer.from(data.buffer));
  return Buffer.concat([prefix, json, ...bytes]);
}

/** Writes the folder, with the weights as `tensors` says or drawn anew. */
export function writeEncoder(
  folder: string,
  s: EncoderShape,
  task: EncoderTask,
  tensors: readonly Tensor[] = encoderTensors(s, task),
): string {
  const files = {
    'config.json': configOf(s, task),
    'tokenizer.json': tokenizerOf(s.vocab),
    'tokenizer_config.json': {
      ...{ tokenizer_class: 'BertTokenizer', model_max_length: s.positions },
      ...{ pad_token: '[PAD]', unk_token: '[UNK]', cls_token: '[CLS]', sep_token: '[SEP]' },
    },
    ...(task === 'vectors' ? sentenceFiles(s) : {}),
  };
  mkdirSync(join(folder, '1_Pooling'), { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(folder, name), JSON.stringify(content));
  }
  writeFileSync(join(folder, 'model.safetensors'), safetensors(tensors));
  return folder;
}
