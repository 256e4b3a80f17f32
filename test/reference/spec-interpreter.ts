/**
 * What a NativeModelSpec means, in float64 and with nothing clever: every token of a sequence at
 * once, every score of the attention matrix, no cache. Slow and plain, to compare with.
 */
import {
  BRANCHES,
  HIDDEN_ACTS,
  type NativeAttention,
  type NativeExperts,
  type NativeLayer,
  type NativeMlp,
  type NativeModelSpec,
  type NativeNorm,
  type NativeRope,
  type NativeTemperature,
  NORMS,
  QK_NORM_SPANS,
  ROUTER_SCORES,
} from '../../lib/native.js';
import type { Pooling } from '../../lib/wire/layout.js';
import { erf } from './erf.js';

/** Values of every tensor by its canonical name, matrices as [out, in]. */
export type Weights = ReadonlyMap<string, Float64Array>;

/** Rows of equal length. */
type Matrix = Float64Array[];

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
  let x = norm(spec.embedding.norm, weights, 'embed_norm', embed(spec, weights, ids, types));
  spec.layers.forEach((layer, i) => {
    x = decode(layer, scoped(weights, `layers.${i}.`), ropes, x, margins);
  });
  return norm(spec.finalNorm, weights, 'final_norm', x);
}

/** The weight of a tensor whose length is known. */
function tensor(weights: Weights, name: string, length: number): Float64Array {
  const values = weights.get(name);
  if (values?.length !== length) {
    throw new Error(`${name}: ${values?.length ?? 'no'} values, not ${length}`);
  }
  return values;
}

function scoped(weights: Weights, prefix: string): Weights {
  const inside = [...weights].filter(([name]) => name.startsWith(prefix));
  return new Map(inside.map(([name, values]) => [name.slice(prefix.length), values]));
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

function decode(
  layer: NativeLayer,
  weights: Weights,
  ropes: readonly NativeRope[],
  x: Matrix,
  margins: number[],
): Matrix {
  const attend = (input: Matrix) => {
    const out = attention(layer.attention, weights, ropes, input);
    return norm(layer.postAttnNorm, weights, 'post_attn_norm', out);
  };
  const feed = (input: Matrix) => {
    const dense = layer.mlp.intermediateSize > 0 ? mlp(layer.mlp, weights, input) : undefined;
    const out = layer.experts ? experts(layer.experts, weights, input, dense, margins) : dense!;
    return norm(layer.postMlpNorm, weights, 'post_mlp_norm', out);
  };
  const add = (to: Matrix, branch: Matrix) =>
    to.map((row, t) => row.map((value, i) => value + layer.residualScale * branch[t][i]));

  if (layer.branches === BRANCHES.post) {
    const middle = norm(layer.attnNorm, weights, 'attn_norm', add(x, attend(x)));
    return norm(layer.mlpNorm, weights, 'mlp_norm', add(middle, feed(middle)));
  }
  const normed = norm(layer.attnNorm, weights, 'attn_norm', x);
  const afterAttention = add(x, attend(normed));
  switch (layer.branches) {
    case BRANCHES.serial:
      return add(afterAttention, feed(norm(layer.mlpNorm, weights, 'mlp_norm', afterAttention)));
    case BRANCHES.parallel:
      return add(afterAttention, feed(norm(layer.mlpNorm, weights, 'mlp_norm', x)));
    case BRANCHES.shared:
      return add(afterAttention, feed(normed));
  }
}

function norm(spec: NativeNorm, weights: Weights, name: string, rows: Matrix): Matrix {
  if (spec.kind === NORMS.none) return rows;
  const { length } = rows[0];
  const stored = spec.weight ? tensor(weights, name, length) : undefined;
  const bias = spec.kind === NORMS.layer && spec.bias;
  const shift = bias ? tensor(weights, `${name}.bias`, length) : undefined;
  return rows.map((row) => {
    const mean = spec.kind === NORMS.layer ? sum(row) / length : 0;
    const variance = sum(row.map((value) => (value - mean) ** 2)) / length;
    const deviation = Math.sqrt(variance + spec.eps);
    return row.map((value, i) => {
      const weight = stored ? (spec.offset ? 1 : 0) + stored[i] : 1;
      return ((value - mean) / deviation) * weight + (shift ? shift[i] : 0);
    });
  });
}

/** x · weightᵀ + bias. */
function product(weights: Weights, name: string, bias: boolean, x: Matrix, size: number): Matrix {
  const columns = x[0].length;
  const matrix = tensor(weights, name, size * columns);
  const shift = bias ? tensor(weights, `${name}.bias`, size) : undefined;
  return x.map((row) => {
    const out = new Float64Array(size);
    for (let r = 0; r < size; r++) {
      let total = shift ? shift[r] : 0;
      for (let c = 0; c < columns; c++) total += matrix[r * columns + c] * row[c];
      out[r] = total;
    }
    return out;
  });
}

function attention(
  spec: NativeAttention,
  weights: Weights,
  ropes: readonly NativeRope[],
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
  const k = heads('k', numKvHeads);
  const v = project('v', numKvHeads).map((row) => slices(row, headSize));
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

function temperature({ beta, length, offset }: NativeTemperature, position: number): number {
  return 1 + beta * Math.log(1 + Math.floor((position + offset) / length));
}

/** The tokens that a query sees, of so many. */
function rangeSeen(
  { causal, window, chunked }: NativeAttention,
  query: number,
  length: number,
): [first: number, end: number] {
  const end = causal ? query + 1 : window === 0 ? length : Math.min(length, query + window);
  if (window === 0) return [0, end];
  return [chunked ? query - (query % window) : Math.max(0, query - window + 1), end];
}

/** Turns the pairs of one head; what is behind the last pair stands still. */
function rotate(head: Float64Array, rope: NativeRope, position: number): Float64Array {
  const out = head.slice();
  const pairs = rope.inverseFrequencies.length;
  for (let i = 0; i < pairs; i++) {
    const [a, b] = rope.interleaved ? [2 * i, 2 * i + 1] : [i, i + pairs];
    const angle = position * rope.inverseFrequencies[i];
    const cos = Math.cos(angle) * rope.attentionFactor;
    const sin = Math.sin(angle) * rope.attentionFactor;
    out[a] = head[a] * cos - head[b] * sin;
    out[b] = head[b] * cos + head[a] * sin;
  }
  return out;
}

function mlp(spec: NativeMlp, weights: Weights, x: Matrix): Matrix {
  const project = (name: string) =>
    product(weights, name, spec.biases.includes(name), x, spec.intermediateSize);
  const act = activation(spec.hiddenAct);
  const up = project('up');
  const gate = spec.gated ? project('gate') : undefined;
  const inner = up.map((row, t) =>
    row.map((value, i) => (gate ? act(gate[t][i]) * value : act(value))),
  );
  return product(weights, 'down', spec.biases.includes('down'), inner, x[0].length);
}

/** The chosen experts of each row, and the dense MLP beside them. */
function experts(
  spec: NativeExperts,
  weights: Weights,
  x: Matrix,
  dense: Matrix | undefined,
  margins: number[],
): Matrix {
  const gates = spec.sharedGate ? product(weights, 'shared_gate', false, x, 1) : undefined;
  const logits = product(weights, 'router', spec.router.bias, x, spec.numExperts);
  const own = Array.from(logits[0], (_, id) => scoped(weights, `experts.${id}.`));
  for (const part of own) expert(spec, part, x[0]); // also those that nobody chooses are there
  return x.map((row, t) => {
    const out = new Float64Array(row.length);
    for (const { id, weight } of route(spec, weights, logits[t], margins)) {
      const input = spec.scalesInput ? row.map((value) => value * weight) : row;
      const given = expert(spec, own[id], input);
      for (let i = 0; i < out.length; i++) out[i] += (spec.scalesInput ? 1 : weight) * given[i];
    }
    const share = gates ? 1 / (1 + Math.exp(-gates[t][0])) : 1;
    return dense ? out.map((value, i) => value + share * dense[t][i]) : out;
  });
}

function expert(spec: NativeExperts, weights: Weights, x: Float64Array): Float64Array {
  const { intermediateSize: size, biases, alpha, limit, upOffset } = spec;
  const project = (name: string, from: Float64Array, to: number) =>
    product(weights, name, biases.includes(name), [from], to)[0];
  const most = limit > 0 ? limit : Number.POSITIVE_INFINITY;
  const act = activation(spec.hiddenAct);
  const up = project('up', x, size).map((value) => Math.max(-most, Math.min(value, most)));
  const inner = project('gate', x, size).map(
    (value, i) => (act(alpha * Math.min(value, most)) / alpha) * (up[i] + upOffset),
  );
  return project('down', inner, x.length);
}

function route(
  { topK, router }: NativeExperts,
  weights: Weights,
  logits: Float64Array,
  margins: number[],
): { id: number; weight: number }[] {
  const scores = scoresOf(router.score, logits);
  const bias = router.choiceBias
    ? tensor(weights, 'router.choice_bias', logits.length)
    : new Float64Array(logits.length);
  const keys = scores.map((score, i) => score + bias[i]);
  const size = keys.length / router.numGroups;
  const groups = slices(keys, size).map((own) =>
    sum(own.toSorted((a, b) => b - a).subarray(0, router.groupBest)),
  );
  const kept = best(groups, router.topGroups, margins);
  const open = keys.map((key, i) => (kept.includes(Math.floor(i / size)) ? key : -Infinity));
  const chosen = best([...open], topK, margins);
  const plain =
    router.score === ROUTER_SCORES.chosenSoftmax
      ? softmax(chosen.map((id) => logits[id]))
      : chosen.map((id) => scores[id]);
  const total = router.normalize ? sum(plain) : 1;
  return chosen.map((id, i) => ({ id, weight: (plain[i] / total) * router.scale }));
}

function scoresOf(kind: number, logits: Float64Array): Float64Array {
  switch (kind) {
    case ROUTER_SCORES.sigmoid:
      return logits.map((value) => 1 / (1 + Math.exp(-value)));
    case ROUTER_SCORES.softmax:
      return Float64Array.from(softmax([...logits]));
  }
  return logits;
}

/** Indices of the largest, ties to the lower one. */
function best(values: readonly number[], count: number, margins: number[]): number[] {
  const order = values.map((_, i) => i).toSorted((a, b) => values[b] - values[a] || a - b);
  if (count < order.length) margins.push(values[order[count - 1]] - values[order[count]]);
  return order.slice(0, count);
}

function activation(act: NativeMlp['hiddenAct']): (x: number) => number {
  switch (act) {
    case HIDDEN_ACTS.silu:
      return (x) => x / (1 + Math.exp(-x));
    case HIDDEN_ACTS.geluTanh:
      return (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    case HIDDEN_ACTS.gelu:
      return (x) => 0.5 * x * (1 + erf(x / Math.SQRT2));
    case HIDDEN_ACTS.relu2:
      return (x) => Math.max(x, 0) ** 2;
    case HIDDEN_ACTS.sigmoid:
      return (x) => 1 / (1 + Math.exp(-x));
    case HIDDEN_ACTS.tanh:
      return Math.tanh;
  }
}

function capped(value: number, cap: number): number {
  return cap > 0 ? cap * Math.tanh(value / cap) : value;
}

function softmax(scores: readonly number[]): number[] {
  const max = Math.max(...scores);
  const shares = scores.map((score) => Math.exp(score - max));
  const total = sum(shares);
  return shares.map((share) => share / total);
}

function slices(row: Float64Array, size: number): Matrix {
  return Array.from({ length: row.length / size }, (_, i) =>
    row.subarray(i * size, (i + 1) * size),
  );
}

function dot(a: Float64Array, b: Float64Array): number {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i] * b[i];
  return total;
}

function sum(values: Float64Array | readonly number[]): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}
