import { describe, expect, it } from 'vitest';
import { completeBeamParams } from '../../lib/core/beam-params.js';
import { Scheduler } from '../../lib/core/scheduler.js';
import { type Sequence, SequenceGroup } from '../../lib/core/sequence.js';
import type { Step } from '../../lib/core/step.js';
import { offsetsOf, resultOfTokens, type StepResult } from '../../lib/core/step-result.js';
import { copiesOf, neverStop, planOf, range } from '../support/core.js';

const VOCAB = 50;

function beamGroup(promptLen: number, beamWidth: number, maxTokens = 8): SequenceGroup {
  const context = { vocabSize: VOCAB, eosTokenIds: [], seed: 1 };
  const params = completeBeamParams({ beamWidth, maxTokens }, context);
  return new SequenceGroup({ id: 'a', promptTokens: range(promptLen), params });
}

/** Each sample's list begins with what `best` says of it; the rest is much less likely. */
function lists(
  scheduler: Scheduler,
  step: Step,
  best: (i: number, sequence: Sequence) => readonly (readonly [token: number, logprob: number])[],
): StepResult {
  const ids: number[] = [];
  const logprobs: number[] = [];
  for (let i = 0; i < step.numSamples; i++) {
    const given = best(i, scheduler.sequenceAt(step.sampleRows[i])!);
    const taken = given.map(([token]) => token);
    const rest = range(VOCAB).filter((t) => !taken.includes(t));
    for (let k = 0; k < step.sampleNumTops[i]; k++) {
      ids.push(k < given.length ? given[k][0] : rest[k]);
      logprobs.push(k < given.length ? given[k][1] : -1000 - k);
    }
  }
  return resultOfTokens(new Int32Array(step.numSamples), 0, {
    topAt: offsetsOf(step.sampleNumTops, step.numSamples),
    topTokenIds: Int32Array.from(ids),
    topLogprobs: Float64Array.from(logprobs),
  });
}

function setup(promptLen: number, width: number, numBlocks = 64) {
  const scheduler = new Scheduler({
    numBlocks,
    maxModelLen: 64,
    blockSize: 4,
    maxNumSeqs: 8,
    hashSeed: 1,
  });
  const group = beamGroup(promptLen, width);
  scheduler.add(group);
  const step = (best: Parameters<typeof lists>[2]) => {
    const planned = scheduler.schedule()!;
    const copies = copiesOf(planned);
    const plan = planOf(scheduler, planned);
    scheduler.commit(planned, lists(scheduler, planned, best), neverStop);
    scheduler.checkInvariants();
    return { copies, plan };
  };
  const used = () => scheduler.pool.numUsable - scheduler.pool.numFree;
  const live = () => group.beams!.live;
  return { scheduler, group, step, used, live };
}

describe('the sequences of a beam search', () => {
  it('begin as one, and fork without taking a block', () => {
    const { step, used, live, group } = setup(6, 3);
    const before = step(() => [
      [7, -1],
      [8, -2],
      [9, -3],
    ]);
    expect(before).toEqual({ copies: [], plan: { a: 6 } });
    expect(used()).toBe(2);
    expect(live().map((s) => [...s.outputTokens])).toEqual([[7], [8], [9]]);
    expect(live().map((s) => s.cumulativeLogprob)).toEqual([-1, -2, -3]);
    expect(group.numSharedBlocks).toBe(2);
  });

  it('copy a begun block, all but the last to write it, in one list', () => {
    const { scheduler, step, used, live, group } = setup(6, 3);
    step(() => [
      [7, -1],
      [8, -2],
      [9, -3],
    ]);
    const tables = live().map((s) => scheduler.tableOf(s));
    const { copies, plan } = step((i) => [[10 + i, -1]]);
    expect(Object.values(plan)).toEqual([1, 1, 1]);
    expect(copies).toHaveLength(2);
    for (const [source] of copies) expect(source).toBe(tables[0][1]);
    expect(used()).toBe(1 + 3);
    expect(group.numBlockCopies).toBe(2);
  });

  it('take a new block each where the last is full, and copy nothing', () => {
    const { step, used } = setup(8, 3);
    step(() => [
      [7, -1],
      [8, -2],
      [9, -3],
    ]);
    expect(step((i) => [[10 + i, -1]]).copies).toEqual([]);
    expect(used()).toBe(2 + 3);
  });

  it('give back the blocks of dropped beams; the parent goes on as its last child', () => {
    const { step, used, live } = setup(8, 3);
    step(() => [
      [7, -1],
      [8, -2],
      [9, -3],
    ]);
    const [first] = live();
    expect(first.lastToken).toBe(7);
    // All continuations of the first beam are better than any of the others.
    step((_, s) =>
      s === first
        ? [
            [20, -0.1],
            [21, -0.2],
            [22, -0.3],
          ]
        : [[30, -500]],
    );
    expect(live().map((s) => [...s.outputTokens])).toEqual([
      [7, 20],
      [7, 21],
      [7, 22],
    ]);
    expect(live()[2]).toBe(first);
    expect(used()).toBe(2 + 1);
  });

  it('keep a beam whose list came first waiting for the others', () => {
    const { scheduler, step, live } = setup(6, 2, 64);
    step(() => [
      [7, -1],
      [8, -2],
    ]);
    step((i) => [[10 + i, -1]]);
    // Computed again with a budget that lets the beams catch up at different steps.
    const small = new Scheduler({
      numBlocks: 64,
      maxModelLen: 64,
      blockSize: 4,
      maxNumSeqs: 2,
      maxNumBatchedTokens: 2,
      hashSeed: 1,
    });
    const group = beamGroup(6, 2);
    small.add(group);
    const plans: Record<string, number>[] = [];
    for (let i = 0; i < 40 && small.hasUnfinished; i++) {
      const planned = small.schedule()!;
      plans.push(planOf(small, planned));
      small.commit(
        planned,
        lists(small, planned, (k) => [
          [10 + k, -1],
          [20 + k, -1.5],
        ]),
        neverStop,
      );
      small.checkInvariants();
    }
    expect(group.finished).toBe(true);
    expect(group.beams!.finished).toHaveLength(2);
    expect(small.pool.usage).toBe(0);
    expect(live()).toHaveLength(2);
    scheduler.abort('a');
    expect(scheduler.pool.usage).toBe(0);
  });

  it('end together: every block is free, whatever the beams still held', () => {
    const { scheduler, group, step } = setup(5, 4);
    for (let i = 0; i < 8; i++)
      step((k) => [
        [10 + k, -1],
        [20 + k, -1.1],
        [30 + k, -1.2],
        [40 + k, -1.3],
      ]);
    expect(group.finished).toBe(true);
    expect(group.beams!.finished).toHaveLength(4);
    expect(
      group.beams!.finished.every((b) => b.tokens.length === 8 && b.finishReason === 'length'),
    ).toBe(true);
    expect(scheduler.pool.usage).toBe(0);
    expect(scheduler.hasUnfinished).toBe(false);
  });

  it('end with an error where a row has nothing finite', () => {
    const { scheduler, group } = setup(5, 2);
    const planned = scheduler.schedule()!;
    const result = { ...lists(scheduler, planned, () => [[7, -1]]), ...resultOfTokens([-1]) };
    expect(scheduler.commit(planned, result, neverStop)).toEqual([group]);
    expect(group.sequences.map((s) => s.finishReason)).toEqual(['error', 'error']);
    expect(scheduler.pool.usage).toBe(0);
  });
});
