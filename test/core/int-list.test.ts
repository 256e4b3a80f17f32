import { expect, test } from 'vitest';
import { IntList } from '../../lib/core/int-list.js';
import { range } from '../support/core.js';

test('grows as it is filled, and keeps what it had', () => {
  const list = new IntList(2);
  for (const item of range(5)) list.push(item);
  list.append([9, 10, 11, 12, 13], 1, 4);
  expect([...list.view]).toEqual([0, 1, 2, 3, 4, 10, 11, 12]);
  expect([list.length, list.at(5)]).toEqual([8, 10]);
});

test('is cut back, and filled again in the same memory', () => {
  const list = new IntList(4);
  list.append(range(4), 0, 4);
  const { buffer } = list.view;
  list.cut(1);
  list.push(7);
  expect([...list.view]).toEqual([0, 7]);
  expect(list.view.buffer).toBe(buffer);
});
