import { expect, test } from 'vitest';
import { Sequence, SequenceGroup } from '../../lib/core/sequence.js';
import { MASKS, Step } from '../../lib/core/step.js';
import { copiesOf, group } from '../support/core.js';

/** One that has a row, and `numComputed` of its four tokens in the cache. */
const sequence = (row: number, numComputed: number) => {
  const [made] = group(`${row}`, [1, 2, 3, 4]).sequences;
  return Object.assign(made, { row, numComputed, numSlots: 8 });
};

const first = (column: Int32Array, count: number) => [...column.subarray(0, count)];

test('draws only when computed catches up with tokens', () => {
  const step = new Step(4, 16);
  step.add(sequence(10, 0), 3);
  step.add(Object.assign(sequence(11, 1), { longRope: 1 }), 3);
  step.add(sequence(12, 3), 1);
  expect(step.numSeqs).toBe(3);
  expect(first(step.seqRows, 3)).toEqual([10, 11, 12]);
  expect(first(step.queryLens, 3)).toEqual([3, 3, 1]);
  expect(first(step.contextLens, 3)).toEqual([3, 4, 4]);
  expect(first(step.longRope, 3)).toEqual([0, 1, 0]);
  expect(first(step.tokenIds, step.numTokens)).toEqual([1, 2, 3, 2, 3, 4, 4]);
  expect(step.numSamples).toBe(2);
  expect(first(step.sampleRows, 2)).toEqual([11, 12]);
  expect(first(step.sampleTokenRows, 2)).toEqual([5, 6]);
  expect(first(step.samplePositions, 2)).toEqual([4, 4]);
  expect(first(step.sampleMasks, 2)).toEqual([MASKS.none, MASKS.none]);
  expect(first(step.sampleUpdates, 2)).toEqual([0, 1]);
});

test('names states and records of sequences in their order', () => {
  const step = new Step(4, 16, 1, true);
  const ids = Int32Array.from([7, 8, 9, 10]);
  step.addStates(1, 2);
  step.addRecords(ids, 0, 2);
  step.add(sequence(10, 0), 4);
  step.setMark();
  for (const states of [
    [3, -1],
    [5, 6],
  ]) {
    step.addStates(states[0], states[1]);
    step.addRecords(ids, 2, 4);
    step.add(sequence(11, 0), 4);
    const pairs = [first(step.stateIns, 2), first(step.stateOuts, 2)];
    expect(pairs).toEqual([
      [1, states[0]],
      [2, states[1]],
    ]);
    expect([...step.records.view]).toEqual([7, 8, 9, 10]);
    step.rollBack();
    expect([...step.records.view]).toEqual([7, 8]);
  }
  step.clear();
  expect(step.records.length).toBe(0);
  expect(new Step(4, 16).hasStates).toBe(false);
});

test('rolling back takes out sequences, copies, samples and prompt rows since the mark', () => {
  const step = new Step(4, 16);
  step.add(sequence(10, 0), 4);
  step.addCopy(1, 2);
  step.setMark();
  step.addPromptRow(4, 9, 0);
  step.add(sequence(11, 0), 4);
  step.addCopy(3, 4);
  step.rollBack();
  expect(first(step.seqRows, step.numSeqs)).toEqual([10]);
  expect(copiesOf(step)).toEqual([[1, 2]]);
  expect([step.numTokens, step.numSamples, step.numPromptRows]).toEqual([4, 1, 0]);
  expect([step.updates.length, step.updates.params.length]).toEqual([1, 1]);
  step.addPromptRow(4, 7, 3);
  expect(first(step.promptSeqs, 1)).toEqual([1]);
  expect(first(step.promptNumTops, 1)).toEqual([3]);
});

test('holds no sequence, nor any other thing that changes: parameters and lists are frozen', () => {
  const step = new Step(4, 16);
  for (const row of [10, 11]) step.add(sequence(row, 0), 4);
  const reached = new Set<unknown>();
  const visit = (value: unknown) => {
    if (typeof value !== 'object' || value === null || reached.has(value)) return;
    reached.add(value);
    if (ArrayBuffer.isView(value)) return;
    expect(value).not.toBeInstanceOf(Sequence);
    expect(value).not.toBeInstanceOf(SequenceGroup);
    for (const member of Object.values(value)) visit(member);
  };
  visit(step);
  expect(reached.size).toBeGreaterThan(20);
  expect(step.updates.params.every((params) => Object.isFrozen(params))).toBe(true);
});

test('a record that is used again has nothing of its last use', () => {
  const step = new Step(4, 16);
  for (const row of [10, 11, 12]) step.add(sequence(row, 0), 4);
  step.addCopy(1, 2);
  step.swaps.addOut(3, 4);
  step.stateSwaps.addIn(5, 6);
  step.recordSwaps.addOut(7, 8);
  step.addPromptRow(0, 1, 2);
  step.clear();
  const counts = [step.numSeqs, step.numTokens, step.numCopies, step.numSamples];
  expect([...counts, step.numPromptRows, step.numSwapOuts]).toEqual([0, 0, 0, 0, 0, 0]);
  for (const list of [step.swaps, step.stateSwaps, step.recordSwaps]) {
    expect(list).toMatchObject({ length: 0, numOuts: 0, numIns: 0 });
  }
  expect([step.swaps.length, step.updates.length, step.updates.ids.length]).toEqual([0, 0, 0]);
  expect(step.updates.params).toEqual([]);
});
