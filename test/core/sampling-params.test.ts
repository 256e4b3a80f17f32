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
    ['repetitionPenalty', [0, -1, Number.NaN, Number.POSITIVE_INFINITY]],
    ['seed', [-1, 0.5, 2 ** 53, Number.NaN, 3n]],
    ['stop', ['', [''], [1], 5, null]],
    ['stopTokenIds', [[-1], [100], [1.5], 5, ['1']]],
    ['ignoreEos', [1, 'true', null]],
    ['maxTokens', [0, -1, 1.5, Number.POSITIVE_INFINITY, Number.NaN]],
    ['minTokens', [-1, 0.5, 17]],
    ['logprobs', [-2, 101, 1.5, true]],
    ['promptLogprobs', [-2, 101, Number.NaN]],
    [
      'logitBias',
      [{ 5: 101 }, { 5: -101 }, { 100: 1 }, { a: 1 }, { '01': 1 }, { 5: Number.NaN }, 3],
    ],
    ['allowedTokenIds', [[], [100], [-1], 'a']],
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
    expect(refusal(5).message).toMatch(/as an object/);
    expect(refusal([]).code).toBe('ERR_INVALID_PARAM');
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
