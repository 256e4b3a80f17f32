import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { completeBeamParams } from '../../lib/core/beam-params.js';
import { completeParams, validateSamplingParams } from '../../lib/core/sampling-params.js';
import { SequenceGroup } from '../../lib/core/sequence.js';
import { MASKS, Step } from '../../lib/core/step.js';
import { isZod, type TokenConstraint } from '../../lib/core/structured.js';

const limits = { vocabSize: 100, eosTokenIds: [1], seed: 0 };

/** Allows only ids above the last one. */
class Ascending implements TokenConstraint {
  isClosed = false;
  constructor(public last = 0) {}
  close(): void {
    this.isClosed = true;
  }
  advance(token: number): boolean {
    if (token <= this.last) return false;
    this.last = token;
    return true;
  }
  fork(): Ascending {
    return new Ascending(this.last);
  }
}

function group(n: number, beamWidth = 0): SequenceGroup {
  const params =
    beamWidth > 0
      ? completeBeamParams({ beamWidth }, limits)
      : completeParams(validateSamplingParams({ n }, limits), limits);
  const options = { id: 'a', promptTokens: [5, 6], params, constraint: new Ascending() };
  const made = new SequenceGroup(options);
  for (const sequence of made.sequences) sequence.endsAt = 20;
  return made;
}

test('a zod schema is told from a JSON Schema', () => {
  expect([z.string(), {}, null, 'a', { _zod: 5 }].map(isZod)).toEqual([
    true,
    false,
    false,
    false,
    false,
  ]);
});

describe('a constraint', () => {
  test('is each sample’s own', () => {
    const [a, b] = group(2).sequences;
    a.append(7);
    expect(a.advanceConstraint()).toBe(true);
    a.append(7);
    expect(a.advanceConstraint()).toBe(false);
    expect((a.constraint as Ascending).last).toBe(7);
    expect((b.constraint as Ascending).last).toBe(0);
  });

  test('goes along with the tokens of a beam that forks, and leaves a spare one', () => {
    const [a, b] = group(1, 2).sequences;
    expect(b.constraint).toBeNull();
    a.append(9);
    a.advanceConstraint();
    b.becomeForkOf(a);
    expect((b.constraint as Ascending).last).toBe(9);
    expect(b.constraint).not.toBe(a.constraint);
    const own = b.constraint as Ascending;
    b.copyTokens(a);
    expect([own.isClosed, (b.constraint as Ascending).isClosed]).toEqual([true, false]);
    const last = b.constraint as Ascending;
    b.becomeSpare();
    expect(b.constraint).toBeNull();
    expect([last.isClosed, (a.constraint as Ascending).isClosed]).toEqual([true, false]);
  });

  test('is closed once nothing obeys it', () => {
    const [a] = group(1).sequences;
    const own = a.constraint as Ascending;
    a.dropConstraint();
    a.dropConstraint();
    expect([own.isClosed, a.constraint, a.advanceConstraint()]).toEqual([true, null, true]);
  });

  test('is kept when everything computed is forgotten', () => {
    const [a] = group(1).sequences;
    a.append(9);
    a.advanceConstraint();
    a.forgetComputed();
    expect((a.constraint as Ascending).last).toBe(9);
  });

  test('stands in the step for each draw, and goes when the step is rolled back', () => {
    const step = new Step(4, 16);
    const [a] = group(1).sequences;
    step.add(a, 2);
    step.setMark();
    const [b] = group(1, 2).sequences;
    step.add(b, 2);
    expect(Array.from(step.sampleMasks.subarray(0, 2))).toEqual([
      MASKS.constraint,
      MASKS.constraintLists,
    ]);
    expect(step.constraints).toEqual([a.constraint, b.constraint]);
    step.rollBack();
    expect(step.constraints).toEqual([a.constraint]);
    step.clear();
    expect(step.constraints).toEqual([]);
  });

  test('is not there without being asked for', () => {
    const params = completeParams(validateSamplingParams({}, limits), limits);
    const { sequences } = new SequenceGroup({ id: 'b', promptTokens: [5], params });
    const step = new Step(4, 16);
    step.add(sequences[0], 1);
    expect([step.sampleMasks[0], step.constraints.length]).toEqual([MASKS.none, 0]);
    expect(sequences[0].advanceConstraint()).toBe(true);
  });
});
