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
