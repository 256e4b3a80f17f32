/**
 * What a NativeModelSpec means, in float64 and with nothing clever: every token of a sequence at
 * once, every score of the attention matrix, no cache. Slow and plain, to compare with.
 */
import {
  BRANCHES,
  HIDDEN_ACTS,
  type NativeAttention,
  type NativeLayer,
  type NativeLayerInputs,
  type NativeModelSpec,
  type NativeRecurrent,
  type NativeRope,
  QK_NORM_SPANS,
  RECURRENT_KINDS,
} from '../../lib/native.js';
import type { Pooling } from '../../lib/wire/layout.js';
import { latentAttention } from './latent.js';
import { convolve, recur } from './recurrent.js';
import { fedByExperts, mlp } from './spec-feed.js';
import {
  activation,
  capped,
  dot,
  type Matrix,
  norm,
  product,
  scoped,
  slices,
  softmax,
  sum,
  tensor,
  type Weights,
} from './spec-math.js';
import { rangeSeen, rotate, temperature } from './spec-positions.js';

export type { Weights } from './spec-math.js';

/**
 * @param long whether angles come from the tables for long sequences, where there are any
 * @param margins gets, for each row and router, by how much what it chooses by would have to change for
 *   another choice
 * @returns [ids][vocab]
 */
export function interpret(
  spec: NativeModelSpec,
  weights: Weights,
  ids: readonly number[],
  options: TextOptions = {},
): Matrix {
  if (spec.head === undefined) throw new Error('a model without a head has no logits');
  const { tied, scale, softcap } = spec.head;
  const last = hidden(spec, weights, ids, options);
  const logits = product(weights, tied ? 'embed' : 'head', false, last, spec.vocabSize);
  return logits.map((row) => row.map((value) => capped(value * scale, softcap)));
}

export interface TextOptions {
  /** Of each token, 0 as a rule. */
  readonly types?: readonly number[];
  readonly long?: boolean;
  readonly margins?: number[];
}

/** The vector that a text becomes. */
export function interpretPooled(
  spec: NativeModelSpec,
  weights: Weights,
  ids: readonly number[],
  { pooling, ...options }: TextOptions & { readonly pooling: Pooling },
): Float64Array {
  const rows = hidden(spec, weights, ids, options);
  const size = spec.hiddenSize;
  const mean = () =>
    Float64Array.from({ length: size }, (_, i) => sum(rows.map((r) => r[i])) / rows.length);
  let x = pooling === 'mean' ? mean() : pooling === 'cls' ? rows[0] : rows.at(-1)!;
  spec.pooler?.layers.forEach(({ outSize, bias, act, norm: own }, i) => {
    const [given] = product(weights, `pooled.${i}`, bias, [x], outSize);
    const active = act === undefined ? given : given.map(activation(act));
    [x] = norm(own, weights, `pooled.${i}.norm`, [active]);
  });
  return x;
}

/** What the final norm gives. */
function hidden(
  spec: NativeModelSpec,
  weights: Weights,
  ids: readonly number[],
  { types = ids.map(() => 0), long = false, margins = [] }: TextOptions,
): Matrix {
  const ropes = spec.ropes.map((rope) => ({
    ...rope,
    inverseFrequencies: (long && rope.longInverseFrequencies) || rope.inverseFrequencies,
  }));
  const first = norm(spec.embedding.norm, weights, 'embed_norm', embed(spec, weights, ids, types));
  const kept: Kept[] = [];
  let x = first;
  spec.layers.forEach((layer, i) => {
    const own = scoped(weights, `layers.${i}.`);
    x = decode(layer, own, { ropes, margins, kept, layer: i }, x);
    if (spec.layerInputs) {
      const rows = tokenRows(spec, spec.layerInputs, weights, ids, i);
      x = withInput(spec.layerInputs, weights, own, { first, rows, x });
    }
    if (!layer.scaled) return;
    const [by] = tensor(own, 'scale', 1);
    x = x.map((row) => row.map((value) => value * by));
  });
  return norm(spec.finalNorm, weights, 'final_norm', x);
}

/** K and V of a layer, by position and head. */
interface Kept {
  readonly k: readonly Matrix[];
  readonly v: readonly Matrix[];
}

/** What a layer sees of the others. */
interface Around {
  readonly ropes: readonly NativeRope[];
  readonly margins: number[];
  /** By layer. */
  readonly kept: Kept[];
  readonly layer: number;
}

/** A layer's rows of the table that all share, times their scale. */
function tokenRows(
  { vocabSize, layers }: NativeModelSpec,
  { size, scale }: NativeLayerInputs,
  weights: Weights,
  ids: readonly number[],
  layer: number,
): Matrix {
  const table = tensor(weights, 'layer_inputs', vocabSize * layers.length * size);
  return ids.map((id) => {
    const at = (id * layers.length + layer) * size;
    return table.slice(at, at + size).map((value) => value * scale);
  });
}

function withInput(
  spec: NativeLayerInputs,
  weights: Weights,
  own: Weights,
  { first, rows, x }: { first: Matrix; rows: Matrix; x: Matrix },
): Matrix {
  const projected = product(own, 'input_proj', false, first, spec.size);
  const normed = norm(spec.norm, weights, 'layer_inputs_norm', projected);
  const act = activation(spec.hiddenAct);
  const gated = product(own, 'input_gate', false, x, spec.size).map((row, t) =>
    row.map((value, i) => act(value) * (normed[t][i] + rows[t][i])),
  );
  const given = product(own, 'input_out', false, gated, x[0].length);
  const branch = norm(spec.postNorm, own, 'post_input_norm', given);
  return x.map((row, t) => row.map((value, i) => value + branch[t][i]));
}

function embed(
  spec: NativeModelSpec,
  weights: Weights,
  ids: readonly number[],
  types: readonly number[],
): Matrix {
  const { hiddenSize: size, vocabSize, embedding } = spec;
  const table = tensor(weights, 'embed', vocabSize * size);
  const { scale, numPositions, numTokenTypes } = embedding;
  const places = numPositions > 0 ? tensor(weights, 'positions', numPositions * size) : undefined;
  const kinds =
    numTokenTypes > 0 ? tensor(weights, 'token_types', numTokenTypes * size) : undefined;
  return ids.map((id, position) =>
    Float64Array.from({ length: size }, (_, i) => {
      const own = table[id * size + i] * scale;
      const placed = places ? own + places[position * size + i] : own;
      return kinds ? placed + kinds[types[position] * size + i] : placed;
    }),
  );
}

function decode(layer: NativeLayer, weights: Weights, around: Around, x: Matrix): Matrix {
  const attend = (input: Matrix) => {
    const { attentionScale = 1, recurrentScale = 1 } = layer;
    const normed = (branch: Matrix) => norm(layer.postAttnNorm, weights, 'post_attn_norm', branch);
    let sum = times(input, 0);
    if (layer.attention) {
      const branch = layer.attention.latent
        ? latentAttention(layer.attention, weights, around.ropes, input)
        : attention(layer.attention, weights, around, input);
      sum = plus(sum, times(normed(branch), attentionScale));
    }
    if (layer.recurrent) {
      const branch = normed(recurrent(layer.recurrent, weights, input));
      sum = plus(sum, times(branch, recurrentScale));
    }
    return sum;
  };
  const feed = (input: Matrix, before: Matrix) => {
    const dense = layer.mlp.intermediateSize > 0 ? mlp(layer.mlp, weights, input) : undefined;
    const routed = { input, before, dense, margins: around.margins };
    const out = layer.experts ? fedByExperts(layer.experts, weights, routed) : dense;
    if (out === undefined) return times(input, 0);
    const { mlpScale = 1 } = layer;
    return times(norm(layer.postMlpNorm, weights, 'post_mlp_norm', out), mlpScale);
  };
  const add = (to: Matrix, branch: Matrix) =>
    to.map((row, t) => row.map((value, i) => value + layer.residualScale * branch[t][i]));

  if (layer.branches === BRANCHES.post) {
    const middle = norm(layer.attnNorm, weights, 'attn_norm', add(x, attend(x)));
    return norm(layer.mlpNorm, weights, 'mlp_norm', add(middle, feed(middle, middle)));
  }
  const normed = norm(layer.attnNorm, weights, 'attn_norm', x);
  const afterAttention = add(x, attend(normed));
  const mlpNormed = (rows: Matrix) => norm(layer.mlpNorm, weights, 'mlp_norm', rows);
  switch (layer.branches) {
    case BRANCHES.serial:
      return add(afterAttention, feed(mlpNormed(afterAttention), afterAttention));
    case BRANCHES.parallel:
      return add(afterAttention, feed(mlpNormed(x), x));
    case BRANCHES.shared:
      return add(afterAttention, feed(normed, x));
  }
}

function attention(
  spec: NativeAttention,
  weights: Weights,
  { ropes, kept, layer }: Around,
  x: Matrix,
): Matrix {
  const { numHeads, numKvHeads, headSize, biases } = spec;
  const project = (name: string, heads: number) =>
    product(weights, name, biases.includes(name), x, heads * headSize);
  const heads = (name: 'q' | 'k', count: number): Matrix[] => {
    const projected = project(name, count);
    const whole = spec.qkNormSpan === QK_NORM_SPANS.projection;
    const rows = whole ? norm(spec.qkNorm, weights, `${name}_norm`, projected) : projected;
    const normed = (split: Matrix) => (whole ? split : normOfHeads(spec, weights, name, split));
    return rows.map((row, position) => {
      const turned = (split: Matrix) =>
        spec.rope < 0 ? split : split.map((head) => rotate(head, ropes[spec.rope], position));
      const split = slices(row, headSize);
      return spec.qkNormAfterRope ? normed(turned(split)) : turned(normed(split));
    });
  };
  const q = heads('q', numHeads).map((row, position) => {
    const factor = temperature(spec.temperature, position);
    return row.map((head) => head.map((value) => value * factor));
  });
  const values = () =>
    project(spec.valueIsKey ? 'k' : 'v', numKvHeads).map((row) => {
      const split = slices(row, headSize);
      return spec.vNorm ? norm(spec.vNorm, weights, 'v_norm', split) : split;
    });
  kept[layer] =
    spec.kvLayer === undefined ? { k: heads('k', numKvHeads), v: values() } : kept[spec.kvLayer];
  const { k, v } = kept[layer];
  const sinks = spec.sinks ? tensor(weights, 'sinks', numHeads) : undefined;
  const mixed = x.map((_, query) => {
    const [first, end] = rangeSeen(spec, query, x.length);
    const out = new Float64Array(numHeads * headSize);
    for (let head = 0; head < numHeads; head++) {
      const kvHead = Math.floor(head / (numHeads / numKvHeads));
      const seen = Array.from({ length: end - first }, (_, i) => first + i);
      const scores = seen.map((key) =>
        capped(dot(q[query][head], k[key][kvHead]) * spec.scale, spec.softcap),
      );
      // A sink is one more token, whose value is 0.
      softmax(sinks ? [...scores, sinks[head]] : scores).forEach((share, i) => {
        if (i === seen.length) return;
        const values = v[seen[i]][kvHead];
        for (let d = 0; d < headSize; d++) out[head * headSize + d] += share * values[d];
      });
    }
    return out;
  });
  const gate = spec.gated ? product(weights, 'attn_gate', false, x, mixed[0].length) : undefined;
  const sigmoid = activation(HIDDEN_ACTS.sigmoid);
  const passed = gate
    ? mixed.map((row, t) => row.map((value, i) => value * sigmoid(gate[t][i])))
    : mixed;
  return product(weights, 'o', biases.includes('o'), passed, x[0].length);
}

function recurrent(spec: NativeRecurrent, weights: Weights, x: Matrix): Matrix {
  const { numValueHeads, convWidth, convBias, inBias = false, outBias = false } = spec;
  const { convScales = { q: 1, k: 1, v: 1 }, dtScale = 1 } = spec;
  const keys = spec.numKeyHeads * spec.keySize;
  const values = numValueHeads * spec.valueSize;
  const project = (name: string, size: number) => product(weights, name, inBias, x, size);
  const [q, k, v] = [project('mix_q', keys), project('mix_k', keys), project('mix_v', values)];
  const convOf = (name: 'q' | 'k' | 'v', size: number) =>
    tensor(weights, `conv_${name}`, size * convWidth).map((value) => value * convScales[name]);
  const biasOf = (name: string, size: number) => tensor(weights, `conv_${name}.bias`, size);
  const give = (rows: Matrix) => product(weights, 'mix_out', outBias, rows, x[0].length);
  if (spec.kind === RECURRENT_KINDS.conv) {
    const mixed = v.map((row, t) => row.map((value, i) => value * k[t][i]));
    const bias = convBias ? biasOf('v', values) : undefined;
    const passed = convolve(mixed, convOf('v', values), bias, convWidth);
    return give(passed.map((row, t) => row.map((value, i) => value * q[t][i])));
  }
  const sizes = [['q', keys] as const, ['k', keys] as const, ['v', values] as const];
  const all = (of: (name: 'q' | 'k' | 'v', size: number) => Float64Array) =>
    Float64Array.from(sizes.flatMap(([name, size]) => [...of(name, size)]));
  const out = recur(spec, {
    mixed: x.map((_, t) => Float64Array.from([...q[t], ...k[t], ...v[t]])),
    conv: all(convOf),
    convBias: convBias ? all(biasOf) : undefined,
    beta: spec.kind === RECURRENT_KINDS.delta ? project('mix_beta', numValueHeads) : [],
    decay: times(project('mix_decay', numValueHeads), dtScale),
    rate: tensor(weights, 'decay', numValueHeads),
    shift: tensor(weights, 'dt_bias', numValueHeads),
    skip: spec.skip ? tensor(weights, 'skip', numValueHeads) : undefined,
  });
  const gate = project('mix_gate', values);
  const silu = activation(HIDDEN_ACTS.silu);
  const gated = (rows: Matrix) =>
    rows.map((row, t) => row.map((value, i) => value * silu(gate[t][i])));
  const normed = (rows: Matrix) => rows.map((row) => normOfParts(spec, weights, row));
  return give(spec.normFirst === false ? normed(gated(out)) : gated(normed(out)));
}

/** Of heads or groups of o, each by the same weight or by one of its own. */
function normOfParts(spec: NativeRecurrent, weights: Weights, row: Float64Array): Float64Array {
  const size = spec.normSize ?? spec.valueSize;
  const parts = slices(row, size);
  const own = (name: string, i: number) =>
    tensor(weights, name, row.length).subarray(i * size, (i + 1) * size);
  const weightsOf = (i: number): Weights =>
    new Map(
      ['mix_norm', 'mix_norm.bias'].flatMap((name) =>
        weights.has(name) ? [[name, own(name, i)] as const] : [],
      ),
    );
  const normed = spec.normOwn
    ? parts.flatMap((part, i) => norm(spec.norm, weightsOf(i), 'mix_norm', [part]))
    : norm(spec.norm, weights, 'mix_norm', parts);
  return Float64Array.from(normed.flatMap((part) => [...part]));
}

function normOfHeads(
  spec: NativeAttention,
  weights: Weights,
  name: 'q' | 'k',
  split: Matrix,
): Matrix {
  if (spec.qkNormSpan !== QK_NORM_SPANS.ownHead) {
    return norm(spec.qkNorm, weights, `${name}_norm`, split);
  }
  return split.flatMap((head, h) => norm(spec.qkNorm, weights, `${name}_norm.${h}`, [head]));
}

function times(rows: Matrix, factor: number): Matrix {
  return rows.map((row) => row.map((value) => value * factor));
}

function plus(a: Matrix, b: Matrix): Matrix {
  return a.map((row, t) => row.map((value, i) => value + b[t][i]));
}
