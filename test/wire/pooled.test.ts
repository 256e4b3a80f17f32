import { expect, it } from 'vitest';
import { POOLED_LAYOUT as L } from '../../lib/wire/layout.js';
import { encodePooled } from '../../lib/wire/pooled.js';

it('texts become words, column by column', () => {
  const words = encodePooled({
    texts: [
      { tokenIds: [7, 8, 9], pooling: 'last', longRope: false },
      { tokenIds: Int32Array.of(5), pooling: 'cls', longRope: true },
    ],
  });
  expect([...words]).toEqual([
    ...[L.version, 16, 2, 4, 0, 0],
    ...[3, 1],
    ...[2, 1],
    ...[0, 1],
    ...[7, 8, 9, 5],
  ]);
});

it('types follow where a text has them, then the ids for the head', () => {
  const words = encodePooled({
    texts: [
      { tokenIds: [7, 8], pooling: 'mean', longRope: false },
      { tokenIds: [5, 6], tokenTypes: [0, 1], pooling: 'mean', longRope: false },
    ],
    tokenLogits: [3, 4, 5],
  });
  expect([...words.subarray(L.headerWords + 2 * L.textWords)]).toEqual([
    ...[7, 8, 5, 6],
    ...[0, 0, 0, 1],
    ...[3, 4, 5],
  ]);
  expect([...words.subarray(0, L.headerWords)]).toEqual([L.version, words.length, 2, 4, 1, 3]);
});
