import { describe, expect, test } from 'vitest';
import { leastSizes } from '../../lib/core/recurrent-states.js';
import { Scheduler } from '../../lib/core/scheduler.js';
import { MASKS } from '../../lib/core/step.js';
import { StepEncoder } from '../../lib/wire/encode.js';
import { STEP_LAYOUT as L } from '../../lib/wire/layout.js';
import { makeMaskSlab } from '../../lib/wire/slabs.js';
import { advance, EOS, group, neverStop, range, resultFor } from '../support/core.js';
import { type DecodedStep, decodeStep } from '../support/decode-step.js';

function make(): Scheduler {
  return new Scheduler({ numBlocks: 200, blockSize: 4, maxModelLen: 200, maxNumSeqs: 8 });
}

/** What the first draw of a row says where nothing special is asked for. */
const PLAIN = { counted: null, allowed: null, banned: [], bias: [], prompt: [], output: [] };

function encoderFor({ config }: Scheduler, initialWords?: number): StepEncoder {
  return new StepEncoder(config, initialWords);
}

/** Encodes the next step, commits it with `token` for everybody. */
function next(scheduler: Scheduler, token = 5, encoder = encoderFor(scheduler, 16)): DecodedStep {
  const step = scheduler.schedule()!;
  const decoded = decodeStep(encoder.encode(step));
  scheduler.commit(
    step,
    resultFor(scheduler, step, () => token),
    neverStop,
  );
  return decoded;
}

const NONE = { outs: [], ins: [] };
const NO_SWAPS = { blockSwaps: NONE, stateSwaps: NONE, recordSwaps: NONE };

describe('StepEncoder', () => {
  test('a step comes back as it was planned', () => {
    const scheduler = make();
    const a = group('a', range(6, 10), { n: 2 });
    scheduler.add(a);
    expect(next(scheduler)).toEqual({
      seqs: [
        { queryLen: 6, contextLen: 6, row: 0, numBlocks: [2], longRope: 0, tokens: range(6, 10) },
      ],
      numTokens: 6,
      ...NO_SWAPS,
      copies: [],
      samples: [
        { tokenRow: 5, seqRow: 0, position: 6, extras: PLAIN, mask: null },
        { tokenRow: 5, seqRow: 1, position: 6, extras: PLAIN, mask: null },
      ],
      promptRows: [],
    });
    scheduler.add(group('b', [7, 8, 9]));
    expect(next(scheduler)).toEqual({
      seqs: [
        { queryLen: 1, contextLen: 7, row: 0, numBlocks: [2], longRope: 0, tokens: [5] },
        { queryLen: 1, contextLen: 7, row: 1, numBlocks: [2], longRope: 0, tokens: [5] },
        { queryLen: 3, contextLen: 3, row: 2, numBlocks: [1], longRope: 0, tokens: [7, 8, 9] },
      ],
      numTokens: 5,
      ...NO_SWAPS,
      copies: [[2, 3]],
      samples: [
        { tokenRow: 0, seqRow: 0, position: 7, extras: null, mask: null },
        { tokenRow: 1, seqRow: 1, position: 7, extras: null, mask: null },
        { tokenRow: 4, seqRow: 2, position: 3, extras: PLAIN, mask: null },
      ],
      promptRows: [],
    });
  });

  test('states and records, of which as many as start and end say', () => {
    const recurrent = { ...leastSizes(8), interval: 2048 };
    const groups = [4, 8].map((blockSize) => ({ window: 0, blockSize }));
    const sizes = { numBlocks: 200, blockSize: 4, maxModelLen: 200, maxNumSeqs: 8 };
    const scheduler = new Scheduler({ ...sizes, groups, recurrent, longPrefillThreshold: 20 });
    scheduler.add(group('a', range(44), { n: 2 }));
    scheduler.add(group('b', range(5, 90)));
    const [of, states] = [next(scheduler).seqs, scheduler.states!];
    const expected = (row: number, stateIn: number, stateOut: number | null, numOld: number) => {
      const all = states.recordsOf(row);
      const records = { oldRecords: all.slice(0, numOld), newRecords: all.slice(numOld) };
      return { stateIn, stateOut, ...records };
    };
    expect(of.map(({ numBlocks }) => numBlocks)).toEqual([
      [11, 6],
      [2, 1],
    ]);
    expect(of[0].recurrent).toEqual(expected(0, 0, 1, 0));
    expect(of[1].recurrent).toEqual(expected(2, 0, null, 0));
    const before = states.recordsOf(0);
    expect(before.length).toBe(4);
    const [a, b] = next(scheduler).seqs;
    expect(a.recurrent).toEqual({ ...expected(0, 1, 1, 0), oldRecords: before });
    expect(b.recurrent).toEqual(expected(2, 0, null, 5));
    // Forks read the same.
    while (scheduler.get('a')!.sequences[1].forkParent !== null) next(scheduler);
    const [first, second] = next(scheduler).seqs;
    expect(first.recurrent!.stateIn).toBe(second.recurrent!.stateIn);
    expect(first.recurrent!.oldRecords).toEqual(second.recurrent!.oldRecords);
    expect(first.recurrent!.newRecords).not.toEqual(second.recurrent!.newRecords);
  });

  test('prompt rows: position p asks for token p + 1, over chunks, the last has no target', () => {
    const scheduler = new Scheduler({
      numBlocks: 50,
      maxModelLen: 100,
      maxNumSeqs: 4,
      longPrefillThreshold: 3,
    });
    const a = group('a', [10, 11, 12, 13, 14], { promptLogprobs: 2, logprobs: 1 });
    scheduler.add(a);
    expect(next(scheduler).promptRows).toEqual([
      { tokenRow: 0, target: 11, numTop: 2 },
      { tokenRow: 1, target: 12, numTop: 2 },
      { tokenRow: 2, target: 13, numTop: 2 },
    ]);
    expect(next(scheduler).promptRows).toEqual([{ tokenRow: 0, target: 14, numTop: 2 }]);
    expect(next(scheduler).promptRows).toEqual([]);
    const rows = a.promptLogprobs.list(0, a.promptLogprobs.length);
    expect(rows.map((p) => [p.tokenId, p.logprob, p.rank])).toEqual([
      [11, -1, 1],
      [12, -2, 2],
      [13, -3, 3],
      [14, -1, 1],
    ]);
    expect(rows.map((p) => p.top.map((t) => t.tokenId))).toEqual([
      [0, 1],
      [2, 3],
      [4, 5],
      // The list of the step's one sample comes first.
      [1, 2],
    ]);
    expect(a.sequences[0].cumulativeLogprob).toBe(-2);
  });

  test('penalties send the ids they look at, each once', () => {
    const scheduler = make();
    scheduler.add(group('a', [1, 2, 3], { repetitionPenalty: 1.5 }));
    scheduler.add(group('b', [4, 5, 6], { presencePenalty: 1 }));
    const extras = range(3).map((token) => next(scheduler, token).samples.map((s) => s.extras));
    expect(extras).toEqual([
      [{ ...PLAIN, prompt: [1, 2, 3] }, PLAIN],
      [
        { ...PLAIN, counted: 3, allowed: 'as before', output: [0] },
        { ...PLAIN, counted: 0, allowed: 'as before', output: [0] },
      ],
      [
        { ...PLAIN, counted: 4, allowed: 'as before', output: [1] },
        { ...PLAIN, counted: 1, allowed: 'as before', output: [1] },
      ],
    ]);
  });

  test('the words of a decode step do not grow with the history', () => {
    const wordsAfter = (promptLen: number) => {
      const scheduler = new Scheduler({ numBlocks: 5000, maxModelLen: 40_000, maxNumSeqs: 8 });
      const encoder = encoderFor(scheduler);
      for (const id of ['a', 'b', 'c']) {
        const penalties = { repetitionPenalty: 1.2, frequencyPenalty: 0.1 };
        const lists = { logitBias: { 3: 1 }, allowedTokenIds: range(20) };
        scheduler.add(group(id, range(promptLen), { ...penalties, ...lists, maxTokens: 200 }));
      }
      const words: number[] = [];
      while (words.length < 150) {
        const step = scheduler.schedule()!;
        const first = scheduler.sequenceAt(step.seqRows[0])!;
        const decodes = first.numTokens > promptLen && step.numTokens === step.numSeqs;
        const total = encoder.encode(step)[L.headerTotalWords];
        if (decodes && step.numSeqs === 3) words.push(total);
        scheduler.commit(
          step,
          resultFor(scheduler, step, () => 5),
          neverStop,
        );
      }
      return words.slice(2);
    };
    // A record and one new id each, in the hundredth step as in the third, whatever the prompt.
    const each = L.seqWords + 1 + L.sampleWords + L.extraWords + 1;
    expect(new Set(wordsAfter(8))).toEqual(new Set([L.headerWords + 3 * each]));
    expect(new Set(wordsAfter(20_000))).toEqual(new Set([L.headerWords + 3 * each]));
  });

  test('a step that was put back is sent again, a row that is new gets everything', () => {
    const scheduler = make();
    const encoder = encoderFor(scheduler);
    const a = group('a', [1, 2, 3], { n: 2, repetitionPenalty: 1.5 });
    scheduler.add(a);
    next(scheduler, 7, encoder);
    const refused = scheduler.schedule()!;
    const first = decodeStep(encoder.encode(refused));
    scheduler.putBack(refused);
    expect(next(scheduler, 8, encoder).samples).toEqual(first.samples);
    expect(next(scheduler, 9, encoder).samples.map((s) => s.extras?.output)).toEqual([[8], [8]]);
  });

  test('after a preemption the whole history is sent once', () => {
    const scheduler = new Scheduler({ numBlocks: 9, blockSize: 4, maxModelLen: 32 });
    scheduler.add(group('a', range(11), { maxTokens: 16 }));
    const b = group('b', range(11, 50), { maxTokens: 16, repetitionPenalty: 2 });
    scheduler.add(b);
    while (b.numPreemptions === 0) advance(scheduler, () => 77);
    scheduler.abort('a');
    const output = [...b.sequences[0].outputTokens];
    expect(output.length).toBeGreaterThan(1);
    const begins = { ...PLAIN, prompt: range(11, 50), output };
    expect(next(scheduler, 78).samples[0].extras).toEqual(begins);
    expect(next(scheduler, 79).samples[0].extras).toMatchObject({ output: [78] });
  });

  test('allowed ids and biases travel together, once', () => {
    const scheduler = make();
    scheduler.add(group('a', [1], { allowedTokenIds: [7, 9, 7], logitBias: { 3: -1.5, 8: 100 } }));
    const bias = [
      [3, -1.5],
      [8, 100],
    ];
    expect(next(scheduler).samples[0].extras).toEqual({ ...PLAIN, allowed: [7, 9], bias });
    expect(next(scheduler).samples[0].extras).toBeNull();
  });

  test('ending ids are banned until minTokens are there, for forks too', () => {
    const scheduler = make();
    scheduler.add(group('a', [1], { n: 2, minTokens: 2, stopTokenIds: [4] }));
    const banned = range(3).map(() => next(scheduler).samples.map((s) => s.extras?.banned ?? null));
    expect(banned).toEqual([
      [
        [EOS, 4],
        [EOS, 4],
      ],
      [
        [EOS, 4],
        [EOS, 4],
      ],
      [null, null],
    ]);
  });

  test('a bad word bans its last id when the others were just generated', () => {
    const scheduler = make();
    scheduler.add(group('a', [5], { badWordIds: [[9], [5, 8], [5, 5, 7]] }));
    const banned = range(3).map(() => next(scheduler).samples[0].extras?.banned);
    // The prompt does not count as generated.
    expect(banned).toEqual([[9], [9, 8], [9, 8, 7]]);
  });

  test('the engine may allow other ids before each step', () => {
    const scheduler = make();
    const a = group('a', [1]);
    scheduler.add(a);
    a.sequences[0].allowedIds = Int32Array.of(3);
    expect(next(scheduler).samples[0].extras?.allowed).toEqual([3]);
    expect(next(scheduler).samples[0].extras).toBeNull();
    a.sequences[0].allowedIds = null;
    const anew = { ...PLAIN, counted: 0, allowed: null };
    expect(next(scheduler).samples[0].extras).toEqual(anew);
    expect(next(scheduler).samples[0].extras).toBeNull();
  });

  test('a step says what was decided, whatever becomes of its sequences', () => {
    const encoded = (disturb: boolean) => {
      const scheduler = make();
      const encoder = encoderFor(scheduler);
      const penalties = { repetitionPenalty: 1.5, minTokens: 9, badWordIds: [[3, 4]] };
      const a = group('a', range(6), { n: 2, logprobs: 2, ...penalties, maxTokens: 20 });
      const b = group('b', range(7), { allowedTokenIds: [3], promptLogprobs: 1, maxTokens: 20 });
      const seen: unknown[] = [];
      const lists = (words: Int32Array) => words.slice(0, words[L.headerTotalWords]);
      scheduler.add(a);
      next(scheduler, 3, encoder);
      scheduler.add(b);
      const step = scheduler.schedule()!;
      if (disturb) {
        for (const sequence of [...a.sequences, ...b.sequences]) {
          sequence.append(77);
          sequence.tokens.fill(66);
          sequence.allowedIds = Int32Array.of(5);
          sequence.noteDraw(8);
          sequence.advance(3);
        }
        scheduler.abort('b');
      }
      seen.push(lists(encoder.encode(step)), encoder.tableSlab, encoder.samplerSlab);
      return seen;
    };
    expect(encoded(true)).toEqual(encoded(false));
  });

  test('the slab of the tables follows the scheduler; refused steps and preemption too', () => {
    const options = { numBlocks: 9, blockSize: 4, maxModelLen: 32, maxNumSeqs: 4 };
    const scheduler = new Scheduler(options);
    const encoder = encoderFor(scheduler);
    const groups = [10, 30].map((from, i) =>
      group(`${i}`, range(6, from), { n: 2, maxTokens: 10 }),
    );
    for (const made of groups) scheduler.add(made);
    for (let s = 0; scheduler.hasUnfinished; s++) {
      const step = scheduler.schedule()!;
      encoder.encode(step);
      for (let i = 0; i < step.numSeqs; i++) {
        const at = step.seqRows[i] * scheduler.config.blocksPerRow;
        const table = encoder.tableSlab.slice(at, at + step.numBlocks[0][i]);
        expect([...table]).toEqual(scheduler.tableOf(scheduler.sequenceAt(step.seqRows[i])!));
      }
      if (s % 3 === 1) {
        scheduler.putBack(step);
        continue;
      }
      const result = resultFor(scheduler, step, (each) => 40 + each.index);
      scheduler.commit(step, result, neverStop);
    }
    expect(groups.some((made) => made.numPreemptions > 0)).toBe(true);
    expect(groups.some((made) => made.numBlockCopies > 0)).toBe(true);
  });

  test('masks go with the steps that have a new one', () => {
    const scheduler = make();
    const encoder = encoderFor(scheduler);
    scheduler.add(group('a', [1], { n: 3 }));
    const step = scheduler.schedule()!;
    encoder.encode(step);
    expect(encoder.newMasks).toBeUndefined();
    step.sampleMasks.set([MASKS.none, MASKS.fresh, MASKS.asBefore]);
    const { samples } = decodeStep(encoder.encode(step));
    expect(samples.map(({ mask }) => mask)).toEqual([null, 'new', 'as before']);
    expect(() => encoder.newMasks).toThrow(/no slab/);
    encoder.maskSlab = makeMaskSlab(8, 100);
    expect(encoder.newMasks).toBe(encoder.maskSlab);
    step.sampleMasks.set([MASKS.constraint, MASKS.constraintLists, MASKS.none]);
    const others = decodeStep(encoder.encode(step)).samples.map(({ mask }) => mask);
    expect(others).toEqual(["a matcher's", "a matcher's, with lists", null]);
    expect(encoder.newMasks).toBeUndefined();
  });

  test('a step may be encoded again; none may be passed over', () => {
    const scheduler = make();
    const encoder = encoderFor(scheduler);
    scheduler.add(group('a', [1, 2, 3]));
    const step = scheduler.schedule()!;
    const once = encoder.encode(step).slice();
    expect(encoder.encode(step)).toEqual(once);
    scheduler.putBack(step);
    advance(scheduler);
    const third = scheduler.schedule()!;
    expect(() => encoder.encode(third)).toThrow(/passed over/);
  });

  test('two buffers take turns; the one before stays as it was', () => {
    const scheduler = make();
    const encoder = encoderFor(scheduler);
    scheduler.add(group('a', [1, 2, 3]));
    const step = scheduler.schedule()!;
    const first = encoder.encode(step);
    const copy = first.slice();
    scheduler.commit(
      step,
      resultFor(scheduler, step, () => 5),
      neverStop,
    );
    const second = encoder.encode(scheduler.schedule()!);
    expect(second).not.toBe(first);
    expect(first).toEqual(copy);
    expect(second[L.headerTotalWords]).toBeLessThan(second.length);
  });

  test('caught-up tokens of a longer query are sent as they are', () => {
    const scheduler = new Scheduler({ numBlocks: 9, blockSize: 4, maxModelLen: 32 });
    scheduler.add(group('a', range(11), { maxTokens: 16 }));
    const b = group('b', range(11, 50), { maxTokens: 16 });
    scheduler.add(b);
    while (b.numPreemptions === 0) advance(scheduler, () => 77);
    scheduler.abort('a');
    // Two full blocks of the prompt and more are still in the cache.
    const { seqs } = next(scheduler);
    expect(seqs[0].tokens.length).toBe(
      b.sequences[0].numTokens - 1 - b.sequences[0].numComputed + seqs[0].queryLen,
    );
    expect(seqs[0].tokens.at(-1)).toBe(77);
  });
});

test('the tables of all groups cross: a column for each, one slab', () => {
  const groups = [
    { window: 6, blockSize: 4 },
    { window: 0, blockSize: 4 },
    { window: 0, blockSize: 8 },
  ];
  const options = { numBlocks: 60, blockSize: 4, maxModelLen: 32, maxNumSeqs: 4, groups };
  const scheduler = new Scheduler(options);
  const encoder = encoderFor(scheduler, 16);
  for (const id of ['a', 'b']) scheduler.add(group(id, range(9, id.charCodeAt(0)), { n: 2 }));
  const seen: number[][][] = [];
  while (scheduler.hasUnfinished) {
    const step = scheduler.schedule()!;
    const words = encoder.encode(step);
    expect(words[L.headerNumGroups]).toBe(3);
    const { seqs, copies } = decodeStep(words);
    seen.push(seqs.map((seq) => seq.numBlocks));
    expect(copies).toHaveLength(step.numCopies);
    for (const seq of seqs) {
      const at = seq.row * (8 + 8 + 4);
      const sequence = scheduler.sequenceAt(seq.row)!;
      expect(seq.tokens).toHaveLength(seq.queryLen);
      [0, 8, 16].forEach((offset, g) => {
        const table = encoder.tableSlab.subarray(at + offset, at + offset + seq.numBlocks[g]);
        expect([...table]).toEqual(scheduler.tableOf(sequence, g));
      });
    }
    const result = resultFor(scheduler, step, (each) => 40 + each.index);
    scheduler.commit(step, result, neverStop);
  }
  expect(seen[0]).toEqual([
    [3, 3, 2],
    [3, 3, 2],
  ]);
  expect(seen.at(-1)![0]).toEqual([6, 6, 3]);
});
