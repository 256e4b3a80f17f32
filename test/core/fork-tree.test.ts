import { describe, expect, test } from 'vitest';
import { nextStop, plantForks, unhang } from '../../lib/core/fork-tree.js';
import { group } from '../support/core.js';

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
  test('new samples all hang on the first, at the end of the prompt', () => {
    expect(shape(grown([[], [], []]))).toEqual([null, [0, 2], [0, 2]]);
  });

  test('each hangs on the earlier one it agrees with longest', () => {
    const sequences = grown([
      [5, 5, 5, 5],
      [5, 6, 6, 6],
      [5, 6, 6, 7],
      [9, 9, 9, 9],
    ]);
    expect(shape(sequences)).toEqual([null, [0, 3], [1, 5], [0, 2]]);
    expect(sequences.map(nextStop)).toEqual([2, 5, 6, 6]);
    unhang(sequences[3]);
    expect(nextStop(sequences[0])).toBe(3);
    unhang(sequences[1]);
    expect(sequences[0].waitingForks).toBeNull();
    expect(nextStop(sequences[0])).toBe(6);
  });

  test('equal samples hang at their full length; ended ones are left out', () => {
    const sequences = grown([[5], [5, 5], [5, 5]]);
    expect(shape(sequences)).toEqual([null, [0, 3], [1, 4]]);
    sequences[0].finishReason = 'stop';
    plantForks(sequences[0].group);
    expect(shape(sequences)).toEqual([null, null, [1, 4]]);
  });
});
