/** Writes GGUF files (version 3) for the benches: a head of keys and tensors, then their bytes. */
import { closeSync, openSync, renameSync, writeSync } from 'node:fs';
import type { GemmaShape, Shape } from './shapes.js';

export const u32 = (n: number): Buffer => Buffer.from(Uint32Array.of(n).buffer);
export const u64 = (n: number): Buffer => Buffer.from(BigUint64Array.of(BigInt(n)).buffer);
export const text = (t: string): Buffer =>
  Buffer.concat([u64(Buffer.byteLength(t)), Buffer.from(t)]);
export const number = (n: number): Buffer[] => [u32(4), u32(n)];
export const float = (n: number): Buffer[] => [u32(6), Buffer.from(Float32Array.of(n).buffer)];

export type GgufKey = readonly [name: string, value: readonly Buffer[]];

export interface GgufTensor {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  /** A third dimension; undefined: there is none. */
  readonly count?: number | undefined;
  /** GGUF's number of its type. */
  readonly format: number;
  /** A multiple of 32. */
  readonly bytes: number;
}

/**
 * What a model has to say of itself: a llama; with experts a qwen3moe, with states a qwen35, with
 * what Gemma 4 has a gemma4.
 */
export interface ModelShape extends Omit<Shape, 'name'> {
  readonly context: number;
  readonly ropeBase: number;
}

/** @param vocabulary its keys; by default one of names that no text has */
export function modelKeys(s: ModelShape, vocabulary = namesOf(s.vocab)): GgufKey[] {
  const arch = s.gemma ? 'gemma4' : s.recurrent ? 'qwen35' : s.experts ? 'qwen3moe' : 'llama';
  const own: GgufKey[] = [
    ['block_count', number(s.layers)],
    ['context_length', number(s.context)],
    ['embedding_length', number(s.hidden)],
    ...(s.gemma ? [] : [['feed_forward_length', number(s.ffn)] as const]),
    ['attention.head_count', number(s.heads)],
    ['attention.head_count_kv', number(s.kvHeads)],
    ['attention.layer_norm_rms_epsilon', float(1e-5)],
    ['rope.freq_base', float(s.ropeBase)],
    ...formKeys(s),
  ];
  return [
    ['general.architecture', [u32(8), text(arch)]],
    ['general.alignment', number(32)],
    ...own.map(([name, value]) => [`${arch}.${name}`, value] as const),
    ...vocabulary,
  ];
}

function formKeys(s: ModelShape): GgufKey[] {
  if (s.gemma) return gemmaKeys(s, s.gemma);
  if (s.recurrent) return stateKeys(s, s.recurrent);
  return s.experts ? expertKeys(s, s.experts) : [['rope.dimension_count', number(s.headSize)]];
}

function stateKeys(s: ModelShape, r: NonNullable<ModelShape['recurrent']>): GgufKey[] {
  const turning = s.headSize / 4;
  const sections = [11, 11, 10, 0].map(u32);
  return [
    ['attention.key_length', number(s.headSize)],
    ['attention.value_length', number(s.headSize)],
    ['rope.dimension_count', number(turning)],
    ['rope.dimension_sections', [u32(9), u32(5), u64(4), ...sections]],
    ['full_attention_interval', number(r.every)],
    ['ssm.conv_kernel', number(4)],
    ['ssm.state_size', number(r.size)],
    ['ssm.group_count', number(r.heads)],
    ['ssm.time_step_rank', number(r.valueHeads)],
    ['ssm.inner_size', number(r.valueHeads * r.size)],
  ];
}

function gemmaKeys(s: ModelShape, g: GemmaShape): GgufKey[] {
  const layers = Array.from({ length: s.layers }, (_, i) => i);
  const ffn = layers.map((i) => u32(i < s.layers - g.sharing ? s.ffn : g.wideFfn));
  const slides = layers.map((i) => Buffer.from([(i + 1) % g.every === 0 ? 0 : 1]));
  const array = (kind: number, values: readonly Buffer[]) => [
    ...[u32(9), u32(kind), u64(s.layers), ...values],
  ];
  return [
    ['feed_forward_length', array(5, ffn)],
    ['rope.freq_base_swa', float(10_000)],
    ['attention.key_length', number(g.wideHead)],
    ['attention.value_length', number(g.wideHead)],
    ['attention.key_length_swa', number(s.headSize)],
    ['attention.value_length_swa', number(s.headSize)],
    ['rope.dimension_count', number(g.wideHead)],
    ['rope.dimension_count_swa', number(s.headSize)],
    ['final_logit_softcapping', float(30)],
    ['attention.sliding_window', number(g.window)],
    ['attention.sliding_window_pattern', array(7, slides)],
    ['attention.shared_kv_layers', number(g.sharing)],
    ['embedding_length_per_layer_input', number(g.perLayer)],
  ];
}

function expertKeys(s: ModelShape, { count, each }: { count: number; each: number }): GgufKey[] {
  return [
    ['attention.key_length', number(s.headSize)],
    ['attention.value_length', number(s.headSize)],
    ['expert_count', number(count)],
    ['expert_used_count', number(each)],
    ['expert_feed_forward_length', number(s.ffn)],
  ];
}

/** A vocabulary of bytes and of names that no text has: the benches' prompts are ids. */
function namesOf(size: number): readonly GgufKey[] {
  const special = ['<unk>', '<s>', '</s>'];
  const bytes = Array.from(
    { length: 256 },
    (_, b) => `<0x${b.toString(16).padStart(2, '0').toUpperCase()}>`,
  );
  const rest = Array.from({ length: size - 259 }, (_, i) => `\u2581t${i}`);
  const tokens = [...special, ...bytes, ...rest];
  const types = tokens.map((_, i) => (i === 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1));
  const scores = tokens.map((_, i) => -i);
  const array = (kind: number, values: Buffer) => [u32(9), u32(kind), u64(size), values];
  return [
    ['tokenizer.ggml.model', [u32(8), text('llama')]],
    ['tokenizer.ggml.tokens', array(8, Buffer.concat(tokens.map(text)))],
    ['tokenizer.ggml.scores', array(6, Buffer.from(Float32Array.from(scores).buffer))],
    ['tokenizer.ggml.token_type', array(5, Buffer.from(Int32Array.from(types).buffer))],
    ['tokenizer.ggml.bos_token_id', number(1)],
    ['tokenizer.ggml.eos_token_id', number(2)],
    ['tokenizer.ggml.unknown_token_id', number(0)],
  ];
}

/**
 * Writes a file whole or not at all.
 * @param body writes the tensors' bytes to the descriptor, in the order of `tensors`
 */
export function writeGguf(
  path: string,
  keys: readonly GgufKey[],
  tensors: readonly GgufTensor[],
  body: (fd: number) => void,
): void {
  const parts: Buffer[] = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(keys.length)];
  for (const [key, value] of keys) parts.push(text(key), ...value);
  let at = 0;
  for (const { name, rows, cols, count, format, bytes } of tensors) {
    const dims = rows === 1 ? [cols] : [cols, rows, ...(count ? [count] : [])];
    parts.push(text(name), u32(dims.length), ...dims.map(u64), u32(format), u64(at));
    at += bytes;
  }
  const head = Buffer.concat(parts);
  const fd = openSync(`${path}.part`, 'w');
  writeSync(fd, Buffer.concat([head, Buffer.alloc((32 - (head.length % 32)) % 32)]));
  body(fd);
  closeSync(fd);
  renameSync(`${path}.part`, path);
}
