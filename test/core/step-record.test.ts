import { expect, test } from 'vitest';
import { Step } from '../../lib/core/step-record.js';
import { copiesOf, group, planOf } from '../support/core.js';

const sequence = (id: string, numComputed: number) => {
  const [made] = group(id, [1, 2, 3, 4]).sequences;
  made.numComputed = numComputed;
  return made;
};

test('draws only when computed catches up with tokens', () => {
  const step = new Step(4, 16);
  step.add(sequence('a', 0), 3);
  step.add(sequence('b', 1), 3);
  step.add(sequence('c', 3), 1);
  expect(planOf(step)).toEqual({ a: 3, b: 3, c: 1 });
  expect(step.numTokens).toBe(7);
  expect(step.sampleSeqs.slice(0, step.numSamples).map((s) => s.group.id)).toEqual(['b', 'c']);
  expect([...step.sampleTokenRows.slice(0, 2)]).toEqual([5, 6]);
});

test('rolling back takes out sequences, copies, samples and prompt rows since the mark', () => {
  const step = new Step(4, 16);
  step.add(sequence('a', 0), 4);
  step.addCopy(1, 2);
  step.setMark();
  step.addPromptRow(sequence('b', 0), 4, 9);
  step.add(sequence('b', 0), 4);
  step.addCopy(3, 4);
  step.rollBack();
  expect(planOf(step)).toEqual({ a: 4 });
  expect(copiesOf(step)).toEqual([[1, 2]]);
  expect([step.numTokens, step.numSamples, step.numPromptRows]).toEqual([4, 1, 0]);
  expect(step.promptSeqs).toEqual([]);
});

test('a record lets go of sequences that its last use named', () => {
  const step = new Step(4, 16);
  for (const id of ['a', 'b', 'c']) step.add(sequence(id, 0), 4);
  step.clear();
  step.add(sequence('d', 0), 4);
  step.seal();
  expect(step.seqs.filter((s) => s !== undefined).map((s) => s.group.id)).toEqual(['d']);
  expect(step.sampleSeqs.filter((s) => s !== undefined)).toHaveLength(1);
});
