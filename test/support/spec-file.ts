/** Random weights for a model as data, in files that the native side reads. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  BRANCHES,
  type NativeModelSpec,
  type NativeNorm,
  type NativeTensor,
  NORMS,
  QK_NORM_SPANS,
} from '../../lib/native.js';
import type { Random } from './random.js';

/** What a tensor of a model must be like. */
interface Want {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  /** Mean and spread of its values. */
  readonly mean: number;
  readonly spread: number;
}

/** Every tensor that a model has, by its canonical name. */
export function tensorsOf(spec: NativeModelSpec): Want[] {
  const { hiddenSize: hidden, vocabSize, embedding } = spec;
  const wants: Want[] = [];
  const matrix = (name: string, rows: number, cols: number, biases: readonly string[]) => {
    wants.push({ name, rows, cols, mean: 0, spread: 1 / Math.sqrt(cols) });
    if (!biases.includes(name.split('.').at(-1)!)) return;
    wants.push({ name: `${name}.bias`, rows: 1, cols: rows, mean: 0, spread: 0.3 });
  };
  const norm = (name: string, { kind, offset, weight, bias }: NativeNorm, cols: number) => {
    if (kind === NORMS.none) return;
    if (weight) wants.push({ name, rows: 1, cols, mean: offset ? 0 : 1, spread: 0.2 });
    if (bias) wants.push({ name: `${name}.bias`, rows: 1, cols, mean: 0, spread: 0.3 });
  };
  wants.push({ name: 'embed', rows: vocabSize, cols: hidden, mean: 0, spread: 1 });
  if (embedding.numPositions > 0) {
    const rows = embedding.numPositions;
    wants.push({ name: 'positions', rows, cols: hidden, mean: 0, spread: 0.7 });
  }
  if (embedding.numTokenTypes > 0) {
    const rows = embedding.numTokenTypes;
    wants.push({ name: 'token_types', rows, cols: hidden, mean: 0, spread: 0.7 });
  }
  norm('embed_norm', embedding.norm, hidden);
  spec.layers.forEach((layer, i) => {
    const at = `layers.${i}.`;
    const { attention: a, mlp } = layer;
    norm(`${at}attn_norm`, layer.attnNorm, hidden);
    norm(`${at}post_attn_norm`, layer.postAttnNorm, hidden);
    if (layer.branches !== BRANCHES.shared) norm(`${at}mlp_norm`, layer.mlpNorm, hidden);
    norm(`${at}post_mlp_norm`, layer.postMlpNorm, hidden);
    const [q, kv] = [a.numHeads * a.headSize, a.numKvHeads * a.headSize];
    const whole = a.qkNormSpan === QK_NORM_SPANS.projection;
    const own = a.qkNormSpan === QK_NORM_SPANS.ownHead;
    const normOfHeads = (name: string, heads: number) => {
      if (!own) return norm(name, a.qkNorm, (whole ? heads : 1) * a.headSize);
      for (let h = 0; h < heads; h++) norm(`${name}.${h}`, a.qkNorm, a.headSize);
    };
    normOfHeads(`${at}q_norm`, a.numHeads);
    normOfHeads(`${at}k_norm`, a.numKvHeads);
    if (a.sinks) wants.push({ name: `${at}sinks`, rows: 1, cols: a.numHeads, mean: 0, spread: 2 });
    if (a.gated) matrix(`${at}attn_gate`, q, hidden, []);
    matrix(`${at}q`, q, hidden, a.biases);
    matrix(`${at}k`, kv, hidden, a.biases);
    matrix(`${at}v`, kv, hidden, a.biases);
    matrix(`${at}o`, hidden, q, a.biases);
    const feed = (to: string, size: number, gated: boolean, biases: readonly string[]) => {
      if (gated) matrix(`${to}gate`, size, hidden, biases);
      matrix(`${to}up`, size, hidden, biases);
      matrix(`${to}down`, hidden, size, biases);
    };
    if (mlp.intermediateSize > 0) feed(at, mlp.intermediateSize, mlp.gated, mlp.biases);
    if (!layer.experts) return;
    const { numExperts, intermediateSize, biases, router, sharedGate } = layer.experts;
    matrix(`${at}router`, numExperts, hidden, router.bias ? ['router'] : []);
    const choice = { name: `${at}router.choice_bias`, rows: 1, cols: numExperts };
    if (router.choiceBias) wants.push({ ...choice, mean: 0, spread: 0.3 });
    if (sharedGate) matrix(`${at}shared_gate`, 1, hidden, []);
    for (let e = 0; e < numExperts; e++) {
      feed(`${at}experts.${e}.`, intermediateSize, true, biases);
    }
  });
  norm('final_norm', spec.finalNorm, hidden);
  if (spec.head && !spec.head.tied) matrix('head', vocabSize, hidden, []);
  let width = hidden;
  spec.pooler?.layers.forEach(({ outSize, bias, norm: own }, i) => {
    matrix(`pooled.${i}`, outSize, width, bias ? [`${i}`] : []);
    norm(`pooled.${i}.norm`, own, outSize);
    width = outSize;
  });
  return wants;
}

/**
 * Values of plain types in two files of a folder, matrices also turned around, rows and values of vectors also
 * apart; whatever lies between tensors or rows, or beside a turned matrix's columns, is not a number.
 */
export function writeSpec(
  rng: Random,
  spec: NativeModelSpec,
  folder: string,
): { files: string[]; tensors: NativeTensor[] } {
  const parts: Buffer[][] = [[], []];
  const ends = [0, 0];
  const tensors: NativeTensor[] = [];
  const types = new Map<string, 'F32' | 'F16' | 'BF16'>();
  const append = (file: number, bytes: Buffer) => {
    parts[file].push(bytes);
    ends[file] += bytes.length;
  };
  for (const { name, rows, cols, mean, spread } of tensorsOf(spec)) {
    const file = rng.integer(2);
    // All experts' matrices of a kind are of one type.
    const kind = name.replace(/experts\.\d+/, 'experts');
    const dtype = types.get(kind) ?? (['F32', 'F16', 'BF16'] as const)[rng.integer(3)];
    types.set(kind, dtype);
    const size = dtype === 'F32' ? 4 : 2;
    append(file, Buffer.alloc(size * rng.integer(8), 0xff));
    const turn = rows > 1 && !/embed|positions|types|head/.test(name) && rng.integer(3) === 0;
    const from = turn ? rng.integer(9) : 0;
    const isVector = rows === 1 && !/shared_gate$|^token_types$|^pooled\.\d+$/.test(name);
    const step = rng.integer(4) === 0 && (rows > 1 || isVector) ? 2 + rng.integer(2) : 1;
    const reach = ((isVector ? cols : rows) - 1) * step + 1;
    const of = turn ? from + reach + rng.integer(9) : reach;
    const bytes = Buffer.alloc(of * (isVector ? 1 : cols) * size, 0xff);
    for (let i = 0; i < rows * cols; i++) {
      const [row, col] = [Math.floor(i / cols), i % cols];
      const inside = isVector ? col * step : row * step * cols + col;
      const at = turn ? col * of + from + row * step : inside;
      store(bytes, dtype, at, mean + spread * normal(rng));
    }
    const place = { file, offset: ends[file], bytes: bytes.length };
    append(file, bytes);
    const transposed = turn ? { transposed: { of, from } } : {};
    const apart = step > 1 ? { step } : {};
    tensors.push({ name, dtype, rows, cols, ...place, ...transposed, ...apart });
  }
  const files = parts.map((list, i) => {
    const path = join(folder, `${tensors.length}-${rng.integer(2 ** 31)}-${i}.weights`);
    writeFileSync(path, Buffer.concat(list));
    return path;
  });
  return { files, tensors };
}

function normal(rng: Random): number {
  const length = Math.sqrt(-2 * Math.log(1 - rng.uniform()));
  return length * Math.cos(2 * Math.PI * rng.uniform());
}

const word = Buffer.alloc(4);

/** Rounds towards zero where a type has fewer digits. */
function store(bytes: Buffer, dtype: 'F32' | 'F16' | 'BF16', index: number, value: number): void {
  word.writeFloatLE(value);
  if (dtype === 'F32') {
    word.copy(bytes, 4 * index);
  } else if (dtype === 'BF16') {
    word.copy(bytes, 2 * index, 2);
  } else {
    bytes.writeUInt16LE(halfBits(word.readUInt32LE()), 2 * index);
  }
}

/** Of a float32 below 65504; what is too small for a normal number becomes 0. */
function halfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 0xff) - 112;
  return exponent < 1 ? sign : sign | (exponent << 10) | ((bits >>> 13) & 0x3ff);
}
