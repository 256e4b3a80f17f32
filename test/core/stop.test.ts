import { describe, expect, test } from 'vitest';
import type { SamplingParams } from '../../lib/core/sampling-params.js';
import type { Sequence } from '../../lib/core/sequence.js';
import { decideEnd, type FindStop } from '../../lib/core/stop.js';
import { EOS, group } from '../support/core.js';

/** Appends tokens until one ends the sequence; says how, and what was asked. */
function run(tokens: number[], input: SamplingParams, stringAt = -1, maxModelLen = 100) {
  const sequence = group('g', [1, 2, 3], input).sequences[0];
  sequence.endsAt = Math.min(3 + sequence.group.params.maxTokens, maxModelLen);
  const asked: number[] = [];
  const findStop: FindStop = (s: Sequence) => {
    asked.push(s.numOutputTokens);
    return s.numOutputTokens === stringAt ? 'END' : null;
  };
  const ended = tokens.findIndex((token, i) => {
    sequence.append(token);
    return decideEnd(sequence, i, findStop);
  });
  return { at: ended + 1, why: sequence.finishReason, by: sequence.stopReason, asked };
}

describe('decideEnd', () => {
  test('EOS ends without asking for stop strings', () => {
    expect(run([5, EOS], {})).toEqual({ at: 2, why: 'stop', by: null, asked: [1] });
  });

  test('EOS may be ignored, and then joins the text', () => {
    const outcome = run([5, EOS, 6], { ignoreEos: true, maxTokens: 3 });
    expect(outcome).toEqual({ at: 3, why: 'length', by: null, asked: [1, 2, 3] });
  });

  test('stop ids are named as the reason; an EOS that is also one counts as EOS', () => {
    const stopTokenIds = [8, EOS];
    expect(run([5, 8], { stopTokenIds })).toEqual({ at: 2, why: 'stop', by: 8, asked: [1] });
    expect(run([EOS], { stopTokenIds }).by).toBeNull();
    expect(run([EOS], { stopTokenIds, ignoreEos: true }).by).toBe(EOS);
  });

  test('length by maxTokens and by the context', () => {
    expect(run([5, 5, 5], { maxTokens: 2 })).toEqual({
      at: 2,
      why: 'length',
      by: null,
      asked: [1, 2],
    });
    expect(run([5, 5, 5], { maxTokens: 50 }, -1, 5).at).toBe(2);
  });

  test('a stop string outranks length, EOS outranks both', () => {
    expect(run([5, 5], { maxTokens: 2 }, 2)).toEqual({
      at: 2,
      why: 'stop',
      by: 'END',
      asked: [1, 2],
    });
    expect(run([5, EOS], { maxTokens: 2 }, 2).by).toBeNull();
  });

  test('the minTokens gate holds EOS, stop ids and strings back, never length', () => {
    const input = { minTokens: 3, stopTokenIds: [8] };
    expect(run([EOS, 8, 5, 8], input, 1)).toEqual({
      at: 4,
      why: 'stop',
      by: 8,
      asked: [1, 2, 3],
    });
    expect(run([5, 5, EOS], input).at).toBe(3);
    expect(run([5, 5, 5], input, 3).by).toBe('END');
    expect(run([5, 5, 5, 5], { minTokens: 3, maxTokens: 3 }).why).toBe('length');
    expect(run([5, 5, 5], { minTokens: 9 }, 1, 5)).toMatchObject({ at: 2, why: 'length' });
  });
});
