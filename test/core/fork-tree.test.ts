import { describe, expect, test } from 'vitest';
import { nextStop, plantForks } from '../../lib/core/fork-tree.js';
import { group, range } from '../support/core.js';
import { randomFrom } from '../support/fake-executor.js';
import { SEED } from '../support/seed.js';

/** A group whose samples have generated these tokens after the prompt [1, 2]. */
function grown(outputs: number[][]) {
  const made = group('a', [1, 2], { n: outputs.length, maxTokens: 50 });
  for (const [i, output] of outputs.entries()) {
    made.sequences[i].endsAt = 52;
    for (const token of output) made.sequences[i].append(token);
  }
  plantForks(made);
  return made.sequences;
}

const shape = (sequences: ReturnType<typeof grown>) =>
  sequences.map((s) => (s.forkParent ? [s.forkParent.index, s.forkAt] : null));

describe('plantForks', () => {
  test('new samples all wait for the first, at the end of the prompt', () => {
    expect(shape(grown([[], [], []]))).toEqual([null, [0, 2], [0, 2]]);
  });

  test('each waits for the earlier one it agrees with longest', () => {
    const sequences = grown([
      [5, 5, 5, 5],
      [5, 6, 6, 6],
      [5, 6, 6, 7],
      [9, 9, 9, 9],
    ]);
    expect(shape(sequences)).toEqual([null, [0, 3], [1, 5], [0, 2]]);
    expect(sequences.map(nextStop)).toEqual([2, 5, 6, 6]);
    sequences[3].waitNoMore();
    expect(nextStop(sequences[0])).toBe(3);
    sequences[1].waitNoMore();
    expect(sequences[0].waitingForks).toBeNull();
    expect(nextStop(sequences[0])).toBe(6);
  });

  test('equal samples wait at their full length; ended ones are left out', () => {
    const sequences = grown([[5], [5, 5], [5, 5]]);
    expect(shape(sequences)).toEqual([null, [0, 3], [1, 4]]);
    sequences[0].finishReason = 'stop';
    plantForks(sequences[0].group);
    expect(shape(sequences)).toEqual([null, null, [1, 4]]);
  });

  test('is the tree that every pair says, whatever the tokens', () => {
    const random = randomFrom(SEED);
    for (let round = 0; round < 100; round++) {
      const outputs = range(7).map(() => range(random(7)).map(() => random(2)));
      const sequences = grown(outputs);
      const all = sequences.map((s) => [...s.tokens.subarray(0, s.numTokens)]);
      const common = (i: number, j: number) =>
        range(52).findIndex((p) => all[i][p] === undefined || all[i][p] !== all[j][p]);
      const wanted = range(7).map((i) => {
        if (i === 0) return null;
        const lengths = range(i).map((j) => common(i, j));
        const most = Math.max(...lengths);
        return [lengths.indexOf(most), most];
      });
      expect(shape(sequences)).toEqual(wanted);
    }
  });
});
