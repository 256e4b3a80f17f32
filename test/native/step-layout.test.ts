import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { engineConfig } from '../../lib/config/options.js';
import { CPU } from '../../lib/engine/device.js';
import { nativeLimits, planEngine } from '../../lib/engine/plan.js';
import { openCheckpoint } from '../../lib/model/checkpoint.js';
import { DTYPES, type NativeExecutor, verified } from '../../lib/native.js';
import { STEP_LAYOUT as L } from '../../lib/wire/layout.js';
import { makeMaskSlab } from '../../lib/wire/slabs.js';
import { ON_CPU, testAddon, testDevice } from '../support/addon.js';
import { random } from '../support/random.js';
import { SEED } from '../support/seed.js';

/** Whatever JS sends, native checks it again: a coded refusal, never a crash. */

const MAX_SEQS = 2;
/** Of the demo model. */
const VOCAB = 4096;
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
  const plan = planEngine(config, { ...checkpoint.spec, maxPositionEmbeddings: 128 }, CPU);
  executor = new (testAddon().Executor)();
  await executor.load({
    spec: checkpoint.spec,
    limits: nativeLimits(plan),
    files: checkpoint.files,
    tensors: checkpoint.tensors.map((t) => ({ ...t, dtype: DTYPES[t.dtype] })),
    ...ON_CPU,
    device: testDevice(),
  });
  expect(plan.groups).toHaveLength(1);
  tables = new Int32Array(MAX_SEQS * plan.blocksPerRow);
  tables.set([1, 2, 3]);
  samplers = new Float64Array(MAX_SEQS * L.samplerDoubles);
  samplers.set([1, 1, 0, 1, 0, 0, 0, 2, 7, 0]);
});
afterAll(() => executor.close());

/** One sequence of three tokens, a swap each way, a copy, a sample with all lists, a prompt row. */
function goodStep(): Int32Array {
  const lists = [L.rowBegins, 1, 1, 1, 2, 1, /* allowed */ 5, /* banned */ 6, /* bias id */ 5];
  const bias = new Int32Array(Float32Array.of(1.5).buffer)[0];
  const extras = [...lists, bias, /* prompt */ 8, 9, /* output */ 10];
  const sections = [
    [3, 3, 0, 0, 1],
    [8, 9, 10],
    [5, 0, 6, 1],
    [3, 4],
    [2, 0, 3, -2, L.noMask],
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
  words[L.headerNumGroups] = 1;
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

/** The same, but its sample draws from a row that has begun, and brings some output for it. */
function nextStep(
  counted: number,
  output: readonly number[],
  position: number,
  allowed: number = L.asBefore,
): Int32Array {
  const extrasAt = goodStep()[L.headerExtrasAt];
  const extras = [counted, allowed, 0, 0, 0, output.length, ...output];
  const words = Int32Array.of(...goodStep().subarray(0, extrasAt), ...extras);
  words[words[L.headerSamplesAt] + L.samplePosition] = position;
  words[L.headerTotalWords] = words.length;
  return words;
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

  it('with more copies than sequences is refused', async () => {
    const good = goodStep();
    const copies = (n: number) => {
      const pairs = Array.from({ length: n }, (_, i) => [2, 3 + i]).flat();
      const words = Int32Array.of(...good, ...pairs);
      words[L.headerTotalWords] = words.length;
      words[L.headerNumCopies] = n;
      words[L.headerCopiesAt] = good.length;
      return words;
    };
    expect(await code(executor.step(copies(MAX_SEQS), tables, samplers))).toBe('ok');
    const refused = executor.step(copies(MAX_SEQS + 1), tables, samplers);
    expect(await code(refused)).toBe('ERR_INVALID_STEP');
  });

  it.each<[string, (w: Int32Array) => void]>([
    [
      'another version',
      (w) => {
        w[L.headerVersion] = L.version + 1;
      },
    ],
    [
      'no KV group',
      (w) => {
        w[L.headerNumGroups] = 0;
      },
    ],
    [
      'two KV groups, which the model has not',
      (w) => {
        w[L.headerNumGroups] = 2;
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
      'a flag that is none',
      (w) => {
        w[w[L.headerSeqsAt] + L.seqLongRope] = 2;
      },
    ],
    [
      'a mask of no kind',
      (w) => {
        w[w[L.headerSamplesAt] + L.sampleMask] = 5;
      },
    ],
    [
      'a mask of a matcher that is missing',
      (w) => {
        w[w[L.headerSamplesAt] + L.sampleMask] = L.matcherMask;
      },
    ],
    [
      'a new mask without a slab',
      (w) => {
        w[w[L.headerSamplesAt] + L.sampleMask] = L.newMask;
      },
    ],
    [
      'a mask as before where the row begins',
      (w) => {
        w[w[L.headerSamplesAt] + L.sampleMask] = L.maskAsBefore;
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
      'more ids to count than tokens',
      (w) => {
        w[w[L.headerSamplesAt] + L.samplePosition] = 2;
      },
    ],
    [
      'lists as before where a row begins',
      (w) => {
        w[w[L.headerExtrasAt] + L.extraNumAllowed] = L.asBefore;
      },
    ],
    [
      'a late prompt and biases',
      (w) => {
        w[w[L.headerExtrasAt] + L.extraCounted] = 0;
      },
    ],
    [
      'a sample of a row that has not begun',
      (w) => {
        w[w[L.headerSamplesAt] + L.sampleSeqRow] = 1;
        w[w[L.headerSamplesAt] + L.sampleExtra] = L.nothingNew;
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

  it('finds in its row what earlier ones brought; one that is refused brings nothing', async () => {
    const penalties = samplers.slice();
    penalties[L.samplerRepetition] = 1.2;
    const step = (words: Int32Array) => code(executor.step(words, tables, penalties));
    expect(await step(goodStep())).toBe('ok');
    const plain = goodStep();
    plain[plain[L.headerSamplesAt] + L.sampleExtra] = L.nothingNew;
    const { tokenIds } = await executor.step(plain, tables, penalties);
    expect([...tokenIds]).toEqual([5]); // still the only one allowed
    expect(await step(nextStep(2, [11], 4))).toBe('ERR_INVALID_STEP');
    const spoilt = nextStep(3, [11], 4);
    spoilt[spoilt[L.headerPromptRowsAt] + L.promptRowTarget] = -1; // checked last
    expect(await step(spoilt)).toBe('ERR_INVALID_STEP');
    expect(await step(nextStep(3, [11], 4))).toBe('ok');
    expect(await step(nextStep(3, [11], 4))).toBe('ERR_INVALID_STEP');
    expect(await step(nextStep(4, [12, 13], 6))).toBe('ok');
    expect(await step(nextStep(6, [14], 6))).toBe('ERR_INVALID_STEP'); // more than there are
  });

  it('keeps the mask of a row till the row begins again', async () => {
    const masks = makeMaskSlab(MAX_SEQS, VOCAB).fill(-1);
    const step = (words: Int32Array, mask: number, slab?: Int32Array) => {
      words[words[L.headerSamplesAt] + L.sampleMask] = mask;
      return code(executor.step(words, tables, samplers, slab));
    };
    expect(await step(goodStep(), L.newMask, masks.subarray(1))).toBe('ERR_INVALID_STEP');
    expect(await step(goodStep(), L.newMask, samplers as never)).toBe('ERR_INVALID_STEP');
    expect(await step(goodStep(), L.noMask, masks)).toBe('ok');
    // The row goes on; it has had no mask yet, and one that is refused is none.
    const spoilt = nextStep(3, [], 3);
    spoilt[spoilt[L.headerPromptRowsAt] + L.promptRowTarget] = -1; // checked last
    expect(await step(spoilt, L.newMask, masks)).toBe('ERR_INVALID_STEP');
    expect(await step(nextStep(3, [], 3), L.maskAsBefore)).toBe('ERR_INVALID_STEP');
    expect(await step(nextStep(3, [], 3), L.newMask, masks)).toBe('ok');
    expect(await step(nextStep(3, [], 3), L.maskAsBefore)).toBe('ok');
    expect(await step(nextStep(3, [], 3), L.noMask)).toBe('ok');
    expect(await step(nextStep(3, [], 3), L.maskAsBefore)).toBe('ok');
    expect(await step(goodStep(), L.noMask)).toBe('ok');
    expect(await step(nextStep(3, [], 3), L.maskAsBefore)).toBe('ERR_INVALID_STEP');
  });

  it('draws what its mask allows, till it has another', async () => {
    const masks = makeMaskSlab(MAX_SEQS, VOCAB);
    const words = VOCAB / 32;
    const draw = async (mask: number, slab?: Int32Array, counted = 0) => {
      const step = nextStep(counted, [], 3, counted === 0 ? L.asBefore : L.everyToken);
      step[step[L.headerSamplesAt] + L.sampleMask] = mask;
      const { tokenIds } = await executor.step(step, tables, samplers, slab);
      return tokenIds[0];
    };
    const free = await draw(L.noMask, undefined, L.rowBegins);
    const only = (free + 1234) % VOCAB;
    masks[only >> 5] |= 1 << (only % 32);
    expect(await draw(L.newMask, masks)).toBe(only);
    masks.fill(0, 0, words); // what was taken in stays as it was
    expect(await draw(L.maskAsBefore)).toBe(only);
    expect(await draw(L.noMask)).toBe(free);
    expect(await draw(L.newMask, masks)).toBe(-1);
    masks.fill(-1, 0, words);
    masks[free >> 5] &= ~(1 << (free % 32));
    const other = await draw(L.newMask, masks);
    expect(other).toBeGreaterThanOrEqual(0);
    expect(other).not.toBe(free);
    // Another row of the slab says nothing about this one.
    masks.fill(0, words).fill(-1, 0, words);
    expect(await draw(L.newMask, masks)).toBe(free);
  });

  it('with two samples of one row is refused', async () => {
    const good = goodStep();
    const at = good[L.headerSamplesAt];
    const sample = good.subarray(at, at + L.sampleWords);
    // The samples move behind everything else, where a second one has room.
    const step = (seqRow: number) => {
      const columns = [...sample].flatMap((word, k) => [
        word,
        k === L.sampleSeqRow ? seqRow : word,
      ]);
      const words = Int32Array.of(...good, ...columns);
      words[L.headerSamplesAt] = good.length;
      words[L.headerTotalWords] = words.length;
      words[L.headerNumSamples] = 2;
      const both = new Float64Array([...samplers.subarray(0, L.samplerDoubles), ...samplers]);
      return code(executor.step(words, tables, both));
    };
    expect(await step(1)).toBe('ok');
    expect(await step(0)).toBe('ERR_INVALID_STEP');
  });

  it('with penalties on a row that began without is refused', async () => {
    expect(await code(executor.step(goodStep(), tables, samplers))).toBe('ok');
    const penalties = samplers.slice();
    penalties[L.samplerRepetition] = 1.2;
    const words = nextStep(3, [], 3);
    expect(await code(executor.step(words, tables, penalties))).toBe('ERR_INVALID_STEP');
  });

  it('while another runs is refused', async () => {
    const first = executor.step(goodStep(), tables, samplers);
    expect(await code(executor.step(goodStep(), tables, samplers))).toBe('ERR_BUSY');
    expect(await code(first)).toBe('ok');
  });

  it('with random words never does harm', async () => {
    const rng = random(SEED);
    const values = [0, 1, -1, -2, 2, 3, 16, 17, 100, 4095, 4096, 2 ** 31 - 1, -(2 ** 31), 2 ** 30];
    const counts = new Map<string, number>();
    const masks = makeMaskSlab(MAX_SEQS, VOCAB).fill(-1);
    for (let i = 0; i < 4000; i++) {
      const words = goodStep();
      for (let k = 1 + rng.integer(3); k > 0; k--) {
        words[rng.integer(words.length)] = values[rng.integer(values.length)];
      }
      const slab = rng.integer(2) === 0 ? masks : undefined;
      const outcome = await code(executor.step(words, tables, samplers, slab));
      counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
    }
    expect([...counts.keys()].sort()).toEqual(['ERR_INVALID_STEP', 'ok']);
  });
});

it('an addon of another version is refused', () => {
  const addon = testAddon();
  const other = (change: object) => () => verified({ ...addon, ...change } as typeof addon);
  expect(other({})).not.toThrow();
  expect(other({ stepLayout: { ...addon.stepLayout, seqWords: L.seqWords + 1 } })).toThrow(
    /another version/,
  );
  expect(other({ dtypes: { F32: 1 } })).toThrow(/another version/);
  expect(other({ errorCodes: ['ERR_NEW'] })).toThrow(/another version/);
});
