import { describe, expect, test } from 'vitest';
import { Scheduler } from '../../lib/core/scheduler.js';
import { appendTokens } from '../../lib/core/step-result.js';
import { advance, EOS, group, neverStop, range, resultFor } from '../support/core.js';
import { randomFrom } from '../support/fake-executor.js';
import { SEED } from '../support/seed.js';

const make = () => new Scheduler({ numBlocks: 100, blockSize: 4, maxModelLen: 100, maxNumSeqs: 8 });

describe('commit', () => {
  test('asks for a stop string once for each token but an ending id, with its place in the result', () => {
    const scheduler = make();
    scheduler.add(group('a', [1, 2], { maxTokens: 2 }));
    scheduler.add(group('b', [3, 4], { n: 2, maxTokens: 3 }));
    const asked: string[] = [];
    const findStop = (
      s: { group: { id: string }; index: number; lastToken: number },
      at: number,
    ) => {
      asked.push(`${s.group.id}.${s.index}=${s.lastToken}@${at}`);
      return null;
    };
    advance(scheduler, (s) => (s.group.id === 'b' && s.index === 0 ? EOS : 6), findStop);
    advance(scheduler, () => 7, findStop);
    expect(asked).toEqual(['a.0=6@0', 'b.1=6@2', 'a.0=7@0', 'b.1=7@1']);
  });

  test('returns the groups that ended, once, in order', () => {
    const scheduler = make();
    const groups = ['a', 'b', 'c'].map((id) => group(id, [1, 2], { n: 2, maxTokens: 1 }));
    for (const each of groups) scheduler.add(each);
    const step = scheduler.schedule()!;
    expect(
      scheduler.commit(
        step,
        resultFor(scheduler, step, () => 5),
        () => null,
      ),
    ).toEqual(groups);
    expect(groups.every((each) => each.finished && each.state === 'finished')).toBe(true);
    expect(scheduler.hasUnfinished).toBe(false);
  });

  test('takes several tokens at once, also where windows slide over them', () => {
    const random = randomFrom(SEED);
    let numPreemptions = 0;
    for (let round = 0; round < 20; round++) {
      const windows = [0, 1 + random(9), 1 + random(20)];
      const scheduler = new Scheduler({
        ...{ numBlocks: 75 + random(60), blockSize: 4, maxModelLen: 64, maxNumSeqs: 8 },
        maxNumBatchedTokens: 9 + random(30),
        groups: windows.map((window) => ({ window, blockSize: 4 })),
      });
      const groups = range(8).map((i) =>
        group(`${i}`, range(1 + random(30), 10 * i), { n: 1 + random(2), maxTokens: 30 }),
      );
      for (const each of groups) scheduler.add(each);
      for (let step = scheduler.schedule(); step !== null; step = scheduler.schedule()) {
        const drawn = resultFor(scheduler, step, () => 5);
        const more = range(step.numSamples).map(() => range(random(3) === 0 ? random(25) : 0));
        scheduler.commit(step, appendTokens(drawn, more), neverStop);
        scheduler.checkInvariants();
      }
      for (const { sequences } of groups) {
        for (const { numOutputTokens, finishReason } of sequences) {
          expect([numOutputTokens, finishReason]).toEqual([30, 'length']);
        }
      }
      expect(scheduler.pool.usage).toBe(0);
      numPreemptions += scheduler.stats.numPreemptions;
    }
    expect(numPreemptions).toBeGreaterThan(0);
  });

  test('publishes blocks when they are full and computed, generated ones too', () => {
    const scheduler = make();
    const { prefixes } = scheduler.pool;
    scheduler.add(group('a', range(6), { maxTokens: 8 }));
    const published = range(4).map(() => {
      advance(scheduler);
      return prefixes.numPublished;
    });
    // Tokens computed: 6, 7, 8, 9.
    expect(published).toEqual([1, 1, 2, 2]);
    scheduler.abort('a');
    // The same text as a prompt finds the generated block as well.
    const next = group('b', [...range(6), 5, 5, 5]);
    scheduler.add(next);
    advance(scheduler);
    expect(next.numCachedTokens).toBe(8);
  });

  test('prompt logprobs of an aborted group are dropped, its neighbour’s stay in place', () => {
    const scheduler = make();
    const a = group('a', [1, 2, 3], { promptLogprobs: 1, logprobs: 2 });
    const b = group('b', [4, 5], { promptLogprobs: 2 });
    scheduler.add(a);
    scheduler.add(b);
    const step = scheduler.schedule()!;
    scheduler.abort('a');
    scheduler.commit(
      step,
      resultFor(scheduler, step, () => 5),
      () => null,
    );
    expect(a.promptLogprobs.length).toBe(0);
    const [row] = b.promptLogprobs.list(0, b.promptLogprobs.length);
    // Two of a's sample, one each of a's two rows, then two of b's row.
    expect(row.top.map((t) => t.tokenId)).toEqual([4, 5]);
    expect(row).toMatchObject({ tokenId: 5, logprob: -3, rank: 3 });
  });

  test('sums the logprobs of what was drawn, asked for or not', () => {
    const scheduler = make();
    const a = group('a', [1], { logprobs: 0, maxTokens: 3 });
    const b = group('b', [1], { maxTokens: 3 });
    scheduler.add(a);
    scheduler.add(b);
    while (scheduler.hasUnfinished) advance(scheduler);
    expect([a, b].map((g) => g.sequences[0].cumulativeLogprob)).toEqual([-3, -3]);
  });
});
