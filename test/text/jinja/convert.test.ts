import { expect, it } from 'vitest';
import { fromJs } from '../../../lib/text/jinja/convert.js';
import { str } from '../../../lib/text/jinja/printing.js';
import { budgeted, checkExpressions, outcome } from './support.js';

checkExpressions('ctx', 'messages');

it('takes values as JSON would carry them to Python', () => {
  class Mine {
    key = 1;
    get hidden() {
      return 2;
    }
  }
  const given = {
    a: 1,
    b: 1.5,
    c: -0,
    d: undefined,
    e: [undefined, null],
    f: 1e21,
    g: 2 ** 60,
    h: 5n,
    i: new Mine(),
  };
  const text =
    "{'a': 1, 'b': 1.5, 'c': 0, 'e': [None, None], 'f': 1e+21, 'g': 1152921504606846976, 'h': 5, 'i': {'key': 1}}";
  expect(budgeted(() => str(fromJs(given)))).toBe(text);
});

it('names what it does not pass on, and takes a Map in its order', () => {
  const given = new Map<string, unknown>([
    ['10', () => 1],
    ['9', new Uint8Array(2)],
    ['z', Symbol('x')],
    ['t', new Date(0)],
  ]);
  expect(budgeted(() => str(fromJs(given)))).toBe(
    "{'10': '<function>', '9': '<Uint8Array>', 'z': '<symbol>', 't': '1970-01-01T00:00:00.000Z'}",
  );
});

it('ends at a circle', () => {
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  expect(() => fromJs(circle)).toThrow(expect.objectContaining({ kind: 'limit' }));
});

const limit = expect.objectContaining({ kind: 'limit' });

it('ends at nesting and at numbers that are too much', () => {
  let deep: unknown[] = [];
  for (let i = 0; i < 100_000; i++) deep = [deep];
  expect(() => fromJs(deep)).toThrow(limit);
  expect(() => fromJs(new Array(1e9))).toThrow(limit);
  const self = { toJSON: () => ({ toJSON: self.toJSON }) };
  expect(() => fromJs(self)).toThrow(limit);
  const grow = (depth: number): unknown =>
    depth === 0 ? 1 : { toJSON: () => [grow(depth - 1), grow(depth - 1)] };
  expect(() => fromJs(grow(60))).toThrow(limit);
  expect(() => fromJs(10n ** 4300n)).toThrow(expect.objectContaining({ kind: 'value' }));
  expect(fromJs(10n ** 4300n - 1n)).toBe(10n ** 4300n - 1n);
});

it('takes once what is there more than once, and holes as null', () => {
  let shared: unknown[] = [1];
  for (let i = 0; i < 100; i++) shared = [shared, shared];
  const size = { parts: 0, text: 0 };
  fromJs(shared, size);
  expect(size.parts).toBeLessThan(300);
  // biome-ignore lint/suspicious/noSparseArray: it is about that
  expect(fromJs([1, , 2])).toEqual([1, null, 2]);
});

it('fails in words where a value throws when it is read', () => {
  const thrower = (error: unknown) => ({
    get x() {
      throw error;
    },
  });
  expect(outcome('{{ v }}', { v: thrower(new Error('not now')) })).toBe('value: not now');
  expect(outcome('{{ v }}', { v: thrower(Object.create(null)) })).toMatch(/^value: /);
  expect(outcome('{{ v }}', { v: { toJSON: () => thrower(1).x } })).toBe('value: 1');
  expect(outcome('{{ v }}', { v: new Set([1]) })).toBe('<Set>');
  expect(outcome('{{ v }}', { v: new Date(Number.NaN) })).toBe('None');
});

it('takes boxed values as JSON does', () => {
  const boxed = [new String('a'), Object(1), Object(false)];
  expect(fromJs(boxed)).toEqual(['a', 1, false]);
});
