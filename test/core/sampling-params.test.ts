import { describe, expect, test } from 'vitest';
import { completeParams, validateSamplingParams } from '../../lib/core/sampling-params.js';

const limits = { vocabSize: 100 };

function refusal(input: unknown): { code?: string; param?: string; message: string } {
  try {
    validateSamplingParams(input as object, limits);
  } catch (error) {
    return error as Error;
  }
  throw new Error(`${JSON.stringify(input)} was accepted`);
}

describe('validateSamplingParams', () => {
  test('defaults', () => {
    expect(validateSamplingParams(undefined, limits)).toEqual({
      n: 1,
      temperature: 1,
      topP: 1,
      topK: 0,
      minP: 0,
      presencePenalty: 0,
      frequencyPenalty: 0,
      repetitionPenalty: 1,
      stop: [],
      stopTokenIds: [],
      ignoreEos: false,
      maxTokens: 16,
      minTokens: 0,
      badWords: [],
      skipSpecialTokens: true,
      includeStopStrInOutput: false,
    });
  });

  test('everything at once, one stop string as a string, frozen and not the caller’s objects', () => {
    const stopTokenIds = [3];
    const params = validateSamplingParams(
      {
        n: 4,
        temperature: 0,
        topP: 0.5,
        topK: 7,
        minP: 0.1,
        presencePenalty: -2,
        frequencyPenalty: 2,
        repetitionPenalty: 1.1,
        seed: 2 ** 53 - 1,
        stop: 'END',
        stopTokenIds,
        ignoreEos: true,
        maxTokens: 5,
        minTokens: 5,
        logprobs: -1,
        promptLogprobs: 100,
        logitBias: { 0: -100, 99: 100 },
        allowedTokenIds: [0, 99],
        badWords: ['x'],
        skipSpecialTokens: false,
        includeStopStrInOutput: true,
        cacheSalt: 'tenant',
      },
      limits,
    );
    expect(params.stop).toEqual(['END']);
    expect(params.logitBias).toEqual({ 0: -100, 99: 100 });
    stopTokenIds.push(4);
    expect(params.stopTokenIds).toEqual([3]);
    expect(Object.isFrozen(params)).toBe(true);
    expect(Object.isFrozen(params.stop) && Object.isFrozen(params.logitBias)).toBe(true);
  });

  test.each([
    ['n', [0, 1.5, -1, '2', null, Number.NaN]],
    ['temperature', [-0.1, Number.NaN, Number.POSITIVE_INFINITY, '1', null]],
    ['topP', [0, 1.01, Number.NaN, -1]],
    ['topK', [-1, 2.5, Number.POSITIVE_INFINITY]],
    ['minP', [-0.1, 1.1, Number.NaN]],
    ['presencePenalty', [-2.1, 2.1, Number.NaN]],
    ['frequencyPenalty', [-2.1, 2.1, Number.NEGATIVE_INFINITY]],
    ['repetitionPenalty', [0, -1, 1e-310, Number.NaN, Number.POSITIVE_INFINITY]],
    ['seed', [-1, 0.5, 2 ** 53, Number.NaN, 3n]],
    ['stop', ['', [''], [1], 5, null, ['\ud800']]],
    ['stopTokenIds', [[-1], [100], [1.5], 5, ['1']]],
    ['ignoreEos', [1, 'true', null]],
    ['maxTokens', [0, -1, 1.5, Number.POSITIVE_INFINITY, Number.NaN]],
    ['minTokens', [-1, 0.5, 17]],
    ['logprobs', [-2, 101, 1.5, true]],
    ['promptLogprobs', [-2, 101, Number.NaN]],
    [
      'logitBias',
      [
        { 5: 101 },
        { 5: -101 },
        { 100: 1 },
        { a: 1 },
        { '01': 1 },
        { 5: Number.NaN },
        { 5: '1' },
        { 5: 5n },
        { '1e1': 1 },
        [],
        3,
      ],
    ],
    ['allowedTokenIds', [[], [100], [-1], 'a', Array(3), [5n], { 0: 5, length: 1 }]],
    ['badWords', [[''], 'x', [3]]],
    ['skipSpecialTokens', [0]],
    ['includeStopStrInOutput', ['no']],
    ['cacheSalt', ['', 5]],
  ])('%s out of range is refused by name, with what to do', (param, values) => {
    for (const value of values) {
      const error = refusal({ [param]: value });
      expect([error.code, error.param]).toEqual(['ERR_INVALID_PARAM', param]);
      expect(error.message).toMatch(new RegExp(`^${param} .*must `));
      expect(error).toBeInstanceOf(RangeError);
    }
  });

  test('unknown keys are refused by name', () => {
    const error = refusal({ maxTokens: 3, max_tokens: 4 });
    expect([error.code, error.param]).toEqual(['ERR_INVALID_PARAM', 'max_tokens']);
    expect(error.message).toContain('maxTokens');
  });

  test('something that is no object is refused', () => {
    for (const input of [5, null, [], new Map(), Promise.resolve({})]) {
      expect(refusal(input)).toMatchObject({ code: 'ERR_INVALID_PARAM', param: 'params' });
      expect(refusal(input).message).toMatch(/as an object/);
    }
  });

  test('what throws when it is looked at is refused', () => {
    const stop = new Proxy([], {
      get: () => {
        throw new Error('boom');
      },
    });
    expect(refusal({ stop })).toMatchObject({ code: 'ERR_INVALID_PARAM' });
  });
});

describe('limits of the engine', () => {
  const check = (input: object, more: object) =>
    validateSamplingParams(input, { vocabSize: 100, ...more });
  const refused = (input: object, more: object) => {
    try {
      check(input, more);
    } catch (error) {
      return error as { code: string; param: string; message: string };
    }
    throw new Error('it was accepted');
  };

  test('maxLogprobs: -1 needs -1, or all of the vocabulary', () => {
    for (const name of ['logprobs', 'promptLogprobs']) {
      expect(check({ [name]: 20 }, { maxLogprobs: 20 })).toMatchObject({ [name]: 20 });
      for (const value of [21, -1]) {
        const error = refused({ [name]: value }, { maxLogprobs: 20 });
        expect([error.code, error.param]).toEqual(['ERR_INVALID_PARAM', name]);
        expect(error.message).toMatch(`${name} must be an integer from 0 to 20 `);
        expect(error.message).toContain('maxLogprobs');
      }
      for (const maxLogprobs of [-1, 100, 1000]) {
        expect(check({ [name]: -1 }, { maxLogprobs })).toMatchObject({ [name]: -1 });
        expect(check({ [name]: 100 }, { maxLogprobs })).toMatchObject({ [name]: 100 });
        expect(refused({ [name]: 101 }, { maxLogprobs }).param).toBe(name);
      }
      expect(refused({ [name]: 1 }, { maxLogprobs: 0 }).param).toBe(name);
    }
  });

  const entries = (count: number) => Array.from({ length: count }, (_, i) => i);
  test.each([
    ['stop', (n: number) => entries(n).map(String)],
    ['badWords', (n: number) => entries(n).map(String)],
    ['stopTokenIds', entries],
    ['allowedTokenIds', entries],
    ['logitBias', (n: number) => Object.fromEntries(entries(n).map((i) => [i, 1]))],
  ])('%s has at most maxListLength entries', (name, make) => {
    expect(check({ [name]: make(4) }, { maxListLength: 4 })).toHaveProperty(name);
    const error = refused({ [name]: make(5) }, { maxListLength: 4 });
    expect([error.code, error.param]).toEqual(['ERR_INVALID_PARAM', name]);
    expect(error.message).toMatch(`${name} must have at most 4 entries; the engine option`);
  });

  test('an overlong list is refused by its length: no entry is looked at', () => {
    const stopTokenIds = new Proxy([], {
      get: (_, key) => {
        if (key === 'length') return 1e9;
        throw new Error('looked at');
      },
    });
    expect(refused({ stopTokenIds }, { maxListLength: 4096 }).message).toMatch(/at most 4096/);
  });

  test('a text is no map of its characters', () => {
    const error = refused({ logitBias: 'x'.repeat(100) }, { maxListLength: 4 });
    expect(error.message).toMatch(/^logitBias must map token ids/);
  });

  test('texts have 16 characters an entry, together', () => {
    for (const name of ['stop', 'badWords']) {
      const texts = ['x'.repeat(40), 'y'.repeat(24)];
      expect(check({ [name]: texts }, { maxListLength: 4 })).toHaveProperty(name);
      const error = refused({ [name]: [...texts, 'z'] }, { maxListLength: 4 });
      expect(error.param).toBe(name);
      expect(error.message).toMatch(`${name} must have at most 64 characters together`);
    }
    expect(refused({ stop: 'x'.repeat(65) }, { maxListLength: 4 }).param).toBe('stop');
  });
});

describe('completeParams', () => {
  test('fills in what only the engine knows', () => {
    const params = validateSamplingParams(
      { stopTokenIds: [7, 2], logprobs: -1, promptLogprobs: 3, logitBias: { 5: 1.5 } },
      limits,
    );
    const draw = completeParams(params, { ...limits, eosTokenIds: [2], seed: 11 });
    expect(draw.seed).toBe(11);
    expect([...draw.endTokenIds]).toEqual([2, 7]);
    expect([draw.numLogprobs, draw.numPromptLogprobs]).toEqual([100, 3]);
    expect([[...draw.biasIds], [...draw.biasValues]]).toEqual([[5], [1.5]]);
    expect([draw.needsPrompt, draw.needsOutput, draw.allowedIds]).toEqual([false, false, null]);
  });

  test('ignoreEos takes EOS out of the ending ids; a given seed stays', () => {
    const params = validateSamplingParams({ ignoreEos: true, stopTokenIds: [4], seed: 5 }, limits);
    const draw = completeParams(params, { ...limits, eosTokenIds: [2], seed: 11 });
    expect(draw.eosTokenIds).toEqual([]);
    expect([...draw.endTokenIds]).toEqual([4]);
    expect(draw.seed).toBe(5);
    expect(draw.numLogprobs).toBe(-1);
  });

  const completed = (input: object, context: object = {}) =>
    completeParams(validateSamplingParams(input, limits), {
      ...limits,
      eosTokenIds: [2],
      seed: 0,
      ...context,
    });

  test('ids without a logit are not banned: native would refuse the whole step', () => {
    const draw = completed(
      { minTokens: 1, badWords: ['x'] },
      { eosTokenIds: [2, 100, 2 ** 32 + 5], badWordIds: [[5], [100], [3, 4], [3, 100], []] },
    );
    expect([...draw.endTokenIds]).toEqual([2]);
    expect(draw.badWordIds).toEqual([[5], [3, 4]]);
  });

  test.each([
    [
      'bad words ban all that is allowed',
      { allowedTokenIds: [5, 6] },
      [[5], [6]],
      'allowedTokenIds',
    ],
    ['only EOS before minTokens', { allowedTokenIds: [2], minTokens: 1 }, [], 'allowedTokenIds'],
    [
      'stop ids before minTokens',
      { allowedTokenIds: [7], stopTokenIds: [7], minTokens: 1 },
      [],
      'allowedTokenIds',
    ],
    ['bad words ban all there is', {}, Array.from({ length: 100 }, (_, i) => [i]), 'badWords'],
    [
      'stop ids are all there is',
      { stopTokenIds: Array.from({ length: 100 }, (_, i) => i), minTokens: 1 },
      [],
      'stopTokenIds',
    ],
  ])('%s: refused by name', (_, input, badWordIds, param) => {
    expect(() => completed(input, { badWordIds })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_PARAM', param }),
    );
  });

  test('what leaves one token is fine', () => {
    const badWordIds = [[5], [6, 7], [7, 6]];
    expect(completed({ allowedTokenIds: [5, 6] }, { badWordIds }).badWordIds).toEqual(badWordIds);
    expect(completed({ allowedTokenIds: [2] }).endTokenIds).toHaveLength(1);
  });

  test('penalties say which tokens they look at', () => {
    const needs = (input: object) => {
      const params = validateSamplingParams(input, limits);
      const draw = completeParams(params, { ...limits, eosTokenIds: [], seed: 0 });
      return [draw.needsPrompt, draw.needsOutput];
    };
    expect(needs({ repetitionPenalty: 1.2 })).toEqual([true, true]);
    expect(needs({ presencePenalty: 1 })).toEqual([false, true]);
    expect(needs({ frequencyPenalty: -1 })).toEqual([false, true]);
  });
});
