import { Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, expectTypeOf, it, vi } from 'vitest';
import { TokenLogprobs } from '../../lib/core/token-logprobs.js';
import { LLM, type StreamOutput } from '../../lib/index.js';
import { until } from '../support/until.js';

let llm: LLM;
beforeAll(async () => {
  llm = await LLM.load({ maxNumSeqs: 4, seed: 1 });
});
afterAll(() => llm.close());

/** Until nothing runs and every block is free. */
async function idle(): Promise<void> {
  await until(() =>
    expect(llm.stats()).toMatchObject({
      numRequestsRunning: 0,
      numRequestsWaiting: 0,
      kvCacheUsage: 0,
    }),
  );
}

const LONG = { maxTokens: 900, ignoreEos: true };

/** A request that takes all there is until it is ended. */
async function occupy(): Promise<() => Promise<void>> {
  const end = new AbortController();
  const { signal } = end;
  const done = llm.generate('All', { ...LONG, n: 4 }, { signal }).catch(() => {});
  // Whose text is encoded first comes first, and that may be anybody's.
  await until(() => llm.stats().numRequestsRunning === 1);
  return async () => {
    end.abort();
    await done;
  };
}

describe('a state', () => {
  it('stays what it was, whatever came after, and deltas add up', async () => {
    const params = {
      maxTokens: 40,
      ignoreEos: true,
      n: 2,
      logprobs: 3,
      promptLogprobs: 1,
      seed: 3,
    };
    const states: StreamOutput[] = [];
    for await (const output of llm.stream('The sea, the', params)) states.push(output);
    const whole = await llm.generate('The sea, the', params);
    expect(states.length).toBeGreaterThan(20);
    for (const i of [0, 1]) {
      const { tokenIds, text, logprobs } = whole.outputs[i];
      let [ids, written, lists]: [number[], string, unknown[]] = [[], '', []];
      for (const { outputs, promptLogprobs, finished } of states) {
        const o = outputs[i];
        ids = [...ids, ...o.deltaTokenIds];
        written += o.delta;
        lists = [...lists, ...o.deltaLogprobs!];
        expect([o.tokenIds, o.text, o.logprobs]).toEqual([ids, written, lists]);
        expect(o.finishReason).toBe(finished ? 'length' : null);
        expect(promptLogprobs).toBe(states[0].promptLogprobs);
      }
      expect([ids, written, lists]).toEqual([tokenIds, text, logprobs]);
    }
    expect(states[0].promptLogprobs).toEqual(whole.promptLogprobs);
    expect(states[0].promptLogprobs).toHaveLength(whole.promptTokenIds.length);
  });

  it('is an ordinary object to spread, JSON, structuredClone and console.log', async () => {
    const params = { maxTokens: 3, ignoreEos: true, logprobs: 1, promptLogprobs: 0 };
    const whole = await llm.generate('A sea', params);
    for await (const output of llm.stream('A sea', params)) {
      const [o] = output.outputs;
      const plain = { ...o };
      expect(Object.keys(plain).sort()).toEqual(
        [...Object.keys(whole.outputs[0]), 'deltaTokenIds', 'deltaLogprobs'].sort(),
      );
      expect(plain).toEqual(o);
      expect(JSON.parse(JSON.stringify(output)).outputs[0]).toEqual(plain);
      expect(structuredClone(output).outputs[0]).toEqual(plain);
      expect(o.tokenIds).toBe(o.tokenIds);
      expect(inspect(output, { depth: 5 })).not.toMatch(/Getter/);
    }
    expect(inspect(whole, { depth: 5 })).not.toMatch(/Getter/);
    expectTypeOf(llm.stream('')).toExtend<AsyncGenerator<StreamOutput, void, void>>();
  });

  it('costs what is new in it, not what there is', async () => {
    const list = vi.spyOn(TokenLogprobs.prototype, 'list');
    const from = vi.spyOn(Array, 'from');
    let numStates = 0;
    const params = { ...LONG, logprobs: 5, promptLogprobs: 5 };
    for await (const { outputs } of llm.stream('The sea', params)) {
      numStates++;
      expect(outputs[0].deltaLogprobs).toHaveLength(outputs[0].deltaTokenIds.length);
    }
    const rows = list.mock.calls.reduce((sum, [start, end]) => sum + end - start, 0);
    const copied = from.mock.results.reduce((sum, { value }) => sum + value.length, 0);
    vi.restoreAllMocks();
    expect(numStates).toBeGreaterThan(500);
    expect(rows).toBe(900); // not half a million; and nobody read those of the prompt
    expect(copied).toBeLessThan(5_000);
  });
});

describe('leaving a stream', () => {
  it('that waits for its turn takes it out of the queue at once', async () => {
    const release = await occupy();
    const stream = llm.stream('The sky', LONG);
    const waits = [stream.next(), stream.next()];
    await until(() => llm.stats().numRequestsWaiting === 1);
    const left = stream.return();
    expect(llm.stats().numRequestsWaiting).toBe(0);
    expect(await Promise.all([left, ...waits])).toEqual(
      Array(3).fill({ done: true, value: undefined }),
    );
    expect(await stream.next()).toEqual({ done: true, value: undefined });
    await release();
    await idle();
  });

  it('by destroying a Readable made of it does so, too', async () => {
    const release = await occupy();
    const readable = Readable.from(llm.stream('The sky', LONG));
    readable.on('data', () => {});
    await until(() => llm.stats().numRequestsWaiting === 1);
    readable.destroy();
    await until(() => llm.stats().numRequestsWaiting === 0);
    await release();
    await idle();
  });

  it('while it runs ends it before the next step', async () => {
    const stream = llm.stream('The sky', LONG);
    await stream.next();
    const waits = stream.next();
    stream.return();
    expect(llm.stats().numRequestsRunning).toBe(0);
    expect(await waits).toMatchObject({ done: true });
    await idle();
  });

  it('before it began starts nothing; while its prompt is encoded it never runs', async () => {
    const { numSteps } = llm.stats();
    const stream = llm.stream('The sky', LONG);
    await stream.return();
    expect(await stream.next()).toMatchObject({ done: true });
    const other = llm.stream('The sky', LONG);
    const waits = other.next();
    await other.return();
    expect(await waits).toMatchObject({ done: true });
    await llm.tokenizer.encode('The sky');
    await turn();
    await idle();
    expect(llm.stats().numSteps).toBe(numSteps);
  });

  it('by throw() gives the error back to who threw', async () => {
    for (const numNext of [0, 1]) {
      const stream = llm.stream('The sky', LONG);
      for (let i = 0; i < numNext; i++) await stream.next();
      await expect(stream.throw(new Error('mine'))).rejects.toThrow('mine');
      expect(await stream.next()).toMatchObject({ done: true });
    }
    await idle();
  });
});

it('several next() at once get one state after the other', async () => {
  const stream = llm.stream('The sky', { maxTokens: 3, ignoreEos: true });
  const results = await Promise.all(Array.from({ length: 5 }, () => stream.next()));
  const lengths = results.map((r) => (r.done ? 'done' : r.value.outputs[0].tokenIds.length));
  expect(lengths).toEqual([1, 2, 3, 'done', 'done']);
});

it('an error goes to one next(), and there is nothing after it', async () => {
  const stream = llm.stream('The sky', { maxTokens: 0 });
  await expect(stream.next()).rejects.toMatchObject({ code: 'ERR_INVALID_PARAM' });
  expect(await stream.next()).toEqual({ done: true, value: undefined });
  const beams = llm.stream('The sky', { beamWidth: 2 } as never);
  const [first, second] = await Promise.allSettled([beams.next(), beams.next()]);
  expect(first).toMatchObject({ reason: { code: 'ERR_INVALID_PARAM', param: 'beamWidth' } });
  expect(second).toMatchObject({ value: { done: true } });
});

it('a stream that is not read on leaves no listener and no timer behind', async () => {
  const controller = new AbortController();
  const { signal } = controller;
  const add = vi.spyOn(signal, 'addEventListener');
  const remove = vi.spyOn(signal, 'removeEventListener');
  const clear = vi.spyOn(globalThis, 'clearTimeout');
  const set = vi.spyOn(globalThis, 'setTimeout');
  const { numRequestsFinished } = llm.stats();
  const stream = llm.stream('A', { maxTokens: 5, ignoreEos: true }, { signal, timeoutMs: 12_345 });
  await stream.next();
  await until(() => llm.stats().numRequestsFinished > numRequestsFinished);
  await turn();
  const timers = set.mock.results.filter((_, i) => set.mock.calls[i][1] === 12_345);
  expect(timers.length).toBe(1);
  expect(clear.mock.calls.some(([timer]) => timer === timers[0].value)).toBe(true);
  expect(remove.mock.calls.length).toBe(add.mock.calls.length);
  vi.restoreAllMocks();
  const rest: StreamOutput[] = [];
  for await (const output of stream) rest.push(output);
  expect(rest.at(-1)).toMatchObject({ finished: true });
  expect(rest.at(-1)!.outputs[0].tokenIds).toHaveLength(5);
});
