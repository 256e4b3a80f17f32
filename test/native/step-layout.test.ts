import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { engineConfig, engineSizes } from '../../lib/config.js';
import { STEP_LAYOUT as L } from '../../lib/core/step.js';
import { kvBytesPerToken, openCheckpoint } from '../../lib/model/checkpoint.js';
import { DTYPES, type NativeExecutor, verified } from '../../lib/native.js';
import { ON_CPU, testAddon, testDevice } from '../support/addon.js';
import { random } from '../support/random.js';

/** Whatever JS sends, native checks it again: a coded refusal, never a crash. */

const seed = Number(process.env.OCTAVO_SEED ?? Math.floor(Math.random() * 2 ** 31));
const MAX_SEQS = 2;
let executor: NativeExecutor;
let tables: Int32Array;
let samplers: Float64Array;

beforeAll(async () => {
  const config = engineConfig({
    numGpuBlocksOverride: 9,
    maxNumSeqs: MAX_SEQS,
    maxNumBatchedTokens: 8,
    swapSpace: 4 / 1024,
  });
  const checkpoint = await openCheckpoint(config.model);
  const sizes = engineSizes(config, kvBytesPerToken(checkpoint.config), 128);
  executor = new (testAddon().Executor)();
  await executor.load({
    config: checkpoint.config,
    limits: { ...sizes, blockSize: config.blockSize },
    files: checkpoint.files,
    tensors: checkpoint.tensors.map((t) => ({ ...t, dtype: DTYPES[t.dtype] })),
    ...ON_CPU,
    device: testDevice(),
  });
  tables = new Int32Array(MAX_SEQS * sizes.blocksPerRow);
  tables.set([1, 2, 3]);
  samplers = new Float64Array(MAX_SEQS * L.samplerDoubles);
  samplers.set([1, 1, 0, 1, 0, 0, 0, 2, 7, 0]);
});
afterAll(() => executor.close());

/** One sequence of three tokens, a swap each way, a copy, a sample with all lists, a prompt row. */
function goodStep(): Int32Array {
  const lists = [1, 1, 1, 2, 1, /* allowed */ 5, /* banned */ 6, /* bias id */ 5];
  const bias = new Int32Array(Float32Array.of(1.5).buffer)[0];
  const extras = [...lists, bias, /* prompt */ 8, 9, /* output */ 10];
  const sections = [
    [3, 3, 0, 1],
    [8, 9, 10],
    [5, 0, 6, 1],
    [3, 4],
    [2, 0, 3, -2],
    [1, 9, 2],
    extras,
  ];
  const words: number[] = Array(L.headerWords).fill(0);
  const at = sections.map((section) => {
    const start = words.length;
    words.push(...section);
    return start;
  });
  words[at[4] + L.sampleExtra] = at[6];
  words[L.headerVersion] = L.version;
  words[L.headerTotalWords] = words.length;
  words[L.headerNumSeqs] = words[L.headerNumCopies] = 1;
  words[L.headerNumSamples] = words[L.headerNumPromptRows] = 1;
  words[L.headerNumTokens] = 3;
  words[L.headerNumSwapOuts] = words[L.headerNumSwapIns] = 1;
  [
    L.headerSeqsAt,
    L.headerTokensAt,
    L.headerSwapsAt,
    L.headerCopiesAt,
    L.headerSamplesAt,
    L.headerPromptRowsAt,
    L.headerExtrasAt,
  ].forEach((word, i) => {
    words[word] = at[i];
  });
  return Int32Array.from(words);
}

const code = (promise: Promise<unknown>) =>
  promise.then(
    () => 'ok',
    (error) => error.code as string,
  );

describe('a step', () => {
  it('that is good runs', async () => {
    const result = await executor.step(goodStep(), tables, samplers);
    expect([...result.tokenIds]).toEqual([5]); // the only one allowed
    expect(result.topTokenIds).toHaveLength(4);
    expect(result.promptRanks[0]).toBeGreaterThan(0);
  });

  it.each<[string, (w: Int32Array) => void]>([
    [
      'another version',
      (w) => {
        w[L.headerVersion] = L.version + 1;
      },
    ],
    [
      'a length past the end',
      (w) => {
        w[L.headerTotalWords] += 1;
      },
    ],
    [
      'no sequence',
      (w) => {
        w[L.headerNumSeqs] = 0;
      },
    ],
    [
      'sections past the end',
      (w) => {
        w[L.headerTokensAt] = w.length - 1;
      },
    ],
    [
      'a negative section',
      (w) => {
        w[L.headerSamplesAt] = -5;
      },
    ],
    [
      'an empty query',
      (w) => {
        w[w[L.headerSeqsAt] + L.seqQueryLen] = 0;
      },
    ],
    [
      'a context past the table',
      (w) => {
        w[w[L.headerSeqsAt] + L.seqContextLen] = 17;
      },
    ],
    [
      'a row that is none',
      (w) => {
        w[w[L.headerSeqsAt] + L.seqRow] = 2;
      },
    ],
    [
      'a token that is none',
      (w) => {
        w[w[L.headerTokensAt]] = 4096;
      },
    ],
    [
      'a swap of a block that is none',
      (w) => {
        w[w[L.headerSwapsAt]] = 9;
      },
    ],
    [
      'a swap of the null block',
      (w) => {
        w[w[L.headerSwapsAt] + L.swapWords] = 0;
      },
    ],
    [
      'a swap outside the host pool',
      (w) => {
        w[w[L.headerSwapsAt] + L.swapHost] = 100_000;
      },
    ],
    [
      'more swaps than the buffer holds',
      (w) => {
        w[L.headerNumSwapIns] = 30;
      },
    ],
    [
      'a copy out of range',
      (w) => {
        w[w[L.headerCopiesAt]] = 9;
      },
    ],
    [
      'a copy of the null block',
      (w) => {
        w[w[L.headerCopiesAt]] = 0;
      },
    ],
    [
      'a sample of no row',
      (w) => {
        w[w[L.headerSamplesAt]] = 3;
      },
    ],
    [
      'lists past the end',
      (w) => {
        w[w[L.headerExtrasAt] + L.extraOutputLen] = 1000;
      },
    ],
    [
      'lists that overflow',
      (w) => {
        w[w[L.headerExtrasAt] + L.extraNumBias] = 2 ** 31 - 1;
      },
    ],
    [
      'a bias on no token',
      (w) => {
        w[w[L.headerExtrasAt] + L.extraWords + 2] = -1;
      },
    ],
    [
      'a target that is none',
      (w) => {
        w[w[L.headerPromptRowsAt] + L.promptRowTarget] = -1;
      },
    ],
    [
      'more logprobs than tokens',
      (w) => {
        w[w[L.headerPromptRowsAt] + L.promptRowNumTop] = 4097;
      },
    ],
  ])('with %s is refused', async (_, spoil) => {
    const words = goodStep();
    spoil(words);
    expect(await code(executor.step(words, tables, samplers))).toBe('ERR_INVALID_STEP');
  });

  it('with slabs that are wrong is refused', async () => {
    const words = goodStep();
    expect(await code(executor.step(words, tables.subarray(1), samplers))).toBe('ERR_INVALID_STEP');
    expect(await code(executor.step(words, tables, samplers.subarray(1)))).toBe('ERR_INVALID_STEP');
    expect(await code(executor.step(words, samplers as never, samplers))).toBe('ERR_INVALID_STEP');
    for (const [i, value] of [
      [0, -1],
      [1, 0],
      [2, 2],
      [3, 0],
      [6, 0.5 - 1],
      [8, Number.NaN],
    ]) {
      const bad = samplers.slice();
      bad[i] = value;
      expect(await code(executor.step(words, tables, bad))).toBe('ERR_INVALID_STEP');
    }
    for (const block of [0, -1, 9, 2 ** 31 - 1]) {
      const bad = tables.slice();
      bad[0] = block;
      expect(await code(executor.step(words, bad, samplers))).toBe('ERR_INVALID_STEP');
    }
  });

  it('while another runs is refused', async () => {
    const first = executor.step(goodStep(), tables, samplers);
    expect(await code(executor.step(goodStep(), tables, samplers))).toBe('ERR_BUSY');
    expect(await code(first)).toBe('ok');
  });

  it('with random words never does harm', async () => {
    console.log(`step-layout: OCTAVO_SEED=${seed}`);
    const rng = random(seed);
    const values = [0, 1, -1, 2, 3, 16, 17, 100, 4095, 4096, 2 ** 31 - 1, -(2 ** 31), 2 ** 30];
    const counts = new Map<string, number>();
    for (let i = 0; i < 4000; i++) {
      const words = goodStep();
      for (let k = 1 + rng.integer(3); k > 0; k--) {
        words[rng.integer(words.length)] = values[rng.integer(values.length)];
      }
      const outcome = await code(executor.step(words, tables, samplers));
      counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
    }
    expect([...counts.keys()].sort()).toEqual(['ERR_INVALID_STEP', 'ok']);
  });
});

it('an addon of another version is refused', () => {
  const addon = testAddon();
  const other = (change: object) => () => verified({ ...addon, ...change } as typeof addon);
  expect(other({})).not.toThrow();
  expect(other({ stepLayout: { ...addon.stepLayout, seqWords: 5 } })).toThrow(/another version/);
  expect(other({ dtypes: { F32: 1 } })).toThrow(/another version/);
  expect(other({ errorCodes: ['ERR_NEW'] })).toThrow(/another version/);
});
