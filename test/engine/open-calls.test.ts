import { afterEach, describe, expect, it } from 'vitest';
import { Deadline } from '../../lib/engine/deadline.js';
import { OpenCalls } from '../../lib/engine/open-calls.js';
import { LLM } from '../../lib/index.js';
import { until } from '../support/until.js';

const LONG = { maxTokens: 900, ignoreEos: true, seed: 1 };
const SHORT = { maxTokens: 3, ignoreEos: true, seed: 1 };

/** The code of an error, or what came. */
async function endOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'ok',
    (error) => (error as { code: string }).code,
  );
}

describe('the calls alone', () => {
  it('resolves when the last has ended, whoever asked how often', async () => {
    const calls = new OpenCalls();
    const [a, b] = [new Deadline(), new Deadline()];
    calls.begin(a);
    calls.begin(b);
    calls.check();
    let numDone = 0;
    const drains = [calls.drain(), calls.drain({ timeoutMs: 100_000 })];
    for (const drain of drains) void drain.then(() => numDone++);
    expect(() => calls.check()).toThrow(expect.objectContaining({ code: 'ERR_DRAINING' }));
    calls.end(a);
    calls.end(a);
    await new Promise(setImmediate);
    expect(numDone).toBe(0);
    calls.end(b);
    expect(await Promise.all(drains)).toEqual([{ numAborted: 0 }, { numAborted: 0 }]);
    expect(await calls.drain()).toEqual({ numAborted: 0 });
  });

  it('ends what is left when time is up', async () => {
    const calls = new OpenCalls();
    const deadline = new Deadline();
    let error: Error | undefined;
    calls.begin(deadline);
    deadline.onEnd((why) => {
      error = why;
      calls.end(deadline);
    });
    expect(await calls.drain({ timeoutMs: 0 })).toEqual({ numAborted: 1 });
    expect(error).toMatchObject({ code: 'ERR_DRAINING', status: 503 });
  });

  it.each([[{ timeoutMs: -1 }], [{ timeoutMs: '1' }], [{ timeoutMs: 2 ** 31 }], [{ timeout: 1 }]])(
    'refuses %o, and goes on',
    async (options) => {
      const calls = new OpenCalls();
      await expect(calls.drain(options as object)).rejects.toMatchObject({
        code: 'ERR_INVALID_PARAM',
      });
      calls.check();
    },
  );
});

describe('a model', () => {
  let llm: LLM;
  afterEach(() => llm.close());

  it('finishes what was accepted, tokenized or not, batches whole, and takes no more', async () => {
    llm = await LLM.load({ maxNumSeqs: 2 });
    const running = llm.generate('The sea', { ...SHORT, maxTokens: 40 });
    await until(() => llm.stats().numRequestsRunning === 1);
    const prompts = Array.from({ length: 9 }, () => 'Call me Ishmael.');
    const accepted = [running, llm.generate('Now', SHORT), llm.generate(prompts, SHORT)];
    const unread = llm.stream('Later', SHORT);
    const drained = llm.drain();
    const late = [
      llm.generate('A', SHORT),
      llm.generate(['A'], SHORT),
      llm.beamSearch('A', { beamWidth: 2, maxTokens: 2 }),
      llm.chat([{ role: 'user', content: 'A' }], SHORT),
      unread.next(),
      llm.streamDeltas('A', SHORT).next(),
    ];
    const codes = await Promise.all(late.map(endOf));
    expect(codes).toEqual(codes.map(() => 'ERR_DRAINING'));
    expect(await drained).toEqual({ numAborted: 0 });
    expect(await Promise.all(accepted.map(endOf))).toEqual(['ok', 'ok', 'ok']);
    expect(llm.stats()).toMatchObject({ numRequestsFinished: 11, kvCacheUsage: 0 });
    expect(await llm.drain()).toEqual({ numAborted: 0 });
    await llm.close();
    expect(await llm.drain()).toEqual({ numAborted: 0 });
    expect(await endOf(llm.generate('A', SHORT))).toBe('ERR_CLOSED');
  });

  it('ends the rest after the timeout, streams that nobody reads too', async () => {
    llm = await LLM.load({ maxNumSeqs: 2 });
    const stream = llm.stream('The sea', LONG);
    await stream.next();
    const whole = llm.generate('The land', LONG);
    const batch = llm.generate(['One', 'Two', 'Three'], LONG);
    const ends = Promise.all([whole, batch].map(endOf));
    const first = llm.drain();
    expect(await llm.drain({ timeoutMs: 30 })).toEqual({ numAborted: 3 });
    expect(await first).toEqual({ numAborted: 3 });
    expect(await ends).toEqual(['ERR_DRAINING', 'ERR_DRAINING']);
    expect(await endOf(stream.next())).toBe('ERR_DRAINING');
    await until(() => llm.stats().kvCacheUsage === 0);
    expect(llm.stats().numRequestsBy).toMatchObject({ stop: 0, length: 0, error: 0 });
  });

  it('ends with the model', async () => {
    llm = await LLM.load({ maxNumSeqs: 2 });
    const call = endOf(llm.generate('The sea', LONG));
    const drained = llm.drain();
    await llm.close();
    expect([await call, await drained]).toEqual(['ERR_CLOSED', { numAborted: 0 }]);
  });
});
