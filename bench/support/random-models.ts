/**
 * Models of random weights in the shape of a known one, written once into .bench/models. Weights
 * are drawn so that activations stay of order one; never zero, so nothing is skipped or denormal.
 */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

export type StoredType = 'F32' | 'BF16' | 'Q8_0';

export interface Shape {
  readonly name: string;
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly ffn: number;
  readonly vocab: number;
}

export const SMOLLM2_135M: Shape = {
  name: 'smollm2-135m',
  hidden: 576,
  layers: 30,
  heads: 9,
  kvHeads: 3,
  headSize: 64,
  ffn: 1536,
  vocab: 49152,
};

/** With the head tied to the embedding, which a decode step does not notice. */
export const LLAMA3_8B: Shape = {
  name: 'llama3-8b',
  hidden: 4096,
  layers: 32,
  heads: 32,
  kvHeads: 8,
  headSize: 128,
  ffn: 14336,
  vocab: 128256,
};

interface Tensor {
  /** Hugging Face's name and GGUF's. */
  readonly names: readonly [string, string];
  readonly rows: number;
  readonly cols: number;
}

function tensorsOf(s: Shape): Tensor[] {
  const q = s.heads * s.headSize;
  const kv = s.kvHeads * s.headSize;
  const list: Tensor[] = [
    { names: ['model.embed_tokens.weight', 'token_embd.weight'], rows: s.vocab, cols: s.hidden },
    { names: ['model.norm.weight', 'output_norm.weight'], rows: 1, cols: s.hidden },
  ];
  for (let i = 0; i < s.layers; i++) {
    const add = (hf: string, gguf: string, rows: number, cols: number) =>
      list.push({
        names: [`model.layers.${i}.${hf}.weight`, `blk.${i}.${gguf}.weight`],
        rows,
        cols,
      });
    add('input_layernorm', 'attn_norm', 1, s.hidden);
    add('self_attn.q_proj', 'attn_q', q, s.hidden);
    add('self_attn.k_proj', 'attn_k', kv, s.hidden);
    add('self_attn.v_proj', 'attn_v', kv, s.hidden);
    add('self_attn.o_proj', 'attn_output', s.hidden, q);
    add('post_attention_layernorm', 'ffn_norm', 1, s.hidden);
    add('mlp.gate_proj', 'ffn_gate', s.ffn, s.hidden);
    add('mlp.up_proj', 'ffn_up', s.ffn, s.hidden);
    add('mlp.down_proj', 'ffn_down', s.hidden, s.ffn);
  }
  return list;
}

let state = 1;
/** Uniform in ±√3 · scale (variance scale²), never 0. */
function fill(values: Float32Array, scale: number): void {
  for (let i = 0; i < values.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    values[i] = ((state >>> 8) / 2 ** 23 - 1 + 2 ** -25) * 1.7320508 * scale;
  }
}

function encode(values: Float32Array, type: StoredType): Uint8Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  if (type === 'F32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  if (type === 'BF16') return new Uint8Array(Uint16Array.from(bits, (b) => b >>> 16).buffer);
  const out = new Uint8Array((values.length / 32) * 34);
  const view = new DataView(out.buffer);
  for (let b = 0; b < values.length / 32; b++) {
    const block = values.subarray(32 * b, 32 * b + 32);
    const largest = block.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    const scale = largest / 127;
    view.setUint16(34 * b, toHalf(scale), true);
    for (let i = 0; i < 32; i++) view.setInt8(34 * b + 2 + i, Math.round(block[i] / scale));
  }
  return out;
}

/** Truncates a positive number of the normal range to float16. */
function toHalf(x: number): number {
  const bits = new Uint32Array(Float32Array.of(x).buffer)[0];
  return (((bits >>> 23) - 112) << 10) | ((bits >>> 13) & 0x3ff);
}

const bytesOf = (t: Tensor, type: StoredType) => {
  const values = t.rows * t.cols;
  const stored = t.rows === 1 ? 'F32' : type;
  return stored === 'F32' ? 4 * values : stored === 'BF16' ? 2 * values : (values / 32) * 34;
};

/** Values of a piece; a larger matrix repeats its rows, which no kernel can tell. */
const PIECE = 2 ** 22;

function writeTensors(fd: number, tensors: readonly Tensor[], type: StoredType): void {
  const pieces = new Map<string, Uint8Array>();
  for (const t of tensors) {
    if (t.rows === 1) {
      writeSync(fd, encode(new Float32Array(t.cols).fill(1), 'F32'));
      continue;
    }
    const scale = t.names[1] === 'token_embd.weight' ? 0.05 : 1 / Math.sqrt(t.cols);
    const rows = Math.min(t.rows, Math.ceil(PIECE / t.cols));
    const key = `${rows} ${t.cols} ${scale}`;
    let piece = pieces.get(key);
    if (piece === undefined) {
      const values = new Float32Array(rows * t.cols);
      fill(values, scale);
      piece = encode(values, type);
      pieces.set(key, piece);
    }
    for (let left = t.rows; left > 0; left -= rows) {
      writeSync(fd, piece.subarray(0, (piece.length / rows) * Math.min(rows, left)));
    }
  }
}

/** Path of the model; written on the first call. */
export function randomModel(shape: Shape, type: StoredType): string {
  const base = join('.bench', 'models-random');
  mkdirSync(base, { recursive: true });
  return type === 'Q8_0' ? ggufModel(base, shape) : folderModel(base, shape, type);
}

function folderModel(base: string, s: Shape, type: StoredType): string {
  const folder = join(base, `${s.name}-${type}`);
  const path = join(folder, 'model.safetensors');
  if (existsSync(path)) return folder;
  mkdirSync(folder, { recursive: true });
  const tensors = tensorsOf(s);
  let at = 0;
  const header: Record<string, object> = {};
  for (const t of tensors) {
    const bytes = bytesOf(t, type);
    header[t.names[0]] = {
      dtype: t.rows === 1 ? 'F32' : type,
      shape: t.rows === 1 ? [t.cols] : [t.rows, t.cols],
      data_offsets: [at, at + bytes],
    };
    at += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.length));
  const fd = openSync(`${path}.part`, 'w');
  writeSync(fd, Buffer.concat([prefix, json]));
  writeTensors(fd, tensors, type);
  closeSync(fd);
  renameSync(`${path}.part`, path);
  const config = {
    model_type: 'llama',
    vocab_size: s.vocab,
    hidden_size: s.hidden,
    intermediate_size: s.ffn,
    num_hidden_layers: s.layers,
    num_attention_heads: s.heads,
    num_key_value_heads: s.kvHeads,
    head_dim: s.headSize,
    max_position_embeddings: 8192,
    rms_norm_eps: 1e-5,
    rope_theta: 100000,
    tie_word_embeddings: true,
    eos_token_id: 0,
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  writeFileSync(join(folder, 'tokenizer.json'), tokenizerJson());
  return folder;
}

/** Prompts are ids here; the tokenizer only has to exist. */
function tokenizerJson(): string {
  return JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    model: { type: 'BPE', dropout: null, unk_token: null, vocab: { a: 0, b: 1 }, merges: [] },
  });
}

function ggufModel(base: string, s: Shape): string {
  const path = join(base, `${s.name}-Q8_0.gguf`);
  if (existsSync(path)) return path;
  const u32 = (n: number): Buffer => Buffer.from(Uint32Array.of(n).buffer);
  const u64 = (n: number): Buffer => Buffer.from(BigUint64Array.of(BigInt(n)).buffer);
  const text = (t: string): Buffer => Buffer.concat([u64(Buffer.byteLength(t)), Buffer.from(t)]);
  const number = (n: number) => [u32(4), u32(n)];
  const float = (n: number) => [u32(6), Buffer.from(Float32Array.of(n).buffer)];
  const strings = (list: string[]) => [u32(9), u32(8), u64(list.length), ...list.map(text)];
  const keys: [string, Buffer[]][] = [
    ['general.architecture', [u32(8), text('llama')]],
    ['llama.block_count', number(s.layers)],
    ['llama.context_length', number(8192)],
    ['llama.embedding_length', number(s.hidden)],
    ['llama.feed_forward_length', number(s.ffn)],
    ['llama.attention.head_count', number(s.heads)],
    ['llama.attention.head_count_kv', number(s.kvHeads)],
    ['llama.attention.layer_norm_rms_epsilon', float(1e-5)],
    ['llama.rope.freq_base', float(100000)],
    ['llama.rope.dimension_count', number(s.headSize)],
    ['tokenizer.ggml.model', [u32(8), text('gpt2')]],
    ['tokenizer.ggml.pre', [u32(8), text('smollm')]],
    ['tokenizer.ggml.tokens', strings(['a', 'b', 'ab'])],
    ['tokenizer.ggml.token_type', [u32(9), u32(5), u64(3), u32(1), u32(1), u32(1)]],
    ['tokenizer.ggml.merges', strings(['a b'])],
    ['tokenizer.ggml.eos_token_id', number(0)],
  ];
  const tensors = tensorsOf(s);
  const parts: Buffer[] = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(keys.length)];
  for (const [key, value] of keys) parts.push(text(key), ...value);
  let at = 0;
  for (const t of tensors) {
    const dims = t.rows === 1 ? [t.cols] : [t.cols, t.rows];
    parts.push(
      text(t.names[1]),
      u32(dims.length),
      ...dims.map(u64),
      u32(t.rows === 1 ? 0 : 8),
      u64(at),
    );
    at += bytesOf(t, 'Q8_0'); // all sizes here are multiples of 32
  }
  const head = Buffer.concat(parts);
  const fd = openSync(`${path}.part`, 'w');
  writeSync(fd, Buffer.concat([head, Buffer.alloc((32 - (head.length % 32)) % 32)]));
  writeTensors(fd, tensors, 'Q8_0');
  closeSync(fd);
  renameSync(`${path}.part`, path);
  return path;
}
