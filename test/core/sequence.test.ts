import { describe, expect, test } from 'vitest';
import { group, range } from '../support/core.js';

describe('Sequence', () => {
  test('grows as far as it must, and keeps its prompt', () => {
    const { sequences } = group('a', range(10), { n: 2, maxTokens: 2000 });
    for (const sequence of sequences) sequence.endsAt = 2010;
    const [a, b] = sequences;
    for (let i = 0; i < 2000; i++) a.append(i);
    b.append(7);
    expect([...a.tokens.slice(0, 12)]).toEqual([...range(10), 0, 1]);
    expect(a.numOutputTokens).toBe(2000);
    expect([...a.outputTokens.slice(-2)]).toEqual([1998, 1999]);
    expect([...b.tokens.slice(0, b.numTokens)]).toEqual([...range(10), 7]);
    expect(a.tokens.length).toBe(2010);
  });

  test('does not look at the caller’s prompt again', () => {
    const prompt = [1, 2, 3];
    const { sequences } = group('a', prompt);
    prompt[0] = 99;
    expect([...sequences[0].tokens]).toEqual([1, 2, 3]);
  });

  test('sequences that begin together do not all grow in the same step', () => {
    const lengths = range(64).map((arrival) => {
      const made = group('a', range(10), { maxTokens: 2000 });
      made.arrival = arrival;
      made.sequences[0].endsAt = 2010;
      made.sequences[0].enlarge();
      return made.sequences[0].tokens.length;
    });
    expect(new Set(lengths).size).toBe(64);
  });

  test('knows whether its row may have something to learn at any draw', () => {
    const needs = (input: object) => group('a', [1], input).sequences[0].needsUpdates;
    expect(needs({})).toBe(false);
    expect(needs({ minTokens: 1 })).toBe(true);
    expect(needs({ minTokens: 1, ignoreEos: true })).toBe(false);
    expect(needs({ presencePenalty: 0.1 })).toBe(true);
    // These go with the first draw from a row, which the row remembers.
    expect(needs({ allowedTokenIds: [1] })).toBe(false);
    expect(needs({ logitBias: { 1: 1 } })).toBe(false);
    expect(needs({ badWordIds: [[1]] })).toBe(true);
  });
});

test('what its row knows: all at a draw, nothing where the row or the tokens are others', () => {
  const [a, b] = group('a', [1, 2], { n: 2, allowedTokenIds: [7] }).sequences;
  expect([a.numSent, a.sentAllowedIds]).toEqual([0, null]);
  expect(a.maySendUpdate).toBe(true);
  a.noteDraw(2);
  a.noteAllowed(a.allowedIds);
  expect(a.numSent).toBe(2);
  expect(a.maySendUpdate).toBe(false);
  b.noteDraw(2);
  b.copyTokens(a);
  expect(b.numSent).toBe(0);
  a.forgetSent();
  expect(a.numSent).toBe(0);
});

test('a group wants prompt logprobs until it has one for each token but the first', () => {
  const made = group('a', [1, 2], { promptLogprobs: 0 });
  expect(made.wantsPromptLogprobs).toBe(true);
  const none = { topTokenIds: new Int32Array(), topLogprobs: new Float64Array() };
  made.promptLogprobs.push(2, -1, 1, none, 0);
  expect(made.wantsPromptLogprobs).toBe(false);
  expect(group('b', [1], { promptLogprobs: 0 }).wantsPromptLogprobs).toBe(false);
  expect(group('c', [1, 2]).wantsPromptLogprobs).toBe(false);
});
