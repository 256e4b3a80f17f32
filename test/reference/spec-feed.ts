/** What follows attention: the MLP, and experts. */
import { type NativeExperts, type NativeMlp, ROUTER_SCORES } from '../../lib/native.js';
import {
  activation,
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

export function mlp(spec: NativeMlp, weights: Weights, x: Matrix): Matrix {
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

/** What the layers' experts read, and what is beside them. */
interface Routed {
  readonly input: Matrix;
  /** Of which the input is a norm. */
  readonly before: Matrix;
  readonly dense: Matrix | undefined;
  readonly margins: number[];
}

/** The chosen experts of each row, and the dense MLP beside them, shared or with its own norms. */
export function fedByExperts(spec: NativeExperts, weights: Weights, routed: Routed): Matrix {
  const { input, before, dense, margins } = routed;
  const { beside } = spec;
  if (!beside) return experts(spec, weights, { router: input, input, dense, margins });
  const router = norm(beside.routerNorm, weights, 'router_norm', before);
  const own = norm(beside.norm, weights, 'experts_norm', before);
  const given = experts(spec, weights, { router, input: own, dense: undefined, margins });
  const mine = norm(beside.postNorm, weights, 'post_experts_norm', given);
  const other = norm(beside.postMlpNorm, weights, 'post_dense_norm', dense!);
  return mine.map((row, t) => row.map((value, i) => value + other[t][i]));
}

function experts(
  spec: NativeExperts,
  weights: Weights,
  from: Pick<Routed, 'input' | 'dense' | 'margins'> & { readonly router: Matrix },
): Matrix {
  const { router, input: x, dense, margins } = from;
  const gates = spec.sharedGate ? product(weights, 'shared_gate', false, x, 1) : undefined;
  const logits = product(weights, 'router', spec.router.bias, router, spec.numExperts);
  const own = Array.from(logits[0], (_, id) => scoped(weights, `experts.${id}.`));
  const { latentSize = 0 } = spec;
  const inputs = latentSize > 0 ? product(weights, 'latent_in', false, x, latentSize) : x;
  for (const part of own) expert(spec, part, inputs[0]); // also those that nobody chooses are there
  const given = inputs.map((row, t) => {
    const out = new Float64Array(row.length);
    for (const { id, weight } of route(spec, weights, logits[t], margins)) {
      const input = spec.scalesInput ? row.map((value) => value * weight) : row;
      const one = expert(spec, own[id], input);
      for (let i = 0; i < out.length; i++) out[i] += (spec.scalesInput ? 1 : weight) * one[i];
    }
    return out;
  });
  const back = latentSize > 0 ? product(weights, 'latent_out', false, given, x[0].length) : given;
  return back.map((out, t) => {
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
  if (spec.gated === false) return project('down', up.map(act), x.length);
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
  const own = router.expertScale
    ? tensor(weights, 'router.expert_scale', logits.length)
    : undefined;
  return chosen.map((id, i) => ({
    id,
    weight: (plain[i] / total) * router.scale * (own ? own[id] : 1),
  }));
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
