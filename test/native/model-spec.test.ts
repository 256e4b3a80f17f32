/** Native believes nothing of a model that lib/ describes. */
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Checkpoint, openCheckpoint } from '../../lib/model/checkpoint.js';
import {
  BRANCHES,
  DTYPES,
  HIDDEN_ACTS,
  type NativeExperts,
  type NativeLayer,
  type NativeModelSpec,
  NORMS,
  QK_NORM_SPANS,
  ROUTER_SCORES,
} from '../../lib/native.js';
import { ON_CPU, ROOT, testAddon, testDevice } from '../support/addon.js';

/** Any field, of any type. */
// biome-ignore lint/suspicious/noExplicitAny: what is given here breaks every type
type Loose = any;

const rms = () => ({ kind: NORMS.rms, eps: 1e-6, offset: false, weight: true, bias: false });
const none = () => ({ kind: NORMS.none, eps: 0, offset: false, weight: false, bias: false });
const layerSpec = (): NativeLayer => ({
  branches: BRANCHES.serial,
  ...{ attnNorm: rms(), postAttnNorm: none(), mlpNorm: rms(), postMlpNorm: none() },
  attention: {
    ...{ numHeads: 4, numKvHeads: 2, headSize: 64, causal: true },
    ...{ window: 0, chunked: false, rope: 0, scale: 0.125 },
    ...{ softcap: 0, sinks: false, qkNorm: rms(), qkNormSpan: QK_NORM_SPANS.head },
    ...{ qkNormAfterRope: false, temperature: { beta: 0, length: 1, offset: 0 } },
    ...{ gated: false, biases: [] },
  },
  mlp: { intermediateSize: 136, hiddenAct: HIDDEN_ACTS.silu, gated: true, biases: [] },
  residualScale: 1,
});
const expertsSpec = (): NativeExperts => ({
  ...{ numExperts: 6, topK: 2, intermediateSize: 8, hiddenAct: HIDDEN_ACTS.silu },
  ...{ alpha: 1, limit: 0, upOffset: 0, biases: [], scalesInput: false, sharedGate: false },
  router: {
    ...{ score: ROUTER_SCORES.sigmoid, bias: false, choiceBias: false, normalize: true, scale: 1 },
    ...{ numGroups: 1, topGroups: 1, groupBest: 1 },
  },
});
/** What attention has otherwise where it keeps rows of 48 + 16 values. */
const latentRows = () => ({
  ...{ numKvHeads: 1, rope: -1, qkNorm: none() },
  latent: { rank: 48, queryRank: 0, nopeSize: 32, valueSize: 24, norm: rms() },
});
/** What the tensors of the fixture are for. */
const modelSpec = (): NativeModelSpec => ({
  vocabSize: 320,
  hiddenSize: 96,
  embedding: { scale: 1, numPositions: 0, numTokenTypes: 0, norm: none() },
  ropes: [
    {
      inverseFrequencies: Float32Array.from({ length: 32 }, (_, i) => 1e6 ** (-i / 32)),
      interleaved: false,
      attentionFactor: 1,
    },
  ],
  layers: [layerSpec(), layerSpec()],
  finalNorm: rms(),
  head: { tied: false, scale: 1, softcap: 0 },
});

let checkpoint: Checkpoint;

beforeAll(async () => {
  checkpoint = await openCheckpoint(join(ROOT, 'test/fixtures/models/qwen3'));
});

const LIMITS = {
  ...{ numBlocks: 3, blockSize: 16, maxNumSeqs: 1, maxNumBatchedTokens: 16 },
  ...{ maxModelLen: 32, blocksPerRow: 2, numHostBlocks: 0 },
  groups: [{ window: 0, blockSize: 16, layers: [0, 1] }],
};

/** The code and sentence of a load with a spec that `spoil` has changed, or `loaded`. */
async function load(
  spoil: (spec: Loose) => void,
  tensor: (t: Loose) => Loose = (t) => t,
): Promise<string> {
  const spec: Loose = modelSpec();
  spoil(spec);
  const executor = new (testAddon().Executor)();
  const tensors = checkpoint.tensors.map((t) => tensor({ ...t, dtype: DTYPES[t.dtype] }));
  const { files } = checkpoint;
  const request = { spec, limits: LIMITS, files, tensors, ...ON_CPU, device: testDevice() };
  try {
    await executor.load(request);
    return 'loaded';
  } catch (error) {
    const { code, message } = error as Error & { code: string };
    return `${code} ${message}`;
  } finally {
    await executor.close();
  }
}

const layer = (change: (layer: Loose) => void) => (spec: Loose) => change(spec.layers[1]);

describe('a spec is read', () => {
  it('as it is', async () => {
    expect(await load(() => {})).toBe('loaded');
  });

  it('and read whole: each object, list, number and flag is needed', async () => {
    const paths: string[][] = [];
    const walk = (value: Loose, path: string[]) => {
      if (path.length > 0) paths.push(path);
      if (typeof value !== 'object' || ArrayBuffer.isView(value)) return;
      // One layer stands for all.
      const keys = Object.keys(value).filter((key) => path.at(-1) !== 'layers' || key === '1');
      for (const key of keys) walk(value[key], [...path, key]);
    };
    const all = () => {
      const spec: Loose = modelSpec();
      spec.layers[1].experts = expertsSpec();
      Object.assign(spec.layers[1].attention, latentRows());
      const dense = { outSize: 8, bias: true, act: HIDDEN_ACTS.tanh, norm: rms() };
      spec.pooler = { layers: [dense, dense] };
      return spec;
    };
    walk(all(), []);
    expect(paths.length).toBeGreaterThan(80);
    const set = (path: string[], value: unknown) => (spec: Loose) => {
      const owner = path.slice(0, -1).reduce((at, key) => at[key], spec);
      owner[path.at(-1)!] = value;
    };
    for (const path of paths) {
      for (const value of [undefined, null, 'words', Number.NaN, -2e7, 1e30]) {
        // Absent, they say that there are none.
        const maybe = ['experts', 'pooler', 'act', 'latent'].includes(path.at(-1)!);
        if (maybe && value === undefined) continue;
        const got = await load((spec) => set(path, value)(Object.assign(spec, all())));
        expect(got, `${path.join('.')} = ${value}`).toMatch(/^ERR_INVALID_OPTION native: \w+ must/);
      }
    }
  });
});

describe('what cannot be is refused', () => {
  const rope = (change: (rope: Loose) => void) => (spec: Loose) => change(spec.ropes[0]);
  it.each<[string, (spec: Loose) => void, RegExp]>([
    [
      'no layers',
      (s) => {
        s.layers = [];
      },
      /layers must be 1 to 4096/,
    ],
    [
      'heads that K and V cannot share',
      layer((l) => {
        l.attention!.numKvHeads = 3;
      }),
      /numHeads must be a multiple/,
    ],
    [
      'an odd head',
      layer((l) => {
        l.attention!.headSize = 9;
      }),
      /headSize must be even/,
    ],
    [
      'a rope that is not there',
      layer((l) => {
        l.attention!.rope = 1;
      }),
      /rope must be a number from -1/,
    ],
    [
      'half a window',
      layer((l) => {
        l.attention!.window = 1.5;
      }),
      /window must be a whole number/,
    ],
    [
      'no attention scale',
      layer((l) => {
        l.attention!.scale = 0;
      }),
      /scale must be/,
    ],
    [
      'too many angles',
      rope((r) => {
        r.inverseFrequencies = new Float32Array(200).fill(1);
      }),
      /inverseFrequencies must be at most/,
    ],
    [
      'no angles',
      rope((r) => {
        r.inverseFrequencies = new Float32Array(0);
      }),
      /inverseFrequencies must be 1 to/,
    ],
    [
      'angles in float64',
      rope((r) => {
        r.inverseFrequencies = new Float64Array(4);
      }),
      /inverseFrequencies must be a typed/,
    ],
    [
      'an endless angle',
      rope((r) => {
        r.inverseFrequencies[1] = Infinity;
      }),
      /inverseFrequencies must be finite/,
    ],
    [
      'a long table of another length',
      rope((r) => {
        r.longInverseFrequencies = new Float32Array(1);
      }),
      /longInverseFrequencies must be as long/,
    ],
    [
      'a long table that is none',
      rope((r) => {
        r.longInverseFrequencies = null;
      }),
      /longInverseFrequencies must be/,
    ],
    [
      'a bias of an RMS norm',
      layer((l) => {
        l.attnNorm.bias = true;
      }),
      /attnNorm must be of kind layer/,
    ],
    [
      'an offset of no norm',
      layer((l) => {
        l.postAttnNorm.offset = true;
      }),
      /postAttnNorm must be one with a weight/,
    ],
    [
      'a weight of no norm',
      layer((l) => {
        l.postAttnNorm.weight = true;
      }),
      /postAttnNorm must be of a kind/,
    ],
    [
      'an offset of no weight',
      layer((l) => Object.assign(l.attnNorm, { weight: false, offset: true })),
      /attnNorm must be one with a weight/,
    ],
    [
      'a norm of whole projections behind the rope',
      layer((l) => Object.assign(l.attention, { qkNormSpan: 1, qkNormAfterRope: true })),
      /qkNorm must be an RMS norm of span head/,
    ],
    [
      'a layer norm behind the rope',
      layer((l) => {
        Object.assign(l.attention, { qkNormAfterRope: true });
        l.attention!.qkNorm.kind = NORMS.layer;
      }),
      /qkNorm must be an RMS norm of span head/,
    ],
    [
      'chunks of no size',
      layer((l) => {
        l.attention!.chunked = true;
      }),
      /chunked must be false/,
    ],
    [
      'chunks that are seen from both sides',
      layer((l) => Object.assign(l.attention, { causal: false, chunked: true, window: 4 })),
      /chunked must be false where causal/,
    ],
    [
      'a cache of what sees both sides',
      layer((l) => Object.assign(l.attention, { causal: false })),
      /causal must be true where a cache/,
    ],
    [
      'a cache without a head',
      (s) => {
        s.head = undefined;
      },
      /head must be an object where a cache/,
    ],
    [
      'norms of branches where they are those of sums',
      layer((l) => Object.assign(l, { branches: BRANCHES.post, postMlpNorm: rms() })),
      /postAttnNorm must be of kind none, as postMlpNorm/,
    ],
    [
      'a temperature that changes at no position',
      layer((l) => {
        l.attention!.temperature.length = 0;
      }),
      /length must be a number from 1/,
    ],
    [
      'a norm that nobody reads',
      layer((l) => {
        l.branches = 2;
      }),
      /mlpNorm must be of kind none/,
    ],
    [
      'a bias of a stranger',
      layer((l) => {
        l.attention!.biases = ['up'];
      }),
      /biases must be/,
    ],
    [
      'a bias twice',
      layer((l) => {
        l.mlp.biases = ['up', 'up'];
      }),
      /biases must be/,
    ],
    [
      'a bias of a gate that is not there',
      layer((l) => Object.assign(l.mlp, { gated: false, biases: ['gate'] })),
      /biases must be/,
    ],
    [
      'no mlp and no experts',
      layer((l) => {
        l.branches = BRANCHES.parallel;
        l.mlp.intermediateSize = 0;
      }),
      /experts/,
    ],
    [
      'a layer of nothing',
      layer((l) => {
        l.attention = undefined;
        l.mlp.intermediateSize = 0;
      }),
      /experts/,
    ],
    [
      'one branch of two that read one norm',
      layer((l) => Object.assign(l, { branches: BRANCHES.parallel, attention: undefined })),
      /attention must be there, or recurrent/,
    ],
    [
      'a scale of one of two branches at once',
      layer((l) => Object.assign(l, { branches: BRANCHES.parallel, mlpScale: 2 })),
      /branches must be serial/,
    ],
    ...(
      [
        [
          'a scale of no weight',
          { attnNorm: { ...rms(), weight: false, scale: 2 } },
          /attnNorm must/,
        ],
        [
          'latent values normed together with others',
          { experts: { ...expertsSpec(), latentSize: 8 }, postMlpNorm: rms() },
          /latentSize must be 0, unless/,
        ],
        [
          'a gate of a shared expert beside latent values',
          { experts: { ...expertsSpec(), latentSize: 8, sharedGate: true } },
          /latentSize must be 0 where there is a sharedGate/,
        ],
      ] as const
    ).map(([what, change, want]): [string, (spec: Loose) => void, RegExp] => [
      what,
      layer((l) => Object.assign(l, change)),
      want,
    ]),
    ...(
      [
        ['two heads of a latent row', { numKvHeads: 2 }, /numKvHeads must be 1/],
        ['a row of nothing but its latent', { headSize: 48 }, /rank must be even, and below/],
        ['a latent row with sinks', { sinks: true }, /latent must be causal/],
        ['more angles than a row has for them', { rope: 0 }, /inverseFrequencies must be at most/],
        ['tensors of other rows', {}, /tensor layers\.1\./],
      ] as const
    ).map(([what, change, want]): [string, (spec: Loose) => void, RegExp] => [
      what,
      layer((l) => Object.assign(l.attention!, latentRows(), change)),
      want,
    ]),
    ...(
      [
        ['more choices than experts', { topK: 7 }, /topK must be/],
        ['a gate of no shared expert', { sharedGate: true }, /sharedGate must be false/],
        [
          'a bias of what is scaled',
          { scalesInput: true, biases: ['up'] },
          /biases must be none of/,
        ],
        ['an activation that is flat', { alpha: 0 }, /alpha must be/],
        ['a limit of what is not gated', { gated: false, limit: 1 }, /gated must be true/],
        ['a bias of no gate', { gated: false, biases: ['gate'] }, /biases must be/],
        ['half a latent value', { latentSize: 1.5 }, /latentSize must be a whole/],
      ] as const
    ).map(
      ([what, change, want]) =>
        [
          what,
          layer((l) => {
            l.mlp.intermediateSize = 0;
            l.mlp.biases = [];
            l.experts = { ...expertsSpec(), ...change };
          }),
          want,
        ] as [string, (spec: Loose) => void, RegExp],
    ),
    ...(
      [
        ['groups of unlike size', { numGroups: 4 }, /numGroups must be a divisor/],
        ['more groups than there are', { numGroups: 2, topGroups: 3 }, /topGroups must be/],
        ['choices from too few groups', { numGroups: 6, topGroups: 1 }, /topK must be at most/],
        ['the best three of a group', { groupBest: 3 }, /groupBest must be/],
        [
          'a bias of those chosen by logits',
          { score: ROUTER_SCORES.chosenSoftmax, choiceBias: true },
          /score must be softmax or sigmoid/,
        ],
      ] as const
    ).map(
      ([what, change, want]) =>
        [
          what,
          layer((l) => {
            const experts = expertsSpec();
            l.experts = { ...experts, router: { ...experts.router, ...change } };
          }),
          want,
        ] as [string, (spec: Loose) => void, RegExp],
    ),
    [
      'fewer positions than tokens',
      (s) => {
        s.embedding.numPositions = 31;
      },
      /maxModelLen must be at most numPositions/,
    ],
  ])('%s', async (_, spoil, want) => {
    expect(await load(spoil)).toMatch(want);
  });

  it('a bias that the files do not have, and one that the spec does not', async () => {
    const missing = layer((l) => l.attention!.biases.push('v'));
    expect(await load(missing)).toMatch(/^ERR_MODEL_FORMAT .*no tensor layers\.1\.v\.bias/);
    for (const change of [
      { sinks: true },
      { gated: true },
      { qkNormSpan: QK_NORM_SPANS.ownHead },
    ]) {
      const more = layer((l) => Object.assign(l.attention, change));
      expect(await load(more)).toMatch(
        /^ERR_MODEL_FORMAT .*no tensor layers\.1\.(sinks|attn_gate|q_norm\.0)/,
      );
    }
    const types = (spec: Loose) => Object.assign(spec.embedding, { numTokenTypes: 2 });
    expect(await load(types)).toMatch(/^ERR_MODEL_FORMAT .*no tensor token_types/);
    const pooler = { layers: [{ outSize: 4, bias: false, norm: none() }] };
    const pooled = (spec: Loose) => Object.assign(spec, { pooler });
    expect(await load(pooled)).toMatch(/^ERR_MODEL_FORMAT .*no tensor pooled\.0/);
    const foreign = layer((l) => Object.assign(l.attention, { qkNorm: none() }));
    expect(await load(foreign)).toMatch(
      /tensor layers\.1\.[qk]_norm is not a tensor of this model/,
    );
  });

  it.each([
    [{ step: 0 }, /^ERR_INVALID_OPTION native: step must/],
    [{ step: 3 }, /^ERR_MODEL_FORMAT .*bytes that fit no shape/],
    [{ step: 2 ** 45 }, /^ERR_MODEL_FORMAT .*impossible step/],
    [{ step: 2, run: 3 }, /^ERR_MODEL_FORMAT .*impossible step/],
    [{ parts: null }, /^ERR_INVALID_OPTION native: parts must be an object/],
  ])('rows or parts that lie apart as %j', async (apart, want) => {
    const change = (t: Loose) => (t.name === 'layers.0.up' ? { ...t, ...apart } : t);
    expect(await load(() => {}, change)).toMatch(want);
  });

  it.each([
    [{ of: 0, from: 0 }, /^ERR_INVALID_OPTION native: of must/],
    [{ of: 8, from: -1 }, /^ERR_INVALID_OPTION native: from must/],
    [{ of: 2 ** 52, from: 0 }, /^ERR_MODEL_FORMAT .*impossible place/],
    [{ of: 2 ** 52 }, /^ERR_INVALID_OPTION native: from must/],
    [null, /^ERR_INVALID_OPTION native: transposed must be an object/],
  ])('a tensor turned around as %j', async (transposed, want) => {
    const turn = (t: Loose) => (t.name === 'layers.0.up' ? { ...t, transposed } : t);
    expect(await load(() => {}, turn)).toMatch(want);
  });
});
