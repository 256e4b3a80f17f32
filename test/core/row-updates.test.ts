import { expect, test } from 'vitest';
import { BEGINS, NO_UPDATE, RowUpdates } from '../../lib/core/row-updates.js';
import type { SamplingParams } from '../../lib/core/sampling-params.js';
import { EOS, group } from '../support/core.js';

const one = (input: SamplingParams & { badWordIds?: number[][] }) => {
  const [made] = group('a', [1, 2, 3], input).sequences;
  made.endsAt = 100;
  return made;
};

/** Lists of update u: banned, prompt, output. */
function listsOf(updates: RowUpdates, u: number): number[][] {
  const { ids, idsAt, numBanned, promptLen, outputLen } = updates;
  const promptAt = idsAt[u] + numBanned[u];
  const outputAt = promptAt + promptLen[u];
  const all = [...ids.view];
  return [
    all.slice(idsAt[u], promptAt),
    all.slice(promptAt, outputAt),
    all.slice(outputAt, outputAt + outputLen[u]),
  ];
}

test('with the first draw everything, then only what has joined the output', () => {
  const updates = new RowUpdates(4);
  const sequence = one({ repetitionPenalty: 2, allowedTokenIds: [4, 5] });
  expect(updates.add(sequence)).toBe(0);
  expect(listsOf(updates, 0)).toEqual([[], [1, 2, 3], []]);
  expect([updates.counted[0], updates.sampleIndexes[0]]).toEqual([BEGINS, 0]);
  expect(updates.params[0]).toBe(sequence.group.params);
  expect(updates.allowed[0]).toBe(sequence.allowedIds);
  sequence.noteDraw(3);
  sequence.noteAllowed(sequence.allowedIds);
  sequence.append(4);
  expect(updates.add(sequence)).toBe(1);
  expect(listsOf(updates, 1)).toEqual([[], [], [4]]);
  expect([updates.counted[1], updates.params[1], updates.allowed[1]]).toEqual([3, null, undefined]);
});

test('ending ids and bad words are for one draw', () => {
  const updates = new RowUpdates(4);
  const sequence = one({ minTokens: 1, badWordIds: [[7], [5, 8]] });
  expect(listsOf(updates, updates.add(sequence))[0]).toEqual([EOS, 7]);
  sequence.noteDraw(3);
  sequence.noteAllowed(null);
  sequence.append(5);
  expect(listsOf(updates, updates.add(sequence))[0]).toEqual([7, 8]);
});

test('there is none where nothing is new', () => {
  const updates = new RowUpdates(4);
  const sequence = one({ badWordIds: [[5, 8]] });
  sequence.noteDraw(3);
  sequence.noteAllowed(null);
  sequence.append(6);
  expect(updates.add(sequence)).toBe(NO_UPDATE);
  expect([updates.length, updates.ids.length]).toEqual([0, 0]);
  sequence.allowedIds = Int32Array.of(3);
  expect(updates.add(sequence)).toBe(0);
});

test('cutting takes lists out with their updates', () => {
  const updates = new RowUpdates(4);
  for (let i = 0; i < 3; i++) updates.add(one({ repetitionPenalty: 2 }));
  updates.cut(1);
  expect([updates.length, updates.ids.length]).toEqual([1, 3]);
  expect([updates.params.length, updates.allowed.length]).toEqual([1, 1]);
});
