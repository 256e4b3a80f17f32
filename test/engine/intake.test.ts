/** The order of things at the gate: closed, queue, signal, lengths; only then is work done. */
import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from 'vitest';
import { LLM } from '../../lib/index.js';
import { codeOf } from '../support/code-of.js';
import { until } from '../support/until.js';

let llm: LLM;
let encode: MockInstance<LLM['tokenizer']['encodeNow']>;
beforeEach(async () => {
  llm = await LLM.load({ maxNumSeqs: 2, maxNumWaiting: 2, numThreads: 1 });
  encode = vi.spyOn(llm.tokenizer, 'encodeNow');
});
/** Lets go of what `hang` holds, or its slots in the process's queue would be lost. */
let release = () => {};
afterEach(() => {
  release();
  return llm.close();
});

function hang(): void {
  const held = new Promise<number[]>((resolve) => {
    release = () => resolve([5]);
  });
  encode.mockReturnValue(held);
}

const SHORT = { maxTokens: 3, temperature: 0 };
const LONG = { maxTokens: 900, ignoreEos: true };

describe('nothing is tokenized', () => {
  it('of a text that the longest token could not bring into the context', async () => {
    expect(await llm.tokenizer.longestToken()).toBe(16);
    for (const length of [1024 * 16 + 1, 2e6, 3e7]) {
      expect(await codeOf(llm.generate(' '.repeat(length), SHORT))).toBe('ERR_PROMPT_TOO_LONG');
    }
    const messages = [{ role: 'user', content: 'The whale '.repeat(1e5) }];
    expect(await codeOf(llm.chat(messages, SHORT))).toBe('ERR_PROMPT_TOO_LONG');
    expect(encode).not.toHaveBeenCalled();
    // As long as may be: then tokens count.
    expect(await codeOf(llm.generate('x'.repeat(1024 * 16), SHORT))).toBe('ERR_PROMPT_TOO_LONG');
    expect(encode).toHaveBeenCalledOnce();
  });

  it('when the queue is full, the signal has aborted or the model is closed', async () => {
    const running = llm.generate({ promptTokenIds: [5] }, { ...LONG, n: 2 });
    await until(() => expect(llm.stats().numRequestsRunning).toBe(1));
    const waiting = [1, 2].map(() => llm.generate({ promptTokenIds: [6] }, SHORT));
    await until(() => expect(llm.stats().numRequestsWaiting).toBe(2));
    expect(await codeOf(llm.generate('A', SHORT))).toBe('ERR_OVERLOADED');
    await Promise.all([running, ...waiting]);
    const aborted = { signal: AbortSignal.abort() };
    expect(await codeOf(llm.generate('A', SHORT, aborted))).toBe('ERR_ABORTED');
    expect(await codeOf(llm.generate(['A'], SHORT, aborted))).toBe('ERR_ABORTED');
    await llm.close();
    for (const prompt of ['A', ['A'], [], 5]) {
      expect(await codeOf(llm.generate(prompt as string, SHORT))).toBe('ERR_CLOSED');
    }
    expect(encode).not.toHaveBeenCalled();
  });

  it('of a request that can never run', async () => {
    expect(await codeOf(llm.generate('A', { n: 3 }))).toBe('ERR_REQUEST_TOO_LARGE');
    expect(await codeOf(llm.generate('A', SHORT, { priority: 1 }))).toBe('ERR_INVALID_PARAM');
    expect(encode).not.toHaveBeenCalled();
  });
});

describe('while a text is tokenized', () => {
  beforeEach(hang);

  it('its time runs, and its signal counts', async () => {
    expect(await codeOf(llm.generate('A', SHORT, { timeoutMs: 5 }))).toBe('ERR_TIMEOUT');
    const controller = new AbortController();
    const { signal } = controller;
    const calls = [1, 2].map(() => codeOf(llm.generate('A', SHORT, { signal })));
    await until(() => expect(encode).toHaveBeenCalledTimes(3));
    controller.abort();
    expect(await Promise.all(calls)).toEqual(['ERR_ABORTED', 'ERR_ABORTED']);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('it has its place in the queue, which is given up with it', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const calls = [1, 2, 3].map(() => codeOf(llm.generate('A', SHORT, { signal })));
    expect(await calls[2]).toBe('ERR_OVERLOADED');
    controller.abort();
    expect(await Promise.all(calls.slice(0, 2))).toEqual(['ERR_ABORTED', 'ERR_ABORTED']);
    expect((await llm.generate({ promptTokenIds: [5] }, SHORT)).finished).toBe(true);
  });
});

it('a prompt that cannot be read is none', async () => {
  const boom = () => {
    throw new Error('boom');
  };
  const ids = new Proxy([5, 6], {
    get: (list, key) => (key === '1' ? boom() : list[key as never]),
  });
  const prompt = Object.defineProperty({}, 'prompt', { get: boom, enumerable: true });
  for (const none of [{ promptTokenIds: ids }, prompt]) {
    expect(await codeOf(llm.generate(none as never))).toBe('ERR_INVALID_PROMPT');
  }
});

it('ten million ids are refused by their number', async () => {
  const most = new Proxy([], { get: (_, key) => (key === 'length' ? 1e7 : expect.fail()) });
  expect(await codeOf(llm.generate({ promptTokenIds: most }))).toBe('ERR_PROMPT_TOO_LONG');
  const typed = { promptTokenIds: Int32Array.of(5, 6, 7) };
  expect((await llm.generate(typed, SHORT)).promptTokenIds).toEqual([5, 6, 7]);
});

it('a stream that nobody reads on keeps no deadline when its request has ended', async () => {
  const controller = new AbortController();
  const { signal } = controller;
  const stream = llm.stream('A', { maxTokens: 5, ignoreEos: true }, { signal, timeoutMs: 1e9 });
  await stream.next();
  await until(() => expect(getEventListeners(signal, 'abort')).toEqual([]));
  await stream.return(undefined);
});

it('many calls share a signal, and Node does not warn', async () => {
  const warnings: Error[] = [];
  const warn = (warning: Error) => warnings.push(warning);
  process.on('warning', warn);
  const { signal } = new AbortController();
  const batch = llm.generate(Array(20).fill('A'), SHORT, { signal });
  const all = Array.from({ length: 20 }, () => codeOf(llm.generate('A', SHORT, { signal })));
  await Promise.all([batch, ...all]);
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', warn);
  expect(warnings).toEqual([]);
});
