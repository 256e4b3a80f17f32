import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { checkStructuredOutputs } from '../../lib/core/structured-shape.js';

function refusal(given: unknown): string {
  try {
    checkStructuredOutputs(given);
  } catch (error) {
    const { code, param, message } = error as { code: string; param: string; message: string };
    expect({ code, param }).toEqual({ code: 'ERR_INVALID_PARAM', param: 'structuredOutputs' });
    return message;
  }
  throw new Error(`${JSON.stringify(given)} was accepted`);
}

describe('checkStructuredOutputs', () => {
  test.each([
    { json: { type: 'string' } },
    { json: true },
    { json: '{"type": "string"}', disableAnyWhitespace: true, strict: false },
    { json: z.object({ a: z.string() }), disableAdditionalProperties: true },
    { regex: 'a+', jsonObject: false },
    { choice: ['', 'a'] },
    { grammar: 'root ::= "a"' },
    { jsonObject: true, whitespacePattern: ' ?' },
    { structuralTag: { type: 'structural_tag' } },
  ])('takes %j', (given) => {
    const taken = checkStructuredOutputs(given);
    expect(taken).toEqual(given);
    expect(Object.isFrozen(taken)).toBe(true);
  });

  test.each([
    [{}, /exactly one of json, regex, choice/],
    [{ jsonObject: false }, /exactly one/],
    [{ json: {}, regex: 'a' }, /exactly one/],
    [{ jsonObject: true, choice: ['a'] }, /exactly one/],
    [{ json: null }, /\.json must be a JSON Schema/],
    [{ json: [] }, /\.json must be/],
    [{ json: 5 }, /\.json must be/],
    [{ json: '' }, /\.json must be/],
    [{ regex: '' }, /\.regex must be a string that is not empty/],
    [{ choice: [] }, /\.choice must be an array of strings, at least one/],
    [{ choice: ['a', 5] }, /\.choice must be/],
    [{ choice: 'a' }, /\.choice must be/],
    [{ grammar: 5 }, /\.grammar must be/],
    [{ structuralTag: true }, /\.structuralTag must be/],
    [{ regex: 'a', strict: 1 }, /\.strict must be true or false/],
    [{ regexp: 'a' }, /has no member "regexp"; known are json, regex/],
    ['a', /must be an object/],
    [null, /must be an object/],
  ])('refuses %j', (given, sentence) => {
    expect(refusal(given)).toMatch(sentence);
  });
});
