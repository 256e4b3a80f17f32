import { expect, it } from 'vitest';
import { Fields } from '../../lib/model/fields.js';
import { EMPTY, Harmless } from '../../lib/model/harmless.js';

const fields = (values: object) => new Fields('c.json', values as Record<string, unknown>, 'p.');

it('reads typed values with defaults', () => {
  const f = fields({ n: 3, b: false, s: 'x', i: [1, 2], nothing: null });
  expect(f.integer('n', 1, 5)).toBe(3);
  expect(f.number('absent', 0, 1, 0.5)).toBe(0.5);
  expect(f.number('nothing', 0, 1, 0.5)).toBe(0.5);
  expect(f.boolean('b', true)).toBe(false);
  expect(f.string('s')).toBe('x');
  expect(f.ids('i')).toEqual([1, 2]);
  expect(f.ids('n')).toEqual([3]);
  expect(f.ids('absent')).toEqual([]);
  expect(fields({ i: Array(1024).fill(2 ** 31 - 1) }).ids('i')).toHaveLength(1024);
});

it('names file and field of what is wrong', () => {
  const large = { many: Array(1025).fill(1), large: 2 ** 32 + 5 };
  const f = fields({ n: 'x', h: 1.5, big: 1e9, b: 1, s: 5, i: [-1], nan: Number.NaN, ...large });
  for (const call of [
    () => f.number('n', 0, 1),
    () => f.number('absent', 0, 1),
    () => f.number('nan', 0, 1),
    () => f.integer('h', 0, 5),
    () => f.integer('big', 0, 5),
    () => f.boolean('b', true),
    () => f.string('s'),
    () => f.ids('i'),
    () => f.ids('many'),
    () => f.ids('large'),
  ]) {
    expect(call).toThrow(/^c\.json: p\.\w+ /);
    expect(call).toThrow(expect.objectContaining({ code: 'ERR_MODEL_FORMAT' }));
  }
});

it('knows what nobody has read, whatever it says', () => {
  const f = fields({ read: 1, any: 'x', off: false, on: true, none: null, empty: {}, odd: false });
  f.raw('read');
  const harmless = new Harmless([
    ['any', 'any'],
    [[false], 'off on none'],
    [[EMPTY], 'empty'],
  ]);
  expect(f.unread(harmless)).toEqual(['on', 'odd']);
});

it('has defaults for what is absent, not for what is null', () => {
  const f = fields({ there: 1, nothing: null });
  f.defaults({ there: 2, nothing: 3, absent: 4 });
  expect(['there', 'nothing', 'absent', 'other'].map((name) => f.integer(name, 0, 9, 5))).toEqual([
    ...[1, 5, 4, 5],
  ]);
  expect(f.known('absent', 0, 9, 5) + f.known('other', 0, 9, 5)).toBe(9);
  expect(() => f.known('nothing', 0, 9, 5)).toThrow(/nothing is null/);
  expect(f.wasRead('absent')).toBe(true);
  expect(fields({ a: 1 }).wasRead('a')).toBe(false);
  f.defaults({ absent: 6, other: 7 }); // of a family that this one is a kind of
  expect([f.integer('absent', 0, 9), f.integer('other', 0, 9)]).toEqual([4, 7]);
});

it('reads objects, and lists with a number for each layer', () => {
  const f = fields({ o: { n: 3 }, list: [1, 2], typed: Int32Array.of(4, 5), one: 7, no: null });
  expect(f.within('o')?.integer('n', 0, 9)).toBe(3);
  expect([f.within('no'), f.within('absent')]).toEqual([undefined, undefined]);
  expect(() => f.within('o')?.string('n')).toThrow('c.json: p.o.n is 3');
  expect(() => f.object('list')).toThrow(/p\.list must be an object/);
  expect(f.perLayer('list', 2, 0, 9)).toEqual([1, 2]);
  expect(f.perLayer('typed', 2, 0, 9)).toEqual([4, 5]);
  expect(f.perLayer('one', 2, 0, 9)).toEqual([7, 7]);
  expect(f.perLayer('absent', 2, 0, 9, 1)).toEqual([1, 1]);
  for (const [count, high] of [
    [3, 9],
    [2, 1],
  ]) {
    expect(() => f.perLayer('list', count, 0, high)).toThrow(/p\.list .* each of \d layers/);
  }
});

it('reads lists of layers, each once', () => {
  const f = fields({
    some: [3, 0],
    none: [],
    no: null,
    high: [4],
    twice: [1, 1],
    word: ['1'],
    one: 2,
  });
  expect(f.layers('some', 4)).toEqual([3, 0]);
  expect(['none', 'no', 'absent'].map((name) => f.layers(name, 4))).toEqual([[], [], []]);
  for (const name of ['high', 'twice', 'word', 'one']) {
    expect(() => f.layers(name, 4)).toThrow(`p.${name} is not a list of layers from 0 to 3`);
  }
});

it('shows what is wrong shortly, however long or deep it is', () => {
  let deep: unknown[] = [];
  for (let i = 0; i < 1e5; i++) deep = [deep];
  for (const value of [deep, 'x'.repeat(5e7), { a: deep }]) {
    const f = fields({ n: value });
    const [error] = [() => f.number('n', 0, 1), () => f.boolean('n', true)].map((call) => {
      try {
        return call();
      } catch (thrown) {
        return thrown as Error;
      }
    });
    expect(error).toMatchObject({ code: 'ERR_MODEL_FORMAT' });
    expect((error as Error).message.length).toBeLessThan(200);
  }
});
