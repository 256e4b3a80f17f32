/** The bundled model as a GGUF file in Q8_0, for a peer that reads no safetensors. */
import { mkdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type GgufTensor, modelKeys, writeGguf } from './gguf-writer.js';
import { toHalf } from './half.js';

const FOLDER = join('models', 'octavo-demo');

interface Stored {
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** Tensors of a safetensors file in BF16. */
function readTensors(path: string): Map<string, Stored> {
  const file = readFileSync(path);
  const length = Number(file.readBigUInt64LE(0));
  const head = JSON.parse(file.toString('utf8', 8, 8 + length)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, Stored>();
  for (const [name, { dtype, shape, data_offsets: at }] of Object.entries(head)) {
    if (name === '__metadata__') continue;
    if (dtype !== 'BF16') throw new Error(`${name} is ${dtype}, not BF16`);
    const bytes = file.subarray(8 + length + at[0], 8 + length + at[1]);
    const bits = new Uint32Array(bytes.length / 2);
    for (let i = 0; i < bits.length; i++) bits[i] = bytes.readUInt16LE(2 * i) << 16;
    tensors.set(name, { shape, values: new Float32Array(bits.buffer) });
  }
  return tensors;
}

/** GGUF's llama rotates neighbouring values where Hugging Face rotates halves of a head. */
function interleaveHeads({ shape, values }: Stored, headSize: number): Float32Array {
  const [rows, cols] = shape;
  const out = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    const within = row % headSize;
    const from = row - within + (within >> 1) + (within & 1) * (headSize / 2);
    out.set(values.subarray(from * cols, (from + 1) * cols), row * cols);
  }
  return out;
}

/** Q8_0: per 32 values a scale max|x| / 127 as float16, then bytes x / scale to the nearest. */
function quantise(values: Float32Array): Uint8Array {
  const out = new Uint8Array((values.length / 32) * 34);
  const view = new DataView(out.buffer);
  for (let b = 0; b < values.length / 32; b++) {
    const block = values.subarray(32 * b, 32 * b + 32);
    const scale = block.reduce((top, x) => Math.max(top, Math.abs(x)), 0) / 127;
    view.setUint16(34 * b, toHalf(scale), true);
    for (let i = 0; i < 32; i++) {
      view.setInt8(34 * b + 2 + i, scale === 0 ? 0 : Math.round(block[i] / scale));
    }
  }
  return out;
}

const LAYER: readonly (readonly [string, string])[] = [
  ['input_layernorm', 'attn_norm'],
  ['self_attn.q_proj', 'attn_q'],
  ['self_attn.k_proj', 'attn_k'],
  ['self_attn.v_proj', 'attn_v'],
  ['self_attn.o_proj', 'attn_output'],
  ['post_attention_layernorm', 'ffn_norm'],
  ['mlp.gate_proj', 'ffn_gate'],
  ['mlp.up_proj', 'ffn_up'],
  ['mlp.down_proj', 'ffn_down'],
];

/** Writes the file; returns its path. */
export function demoGguf(): string {
  const c = JSON.parse(readFileSync(join(FOLDER, 'config.json'), 'utf8'));
  const stored = readTensors(join(FOLDER, 'model.safetensors'));
  const names: [string, string][] = [
    ['model.embed_tokens.weight', 'token_embd.weight'],
    ['model.norm.weight', 'output_norm.weight'],
  ];
  for (let i = 0; i < c.num_hidden_layers; i++) {
    for (const [hf, gguf] of LAYER) {
      names.push([`model.layers.${i}.${hf}.weight`, `blk.${i}.${gguf}.weight`]);
    }
  }
  const tensors: GgufTensor[] = [];
  const bodies: Uint8Array[] = [];
  for (const [hf, name] of names) {
    const tensor = stored.get(hf)!;
    const isMatrix = tensor.shape.length === 2;
    const [rows, cols] = isMatrix ? tensor.shape : [1, tensor.shape[0]];
    const turned = /attn_[qk]\./.test(name) ? interleaveHeads(tensor, c.head_dim) : tensor.values;
    const body = isMatrix ? quantise(turned) : new Uint8Array(turned.buffer);
    tensors.push({ name, rows, cols, format: isMatrix ? 8 : 0, bytes: body.length });
    bodies.push(body);
  }
  const keys = modelKeys({
    layers: c.num_hidden_layers,
    context: c.max_position_embeddings,
    hidden: c.hidden_size,
    ffn: c.intermediate_size,
    heads: c.num_attention_heads,
    kvHeads: c.num_key_value_heads,
    headSize: c.head_dim,
    ropeBase: c.rope_parameters.rope_theta,
    vocab: c.vocab_size,
  });
  const path = join('.bench', 'octavo-demo-Q8_0.gguf');
  mkdirSync('.bench', { recursive: true });
  writeGguf(path, keys, tensors, (fd) => {
    for (const body of bodies) writeSync(fd, body);
  });
  return path;
}
