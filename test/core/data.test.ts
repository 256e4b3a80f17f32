import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { z as z3 } from 'zod/v3';
import { takeData } from '../../lib/core/data.js';

class Point {
  x = 1;
}
const cyclic: Record<string, unknown> = { a: { b: [] } };
(cyclic.a as { b: unknown[] }).b.push(cyclic);
const shared = { type: 'string' };

describe('takeData', () => {
  test.each([
    [null],
    [true],
    ['é"'],
    [-1.5],
    [[1, [], {}]],
    [{ type: 'object', properties: { a: shared, b: shared } }],
    [Object.assign(Object.create(null), { a: 1 })],
    [JSON.parse('{"__proto__": {"a": 1}, "1": 2}')],
  ])('copies %j', (value) => {
    const taken = takeData(value, 1_000);
    expect(taken).toEqual({ data: value });
    if (typeof value === 'object' && value !== null) {
      expect((taken as { data: unknown }).data).not.toBe(value);
    }
  });

  test('leaves out what JSON.stringify leaves out of objects', () => {
    expect(takeData({ a: undefined, [Symbol('kind')]: 1, b: 2 }, 100)).toEqual({ data: { b: 2 } });
  });

  test('reads each member once', () => {
    let reads = 0;
    const value = {
      get a() {
        return ++reads;
      },
    };
    expect(takeData(value, 100)).toEqual({ data: { a: 1 } });
  });

  test.each<[unknown, string, RegExp]>([
    [new Map(), '', /^a Map$/],
    [{ enum: [1, new Set()] }, '/enum/1', /^a Set$/],
    [{ 'a/b~': { c: new Date() } }, '/a~1b~0/c', /^a Date$/],
    [{ a: () => 1 }, '/a', /^a function$/],
    [{ toJSON: () => 1 }, '/toJSON', /^a function$/],
    [{ a: 10n }, '/a', /^a bigint$/],
    [{ a: Symbol('b') }, '/a', /^a symbol$/],
    [[undefined], '/0', /^undefined$/],
    [new Array(2), '/0', /^undefined$/],
    [{ maximum: Number.POSITIVE_INFINITY }, '/maximum', /^Infinity$/],
    [{ maximum: Number.NaN }, '/maximum', /^NaN$/],
    [{ a: [new Point()] }, '/a/0', /^a Point$/],
    [{ a: new Uint8Array(2) }, '/a', /^a Uint8Array$/],
    [{ a: Object.create({ inherited: 1 }) }, '/a', /^a Object$|^no plain object$/],
    [cyclic, '/a/b/0', /contains itself/],
    [{ properties: { a: z.string() } }, '/properties/a', /a zod schema/],
    [z3.object({ a: z3.number() }), '', /zod 3/],
    [{ properties: { a: z3.number() } }, '/properties/a', /zod 3/],
  ])('refuses %o at %s', (value, pointer, what) => {
    expect(takeData(value, 10_000)).toEqual({ pointer, what: expect.stringMatching(what) });
  });

  test('looks at no more than so many bytes, and no deeper than is sensible', () => {
    let reads = 0;
    const item = {
      get a() {
        reads++;
        return 'x'.repeat(100);
      },
    };
    expect(takeData(new Array(1_000).fill(item), 2_000)).toBe('too large');
    expect(reads).toBeLessThan(25);
    expect(takeData('é'.repeat(60), 100)).toBe('too large');
    let deep: unknown = [];
    for (let i = 0; i < 100_000; i++) deep = [deep];
    expect(takeData(deep, 1e9)).toBe('too large');
  });
});
