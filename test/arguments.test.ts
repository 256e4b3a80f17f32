import { describe, expect, it } from 'vitest';
import { readArgument, shown, takeList, takeObject, takeOptions } from '../lib/arguments.js';
import { octavoError } from '../lib/errors.js';

const boom = () => {
  throw new Error('boom');
};
const hostile = new Proxy({}, { get: boom, ownKeys: boom, has: boom, getPrototypeOf: boom });
const getter = Object.defineProperty({}, 'a', { get: boom, enumerable: true });

describe('takeObject', () => {
  it('copies plain objects, whatever their realm', () => {
    const given = { a: 1, b: undefined };
    const taken = takeObject(given, 'options', 'options');
    expect(taken).toEqual(given);
    expect(taken).not.toBe(given);
    expect(takeObject(Object.assign(Object.create(null), { a: 1 }), 'x', 'x')).toEqual({ a: 1 });
    expect(Object.keys(takeObject(JSON.parse('{"__proto__": 5}'), 'x', 'x'))).toEqual([
      '__proto__',
    ]);
  });

  it.each<[string, () => unknown]>([
    ['null', () => null],
    ['undefined', () => undefined],
    ['a number', () => 5],
    ['text', () => 'text'],
    ['an array', () => []],
    ['a map', () => new Map()],
    ['a date', () => new Date()],
    ['a promise', () => Promise.resolve({})],
    ['a function', () => () => {}],
    ['a proxy that throws', () => hostile],
    ['a getter that throws', () => getter],
  ])('refuses %s', (_, make) => {
    const value = make();
    const take = () => takeObject(value, 'sampling parameters', 'params');
    expect(take).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_PARAM',
        param: 'params',
        message: 'sampling parameters must be given as an object',
      }),
    );
  });
});

it('takeOptions names what it does not know', () => {
  const take = (value: unknown) => takeOptions(value, 'encode()', ['a', 'b']);
  expect(take({ a: 1 })).toEqual({ a: 1 });
  expect(() => take({ a: 1, c: 2 })).toThrow(
    expect.objectContaining({
      code: 'ERR_INVALID_PARAM',
      param: 'c',
      message: 'encode() has no option "c"; known are a, b',
    }),
  );
});

it('readArgument makes a coded error of whatever reading throws', () => {
  const error = (cause: unknown) => octavoError('ERR_INVALID_PROMPT', 'no prompt', { cause });
  expect(readArgument(() => 5, error)).toBe(5);
  expect(() => readArgument(boom, error)).toThrow(
    expect.objectContaining({ code: 'ERR_INVALID_PROMPT' }),
  );
  const refuse = () => {
    throw octavoError('ERR_PROMPT_TOO_LONG', 'too long');
  };
  expect(() => readArgument(refuse, error)).toThrow('too long');
});

it('takeList copies, holes too, and refuses what cannot be read', () => {
  // biome-ignore lint/suspicious/noSparseArray: a hole is what this is about
  const given = [1, , 3];
  const taken = takeList(given, 'prompts');
  given.length = 0;
  expect(taken).toEqual([1, undefined, 3]);
  expect(1 in taken).toBe(true);
  expect(() => takeList(new Proxy([1], { get: boom }), 'prompts')).toThrow(
    expect.objectContaining({ code: 'ERR_INVALID_PARAM', param: 'prompts' }),
  );
});

it('values are shown in short, and nothing of theirs is run', () => {
  const values = [5, -0.5, null, undefined, true, 5n, 'x'.repeat(1000), Symbol('s'), hostile, boom];
  expect(values.map(shown)).toEqual([
    ...['5', '-0.5', 'null', 'undefined', 'true', '5'],
    JSON.stringify('x'.repeat(60)),
    ...['of type symbol', 'of type object', 'of type function'],
  ]);
  expect(shown(Object.create(null))).toBe('of type object');
});
