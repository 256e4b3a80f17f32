/** What native asks of layers that share: KV, a table of inputs, a branch beside the experts. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../lib/model/checkpoint.js';
import { ownsKv } from '../../lib/model/spec.js';
import { BRANCHES, DTYPES, NORMS } from '../../lib/native.js';
import { ON_CPU, ROOT, testAddon, testDevice } from '../support/addon.js';

/** Any field, of any type. */
// biome-ignore lint/suspicious/noExplicitAny: what is given here breaks every type
type Loose = any;

const open = (name: string) => openCheckpoint(join(ROOT, 'test/fixtures/models', name));
const NO_NORM = { kind: NORMS.none, eps: 0, offset: false, weight: false, bias: false };

/** The code and sentence of a load with a spec or limits that `spoil` has changed, or `loaded`. */
async function load(name: string, spoil: (request: Loose) => void = () => {}): Promise<string> {
  const checkpoint = await open(name);
  const { files } = checkpoint;
  const layers = checkpoint.spec.layers.flatMap((layer, i) => (ownsKv(layer) ? [i] : []));
  const limits = {
    ...{ numBlocks: 3, blockSize: 16, maxNumSeqs: 1, maxNumBatchedTokens: 16 },
    ...{ maxModelLen: 32, blocksPerRow: 2, numHostBlocks: 0 },
    groups: [{ window: 0, blockSize: 16, layers }],
  };
  const tensors = checkpoint.tensors.map((t) => ({ ...t, dtype: DTYPES[t.dtype] }));
  const spec: Loose = structuredClone(checkpoint.spec);
  const request = { spec, limits, files, tensors, ...ON_CPU, device: testDevice() };
  spoil(request);
  const executor = new (testAddon().Executor)();
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

type Case = readonly [what: string, spoil: (request: Loose) => void, want: RegExp];
const attention = (i: number, change: object) => (request: Loose) =>
  void Object.assign(request.spec.layers[i].attention, change);
const REFUSED = /^ERR_INVALID_OPTION native: /;

describe('layers that read the KV of others', () => {
  const own = /ERR_INVALID_OPTION native: kvLayer must be the number of an earlier layer with KV/;
  const alike = /kvLayer must be of a layer with the same numKvHeads, headSize, causal and window/;
  it.each<Case>([
    ['as they are', () => {}, /^loaded$/],
    ['themselves', attention(5, { kvLayer: 5 }), own],
    ['a later one', attention(5, { kvLayer: 7 }), own],
    ['none there is', attention(5, { kvLayer: 4000 }), own],
    ['a number that is none', attention(5, { kvLayer: 1.5 }), REFUSED],
    ['below 0', attention(5, { kvLayer: -1 }), REFUSED],
    ['one that reads another’s', attention(7, { kvLayer: 5 }), own],
    ['of other heads', attention(5, { kvLayer: 4 }), alike],
    ['of another window', attention(6, { window: 19 }), alike],
    ['with a bias of a product they have not', attention(5, { biases: ['k'] }), REFUSED],
    ['whose values are keys', attention(5, { valueIsKey: true }), /valueIsKey must be false/],
    ['normed', attention(5, { vNorm: { ...NO_NORM, kind: NORMS.rms } }), /vNorm must be of kind/],
    ['in a group', ({ limits }) => void limits.groups[0].layers.push(5), /groups must be/],
    ['from one in no group', ({ limits }) => void limits.groups[0].layers.pop(), /groups must be/],
  ])('%s', async (_, spoil, want) => {
    expect(await load('gemma4-ple', spoil)).toMatch(want);
  });
});

describe('inputs of layers', () => {
  const inputs = (change: object) => (request: Loose) =>
    void Object.assign(request.spec.layerInputs, change);
  const none = ({ spec }: Loose) => {
    spec.layerInputs = undefined;
  };
  it.each<Case>([
    ['of no size', inputs({ size: 0 }), /size must be/],
    ['of another size', inputs({ size: 12 }), /tensor layer_inputs has shape \[2560, 24\], not/],
    ['without a scale', inputs({ scale: undefined }), REFUSED],
    ['of no activation', inputs({ hiddenAct: 9 }), REFUSED],
    ['without a norm', inputs({ norm: null }), REFUSED],
    ['scaled without a weight', inputs({ postNorm: { ...NO_NORM, scale: 2 } }), /with a weight/],
    ['that are tensors of nothing', none, /^ERR_MODEL_FORMAT .* is not a tensor of this model/],
  ])('%s', async (_, spoil, want) => {
    expect(await load('gemma4-ple', spoil)).toMatch(want);
  });
});

describe('experts beside an MLP', () => {
  const layer = (change: (layer: Loose) => void) => (request: Loose) =>
    change(request.spec.layers[0]);
  const experts = (change: object) => layer((l) => void Object.assign(l.experts, change));
  it.each<Case>([
    ['as they are', () => {}, /^loaded$/],
    [
      'without one',
      layer((l) => void Object.assign(l.mlp, { intermediateSize: 0 })),
      /beside must/,
    ],
    ['that is shared, too', experts({ sharedGate: true }), /sharedGate must be false/],
    ['with a norm missing', experts({ beside: {} }), /routerNorm must be/],
    [
      'whose scales nobody asks for',
      layer((l) => void Object.assign(l.experts.router, { expertScale: false })),
      /router\.expert_scale is not a tensor of this model/,
    ],
    [
      'behind which norms are those of sums',
      layer((l) =>
        Object.assign(l, { branches: BRANCHES.post, postAttnNorm: NO_NORM, postMlpNorm: NO_NORM }),
      ),
      /scaled must be false where norms are those of sums/,
    ],
    [
      'of a layer with a bias that V is not made by',
      layer((l) => void Object.assign(l.attention, { valueIsKey: true, biases: ['v'] })),
      /biases must be/,
    ],
  ])('%s', async (_, spoil, want) => {
    expect(await load('gemma4-moe', spoil)).toMatch(want);
  });
});
