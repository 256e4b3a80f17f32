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

  test('knows what must go with its samples', () => {
    const needs = (input: object) => group('a', [1], input).sequences[0].needsExtras;
    expect(needs({})).toBe(false);
    expect(needs({ minTokens: 1 })).toBe(true);
    expect(needs({ minTokens: 1, ignoreEos: true })).toBe(false);
    expect(needs({ presencePenalty: 0.1 })).toBe(true);
    expect(needs({ allowedTokenIds: [1] })).toBe(true);
    expect(needs({ logitBias: { 1: 1 } })).toBe(true);
    expect(needs({ badWordIds: [[1]] })).toBe(true);
  });
});

test('a group wants prompt logprobs until it has one for each token but the first', () => {
  const made = group('a', [1, 2], { promptLogprobs: 0 });
  expect(made.wantsPromptLogprobs).toBe(true);
  made.promptLogprobs.push({
    tokenId: 2,
    logprob: -1,
    rank: 1,
    topTokenIds: new Int32Array(),
    topLogprobs: new Float64Array(),
  });
  expect(made.wantsPromptLogprobs).toBe(false);
  expect(group('b', [1], { promptLogprobs: 0 }).wantsPromptLogprobs).toBe(false);
  expect(group('c', [1, 2]).wantsPromptLogprobs).toBe(false);
});
