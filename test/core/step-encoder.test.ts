import { describe, expect, test } from 'vitest';
import { Scheduler } from '../../lib/core/scheduler.js';
import { STEP_LAYOUT as L } from '../../lib/core/step.js';
import { StepEncoder } from '../../lib/core/step-encoder.js';
import { advance, EOS, group, neverStop, range, resultFor } from '../support/core.js';
import { type DecodedStep, decodeStep } from '../support/decode-step.js';

function make(): Scheduler {
  return new Scheduler({ numBlocks: 200, blockSize: 4, maxModelLen: 200, maxNumSeqs: 8 });
}

/** Encodes the next step, commits it with `token` for everybody. */
function next(scheduler: Scheduler, token = 5, encoder = new StepEncoder(16)): DecodedStep {
  const step = scheduler.schedule()!;
  const decoded = decodeStep(encoder.encode(step));
  scheduler.commit(
    step,
    resultFor(step, () => token),
    neverStop,
  );
  return decoded;
}

describe('StepEncoder', () => {
  test('a step comes back as it was planned', () => {
    const scheduler = make();
    const a = group('a', range(6, 10), { n: 2 });
    scheduler.add(a);
    expect(next(scheduler)).toEqual({
      seqs: [{ queryLen: 6, contextLen: 6, row: 0, numBlocks: 2, tokens: range(6, 10) }],
      numTokens: 6,
      swapOuts: [],
      swapIns: [],
      copies: [],
      samples: [
        { tokenRow: 5, seqRow: 0, position: 6, extras: null },
        { tokenRow: 5, seqRow: 1, position: 6, extras: null },
      ],
      promptRows: [],
    });
    scheduler.add(group('b', [7, 8, 9]));
    expect(next(scheduler)).toEqual({
      seqs: [
        { queryLen: 1, contextLen: 7, row: 0, numBlocks: 2, tokens: [5] },
        { queryLen: 1, contextLen: 7, row: 1, numBlocks: 2, tokens: [5] },
        { queryLen: 3, contextLen: 3, row: 2, numBlocks: 1, tokens: [7, 8, 9] },
      ],
      numTokens: 5,
      swapOuts: [],
      swapIns: [],
      copies: [[2, 3]],
      samples: [
        { tokenRow: 0, seqRow: 0, position: 7, extras: null },
        { tokenRow: 1, seqRow: 1, position: 7, extras: null },
        { tokenRow: 4, seqRow: 2, position: 3, extras: null },
      ],
      promptRows: [],
    });
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
    expect(a.promptLogprobs.map((p) => [p.tokenId, p.logprob, p.rank])).toEqual([
      [11, -1, 1],
      [12, -2, 2],
      [13, -3, 3],
      [14, -1, 1],
    ]);
    expect(a.promptLogprobs.map((p) => [...p.topTokenIds])).toEqual([
      [0, 1],
      [2, 3],
      [4, 5],
      // The list of the step's one sample comes first.
      [1, 2],
    ]);
    expect(a.sequences[0].cumulativeLogprob).toBe(-2);
  });

  test('penalties send the ids they look at', () => {
    const scheduler = make();
    scheduler.add(group('a', [1, 2, 3], { repetitionPenalty: 1.5 }));
    scheduler.add(group('b', [4, 5, 6], { presencePenalty: 1 }));
    const first = next(scheduler).samples.map((s) => s.extras);
    expect(first[0]).toEqual({
      allowed: null,
      banned: [],
      bias: [],
      prompt: [1, 2, 3],
      output: [],
    });
    expect(first[1]).toBeNull();
    const second = next(scheduler).samples.map((s) => s.extras);
    expect(second[0]).toMatchObject({ prompt: [1, 2, 3], output: [5] });
    expect(second[1]).toMatchObject({ prompt: [], output: [5] });
  });

  test('allowed ids and biases travel together', () => {
    const scheduler = make();
    scheduler.add(group('a', [1], { allowedTokenIds: [7, 9, 7], logitBias: { 3: -1.5, 8: 100 } }));
    expect(next(scheduler).samples[0].extras).toEqual({
      allowed: [7, 9],
      banned: [],
      bias: [
        [3, -1.5],
        [8, 100],
      ],
      prompt: [],
      output: [],
    });
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
    a.sequences[0].allowedIds = null;
    expect(next(scheduler).samples[0].extras).toBeNull();
  });

  test('two buffers take turns; the one before stays as it was', () => {
    const scheduler = make();
    const encoder = new StepEncoder(4096);
    scheduler.add(group('a', [1, 2, 3]));
    const step = scheduler.schedule()!;
    const first = encoder.encode(step);
    const copy = first.slice();
    scheduler.commit(
      step,
      resultFor(step, () => 5),
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
