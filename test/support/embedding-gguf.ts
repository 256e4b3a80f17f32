/**
 * Reference cases of encoders and embedding models as llama.cpp's converter would write them: its
 * keys and names, all weights in F32. Tokens are there, what makes them of a text is not.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './addon.js';
import { ggufFile, type Value, write } from './write-model.js';

const CASES = join(ROOT, 'test', 'fixtures', 'embeddings');

export interface Stored {
  readonly shape: number[];
  readonly data: Float32Array;
}
export type Weights = Map<string, Stored>;
type Config = Record<string, number> & { layer_types?: string[]; classifier_pooling?: string };

/** Floats of F32, F16 and BF16. */
function floats(bytes: Buffer, dtype: string): Float32Array {
  const size = dtype === 'F32' ? 4 : 2;
  return Float32Array.from({ length: bytes.length / size }, (_, i) => {
    if (dtype === 'F32') return bytes.readFloatLE(4 * i);
    const bits = bytes.readUInt16LE(2 * i);
    if (dtype === 'F16') return half(bits);
    const word = Buffer.alloc(4);
    word.writeUInt16LE(bits, 2);
    return word.readFloatLE(0);
  });
}

function half(bits: number): number {
  const [exponent, mantissa] = [(bits >> 10) & 31, bits & 1023];
  const value = exponent === 0 ? mantissa * 2 ** -24 : (1 + mantissa / 1024) * 2 ** (exponent - 15);
  return bits & 0x8000 ? -value : value;
}

export function weightsOf(path: string): Weights {
  const file = readFileSync(path);
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, 8 + length)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const weights: Weights = new Map();
  for (const [name, { dtype, shape, data_offsets: at }] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const bytes = file.subarray(8 + length + at[0], 8 + length + at[1]);
    weights.set(name, { shape, data: floats(bytes, dtype) });
  }
  return weights;
}

/** [pattern, name there], the first that fits. */
type Names = readonly (readonly [RegExp, string])[];

const BERT: Names = [
  [/^embeddings\.word_embeddings/, 'token_embd'],
  [/^embeddings\.position_embeddings/, 'position_embd'],
  [/^embeddings\.token_type_embeddings/, 'token_types'],
  [/^embeddings\.LayerNorm/, 'token_embd_norm'],
  [/^encoder\.layer\.(\d+)\.attention\.self\.query/, 'blk.$1.attn_q'],
  [/^encoder\.layer\.(\d+)\.attention\.self\.key/, 'blk.$1.attn_k'],
  [/^encoder\.layer\.(\d+)\.attention\.self\.value/, 'blk.$1.attn_v'],
  [/^encoder\.layer\.(\d+)\.attention\.output\.dense/, 'blk.$1.attn_output'],
  [/^encoder\.layer\.(\d+)\.attention\.output\.LayerNorm/, 'blk.$1.attn_output_norm'],
  [/^encoder\.layer\.(\d+)\.intermediate\.dense/, 'blk.$1.ffn_up'],
  [/^encoder\.layer\.(\d+)\.output\.dense/, 'blk.$1.ffn_down'],
  [/^encoder\.layer\.(\d+)\.output\.LayerNorm/, 'blk.$1.layer_output_norm'],
  [/^classifier\.dense/, 'cls'],
  [/^classifier\.out_proj/, 'cls.output'],
];
const MODERN_BERT: Names = [
  [/^embeddings\.tok_embeddings/, 'token_embd'],
  [/^embeddings\.norm/, 'token_embd_norm'],
  [/^final_norm/, 'output_norm'],
  [/^layers\.(\d+)\.attn_norm/, 'blk.$1.attn_norm'],
  [/^layers\.(\d+)\.attn\.Wqkv/, 'blk.$1.attn_qkv'],
  [/^layers\.(\d+)\.attn\.Wo/, 'blk.$1.attn_output'],
  [/^layers\.(\d+)\.mlp_norm/, 'blk.$1.ffn_norm'],
  [/^layers\.(\d+)\.mlp\.Wi/, 'blk.$1.ffn_up'],
  [/^layers\.(\d+)\.mlp\.Wo/, 'blk.$1.ffn_down'],
  [/^head\.dense/, 'cls'],
  [/^head\.norm/, 'cls.norm'],
  [/^classifier/, 'cls.output'],
];
const DECODER: Names = [
  [/^embed_tokens/, 'token_embd'],
  [/^norm/, 'output_norm'],
  [/^layers\.(\d+)\.input_layernorm/, 'blk.$1.attn_norm'],
  [/^layers\.(\d+)\.self_attn\.([qk])_norm/, 'blk.$1.attn_$2_norm'],
  [/^layers\.(\d+)\.self_attn\.([qkv])_proj/, 'blk.$1.attn_$2'],
  [/^layers\.(\d+)\.self_attn\.o_proj/, 'blk.$1.attn_output'],
  [/^layers\.(\d+)\.mlp\.(gate|up|down)_proj/, 'blk.$1.ffn_$2'],
];
const QWEN3: Names = [...DECODER, [/^layers\.(\d+)\.post_attention_layernorm/, 'blk.$1.ffn_norm']];
const GEMMA: Names = [
  ...DECODER,
  [/^layers\.(\d+)\.post_attention_layernorm/, 'blk.$1.post_attention_norm'],
  [/^layers\.(\d+)\.pre_feedforward_layernorm/, 'blk.$1.ffn_norm'],
  [/^layers\.(\d+)\.post_feedforward_layernorm/, 'blk.$1.post_ffw_norm'],
];

function renamed(weights: Weights, names: Names): Weights {
  const out: Weights = new Map();
  for (const [stored, weight] of weights) {
    const [, base, kind] = /^(?:bert\.|roberta\.|model\.)?(.+)\.(weight|bias)$/.exec(stored)!;
    if (base.startsWith('pooler.')) continue;
    const [pattern, name] = names.find(([each]) => each.test(base))!;
    out.set(`${base.replace(pattern, name)}.${kind}`, weight);
  }
  return out;
}

function firstRowsCut({ shape: [rows, cols], data }: Stored, count: number): Stored {
  return { shape: [rows - count, cols], data: data.slice(count * cols) };
}

const POOLING = { mean: 1, cls: 2, last: 3, rank: 4 } as const;

/** The file of a case: bert-*, xlmr-*, modernbert-*, embeddinggemma, qwen3-embedding. */
export function embeddingGguf(folder: string, name: string, pooling: keyof typeof POOLING): string {
  const source = join(CASES, name);
  const config = JSON.parse(readFileSync(join(source, 'config.json'), 'utf8')) as Config;
  const architecture = ARCHITECTURES.find(([begin]) => name.startsWith(begin))![1];
  const weights = renamed(weightsOf(join(source, 'model.safetensors')), NAMES[architecture]);
  const own = KEYS[architecture](config, weights);
  if (architecture === 'gemma-embedding') addDense(source, weights, own);
  return writeGguf(folder, name, architecture, weights, {
    ...sizes(config),
    ...own,
    pooling_type: { u32: POOLING[pooling] },
  });
}

/** Qwen3-Reranker's form: two rows of the vocabulary's matrix are a head. */
export function rerankerGguf(folder: string, yes: number, no: number): string {
  const source = join(CASES, 'qwen3-reranker');
  const config = JSON.parse(readFileSync(join(source, 'config.json'), 'utf8')) as Config;
  const weights = renamed(weightsOf(join(source, 'model.safetensors')), QWEN3);
  const { shape, data } = weights.get('token_embd.weight')!;
  const row = (id: number) => data.slice(id * shape[1], (id + 1) * shape[1]);
  const head = new Float32Array([...row(yes), ...row(no)]);
  weights.set('cls.output.weight', { shape: [2, shape[1]], data: head });
  return writeGguf(folder, 'qwen3-reranker', 'qwen3', weights, {
    ...sizes(config),
    ...KEYS.qwen3(config, weights),
    pooling_type: { u32: POOLING.rank },
    'classifier.output_labels': { strings: ['yes', 'no'] },
  });
}

const ARCHITECTURES = [
  ['bert', 'bert'],
  ['xlmr', 'bert'],
  ['modernbert', 'modern-bert'],
  ['embeddinggemma', 'gemma-embedding'],
  ['qwen3', 'qwen3'],
] as const;
type Architecture = (typeof ARCHITECTURES)[number][1];

const NAMES: Record<Architecture, Names> = {
  bert: BERT,
  'modern-bert': MODERN_BERT,
  'gemma-embedding': GEMMA,
  qwen3: QWEN3,
};

type Keys = Record<string, Value>;

function sizes(c: Config): Keys {
  return {
    block_count: { u32: c.num_hidden_layers },
    context_length: { u32: c.max_position_embeddings },
    embedding_length: { u32: c.hidden_size },
    feed_forward_length: { u32: c.intermediate_size },
    'attention.head_count': { u32: c.num_attention_heads },
  };
}

const KEYS: Record<Architecture, (config: Config, weights: Weights) => Keys> = {
  bert: (c, weights) => {
    const keys: Keys = {
      'attention.causal': { bool: false },
      'attention.layer_norm_epsilon': { f32: c.layer_norm_eps },
    };
    if (String(c.model_type) === 'bert') return keys;
    const skipped = c.pad_token_id + 1;
    const positions = weights.get('position_embd.weight')!;
    weights.set('position_embd.weight', firstRowsCut(positions, skipped));
    return { ...keys, context_length: { u32: c.max_position_embeddings - skipped } };
  },
  'modern-bert': (c) => ({
    'attention.causal': { bool: false },
    'attention.layer_norm_epsilon': { f32: c.norm_eps },
    'attention.sliding_window': { u32: c.local_attention },
    'attention.sliding_window_pattern': { u32: 3 },
    'rope.freq_base': { f32: 160_000 },
    'rope.freq_base_swa': { f32: 10_000 },
    'rope.scaling.type': { string: 'none' },
    vocab_size: { u32: c.vocab_size },
  }),
  'gemma-embedding': (c, weights) => {
    for (const [name, { data }] of weights) {
      if (name.includes('norm')) for (let i = 0; i < data.length; i++) data[i] += 1;
    }
    return {
      ...decoderKeys(c),
      'attention.sliding_window': { u32: c.sliding_window },
      // One that the converter leaves out, since all published models are alike.
      'attention.sliding_window_pattern': {
        i32s: c.layer_types!.map((type) => Number(type === 'sliding_attention')),
      },
    };
  },
  qwen3: decoderKeys,
};

function decoderKeys(c: Config): Keys {
  return {
    'attention.head_count_kv': { u32: c.num_key_value_heads },
    'attention.key_length': { u32: c.head_dim },
    'attention.value_length': { u32: c.head_dim },
    'attention.layer_norm_rms_epsilon': { f32: c.rms_norm_eps },
    'rope.freq_base': { f32: c.rope_theta },
  };
}

function addDense(source: string, weights: Weights, keys: Keys): void {
  for (const name of ['2_Dense', '3_Dense']) {
    const path = join(source, name, 'model.safetensors');
    if (!existsSync(path)) continue;
    const weight = weightsOf(path).get('linear.weight')!;
    const there = `dense_${name[0]}`;
    weights.set(`${there}.weight`, weight);
    keys[`${there}_feat_in`] = { u32: weight.shape[1] };
    keys[`${there}_feat_out`] = { u32: weight.shape[0] };
  }
}

export function writeGguf(
  folder: string,
  name: string,
  architecture: string,
  weights: Weights,
  own: Keys,
): string {
  const rows = weights.get('token_embd.weight')!.shape[0];
  const metadata: Keys = { 'general.architecture': { string: architecture } };
  for (const [key, value] of Object.entries(own)) metadata[`${architecture}.${key}`] = value;
  metadata['tokenizer.ggml.model'] = { string: 'gpt2' };
  metadata['tokenizer.ggml.tokens'] = { strings: Array.from({ length: rows }, (_, i) => `t${i}`) };
  let offset = 0;
  const parts: Buffer[] = [];
  const tensors = [...weights].map(([stored, { shape, data }]) => {
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    const padded = Buffer.concat([bytes, Buffer.alloc((32 - (bytes.length % 32)) % 32)]);
    const at = offset;
    offset += padded.length;
    parts.push(padded);
    return { name: stored, dims: [...shape].reverse(), type: 0, offset: at };
  });
  const file = ggufFile({ metadata, tensors, data: Buffer.concat(parts) });
  return write(folder, `${name}.gguf`, file);
}
