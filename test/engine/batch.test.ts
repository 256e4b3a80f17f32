/** Batches: any size, a share of the queue, one error ends them. */
import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { isOctavoError, LLM } from '../../lib/index.js';
import { until } from '../support/until.js';

/** Runs two sequences at once; ten requests may wait, so two of batches. */
let llm: LLM;
beforeEach(async () => {
  llm = await LLM.load({ maxNumSeqs: 2, maxNumWaiting: 10, numThreads: 1 });
});
afterEach(() => llm.close());

const SHORT = { temperature: 0, maxTokens: 3, ignoreEos: true } as const;
const LONG = { maxTokens: 900, ignoreEos: true } as const;
const ids = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ promptTokenIds: [5 + i] }));

async function failure(call: Promise<unknown>) {
  const error = await call.then(
    () => expect.fail('it did not fail'),
    (cause: unknown) => cause,
  );
  if (!isOctavoError(error)) throw error;
  return error as typeof error & { promptIndex?: number };
}

/** Nothing is encoded before the function that this returns is called. */
function hang(): () => void {
  let go = () => {};
  const held = new Promise<number[]>((resolve) => {
    go = () => resolve([5, 6]);
  });
  vi.spyOn(llm.tokenizer, 'encodeNow').mockReturnValue(held);
  return go;
}

/** All that was accepted has ended, and its blocks are free. */
async function idle() {
  await until(() => {
    const { numRequestsRunning, numRequestsWaiting, kvCacheUsage } = llm.stats();
    expect([numRequestsRunning, numRequestsWaiting, kvCacheUsage]).toEqual([0, 0, 0]);
  });
}

describe('a batch', () => {
  it('larger than the queue is served in order, and never holds more than its share', async () => {
    let mostWaiting = 0;
    const order: number[] = [];
    const outputs = await llm.generate(ids(60), SHORT, {
      onOutput: (_, index) => {
        order.push(index);
        mostWaiting = Math.max(mostWaiting, llm.stats().numRequestsWaiting);
      },
    });
    expect(outputs.map((o) => o.promptTokenIds[0])).toEqual(
      ids(60).map((p) => p.promptTokenIds[0]),
    );
    expect(order).toHaveLength(60);
    expect(mostWaiting).toBeLessThanOrEqual(2);
    expect(mostWaiting).toBeGreaterThan(0);
    const [alone] = await llm.generate([ids(60)[41]], SHORT);
    expect(outputs[41].outputs[0].tokenIds).toEqual(alone.outputs[0].tokenIds);
  });

  it('lets others in, soon', async () => {
    let numDone = 0;
    const batch = llm.generate(ids(100), SHORT, { onOutput: () => numDone++ });
    await until(() => expect(numDone).toBeGreaterThan(0));
    const before = numDone;
    const singles = await Promise.all([llm.generate('A', SHORT), llm.generate('B', SHORT)]);
    expect(singles.every((output) => output.finished)).toBe(true);
    expect(numDone - before).toBeLessThan(30);
    expect(await batch).toHaveLength(100);
  });

  it('shares its share with other batches', async () => {
    const done = { a: 0, b: 0 };
    const a = llm.generate(ids(40), SHORT, { onOutput: () => done.a++ });
    const b = llm.generate(ids(40), SHORT, { onOutput: () => done.b++ });
    await a;
    expect(done.b).toBeGreaterThan(20);
    expect(await b).toHaveLength(40);
  });

  it('starts before its last text is encoded', async () => {
    const encode = llm.tokenizer.encodeNow.bind(llm.tokenizer);
    let first = () => {};
    const firstOutput = new Promise<void>((resolve) => {
      first = resolve;
    });
    vi.spyOn(llm.tokenizer, 'encodeNow').mockImplementation(async (text, options) => {
      if (text === 'the last') await firstOutput;
      return encode(text, options);
    });
    const texts = [...Array.from({ length: 20 }, (_, i) => `The sea ${i}`), 'the last'];
    expect(await llm.generate(texts, SHORT, { onOutput: () => first() })).toHaveLength(21);
  });

  it('waits outside while the queue is full of others', async () => {
    const blocker = llm.generate('A', { ...LONG, n: 2 });
    await until(() => expect(llm.stats().numRequestsRunning).toBe(1));
    const others = Array.from({ length: 10 }, () => llm.generate('B', SHORT));
    await until(() => expect(llm.stats().numRequestsWaiting).toBe(10));
    const batch = llm.generate(ids(5), SHORT);
    expect((await failure(llm.generate('C', SHORT))).code).toBe('ERR_OVERLOADED');
    expect(await batch).toHaveLength(5);
    expect((await Promise.all(others)).every((output) => output.finished)).toBe(true);
    await blocker;
  });

  it('is what its arrays were when it was called', async () => {
    const prompts = ['A', 'B', { promptTokenIds: [7] }];
    const params = [1, 2, 3].map((maxTokens) => ({ ...SHORT, maxTokens }));
    const batch = llm.generate(prompts, params);
    prompts.length = 0;
    params.length = 0;
    expect((await batch).map((output) => output.outputs[0].tokenIds.length)).toEqual([1, 2, 3]);
  });

  it('of no prompts is no work', async () => {
    expect(await llm.generate([], SHORT)).toEqual([]);
  });
});

describe('before anything is accepted', () => {
  const bad: [string, unknown[], unknown, unknown, string][] = [
    ['a prompt that is none', ['A', 5], SHORT, {}, 'ERR_INVALID_PROMPT'],
    ['a foreign id', ['A', { promptTokenIds: [4096] }], SHORT, {}, 'ERR_INVALID_PROMPT'],
    ['ids too many', ['A', { promptTokenIds: Array(1e6) }], SHORT, {}, 'ERR_PROMPT_TOO_LONG'],
    ['a text that cannot fit', ['A', 'x'.repeat(1e6)], SHORT, {}, 'ERR_PROMPT_TOO_LONG'],
    ['bad params of one', ['A', 'B'], [SHORT, { topP: 2 }], {}, 'ERR_INVALID_PARAM'],
    ['params missing', ['A', 'B'], [SHORT, undefined], {}, 'ERR_INVALID_PARAM'],
    ['more than may run at once', ['A', 'B'], [{}, { n: 3 }], {}, 'ERR_REQUEST_TOO_LARGE'],
    ['a priority', ['A', 'B'], SHORT, { priority: 1 }, 'ERR_INVALID_PARAM'],
    ['a misspelt option', ['A', 'B'], SHORT, { onoutput: () => {} }, 'ERR_INVALID_PARAM'],
    ['params that do not match', ['A', 'B'], [SHORT], {}, 'ERR_INVALID_PARAM'],
  ];
  it.each(bad)('%s is refused', async (_, prompts, params, options, code) => {
    const before = llm.stats();
    const error = await failure(
      llm.generate(prompts as string[], params as never, options as never),
    );
    expect(error.code).toBe(code);
    expect(llm.stats()).toEqual(before);
  });
});

describe('one error ends all of it', () => {
  it('a text that turns out too long, by its place', async () => {
    const error = await failure(llm.generate(['A', 'B', 'the sea '.repeat(2000)], LONG));
    expect(error).toMatchObject({ code: 'ERR_PROMPT_TOO_LONG', promptIndex: 2, param: 'prompt' });
    expect(error.message).toMatch(/^prompt 2: the \w+ has/);
    await idle();
  });

  it('an id that is in use', async () => {
    const single = llm.generate('A', LONG, { requestId: 'b-1' });
    await until(() => expect(llm.stats().numRequestsRunning).toBe(1));
    const error = await failure(llm.generate(['B', 'C'], SHORT, { requestId: 'b' }));
    expect(error).toMatchObject({ code: 'ERR_INVALID_PARAM', param: 'requestId', promptIndex: 1 });
    expect((await single).finished).toBe(true);
  });

  it('what a promise of onOutput rejects with; outputs do not wait for each other', async () => {
    const order: string[] = [];
    const onOutput = async (_: unknown, index: number) => {
      order.push(`begins ${index}`);
      await new Promise(setImmediate);
      order.push(`ends ${index}`);
    };
    await llm.generate(ids(2), SHORT, { onOutput });
    expect(order.toSorted()).toEqual(['begins 0', 'begins 1', 'ends 0', 'ends 1']);
    const rejecting = async () => {
      throw new Error('the database is away');
    };
    await expect(llm.generate(ids(3), SHORT, { onOutput: rejecting })).rejects.toThrow('away');
  });

  it('whatever onOutput throws', async () => {
    for (const thrown of [new Error('mine'), null]) {
      const batch = llm.generate(ids(30), SHORT, {
        onOutput: () => {
          throw thrown;
        },
      });
      expect(await batch.catch((error) => error)).toBe(thrown);
      await idle();
    }
  });

  it.each([
    ['ERR_ABORTED', (controller: AbortController) => controller.abort()],
    ['ERR_CLOSED', () => llm.close()],
  ])('%s', async (code, end) => {
    const controller = new AbortController();
    const { signal } = controller;
    const options = { signal, onOutput: () => void end(controller) };
    expect((await failure(llm.generate(ids(50), SHORT, options))).code).toBe(code);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    await idle();
  });

  it('its signal, whenever that comes', async () => {
    for (let numTurns = 0; numTurns < 12; numTurns++) {
      const controller = new AbortController();
      const batch = failure(llm.generate(ids(1), LONG, { signal: controller.signal }));
      for (let i = 0; i < numTurns; i++) await null;
      controller.abort();
      expect((await batch).code).toBe('ERR_ABORTED');
    }
  });

  it('its timeout, which counts from the call', async () => {
    const go = hang();
    const error = await failure(llm.generate(['A', 'B'], SHORT, { timeoutMs: 5 }));
    expect(error.code).toBe('ERR_TIMEOUT');
    go();
  });

  it('closing, and no more of it is taken in meanwhile', async () => {
    let numDone = 0;
    const batch = failure(llm.generate(ids(50), SHORT, { onOutput: () => numDone++ }));
    await until(() => numDone > 0);
    const { numRequestsRunning, numRequestsWaiting } = llm.stats();
    await llm.close();
    expect((await batch).code).toBe('ERR_CLOSED');
    expect(llm.stats().numRequestsAborted).toBe(numRequestsRunning + numRequestsWaiting);
  });

  it('closing, also while nothing of it has been encoded', async () => {
    const go = hang();
    const batch = failure(llm.generate(['A', 'B'], SHORT));
    await until(() => expect(llm.tokenizer.encodeNow).toHaveBeenCalled());
    await llm.close();
    go();
    expect((await batch).code).toBe('ERR_CLOSED');
  });
});
