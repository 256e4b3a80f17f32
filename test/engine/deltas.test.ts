import { afterAll, beforeAll, expect, it } from 'vitest';
import { type DeltaOutput, LLM } from '../../lib/index.js';
import { until } from '../support/until.js';

let llm: LLM;
beforeAll(async () => {
  llm = await LLM.load({ maxNumSeqs: 4, seed: 1 });
});
afterAll(() => llm.close());

const PARAMS = { maxTokens: 60, n: 3, logprobs: 2, promptLogprobs: 1, seed: 3, stop: ['the'] };

async function read(pauseMs: number, params = PARAMS): Promise<DeltaOutput[]> {
  const all: DeltaOutput[] = [];
  for await (const output of llm.streamDeltas('The sea, the', params)) {
    all.push(output);
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  return all;
}

it.each([0, 20])('deltas of a reader that takes %i ms add up to the whole', async (pauseMs) => {
  const all = await read(pauseMs);
  const whole = await llm.generate('The sea, the', PARAMS);
  for (const { index, text, tokenIds, logprobs, finishReason, stopReason } of whole.outputs) {
    const own = all.flatMap(({ outputs }) => outputs.filter((o) => o.index === index));
    expect(own.map((o) => o.newText).join('')).toBe(text);
    expect(own.flatMap((o) => o.newTokenIds)).toEqual(tokenIds);
    expect(own.flatMap((o) => o.newLogprobs)).toEqual(logprobs);
    expect(own.at(-1)).toMatchObject({ finishReason, stopReason });
    expect(own.slice(0, -1).every((o) => o.finishReason === null)).toBe(true);
    expect(own.every((o) => o.newTokenIds.length > 0 || o.finishReason !== null)).toBe(true);
  }
  const last = all.at(-1) as DeltaOutput;
  expect(all.map((o) => o.finished)).toEqual(all.map((o) => o === last));
  expect(all.every((o) => (o.metrics === null) === !o.finished)).toBe(true);
  expect(last.promptLogprobs).toEqual(whole.promptLogprobs);
  expect(last).toMatchObject({ seed: 3, prompt: 'The sea, the' });
});

it('a slow reader gets fewer, larger deltas', async () => {
  const params = { ...PARAMS, n: 1, stop: [], maxTokens: 200, ignoreEos: true };
  const [fast, slow] = [await read(0, params), await read(30, params)];
  expect(slow.length).toBeLessThan(fast.length / 2);
  const ids = (all: DeltaOutput[]) => all.flatMap((o) => o.outputs.flatMap((d) => d.newTokenIds));
  expect(ids(slow)).toEqual(ids(fast));
});

it('leaving frees the KV', async () => {
  for await (const _ of llm.streamDeltas('The sea', { maxTokens: 900, ignoreEos: true })) break;
  await until(() => llm.stats().kvCacheUsage === 0);
});

it('refuses a beam search', async () => {
  const stream = llm.streamDeltas('A', { beamWidth: 2 } as object);
  await expect(stream.next()).rejects.toMatchObject({ code: 'ERR_INVALID_PARAM' });
});

it('times of a request add up', async () => {
  const prompt = 'Call me Ishmael. Some years ago, never mind how long precisely, having little.';
  await llm.generate(prompt, { maxTokens: 1 });
  const { metrics: m, numCachedTokens } = await llm.generate(prompt, {
    maxTokens: 20,
    ignoreEos: true,
  });
  expect(numCachedTokens).toBeGreaterThan(0);
  expect(m).toMatchObject({ numCachedTokens, numGeneratedTokens: 20, numPreemptions: 0 });
  expect(m.interTokenMs).toHaveLength(19);
  const gaps = m.interTokenMs.reduce((sum, ms) => sum + ms, 0);
  expect(gaps).toBeCloseTo(m.decodeMs as number, 6);
  const toFirst = (m.queueMs as number) + (m.prefillMs as number);
  expect(toFirst).toBeCloseTo(m.timeToFirstTokenMs as number, 6);
  expect(toFirst + (m.decodeMs as number)).toBeLessThanOrEqual(m.elapsedMs);
});

it('the counters tell requests by how they ended, and prompts by their source', async () => {
  const before = llm.stats();
  const prompt = 'It was the best of times, it was the worst of times, it was the age of wisdom.';
  const limited = await llm.generate(prompt, { maxTokens: 4, ignoreEos: true });
  const { tokenIds } = limited.outputs[0];
  const again = await llm.generate(prompt, {
    maxTokens: 4,
    seed: limited.seed,
    stopTokenIds: [tokenIds[1]],
  });
  expect(again.outputs[0].finishReason).toBe('stop');
  await llm.beamSearch(prompt, { beamWidth: 2, maxTokens: 3, ignoreEos: true });
  for await (const _ of llm.stream(prompt, { maxTokens: 900, ignoreEos: true })) break;
  const after = llm.stats();
  const more = (name: 'stop' | 'length' | 'abort' | 'error') =>
    after.numRequestsBy[name] - before.numRequestsBy[name];
  expect([more('stop'), more('length'), more('abort'), more('error')]).toEqual([1, 2, 1, 0]);
  const ended = ({ numRequestsFinished, numRequestsAborted }: typeof after) =>
    numRequestsFinished + numRequestsAborted;
  expect(ended(after) - ended(before)).toBe(4);
  const numCached = after.promptTokensCached - before.promptTokensCached;
  expect(numCached).toBeGreaterThanOrEqual(2 * again.numCachedTokens);
  expect(numCached).toBeLessThan(after.promptTokens - before.promptTokens);
  expect(before.numRequestsBy).not.toBe(after.numRequestsBy);
});
