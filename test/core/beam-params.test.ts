import { describe, expect, it } from 'vitest';
import {
  type BeamSearchParams,
  completeBeamParams,
  isBeamSearch,
} from '../../lib/core/beam-params.js';

const context = { vocabSize: 100, eosTokenIds: [99], seed: 3 };
const complete = (input: object) => completeBeamParams(input as BeamSearchParams, context);

function refusal(input: object): { code: string; param: string; message: string } {
  try {
    complete(input);
  } catch (error) {
    return error as { code: string; param: string; message: string };
  }
  throw new Error('it was accepted');
}

describe('parameters of a beam search', () => {
  it('are told from sampling by beamWidth', () => {
    expect(isBeamSearch({ beamWidth: 2 })).toBe(true);
    expect(isBeamSearch({ n: 2 })).toBe(false);
    expect(isBeamSearch({ beamWidth: undefined, n: 2 })).toBe(false);
    expect(isBeamSearch(null)).toBe(false);
    expect(isBeamSearch(undefined)).toBe(false);
  });

  it('have defaults, and lists as long as the candidates', () => {
    const params = complete({ beamWidth: 3 });
    expect(params.beam).toEqual({ width: 3, lengthPenalty: 1, earlyStopping: false });
    expect(params).toMatchObject({ n: 3, maxTokens: 16, temperature: 0, numLogprobs: 6 });
    expect(complete({ beamWidth: 3, stopTokenIds: [5, 6, 6] }).numLogprobs).toBe(12);
    expect(complete({ beamWidth: 3, ignoreEos: true, stopTokenIds: [5] }).numLogprobs).toBe(6);
    expect(complete({ beamWidth: 60 }).numLogprobs).toBe(100);
    expect(Object.isFrozen(params) && Object.isFrozen(params.beam)).toBe(true);
  });

  it.each([
    [{ beamWidth: 0 }, 'beamWidth'],
    [{ beamWidth: 65 }, 'beamWidth'],
    [{ beamWidth: 2.5 }, 'beamWidth'],
    [{ beamWidth: '4' }, 'beamWidth'],
    [{ beamWidth: undefined }, 'beamWidth'],
    [{ beamWidth: 2, lengthPenalty: Number.NaN }, 'lengthPenalty'],
    [{ beamWidth: 2, lengthPenalty: 1000 }, 'lengthPenalty'],
    [{ beamWidth: 2, earlyStopping: 'sometimes' }, 'earlyStopping'],
    [{ beamWidth: 2, maxTokens: 0 }, 'maxTokens'],
    [{ beamWidth: 2, stopTokenIds: [100] }, 'stopTokenIds'],
    [{ beamWidth: 2, temperature: 1 }, 'temperature'],
    [{ beamWidth: 2, n: 2 }, 'n'],
    [{ beamWidth: 2, minTokens: 20 }, 'minTokens'],
  ])('%j is refused by name', (input, param) => {
    const error = refusal(input);
    expect(error).toMatchObject({ code: 'ERR_INVALID_PARAM', param });
    expect(error.message).toContain(param);
  });

  it.each(['toString', 'constructor', 'hasOwnProperty', '__proto__'])('%s is no name', (name) => {
    const input = JSON.parse(`{"beamWidth": 2, "${name}": 5}`);
    expect(refusal(input)).toMatchObject({ code: 'ERR_INVALID_PARAM', param: name });
  });

  it('so many ending ids that each step would list thousands of candidates are refused', () => {
    const large = { ...context, vocabSize: 10_000 };
    const stopTokenIds = Array.from({ length: 62 }, (_, i) => i);
    const params = (ids: number[]) =>
      completeBeamParams({ beamWidth: 64, stopTokenIds: ids }, large);
    expect(params(stopTokenIds).numLogprobs).toBe(4096);
    expect(() => params([...stopTokenIds, 62])).toThrow(
      expect.objectContaining({
        param: 'stopTokenIds',
        message: expect.stringContaining('at most 63 ids with beamWidth 64'),
      }),
    );
  });
});
