/** Recurrent layers on the native side: what a load and a step say of them is checked. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { engineConfig } from '../../lib/config/options.js';
import { CHUNK } from '../../lib/core/recurrent-states.js';
import { CPU } from '../../lib/engine/device.js';
import { nativeLimits, planEngine } from '../../lib/engine/plan.js';
import { type Checkpoint, openCheckpoint } from '../../lib/model/checkpoint.js';
import { DTYPES, type NativeExecutor, NORMS, RECURRENT_KINDS } from '../../lib/native.js';
import { STEP_LAYOUT as L } from '../../lib/wire/layout.js';
import { ON_CPU, ROOT, testAddon, testDevice } from '../support/addon.js';

/** Any field, of any type. */
// biome-ignore lint/suspicious/noExplicitAny: what is given here breaks every type
type Loose = any;

/** Three layers of four are recurrent. */
const PATH = join(ROOT, 'test/fixtures/models/qwen3_5');
const MAX_SEQS = 3;
const [NUM_SLOTS, NUM_RECORDS, NUM_HOST_SLOTS] = [6, 3 * CHUNK, 2];
let checkpoint: Checkpoint;
let recurrentAt: number;

beforeAll(async () => {
  checkpoint = await openCheckpoint(PATH);
  recurrentAt = checkpoint.spec.layers.findIndex((layer) => layer.recurrent !== undefined);
});

function loading(change: (request: Loose) => void): {
  executor: NativeExecutor;
  loaded: Promise<unknown>;
  rowLength: number;
} {
  const config = engineConfig({
    model: PATH,
    numGpuBlocksOverride: 20,
    maxNumSeqs: MAX_SEQS,
    maxModelLen: 64,
    maxNumBatchedTokens: 64,
  });
  const plan = planEngine(config, checkpoint.spec, CPU);
  const request: Loose = {
    spec: structuredClone(checkpoint.spec),
    limits: {
      ...structuredClone(nativeLimits(plan)),
      recurrent: { numSlots: NUM_SLOTS, numRecords: NUM_RECORDS, numHostSlots: NUM_HOST_SLOTS },
    },
    files: checkpoint.files,
    tensors: checkpoint.tensors.map((t) => ({ ...t, dtype: DTYPES[t.dtype] })),
    ...ON_CPU,
    device: testDevice(),
  };
  change(request);
  const executor: NativeExecutor = new (testAddon().Executor)();
  return { executor, loaded: executor.load(request), rowLength: plan.blocksPerRow };
}

/** The code and sentence of a load, or `loaded`. */
async function outcome(change: (request: Loose) => void): Promise<string> {
  const { executor, loaded } = loading(change);
  try {
    await loaded;
    return 'loaded';
  } catch (error) {
    const { code, message } = error as Error & { code: string };
    return `${code} ${message}`;
  } finally {
    await executor.close();
  }
}

const mixer = (change: (recurrent: Loose) => void) => (request: Loose) =>
  change(request.spec.layers[recurrentAt].recurrent);

describe('a load', () => {
  it('as it is, and says what is kept', async () => {
    expect(await outcome(() => {})).toBe('loaded');
    const { executor, loaded } = loading(() => {});
    let [state, record] = [0, 0];
    for (const { recurrent: r } of checkpoint.spec.layers) {
      if (r === undefined) continue;
      const [keys, values] = [r.numKeyHeads * r.keySize, r.numValueHeads * r.valueSize];
      state += values * r.keySize + (r.convWidth - 1) * (2 * keys + values);
      record += 2 * keys + values + keys + values + r.numValueHeads;
    }
    expect(await loaded).toMatchObject({ stateBytes: 4 * state, recordBytes: 4 * record });
    await executor.close();
  });

  it('needs each field of a mixer', async () => {
    const fields = Object.keys(checkpoint.spec.layers[recurrentAt].recurrent!);
    expect(fields.length).toBeGreaterThan(7);
    for (const field of fields) {
      for (const value of [undefined, null, 'words', Number.NaN, -1]) {
        const got = await outcome(
          mixer((r) => {
            r[field] = value;
          }),
        );
        const optional = /^(norm(Size|Own|First)|skip|dt(Min|Max)|(in|out)Bias)$/.test(field);
        const want = optional && value === undefined ? /./ : new RegExp(`native: ${field} must`);
        expect(got, `${field} = ${value}`).toMatch(want);
      }
    }
  });

  it.each<[string, (request: Loose) => void, RegExp]>([
    ['a kind that is none', mixer((r) => Object.assign(r, { kind: 3 })), /native: kind must/],
    [
      'heads that cannot share',
      mixer((r) => Object.assign(r, { numKeyHeads: 3, numValueHeads: 4 })),
      /native: numValueHeads must be a multiple/,
    ],
    [
      'a convolution wider than a chunk',
      mixer((r) => Object.assign(r, { convWidth: CHUNK + 1 })),
      /native: convWidth must/,
    ],
    [
      'a skip where there is a delta rule',
      mixer((r) => Object.assign(r, { skip: true })),
      /native: kind must be ssm/,
    ],
    [
      'steps that have no room',
      mixer((r) => Object.assign(r, { kind: RECURRENT_KINDS.ssm, dtMin: 2, dtMax: 1 })),
      /native: dtMax must/,
    ],
    [
      'a norm of a part that is none',
      mixer((r) => Object.assign(r, { normSize: r.valueSize * r.numValueHeads - 1 })),
      /native: normSize must be a divisor/,
    ],
    [
      'a convolution whose factors are of other sizes',
      mixer((r) => Object.assign(r, { kind: RECURRENT_KINDS.conv, keySize: r.keySize + 1 })),
      /native: keySize must be of as many values/,
    ],
    [
      'two mixers that a norm follows',
      (request) => {
        const [{ recurrent }] = request.spec.layers;
        const both = request.spec.layers.find((layer: Loose) => layer.attention);
        const postAttnNorm = {
          kind: NORMS.rms,
          eps: 1e-6,
          offset: false,
          weight: true,
          bias: false,
        };
        Object.assign(both, { recurrent, postAttnNorm });
      },
      /native: recurrent must be alone/,
    ],
    [
      'no room for states',
      (request) => {
        request.limits.recurrent = undefined;
      },
      /native: recurrent must be there where/,
    ],
    [
      'one slot, that of the zero state',
      (request) => {
        request.limits.recurrent.numSlots = 1;
      },
      /native: numSlots must/,
    ],
    [
      'fewer records than a chunk has tokens',
      (request) => {
        request.limits.recurrent.numRecords = CHUNK - 1;
      },
      /native: numRecords must/,
    ],
    [
      'a recurrent layer in a KV group',
      (request) => {
        request.limits.groups[0].layers.push(recurrentAt);
      },
      /native: groups must/,
    ],
    [
      'texts to be pooled',
      (request) => {
        Object.assign(request.limits, {
          groups: [],
          numBlocks: 0,
          numHostBlocks: 0,
          blocksPerRow: 0,
        });
      },
      /native: groups must be there/,
    ],
    [
      'a negative number of places in the host',
      (request) => {
        request.limits.recurrent.numHostSlots = -1;
      },
      /native: numHostSlots must/,
    ],
    [
      'more places in the host than memory has',
      (request) => {
        request.limits.recurrent.numHostSlots = 2 ** 27 - 1;
      },
      /^ERR_OUT_OF_MEMORY .*swap space; lower swapSpace/,
    ],
    [
      'more states than memory holds',
      (request) => {
        request.limits.recurrent.numSlots = 2 ** 31 - 1;
      },
      /^ERR_OUT_OF_MEMORY .*states of recurrent layers; lower maxNumSeqs/,
    ],
  ])('with %s is refused', async (_, change, sentence) => {
    expect(await outcome(change)).toMatch(sentence);
  });
});

describe('a step', () => {
  let executor: NativeExecutor;
  let tables: Int32Array;
  const samplers = new Float64Array(MAX_SEQS * L.samplerDoubles);

  beforeAll(async () => {
    const made = loading(() => {});
    await made.loaded;
    executor = made.executor;
    tables = new Int32Array(MAX_SEQS * made.rowLength);
    for (let row = 0; row < MAX_SEQS; row++) {
      for (let i = 0; i < 4; i++) tables[row * made.rowLength + i] = 1 + row * 4 + i;
    }
  });
  afterAll(() => executor.close());

  interface Query {
    start: number;
    end: number;
    in: number;
    out: number;
    old: number[];
    fresh: number[];
  }
  const range = (from: number, n: number) => Array.from({ length: n }, (_, i) => from + i);

  /** Three sequences: one begins, one crosses a border, one goes on in its chunk. */
  const queries = (): [Query, Query, Query] => [
    { start: 0, end: 3, in: 0, out: L.noState, old: [], fresh: range(0, 3) },
    { start: 20, end: 35, in: 1, out: 2, old: range(3, 4), fresh: range(7, 3) },
    { start: 17, end: 18, in: 3, out: L.noState, old: [10], fresh: [11] },
  ];

  function encode(all: readonly Query[]): Int32Array {
    const n = all.length;
    const numTokens = all.reduce((sum, { start, end }) => sum + end - start, 0);
    const columns = [
      ...[all.map(({ start, end }) => end - start), all.map(({ end }) => end)],
      ...[all.map((_, i) => i), all.map(() => 0), all.map(({ end }) => Math.ceil(end / 16))],
      ...[all.map((q) => q.in), all.map((q) => q.out)],
    ].flat();
    const seqsAt = L.headerWords;
    const tokensAt = seqsAt + columns.length;
    const recordsAt = tokensAt + numTokens;
    const records = all.flatMap(({ old, fresh }) => [...old, ...fresh]);
    const end = recordsAt + records.length;
    const words = new Int32Array(end);
    words.set(columns, seqsAt);
    words.set(records, recordsAt);
    words[L.headerVersion] = L.version;
    words[L.headerTotalWords] = end;
    words[L.headerNumSeqs] = n;
    words[L.headerNumTokens] = numTokens;
    words[L.headerSeqsAt] = seqsAt;
    words[L.headerTokensAt] = tokensAt;
    words[L.headerNumGroups] = 1;
    words[L.headerHasStates] = 1;
    words[L.headerRecordsAt] = recordsAt;
    for (const at of [L.headerSwapsAt, L.headerCopiesAt, L.headerSamplesAt, L.headerPromptRowsAt]) {
      words[at] = end;
    }
    words[L.headerExtrasAt] = end;
    return words;
  }

  const run = (words: Int32Array) =>
    executor.step(words, tables, samplers).then(
      () => 'ok',
      (error) => `${error.code} ${error.message}`,
    );

  it('that is good runs, and may write the state that it reads', async () => {
    expect(await run(encode(queries()))).toBe('ok');
    const [a, b, c] = queries();
    expect(await run(encode([a, { ...b, out: b.in }, c]))).toBe('ok');
    // Forks: two read one state and the same records.
    expect(await run(encode([a, c, { ...c, fresh: [12] }]))).toBe('ok');
  });

  it.each<[string, (q: [Query, Query, Query]) => unknown, RegExp]>([
    ['a state that is not there', ([, , c]) => Object.assign(c, { in: NUM_SLOTS }), /out of range/],
    ['a negative state', ([, , c]) => Object.assign(c, { in: -1 }), /out of range/],
    ['the zero state behind position 0', ([, , c]) => Object.assign(c, { in: 0 }), /zero state/],
    ['another than it at position 0', ([a]) => Object.assign(a, { in: 1 }), /zero state/],
    ['no state where a border is crossed', ([, b]) => Object.assign(b, { out: -1 }), /goes where/],
    ['the zero state written', ([, b]) => Object.assign(b, { out: 0 }), /goes where/],
    ['one out of range', ([, b]) => Object.assign(b, { out: NUM_SLOTS }), /goes where/],
    ['one where none is crossed', ([, , c]) => Object.assign(c, { out: 4 }), /goes where/],
    ['one that another reads', ([, b]) => Object.assign(b, { out: 3 }), /that another reads/],
    [
      'one that another writes',
      (q) => {
        q[2] = { start: 30, end: 32, in: 3, out: 2, old: range(10, 14), fresh: [] };
      },
      /two sequences write/,
    ],
    ['a record out of range', ([a]) => a.fresh.fill(NUM_RECORDS), /out of range/],
    ['a negative record', ([, b]) => b.old.fill(-1), /out of range/],
    ['a record written twice', ([a]) => a.fresh.fill(1), /written twice/],
    ['one that two write', ([a, , c]) => c.fresh.fill(a.fresh[0]), /written twice/],
    ['one that another reads', ([, b, c]) => b.fresh.fill(c.old[0], 0, 1), /that is read/],
    ['one that it reads itself', ([, , c]) => c.fresh.fill(c.old[0]), /that is read/],
  ])('with %s is refused', async (_, spoil, sentence) => {
    const all = queries();
    spoil(all);
    expect(await run(encode(all))).toMatch(new RegExp(`^ERR_INVALID_STEP .*${sentence.source}`));
    expect(await run(encode(queries()))).toBe('ok');
  });

  type Pair = readonly [id: number, host: number];
  const WORDS = [L.headerNumStateOuts, L.headerNumStateIns, L.headerNumRecordOuts];
  /** Swaps of states, out and in, then of records. */
  function swapping(...lists: (readonly Pair[])[]): Int32Array {
    const good = encode(queries());
    const words = Int32Array.of(...good, ...lists.flat(2));
    words[L.headerTotalWords] = words.length;
    words[L.headerSwapsAt] = good.length;
    for (const [i, word] of [...WORDS, L.headerNumRecordIns].entries()) {
      words[word] = lists[i]?.length ?? 0;
    }
    return words;
  }

  it('may move states and records, out and in', async () => {
    const last: Pair = [NUM_RECORDS - 1, NUM_HOST_SLOTS * CHUNK - 1];
    expect(await run(swapping([[5, 1]], [[4, 1]], [last], [[0, 0]]))).toBe('ok');
  });

  it.each<[string, (readonly Pair[])[], RegExp]>([
    ['the zero state moved', [[[0, 0]]], /a swap of a state/],
    ['the zero state written', [[], [[0, 0]]], /a swap of a state/],
    ['a state moved that is none', [[[NUM_SLOTS, 0]]], /a swap of a state/],
    ['a state moved past the host', [[[1, NUM_HOST_SLOTS]]], /a swap of a state/],
    ['a state moved before the host', [[[1, -1]]], /a swap of a state/],
    ['a record moved that is none', [[], [], [[NUM_RECORDS, 0]]], /a swap of a record/],
    ['a negative record moved', [[], [], [], [[-1, 0]]], /a swap of a record/],
    ['a record moved past the host', [[], [], [[0, NUM_HOST_SLOTS * CHUNK]]], /a swap of a record/],
    ['more moved than there is room for', [range(1, 3).map((id) => [id, 0])], /too many swaps/],
  ])('with %s is refused', async (_, lists, sentence) => {
    expect(await run(swapping(...lists))).toMatch(
      new RegExp(`^ERR_INVALID_STEP .*${sentence.source}`),
    );
    const short = swapping([[5, 1]]);
    short[L.headerNumRecordIns] = 1;
    expect(await run(short)).toMatch(/^ERR_INVALID_STEP .*section/);
    expect(await run(encode(queries()))).toBe('ok');
  });

  it('without states, or with a section past the end, is refused', async () => {
    const without = encode(queries());
    without[L.headerHasStates] = 0;
    expect(await run(without)).toMatch(/^ERR_INVALID_STEP .*has states where/);
    const short = encode(queries());
    short[L.headerRecordsAt] += 1;
    expect(await run(short)).toMatch(/^ERR_INVALID_STEP .*section/);
  });
});
