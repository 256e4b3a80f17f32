import { expect, it } from 'vitest';
import type { DeltaEvent, EndEvent } from '../../lib/server/engine-events.js';
import { Mailbox } from '../../lib/server/mailbox.js';

const delta = (text: string, sample = 0): DeltaEvent => ({
  ...{ type: 'delta', prompt: 0, sample, text, tokenIds: [text.length] },
  ...{ pieces: [{ type: 'content', text }], numReasoningTokens: 0 },
});
const end: EndEvent = { type: 'end', prompt: 0, sample: 0, reason: 'stop', stopReason: null };

it('what comes before its reader is woken comes with it', async () => {
  const box = new Mailbox(1000);
  const taken = box.take();
  for (const text of ['a', 'b', 'c']) box.push(delta(text));
  box.push(delta('x', 1));
  expect(await taken).toEqual([{ ...delta('abc'), tokenIds: [1, 1, 1] }, delta('x', 1)]);
});

it('who wants all waits for the end, or for what went wrong', async () => {
  const box = new Mailbox(1000);
  let isThere = false;
  const all = box.takeAll().finally(() => {
    isThere = true;
  });
  box.push(delta('a'));
  await new Promise(setImmediate);
  box.push(delta('b'));
  box.push(end);
  await new Promise(setImmediate);
  expect(isThere).toBe(false);
  box.end();
  expect(await all).toEqual([{ ...delta('ab'), tokenIds: [1, 1] }, end]);
  expect(await box.takeAll()).toBeNull();
  for (const isLate of [false, true]) {
    const failed = new Mailbox(1000);
    if (isLate) failed.fail(new Error('gone'));
    const asked = failed.takeAll();
    failed.push(delta('a'));
    failed.fail(new Error('gone'));
    await expect(asked).rejects.toThrow('gone');
  }
});

it('holds what follows the first token of a sample until so many have come, or an end', async () => {
  const box = new Mailbox(1000, 3);
  const isTaken = async (taken: Promise<unknown>) => {
    await new Promise(setImmediate);
    return Promise.race([taken.then(() => true), Promise.resolve(false)]);
  };
  const ids = (events: unknown) => (events as DeltaEvent[]).map((event) => event.tokenIds?.length);
  box.push(delta('a'));
  expect(ids(await box.take())).toEqual([1]);
  const three = box.take();
  box.push(delta('b'));
  box.push(delta('c'));
  expect(await isTaken(three)).toBe(false);
  // Another sample's first token takes along what waits.
  box.push(delta('x', 1));
  expect(ids(await three)).toEqual([2, 1]);
  const more = box.take();
  for (const text of ['d', 'e']) box.push(delta(text));
  box.push(delta('y', 1));
  expect(await isTaken(more)).toBe(false);
  box.push(delta('f'));
  expect(ids(await more)).toEqual([3, 1]);
  const last = box.take();
  box.push(delta('g'));
  expect(await isTaken(last)).toBe(false);
  box.push(end);
  expect(await last).toEqual([{ ...delta('g') }, end]);
});

it('one who would be given up is told at once, however much is to be waited for', async () => {
  const box = new Mailbox(10, 1000);
  box.push(delta('a'));
  await box.take();
  const taken = box.take();
  box.push(delta('b'.repeat(8)));
  expect([box.push(delta('c'.repeat(16))), await box.staysFull()]).toEqual([false, false]);
  expect(await taken).toHaveLength(1);
});
