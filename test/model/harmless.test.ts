import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { EMPTY, Harmless, HF_HARMLESS } from '../../lib/model/harmless.js';
import { hfSpec } from '../../lib/model/read-spec.js';
import { ROOT } from '../support/addon.js';

const DUMPS = JSON.parse(
  readFileSync(join(ROOT, 'test/fixtures/configs/full-dumps.json'), 'utf8'),
) as Record<string, Record<string, unknown>>;

it('a name is harmless at its values and at null', () => {
  const some = new Harmless([
    ['any', 'a b'],
    [[0, 1], ' c\n d '],
    [[EMPTY], 'e'],
    [[], 'f'],
  ]);
  expect(some.has('b', { x: 1 })).toBe(true);
  expect([0, 1, null, 2, '0', false].map((v) => some.has('d', v))).toEqual([
    ...[true, true, true, false, false, false],
  ]);
  expect([{}, [], null, [0], { a: 1 }].map((v) => some.has('e', v))).toEqual([
    ...[true, true, true, false, false],
  ]);
  expect([null, 0, false, undefined].map((v) => some.has('f', v))).toEqual([
    ...[true, false, false, false],
  ]);
  expect(some.has('toString', null)).toBe(false);
});

describe('all defaults of transformers, written out', () => {
  it.each(Object.entries(DUMPS))('%s loads', (name, values) => {
    expect(() => hfSpec(values, name)).not.toThrow();
  });

  it('and a switch that is turned from its default does not', () => {
    const values = Object.values(DUMPS)[0];
    for (const [key, value] of Object.entries(values)) {
      if (typeof value !== 'boolean' || HF_HARMLESS.has(key, !value)) continue;
      if (/_bias$|^tie_word/.test(key)) continue;
      expect(() => hfSpec({ ...values, [key]: !value }, 'c'), key).toThrow(key);
    }
  });
});
