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
import { modelKeys, writeGguf } from './gguf-writer.js';
import { toHalf } from './half.js';
import type { GemmaShape, Shape } from './shapes.js';
import type { Vocabulary } from './words.js';

export * from './shapes.js';

/** F32 and BF16 as a Hugging Face folder, the others as GGUF. */
export type StoredType = 'F32' | 'BF16' | 'F16' | 'Q8_0' | 'Q4_0' | 'Q4_K';

/** GGUF's number, values per block, bytes per block. */
const FORMATS: Readonly<Record<StoredType, readonly [number, number, number]>> = {
  F32: [0, 1, 4],
  F16: [1, 1, 2],
  BF16: [30, 1, 2],
  Q4_0: [2, 32, 18],
  Q8_0: [8, 32, 34],
  Q4_K: [12, 256, 144],
};

interface Tensor {
  /** Hugging Face's name and GGUF's. */
  readonly names: readonly [string, string];
  readonly rows: number;
  readonly cols: number;
  /** Matrices of that size, one behind the other. */
  readonly count?: number;
  /** In any file F32, as vectors are. */
  readonly plain?: boolean;
  /** Of a vector: each of its values, or all of them. Default 1. */
  readonly value?: number | readonly number[];
}

function tensorsOf(s: Shape): Tensor[] {
  if (s.gemma) return gemmaTensors(s, s.gemma);
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
    if (s.recurrent) {
      list.push(...mixedLayer(s, s.recurrent, i));
      continue;
    }
    add('self_attn.q_proj', 'attn_q', q, s.hidden);
    add('self_attn.k_proj', 'attn_k', kv, s.hidden);
    add('self_attn.v_proj', 'attn_v', kv, s.hidden);
    add('self_attn.o_proj', 'attn_output', s.hidden, q);
    add('post_attention_layernorm', 'ffn_norm', 1, s.hidden);
    if (s.experts) {
      const { count } = s.experts;
      const at = `blk.${i}.`;
      const own = (name: string, rows: number, cols: number, rest: Partial<Tensor>) =>
        list.push({ names: ['', `${at}${name}.weight`], rows, cols, ...rest });
      own('attn_q_norm', 1, s.headSize, {});
      own('attn_k_norm', 1, s.headSize, {});
      own('ffn_gate_inp', count, s.hidden, { plain: true });
      own('ffn_gate_exps', s.ffn, s.hidden, { count });
      own('ffn_up_exps', s.ffn, s.hidden, { count });
      own('ffn_down_exps', s.hidden, s.ffn, { count });
      continue;
    }
    add('mlp.gate_proj', 'ffn_gate', s.ffn, s.hidden);
    add('mlp.up_proj', 'ffn_up', s.ffn, s.hidden);
    add('mlp.down_proj', 'ffn_down', s.hidden, s.ffn);
  }
  return list;
}

/** Of a layer that attends or keeps a state, as qwen35 files have them; but for the first norm. */
function mixedLayer(s: Shape, r: NonNullable<Shape['recurrent']>, i: number): Tensor[] {
  const list: Tensor[] = [];
  const add = (name: string, rows: number, cols: number, rest: Partial<Tensor> = {}) =>
    list.push({ names: ['', `blk.${i}.${name}`], rows, cols, ...rest });
  if ((i + 1) % r.every === 0) {
    add('attn_q.weight', 2 * s.heads * s.headSize, s.hidden);
    add('attn_k.weight', s.kvHeads * s.headSize, s.hidden);
    add('attn_v.weight', s.kvHeads * s.headSize, s.hidden);
    add('attn_output.weight', s.hidden, s.heads * s.headSize);
    add('attn_q_norm.weight', 1, s.headSize);
    add('attn_k_norm.weight', 1, s.headSize);
  } else {
    const values = r.valueHeads * r.size;
    const channels = 2 * r.heads * r.size + values;
    add('attn_qkv.weight', channels, s.hidden);
    add('attn_gate.weight', values, s.hidden);
    add('ssm_beta.weight', r.valueHeads, s.hidden);
    add('ssm_alpha.weight', r.valueHeads, s.hidden);
    add('ssm_conv1d.weight', channels, 4, { plain: true });
    add('ssm_a', 1, r.valueHeads, { value: -0.1 });
    add('ssm_dt.bias', 1, r.valueHeads, { value: 0 });
    add('ssm_norm.weight', 1, r.size);
    add('ssm_out.weight', s.hidden, values);
  }
  add('post_attention_norm.weight', 1, s.hidden);
  add('ffn_gate.weight', s.ffn, s.hidden);
  add('ffn_up.weight', s.ffn, s.hidden);
  add('ffn_down.weight', s.hidden, s.ffn);
  return list;
}

/** As gemma4 files have them. */
function gemmaTensors(s: Shape, g: GemmaShape): Tensor[] {
  const list: Tensor[] = [];
  const add = (name: string, rows: number, cols: number, rest: Partial<Tensor> = {}) =>
    list.push({ names: ['', name], rows, cols, ...rest });
  const tables = s.layers * g.perLayer;
  add('token_embd.weight', s.vocab, s.hidden);
  add('per_layer_token_embd.weight', s.vocab, tables);
  add('per_layer_model_proj.weight', tables, s.hidden);
  add('per_layer_proj_norm.weight', 1, g.perLayer);
  add('output_norm.weight', 1, s.hidden);
  // Of the wide heads' pairs a quarter turns.
  const pairs = g.wideHead / 2;
  const turning = Array.from({ length: pairs }, (_, i) => (i < pairs / 4 ? 1 : 1e30));
  add('rope_freqs.weight', 1, pairs, { value: turning });
  for (let i = 0; i < s.layers; i++) {
    const own = (name: string, rows: number, cols: number) =>
      add(`blk.${i}.${name}.weight`, rows, cols);
    const head = (i + 1) % g.every === 0 ? g.wideHead : s.headSize;
    const shares = i >= s.layers - g.sharing;
    const ffn = shares ? g.wideFfn : s.ffn;
    own('attn_norm', 1, s.hidden);
    own('attn_q', s.heads * head, s.hidden);
    own('attn_q_norm', 1, head);
    if (!shares) {
      own('attn_k', s.kvHeads * head, s.hidden);
      own('attn_v', s.kvHeads * head, s.hidden);
      own('attn_k_norm', 1, head);
    }
    own('attn_output', s.hidden, s.heads * head);
    own('post_attention_norm', 1, s.hidden);
    own('ffn_norm', 1, s.hidden);
    own('ffn_gate', ffn, s.hidden);
    own('ffn_up', ffn, s.hidden);
    own('ffn_down', s.hidden, ffn);
    own('post_ffw_norm', 1, s.hidden);
    own('inp_gate', g.perLayer, s.hidden);
    own('proj', s.hidden, g.perLayer);
    own('post_norm', 1, s.hidden);
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

/** Values of standard deviation `scale` in stored form. */
function encode(values: Float32Array, type: StoredType, scale: number): Uint8Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  if (type === 'F32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  if (type === 'BF16') return new Uint8Array(Uint16Array.from(bits, (b) => b >>> 16).buffer);
  if (type === 'F16') return new Uint8Array(Uint16Array.from(values, toHalf).buffer);
  const [, perBlock, bytes] = FORMATS[type];
  const out = new Uint8Array((values.length / perBlock) * bytes);
  const view = new DataView(out.buffer);
  const unit = 1.7320508 * scale; // of a value in ±1
  const half = (at: number, value: number) => view.setUint16(at, toHalf(value), true);
  for (let b = 0; b < values.length / perBlock; b++) {
    const at = b * bytes;
    const code = (i: number, levels: number) =>
      Math.floor(((values[b * perBlock + i] / unit + 1) / 2) * levels);
    if (type === 'Q8_0') {
      half(at, unit / 127);
      for (let i = 0; i < 32; i++) view.setInt8(at + 2 + i, code(i, 255) - 127);
      continue;
    }
    const nibbles = type === 'Q4_0' ? 16 : 128;
    if (type === 'Q4_0') {
      half(at, unit / 8);
    } else {
      // Eight scales of 32 and eight mins of 60; 7.5 · 32 · d = 60 · dmin.
      half(at, unit / 7.5 / 32);
      half(at + 2, unit / 60);
      out.set([32, 32, 32, 32, 60, 60, 60, 60, 0xc0, 0xc0, 0xc0, 0xc0], at + 4);
      for (let j = 0; j < 4; j++) {
        out[at + 4 + j] |= 0x80; // the high two bits of scales and mins 4 to 7
        out[at + 8 + j] |= 0xc0;
      }
    }
    for (let i = 0; i < nibbles; i++) {
      out[at + bytes - nibbles + i] = code(2 * i, 16) | (code(2 * i + 1, 16) << 4);
    }
  }
  return out;
}

const typeOf = (t: Tensor, type: StoredType) => (t.rows === 1 || t.plain ? 'F32' : type);

const bytesOf = (t: Tensor, type: StoredType) => {
  const [, perBlock, bytes] = FORMATS[typeOf(t, type)];
  return ((rowsOf(t) * t.cols) / perBlock) * bytes;
};
const rowsOf = ({ rows, count = 1 }: Tensor) => rows * count;

/**
 * Values of a piece; a larger matrix repeats its rows, which no kernel can tell. Matrices of one
 * size begin at different rows of it: engines that find two alike keep one (OpenVINO), which then
 * stays in the cache.
 */
const PIECE = 2 ** 22;

/** From where one matrix begins to where the next does; prime, so that all rows are tried. */
const ROW_STEP = 37;

function writeTensors(fd: number, tensors: readonly Tensor[], type: StoredType): void {
  const pieces = new Map<string, { readonly bytes: Uint8Array; count: number }>();
  for (const t of tensors) {
    if (t.rows === 1) {
      const { value = 1 } = t;
      const all = typeof value === 'number' ? new Float32Array(t.cols).fill(value) : value;
      writeSync(fd, encode(Float32Array.from(all), 'F32', 1));
      continue;
    }
    const scale = t.names[1].endsWith('token_embd.weight') ? 0.05 : 1 / Math.sqrt(t.cols);
    const rows = Math.min(rowsOf(t), Math.ceil(PIECE / t.cols));
    const key = `${rows} ${t.cols} ${scale} ${t.plain}`;
    let piece = pieces.get(key);
    if (piece === undefined) {
      const values = new Float32Array(rows * t.cols);
      fill(values, scale);
      piece = { bytes: encode(values, typeOf(t, type), scale), count: 0 };
      pieces.set(key, piece);
    }
    const rowBytes = piece.bytes.length / rows;
    let at = (piece.count++ * ROW_STEP) % rows;
    for (let left = rowsOf(t); left > 0; ) {
      const n = Math.min(rows - at, left);
      writeSync(fd, piece.bytes.subarray(at * rowBytes, (at + n) * rowBytes));
      left -= n;
      at = 0;
    }
  }
}

export interface ModelOptions {
  /** By default one that only has to exist: prompts are ids then. */
  readonly vocabulary?: Vocabulary;
  /** GGUF also where a folder would be written. */
  readonly gguf?: boolean;
}

/** Path of the model; written on the first call. */
export function randomModel(shape: Shape, type: StoredType, options: ModelOptions = {}): string {
  const base = join('.bench', 'models-random');
  mkdirSync(base, { recursive: true });
  const isFolder = (type === 'F32' || type === 'BF16') && !options.gguf;
  const suffix = options.vocabulary ? `-${options.vocabulary.name}` : '';
  return isFolder
    ? folderModel(join(base, `${shape.name}-${type}${suffix}-v4`), shape, type, options)
    : ggufModel(join(base, `${shape.name}-${type}${suffix}-v4.gguf`), shape, type, options);
}

function folderModel(folder: string, s: Shape, type: StoredType, options: ModelOptions): string {
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
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_act: 'silu',
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
    bos_token_id: 1,
    eos_token_id: 0,
  };
  const files = {
    'config.json': config,
    'tokenizer.json': options.vocabulary?.tokenizer ?? emptyTokenizer(),
    'tokenizer_config.json': { tokenizer_class: 'PreTrainedTokenizerFast' },
  };
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(folder, name), JSON.stringify(content));
  }
  return folder;
}

/** Prompts are ids here; the tokenizer only has to exist. */
function emptyTokenizer(): object {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    model: { type: 'BPE', dropout: null, unk_token: null, vocab: { a: 0, b: 1 }, merges: [] },
  };
}

function ggufModel(path: string, s: Shape, type: StoredType, options: ModelOptions): string {
  if (existsSync(path)) return path;
  const tensors = tensorsOf(s);
  const heads = tensors.map((t) => ({
    name: t.names[1],
    rows: t.rows,
    cols: t.cols,
    count: t.count,
    format: FORMATS[typeOf(t, type)][0],
    bytes: bytesOf(t, type),
  }));
  const shape = { ...s, context: 8192, ropeBase: 100000 };
  const keys = modelKeys(shape, options.vocabulary?.ggufKeys);
  writeGguf(path, keys, heads, (fd) => writeTensors(fd, tensors, type));
  return path;
}
