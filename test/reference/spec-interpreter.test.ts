import { describe, expect, it } from 'vitest';
import {
  BRANCHES,
  HIDDEN_ACTS,
  type NativeModelSpec,
  NORMS,
  RECURRENT_KINDS,
  ROUTER_SCORES,
} from '../../lib/native.js';
import { sample } from '../support/all.js';
import { type Random, random } from '../support/random.js';
import { randomSpec } from '../support/random-spec.js';
import { SEED } from '../support/seed.js';
import { writeSpec } from '../support/spec-file.js';
import { readWeights } from '../support/weights.js';
import { temporaryFolder } from '../support/write-model.js';
import { erf } from './erf.js';
import { interpret, interpretPooled, type Weights } from './spec-interpreter.js';

/**
 * What must hold of the oracle itself, whatever the record says. Its numbers are compared with
 * Hugging Face's in test/engine/families.test.ts.
 */

const RUNS = sample(8, 60);
const VOCAB = 40;

interface Case {
  readonly spec: NativeModelSpec;
  readonly weights: Weights;
  readonly ids: number[];
  readonly rng: Random;
}

const folder = temporaryFolder();

/** Random models without an end, each with a text of `length` tokens. */
function* models(length: number): Generator<Case, never> {
  const rng = random(SEED);
  for (;;) {
    const spec = randomSpec(rng, { vocabSize: VOCAB, maxTokens: length });
    const { files, tensors } = writeSpec(rng, spec, folder);
    const ids = Array.from({ length }, () => rng.integer(VOCAB));
    yield { spec, weights: readWeights(files, tensors), ids, rng };
  }
}

/** As many as are tried. */
function cases(length: number): Case[] {
  const all = models(length);
  return Array.from({ length: RUNS }, () => all.next().value);
}

/** q and k as they are, and no v made of k: that has rows of its own. */
function withoutNorms(spec: NativeModelSpec, weights: Weights) {
  const given = new Map(weights);
  spec.layers.forEach(({ attention }, i) => {
    if (!attention!.valueIsKey) return;
    for (const end of ['', '.bias']) {
      const k = weights.get(`layers.${i}.k${end}`);
      if (k) given.set(`layers.${i}.v${end}`, k);
    }
  });
  const flat = eachLayer(spec, ({ attention }) => {
    const { biases, qkNorm, valueIsKey } = attention!;
    const ofV = valueIsKey && biases.includes('k') ? ['v'] : [];
    const plain = { valueIsKey: false, biases: [...biases, ...ofV] };
    return { attention: { ...attention, ...plain, qkNorm: { ...qkNorm, kind: NORMS.none } } };
  });
  return { flat, given };
}

/** The record with every layer changed. */
function eachLayer(
  spec: NativeModelSpec,
  change: (layer: NativeModelSpec['layers'][number]) => object,
): NativeModelSpec {
  const layers = spec.layers.map((layer) => ({ ...layer, ...change(layer) }));
  return { ...spec, layers };
}

const windows = (spec: NativeModelSpec, window: number, chunked = false) =>
  eachLayer(spec, ({ attention }) => ({ attention: { ...attention, window, chunked } }));

function near(ours: Float64Array, theirs: Float64Array): void {
  const scale = Math.max(...theirs.map(Math.abs));
  const error = Math.max(...ours.map((value, i) => Math.abs(value - theirs[i])));
  expect(error).toBeLessThanOrEqual(1e-9 * scale);
}

describe('the interpreter', () => {
  it('gives numbers, other ones for other tokens', () => {
    for (const { spec, weights, ids } of cases(5)) {
      const rows = interpret(spec, weights, ids);
      expect(rows.length).toBe(5);
      for (const row of rows) expect(row.every(Number.isFinite)).toBe(true);
      const [other] = interpret(spec, weights, [(ids[0] + 1) % VOCAB]);
      expect(other).not.toEqual(rows[0]);
    }
  });

  it('gives a row the same values whatever comes after it', () => {
    for (const { spec, weights, ids } of cases(9)) {
      const rows = interpret(spec, weights, ids);
      expect(interpret(spec, weights, ids.slice(0, 5))).toEqual(rows.slice(0, 5));
    }
  });

  it('sees everything through a window as long as the text, and no further than a shorter', () => {
    for (const { spec, weights, ids } of cases(12)) {
      const full = interpret(windows(spec, 0), weights, ids);
      expect(interpret(windows(spec, 12), weights, ids)).toEqual(full);
      // Through n layers of window 2 the last row sees n tokens before its own.
      const narrow = windows(spec, 2);
      const reach = spec.layers.length;
      const changed = (at: number, by = 1) =>
        ids.map((id, i) => (i === at ? (id + by) % VOCAB : id));
      const last = interpret(narrow, weights, ids).at(-1);
      expect(interpret(narrow, weights, changed(11 - reach - 1)).at(-1)).toEqual(last);
      // One other token may weigh nothing through all layers, but not any other.
      const others = Array.from({ length: 8 }, (_, i) =>
        interpret(narrow, weights, changed(11 - reach, i + 1))
          .at(-1)!
          .join(),
      );
      expect(others.some((other) => other !== last!.join())).toBe(true);
    }
  });

  it('sees both sides where it is not causal, through a window as far ahead as back', () => {
    for (const { spec, weights, ids } of cases(12)) {
      const both = (window: number) =>
        eachLayer(spec, ({ attention }) => ({
          attention: { ...attention, window, chunked: false, causal: false },
        }));
      const full = interpret(both(0), weights, ids);
      expect(interpret(both(12), weights, ids)).toEqual(full);
      // Of one layer, with window 1 each token sees itself, as it does causally.
      const only = (of: NativeModelSpec) => ({ ...of, layers: of.layers.slice(0, 1) });
      const alone = interpret(only(both(1)), weights, ids);
      expect(alone).toEqual(interpret(only(windows(spec, 1)), weights, ids));
      const changed = (at: number) => ids.map((id, i) => (i === at ? (id + 1) % VOCAB : id));
      const rows = interpret(only(both(4)), weights, ids);
      for (const at of [2, 8])
        expect(interpret(only(both(4)), weights, changed(at))[5]).not.toEqual(rows[5]);
      for (const at of [1, 9])
        expect(interpret(only(both(4)), weights, changed(at))[5]).toEqual(rows[5]);
    }
  });

  it('pools the first row, the last, or the mean of all, and passes it on', () => {
    const rng = random(SEED);
    for (let i = 0; i < RUNS; i++) {
      const spec = randomSpec(rng, { vocabSize: VOCAB, maxTokens: 6, pools: true });
      const { files, tensors } = writeSpec(rng, spec, folder);
      const weights = readWeights(files, tensors);
      const ids = Array.from({ length: 6 }, () => rng.integer(VOCAB));
      const types = ids.map(() => rng.integer(Math.max(1, spec.embedding.numTokenTypes)));
      const width = spec.pooler?.layers.at(-1)?.outSize ?? spec.hiddenSize;
      const whole = interpretPooled(spec, weights, ids, { pooling: 'mean', types });
      expect(whole).toHaveLength(width);
      expect(whole.every(Number.isFinite)).toBe(true);
      // What is pooled goes through a matrix that every row goes through as a head.
      const head = { tied: true, scale: 1, softcap: 0 };
      const norm = { kind: NORMS.none, eps: 0, offset: false, weight: false, bias: false };
      const dense = { outSize: VOCAB, bias: false, norm };
      const both = { ...spec, head, pooler: { layers: [dense] } };
      const all = new Map([...weights, ['pooled.0', weights.get('embed')!]]);
      const rows = interpret(both, all, ids, { types });
      const mean = rows[0].map((_, c) => rows.reduce((sum, row) => sum + row[c] / 6, 0));
      for (const [pooling, want] of [
        ['cls', rows[0]],
        ['last', rows[5]],
        ['mean', mean],
      ] as const) {
        near(interpretPooled(both, all, ids, { pooling, types }), want);
      }
    }
  });

  it('norms the sum of a layer and what it adds where norms come after it', () => {
    const norm = { kind: NORMS.rms, eps: 0, offset: false, weight: false, bias: false };
    const post = { branches: BRANCHES.post, attnNorm: norm, mlpNorm: norm };
    // A single value becomes its own sign: 1, then relu²(1) = 1 is added and normed again.
    expect(oneNeuron(HIDDEN_ACTS.relu2, 5, post)).toBe(1 - 5);
    expect(oneNeuron(HIDDEN_ACTS.tanh, 0.5)).toBeCloseTo(Math.tanh(0.5), 12);
  });

  it('sees its own chunk and nothing before it', () => {
    for (const { spec, weights, ids } of cases(12)) {
      const chunks = windows(spec, 5, true);
      const rows = interpret(chunks, weights, ids);
      expect(rows.slice(0, 5)).toEqual(interpret(windows(spec, 0), weights, ids.slice(0, 5)));
      const other = interpret(chunks, weights, [...ids.slice(0, 9), (ids[9] + 1) % VOCAB, 1, 2]);
      expect(other.slice(0, 9)).toEqual(rows.slice(0, 9));
      expect(other[9]).not.toEqual(rows[9]);
      const first = interpret(chunks, weights, [(ids[0] + 1) % VOCAB, ...ids.slice(1)]);
      expect(first.slice(5)).toEqual(rows.slice(5));
      expect(first[4]).not.toEqual(rows[4]);
    }
  });

  it('sums what it sees in any order where nothing says positions, else by its distance', () => {
    for (const { spec, weights, ids } of cases(7)) {
      const one = { ...spec, layers: spec.layers.slice(0, 1) };
      const still = windows({ ...one, embedding: { ...one.embedding, numPositions: 0 } }, 0);
      const [attention] = [still.layers[0].attention];
      const moved = [ids[3], ids[1], ids[2], ids[0], ...ids.slice(4)];
      const rows = (rope: number, list: number[]) =>
        interpret(
          eachLayer(still, () => ({ attention: { ...attention, rope } })),
          weights,
          list,
        );
      near(rows(-1, moved).at(-1)!, rows(-1, ids).at(-1)!);
      if (attention!.rope < 0 || ids[0] === ids[3]) continue;
      expect(rows(attention!.rope, moved).at(-1)).not.toEqual(rows(attention!.rope, ids).at(-1));
    }
  });

  it('takes the tables for long texts only where it is told, and where there are any', () => {
    let numRuns = 0;
    let numTaken = 0;
    // Few models have such tables: it goes on until one has.
    for (const { spec, weights, ids } of models(6)) {
      const rows = interpret(spec, weights, ids);
      const long = interpret(spec, weights, ids, { long: true });
      // A token that sees itself alone has one score whatever the angle, which only a sink sees;
      // a norm behind the rope weighs what was turned.
      const used = spec.layers.some(
        ({ attention: a }) =>
          a !== undefined &&
          (a.window !== 1 || (a.sinks && a.qkNormAfterRope)) &&
          a.rope >= 0 &&
          spec.ropes[a.rope].longInverseFrequencies,
      );
      expect(long[0]).toEqual(rows[0]); // nothing turns at position 0
      if (used) expect(long).not.toEqual(rows);
      else for (const [i, row] of rows.entries()) near(long[i], row);
      numTaken += used ? 1 : 0;
      if (++numRuns >= RUNS && numTaken > 0) break;
    }
  });

  it('pairs neighbours as it pairs halves once the rows of q and k change places', () => {
    for (const { spec, weights, ids } of cases(6)) {
      const { flat, given } = withoutNorms(spec, weights);
      const ropes = flat.ropes.map((rope) => ({ ...rope, interleaved: !rope.interleaved }));
      const swapped = new Map(given);
      flat.layers.forEach(({ attention }, i) => {
        const { rope, headSize } = attention!;
        if (rope < 0) return;
        const { inverseFrequencies, interleaved } = flat.ropes[rope];
        const pairs = inverseFrequencies.length;
        // Where the value at a place of the other form comes from.
        const source = (at: number) => {
          if (at >= 2 * pairs) return at;
          return interleaved
            ? 2 * (at % pairs) + Math.floor(at / pairs)
            : Math.floor(at / 2) + (at % 2) * pairs;
        };
        for (const name of ['q', 'k', 'q.bias', 'k.bias']) {
          const from = weights.get(`layers.${i}.${name}`);
          if (!from) continue;
          const width = name.endsWith('bias') ? 1 : spec.hiddenSize;
          const to = from.map((_, at) => {
            const row = Math.floor(at / width);
            const head = row - (row % headSize);
            return from[(head + source(row % headSize)) * width + (at % width)];
          });
          swapped.set(`layers.${i}.${name}`, to);
        }
      });
      const rows = interpret({ ...flat, ropes }, swapped, ids);
      interpret(flat, given, ids).forEach((row, t) => {
        near(rows[t], row);
      });
    }
  });

  it('keeps what was before a token in a state, and nothing after it', () => {
    const rng = random(SEED);
    const kinds = Object.values(RECURRENT_KINDS);
    for (const kind of kinds) {
      for (let i = 0; i < RUNS; i++) {
        const limits = { vocabSize: VOCAB, maxTokens: 9, recurrent: true, kinds: [kind] };
        const spec = randomSpec(rng, limits);
        const { files, tensors } = writeSpec(rng, spec, folder);
        const weights = readWeights(files, tensors);
        const ids = Array.from({ length: 9 }, () => rng.integer(VOCAB));
        const rows = interpret(spec, weights, ids);
        for (const row of rows) expect(row.every(Number.isFinite)).toBe(true);
        const other = [...ids.slice(0, 5), (ids[5] + 1) % VOCAB, ...ids.slice(6)];
        const changed = interpret(spec, weights, other);
        for (let t = 0; t < 5; t++) expect(changed[t]).toEqual(rows[t]);
        expect(changed[5]).not.toEqual(rows[5]);
      }
    }
  });

  it('adds both branches at once, or one after the other', () => {
    for (const { spec, weights, ids } of cases(4)) {
      const [layer] = spec.layers;
      if (layer.branches === BRANCHES.shared) continue;
      const one = (branches: number) => ({ ...spec, layers: [{ ...layer, branches }] });
      const [serial, parallel] = [BRANCHES.serial, BRANCHES.parallel].map((branches) =>
        interpret(one(branches) as NativeModelSpec, weights, ids),
      );
      expect(parallel).not.toEqual(serial);
      // Where attention adds nothing, they are one.
      const mute = new Map(weights);
      for (const name of ['o', 'o.bias', 'post_attn_norm', 'post_attn_norm.bias']) {
        const values = mute.get(`layers.0.${name}`);
        const nothing = layer.postAttnNorm.offset && name === 'post_attn_norm' ? -1 : 0;
        if (values)
          mute.set(
            `layers.0.${name}`,
            values.map(() => nothing),
          );
      }
      const [a, b] = [BRANCHES.serial, BRANCHES.parallel].map((branches) =>
        interpret(one(branches) as NativeModelSpec, mute, ids),
      );
      expect(a).toEqual(b);
    }
  });

  it('refuses a weight that is missing or has another length', () => {
    const [{ spec, weights, ids }] = cases(3);
    for (const name of weights.keys()) {
      const without = new Map(weights);
      without.delete(name);
      expect(() => interpret(spec, without, ids)).toThrow(`${name.split('.').at(-1)}: no values`);
      without.set(name, weights.get(name)!.slice(1));
      expect(() => interpret(spec, without, ids)).toThrow(' values, not ');
    }
  });

  it('knows the error function and the activations by their values', () => {
    expect(erf(0.1)).toBeCloseTo(0.1124629160182849, 13);
    expect(erf(-0.5)).toBeCloseTo(-0.5204998778130465, 13);
    expect(erf(2)).toBeCloseTo(0.9953222650189527, 13);
    expect(erf(2.999)).toBeCloseTo(0.9999777698314002, 13);
    expect(erf(3.001)).toBeCloseTo(0.9999780483390822, 13);
    expect(erf(5)).toBeCloseTo(0.9999999999984626, 13);
    const act = (hiddenAct: number, x: number) => oneNeuron(hiddenAct, x);
    expect(act(HIDDEN_ACTS.silu, 1)).toBeCloseTo(0.7310585786300049, 14);
    expect(act(HIDDEN_ACTS.geluTanh, 1)).toBeCloseTo(0.8411919906082768, 14);
    expect(act(HIDDEN_ACTS.gelu, 1)).toBeCloseTo(0.8413447460685429, 14);
    expect(act(HIDDEN_ACTS.relu2, 1.5)).toBe(2.25);
    expect(act(HIDDEN_ACTS.relu2, -1.5)).toBe(0);
    expect(act(HIDDEN_ACTS.sigmoid, -2)).toBeCloseTo(0.11920292202211755, 14);
  });
});

describe('experts', () => {
  const plain = { score: ROUTER_SCORES.softmax, normalize: true, groupBest: 1 };
  const of = (topK: number, router: object, logits: number[], bias?: number[]) =>
    oneRouter(topK, router, logits, bias);

  it.each<[string, () => number, number]>([
    ['softmax of all', () => of(2, { ...plain, normalize: false }, [1, 2, 0]), 15.752_103_826],
    ['divided by their sum', () => of(2, plain, [1, 2, 0]), 17.310_585_786],
    ['times a scale', () => of(2, { ...plain, scale: 2 }, [1, 2, 0]), 34.621_171_573],
    [
      'softmax of the chosen',
      () => of(2, { ...plain, score: ROUTER_SCORES.chosenSoftmax, normalize: false }, [1, 2, 0]),
      17.310_585_786,
    ],
    [
      'sigmoids, chosen by more than them',
      () =>
        of(2, { ...plain, score: ROUTER_SCORES.sigmoid, normalize: false }, [1, 2, 0], [0, 0, 5]),
      32.615_941_559,
    ],
    ['ties to the lower', () => of(1, plain, [3, 3, 3]), 10],
    // Of {4, 0}, {3, 2}, {1, 1}: the group with the best one, or with the best two.
    ['the best group by its best', () => of(1, { ...plain, numGroups: 3 }, [4, 0, 3, 2, 1, 1]), 10],
    [
      'the best group by its best two',
      () => of(1, { ...plain, numGroups: 3, groupBest: 2 }, [1, 0, 0.9, 0.8, 0.5, 0.5]),
      30,
    ],
  ])('%s', (_, got, want) => {
    expect(got()).toBeCloseTo(want, 8);
  });

  it('are an MLP where there is but one choice', () => {
    for (const { spec, weights, ids } of cases(4)) {
      const dense = eachLayer(spec, ({ mlp }) => ({
        mlp: { ...mlp, intermediateSize: mlp.intermediateSize || 3, gated: true, biases: [] },
        experts: undefined,
      }));
      const router = { score: ROUTER_SCORES.softmax, normalize: true, scale: 1, numGroups: 1 };
      const one = { numExperts: 2, topK: 1, alpha: 1, limit: 0, upOffset: 0, biases: [] };
      const rest = { scalesInput: false, sharedGate: false };
      const mixed = eachLayer(dense, ({ mlp: { intermediateSize, hiddenAct } }) => ({
        mlp: { intermediateSize: 0, hiddenAct, gated: true, biases: [] },
        experts: {
          ...{ ...one, ...rest, intermediateSize, hiddenAct },
          router: { ...router, bias: false, choiceBias: false, topGroups: 1, groupBest: 1 },
        },
      }));
      const all = new Map(weights);
      dense.layers.forEach(({ mlp }, i) => {
        const size = mlp.intermediateSize * spec.hiddenSize;
        all.set(
          `layers.${i}.router`,
          Float64Array.from({ length: 2 * spec.hiddenSize }, (_, j) => Math.sin(j)),
        );
        for (const name of ['gate', 'up', 'down']) {
          const values = Float64Array.from({ length: size }, (_, j) => Math.sin(j + i) / 9);
          for (const at of ['', 'experts.0.', 'experts.1.'])
            all.set(`layers.${i}.${at}${name}`, values);
        }
      });
      const rows = interpret(dense, all, ids);
      interpret(mixed, all, ids).forEach((row, t) => {
        near(row, rows[t]);
      });
    }
  });
});

/** What experts that give 10, 20, 30 … make of it, of a model of one value. */
function oneRouter(topK: number, router: object, logits: number[], bias?: number[]): number {
  const numExperts = logits.length;
  const none = {
    ...{ alpha: 1, limit: 0, upOffset: 0, biases: [], scalesInput: false, sharedGate: false },
  };
  const given = new Map<string, Float64Array>([['layers.0.router', Float64Array.from(logits)]]);
  if (bias) given.set('layers.0.router.choice_bias', Float64Array.from(bias));
  for (let e = 0; e < numExperts; e++) {
    for (const name of ['gate', 'up'])
      given.set(`layers.0.experts.${e}.${name}`, Float64Array.of(1));
    given.set(`layers.0.experts.${e}.down`, Float64Array.of(10 * (e + 1)));
  }
  const all = { scale: 1, numGroups: 1, topGroups: 1, bias: false, choiceBias: bias !== undefined };
  const sizes = { numExperts, topK, intermediateSize: 1, hiddenAct: HIDDEN_ACTS.relu2 };
  const experts = { ...sizes, ...none, router: { ...all, ...router } };
  return oneNeuron(HIDDEN_ACTS.relu2, 1, { mlp: { intermediateSize: 0 }, experts }, given);
}

/** What a model of one value, whose attention adds nothing, makes of x: act(x). */
function oneNeuron(
  hiddenAct: number,
  x: number,
  change: object = {},
  more: Weights = new Map(),
): number {
  const none = { kind: NORMS.none, eps: 0, offset: false, weight: false, bias: false };
  const spec = {
    vocabSize: 1,
    hiddenSize: 1,
    embedding: { scale: 1, numPositions: 0, numTokenTypes: 0, norm: none },
    ropes: [],
    layers: [
      {
        branches: BRANCHES.serial,
        attnNorm: none,
        postAttnNorm: none,
        mlpNorm: none,
        postMlpNorm: none,
        residualScale: 1,
        attention: {
          numHeads: 1,
          numKvHeads: 1,
          headSize: 1,
          causal: true,
          window: 0,
          chunked: false,
          rope: -1,
          scale: 1,
          softcap: 0,
          sinks: false,
          qkNorm: none,
          qkNormSpan: 0,
          qkNormAfterRope: false,
          temperature: { beta: 0, length: 1, offset: 0 },
          gated: false,
          biases: [],
        },
        mlp: { intermediateSize: 1, hiddenAct, gated: false, biases: [] },
        ...change,
      },
    ],
    finalNorm: none,
    head: { tied: false, scale: 1, softcap: 0 },
  } as NativeModelSpec;
  const one = (value: number) => Float64Array.of(value);
  const weights = new Map([
    ['embed', one(x)],
    ['head', one(1)],
    ...['q', 'k', 'v', 'up', 'down'].map((name) => [`layers.0.${name}`, one(1)] as const),
    ['layers.0.o', one(0)],
    ...more,
  ]);
  return interpret(spec, weights, [0])[0][0] - x;
}
