/** Random weights for a model as data, in files that the native side reads. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  BRANCHES,
  type NativeAttention,
  type NativeLatent,
  type NativeModelSpec,
  type NativeNorm,
  type NativeRecurrent,
  type NativeTensor,
  NORMS,
  QK_NORM_SPANS,
  RECURRENT_KINDS,
} from '../../lib/native.js';
import type { Random } from './random.js';

/** Matrices that may have one row: their values cannot lie apart, as a vector's can. */
const MATRICES = /shared_gate$|^token_types$|^pooled\.\d+$|mix_(beta|decay)$/;

/** What a tensor of a model must be like. */
interface Want {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  /** Mean and spread of its values. */
  readonly mean: number;
  readonly spread: number;
  /** The values are −eˣ of these. */
  readonly negExp?: true;
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
  const latentAttention = (at: string, a: NativeAttention, latent: NativeLatent) => {
    const { rank, queryRank, nopeSize, valueSize, norm: own } = latent;
    const ropeSize = a.headSize - rank;
    const [q, k] = ['q', 'k'].map((name) => a.biases.includes(name));
    if (queryRank > 0) matrix(`${at}q_a`, queryRank, hidden, q ? ['q_a'] : []);
    if (queryRank > 0) norm(`${at}q_a_norm`, own, queryRank);
    const isDirect = queryRank === 0;
    const from = isDirect ? hidden : queryRank;
    matrix(`${at}q`, a.numHeads * (nopeSize + ropeSize), from, isDirect && q ? ['q'] : []);
    matrix(`${at}kv_a`, rank, hidden, k ? ['kv_a'] : []);
    matrix(`${at}k_rope`, ropeSize, hidden, k ? ['k_rope'] : []);
    norm(`${at}kv_a_norm`, own, rank);
    for (let h = 0; h < a.numHeads; h++) {
      matrix(`${at}heads.${h}.k_b`, rank, nopeSize, []);
      matrix(`${at}heads.${h}.v_b`, valueSize, rank, []);
    }
    matrix(`${at}o`, hidden, a.numHeads * valueSize, a.biases);
  };
  const attention = (at: string, a: NativeAttention) => {
    const [q, kv] = [a.numHeads * a.headSize, a.numKvHeads * a.headSize];
    const whole = a.qkNormSpan === QK_NORM_SPANS.projection;
    const own = a.qkNormSpan === QK_NORM_SPANS.ownHead;
    const normOfHeads = (name: string, heads: number) => {
      if (!own) return norm(name, a.qkNorm, (whole ? heads : 1) * a.headSize);
      for (let h = 0; h < heads; h++) norm(`${name}.${h}`, a.qkNorm, a.headSize);
    };
    normOfHeads(`${at}q_norm`, a.numHeads);
    const isOwn = a.kvLayer === undefined;
    if (isOwn) normOfHeads(`${at}k_norm`, a.numKvHeads);
    if (isOwn && a.vNorm) norm(`${at}v_norm`, a.vNorm, a.headSize);
    if (a.sinks) wants.push({ name: `${at}sinks`, rows: 1, cols: a.numHeads, mean: 0, spread: 2 });
    if (a.gated) matrix(`${at}attn_gate`, q, hidden, []);
    matrix(`${at}q`, q, hidden, a.biases);
    if (isOwn) matrix(`${at}k`, kv, hidden, a.biases);
    if (isOwn && !a.valueIsKey) matrix(`${at}v`, kv, hidden, a.biases);
    matrix(`${at}o`, hidden, q, a.biases);
  };
  const recurrent = (at: string, r: NativeRecurrent) => {
    const [keys, values] = [r.numKeyHeads * r.keySize, r.numValueHeads * r.valueSize];
    const isConv = r.kind === RECURRENT_KINDS.conv;
    const project = (name: string, rows: number) =>
      matrix(at + name, rows, hidden, r.inBias ? [name] : []);
    for (const name of ['mix_q', 'mix_k']) project(name, keys);
    project('mix_v', values);
    for (const name of isConv ? ['v'] : ['q', 'k', 'v']) {
      const conv = `conv_${name}`;
      matrix(at + conv, name === 'v' ? values : keys, r.convWidth, r.convBias ? [conv] : []);
    }
    matrix(`${at}mix_out`, hidden, values, r.outBias ? ['mix_out'] : []);
    if (isConv) return;
    project('mix_gate', values);
    project('mix_decay', r.numValueHeads);
    if (r.kind === RECURRENT_KINDS.delta) project('mix_beta', r.numValueHeads);
    const perHead = { rows: 1, cols: r.numValueHeads };
    // Of a logarithm: A lies around -1.
    wants.push({ ...perHead, name: `${at}decay`, mean: 0, spread: 0.7, negExp: true });
    wants.push({ ...perHead, name: `${at}dt_bias`, mean: 0, spread: 1 });
    if (r.skip) wants.push({ ...perHead, name: `${at}skip`, mean: 0, spread: 1 });
    norm(`${at}mix_norm`, r.norm, r.normOwn ? values : (r.normSize ?? r.valueSize));
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
  const { layerInputs: inputs } = spec;
  if (inputs) {
    const rows = vocabSize * spec.layers.length;
    wants.push({ name: 'layer_inputs', rows, cols: inputs.size, mean: 0, spread: 1 });
    norm('layer_inputs_norm', inputs.norm, inputs.size);
  }
  spec.layers.forEach((layer, i) => {
    const at = `layers.${i}.`;
    const { attention: a, mlp } = layer;
    norm(`${at}attn_norm`, layer.attnNorm, hidden);
    norm(`${at}post_attn_norm`, layer.postAttnNorm, hidden);
    if (layer.branches !== BRANCHES.shared) norm(`${at}mlp_norm`, layer.mlpNorm, hidden);
    norm(`${at}post_mlp_norm`, layer.postMlpNorm, hidden);
    if (a?.latent) latentAttention(at, a, a.latent);
    else if (a !== undefined) attention(at, a);
    if (layer.recurrent !== undefined) recurrent(at, layer.recurrent);
    if (layer.scaled) wants.push({ name: `${at}scale`, rows: 1, cols: 1, mean: 0.9, spread: 0.2 });
    if (inputs) {
      matrix(`${at}input_proj`, inputs.size, hidden, []);
      matrix(`${at}input_gate`, inputs.size, hidden, []);
      matrix(`${at}input_out`, hidden, inputs.size, []);
      norm(`${at}post_input_norm`, inputs.postNorm, hidden);
    }
    const feed = (
      to: string,
      size: number,
      gated: boolean,
      biases: readonly string[],
      width = hidden,
    ) => {
      if (gated) matrix(`${to}gate`, size, width, biases);
      matrix(`${to}up`, size, width, biases);
      matrix(`${to}down`, width, size, biases);
    };
    if (mlp.intermediateSize > 0) feed(at, mlp.intermediateSize, mlp.gated, mlp.biases);
    if (!layer.experts) return;
    const { numExperts, intermediateSize, biases, router, sharedGate, beside } = layer.experts;
    const { gated = true, latentSize = 0 } = layer.experts;
    matrix(`${at}router`, numExperts, hidden, router.bias ? ['router'] : []);
    const choice = { name: `${at}router.choice_bias`, rows: 1, cols: numExperts };
    if (router.choiceBias) wants.push({ ...choice, mean: 0, spread: 0.3 });
    const scale = { name: `${at}router.expert_scale`, rows: 1, cols: numExperts };
    if (router.expertScale) wants.push({ ...scale, mean: 1, spread: 0.3 });
    if (beside) {
      norm(`${at}router_norm`, beside.routerNorm, hidden);
      norm(`${at}experts_norm`, beside.norm, hidden);
      norm(`${at}post_experts_norm`, beside.postNorm, hidden);
      norm(`${at}post_dense_norm`, beside.postMlpNorm, hidden);
    }
    if (sharedGate) matrix(`${at}shared_gate`, 1, hidden, []);
    if (latentSize > 0) {
      matrix(`${at}latent_in`, latentSize, hidden, []);
      matrix(`${at}latent_out`, hidden, latentSize, []);
    }
    for (let e = 0; e < numExperts; e++) {
      feed(`${at}experts.${e}.`, intermediateSize, gated, biases, latentSize || hidden);
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
  for (const { name, rows, cols, mean, spread, negExp } of tensorsOf(spec)) {
    const file = rng.integer(2);
    // All experts' matrices of a kind are of one type.
    const kind = name.replace(/(experts|heads)\.\d+/, '$1');
    const dtype = types.get(kind) ?? (['F32', 'F16', 'BF16'] as const)[rng.integer(3)];
    types.set(kind, dtype);
    const size = dtype === 'F32' ? 4 : 2;
    append(file, Buffer.alloc(size * rng.integer(8), 0xff));
    const turn =
      rows > 1 &&
      !/embed|positions|types|head|conv|layer_inputs/.test(name) &&
      rng.integer(3) === 0;
    const from = turn ? rng.integer(9) : 0;
    const isVector = rows === 1 && !MATRICES.test(name);
    const count = isVector ? cols : rows;
    const isApart = rng.integer(4) === 0 && count > 1;
    const lengths = [1, 2, 3, 5].filter((length) => count % length === 0);
    const run = isApart ? lengths[rng.integer(lengths.length)] : 1;
    const step = isApart ? run + 1 + rng.integer(2) : 1;
    const reach = (count / run - 1) * step + run;
    const stored = (i: number) => Math.floor(i / run) * step + (i % run);
    const of = turn ? from + reach + rng.integer(9) : reach;
    const bytes = Buffer.alloc(of * (isVector ? 1 : cols) * size, 0xff);
    for (let i = 0; i < rows * cols; i++) {
      const [row, col] = [Math.floor(i / cols), i % cols];
      const inside = isVector ? stored(col) : stored(row) * cols + col;
      const at = turn ? col * of + from + stored(row) : inside;
      store(bytes, dtype, at, mean + spread * normal(rng));
    }
    const place = { file, offset: ends[file], bytes: bytes.length };
    append(file, bytes);
    const transposed = turn ? { transposed: { of, from } } : {};
    const apart = isApart ? { step, ...(run > 1 ? { run } : {}) } : {};
    const exp = negExp ? { negExp } : {};
    tensors.push({ name, dtype, rows, cols, ...place, ...transposed, ...apart, ...exp });
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
