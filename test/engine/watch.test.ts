/** What those who watch an engine are told. */
import { afterAll, describe, expect, it, vi } from 'vitest';
import { GrammarConstraint } from '../../lib/engine/constraint.js';
import { Watch, type Watcher } from '../../lib/engine/watch.js';
import { ACTS, type PrefixFrame, type SpanFrame } from '../../lib/engine/watch-frames.js';
import { type EngineOptions, LLM } from '../../lib/index.js';
import { until } from '../support/until.js';

const loaded: LLM[] = [];
const load = async (options: EngineOptions = {}) => {
  const llm = await LLM.load({ seed: 1, ...options });
  loaded.push(llm);
  return llm;
};
afterAll(() => Promise.all(loaded.map((llm) => llm.close())));

const long = (maxTokens: number) => ({ maxTokens, ignoreEos: true });
const actsOf = ({ lanes }: SpanFrame, index = 0) =>
  lanes.find((lane) => lane.index === index)!.segments.map(([act]) => act);
const sum = (counts: readonly number[]) => counts.reduce((all, one) => all + one, 0);

it('costs nothing while nobody watches', async () => {
  const llm = await load();
  const plan = vi.spyOn(Watch.prototype, 'plan');
  const note = vi.spyOn(Watch.prototype, 'note');
  await llm.generate('Call me', long(4));
  expect([plan.mock.calls.length, note.mock.calls.length]).toEqual([0, 0]);
  const [one, other] = [llm.watch()!, llm.watch()!];
  await llm.generate('Call me', long(4));
  expect(plan.mock.calls.length).toBe(note.mock.calls.length);
  const { length } = note.mock.calls;
  expect(length).toBeGreaterThan(3);
  one.leave();
  one.leave();
  await llm.generate('Call me', long(4));
  expect(note.mock.calls.length).toBe(2 * length);
  other.leave();
  await llm.generate('Call me', long(4));
  expect(note.mock.calls.length).toBe(2 * length);
  vi.restoreAllMocks();
});

describe('a request', () => {
  it('is queued, computed and decoded, in a lane for each sample', async () => {
    const llm = await load({ maxNumBatchedTokens: 16, blockSize: 8 });
    const watcher = llm.watch()!;
    const prompt = 'Call me Ishmael. Some years ago, never mind how long precisely, having little';
    const output = await llm.generate(prompt, { ...long(10), n: 3 }, { requestId: 'mine' });
    const { spans, durations, steps, stats, cells, pool } = watcher.take();
    expect(spans).toHaveLength(1);
    const [span] = spans;
    expect(span.head).toMatchObject({ id: 'mine', n: 3, isBeamSearch: false, maxTokens: 10 });
    expect(span).toMatchObject({ reason: 'length', numGeneratedTokens: 30, numPreemptions: 0 });
    expect(span.numBlockCopies).toBe(output.numBlockCopies);
    expect(span.ended).toBeGreaterThan(span.head!.arrived);
    // The prompt in parts, and then a fork for each sample but the first.
    const numParts = Math.ceil(output.promptTokenIds.length / 16);
    const parts = Array(numParts).fill(ACTS.prefill);
    expect(actsOf(span)).toEqual([ACTS.queued, ...parts, ACTS.decode]);
    expect([actsOf(span, 1), actsOf(span, 2)]).toEqual([[ACTS.decode], [ACTS.decode]]);
    expect(span.forks.map(([, parent, child]) => [parent, child])).toEqual([
      [0, 1],
      [0, 2],
    ]);
    for (const { segments, reason } of span.lanes) {
      expect(reason).toBe('length');
      for (const [, from, to] of segments) expect(to).toBeGreaterThanOrEqual(from);
      for (let i = 1; i < segments.length; i++) {
        expect(segments[i][1]).toBeGreaterThanOrEqual(segments[i - 1][2]);
      }
    }
    expect(sum(durations.ttft)).toBe(1);
    expect(sum(durations.itl)).toBe(9);
    expect(sum(durations.queue)).toBe(1);
    expect([sum(durations.step), steps.numSteps]).toEqual([stats.numSteps, stats.numSteps]);
    expect(steps.numTokens).toBe(output.promptTokenIds.length + 27);
    expect(cells.filter((cell) => cell === 1)).toHaveLength(pool.numCached);
    expect(cells.filter((cell) => cell > 1)).toHaveLength(0);
    watcher.leave();
  });

  it('is told in parts that fit together, to each who watches at his own time', async () => {
    const llm = await load();
    const [often, seldom] = [llm.watch()!, llm.watch()!];
    const parts: SpanFrame[] = [];
    const reading = (async () => {
      while (await often.changed()) {
        for (const span of often.take().spans) parts.push(span);
        if (parts.at(-1)?.ended) return;
      }
    })();
    await llm.generate('The sea', { ...long(40), n: 2 });
    await reading;
    expect(parts.length).toBeGreaterThan(10);
    expect(parts.filter(({ head }) => head !== undefined)).toHaveLength(1);
    const [whole] = seldom.take().spans;
    const lanes = new Map<number, unknown[]>();
    for (const { lanes: told } of parts) {
      for (const { index, first, segments } of told) {
        lanes.set(index, [...(lanes.get(index) ?? []).slice(0, first), ...segments]);
      }
    }
    expect([...lanes]).toEqual(whole.lanes.map(({ index, segments }) => [index, segments]));
    expect(seldom.take().spans).toEqual([]);
    for (const one of [often, seldom]) one.leave();
  });

  it.each(['recompute', 'swap'] as const)('shows when it is preempted: %s', async (policy) => {
    const llm = await load({
      ...{ numGpuBlocksOverride: 24, blockSize: 8, maxModelLen: 128 },
      ...{ preemptionPolicy: policy, swapSpace: 0.01 },
    });
    const watcher = llm.watch()!;
    await Promise.all(['One', 'Two', 'Three'].map((text) => llm.generate(text, long(90))));
    const { spans, stats } = watcher.take();
    expect(stats.numPreemptions).toBeGreaterThan(0);
    const waits = policy === 'swap' ? ACTS.swapped : ACTS.preempted;
    for (const span of spans) {
      const acts = actsOf(span);
      expect(acts.filter((act) => act === waits)).toHaveLength(span.numPreemptions);
      expect(acts.at(-1)).toBe(ACTS.decode);
      expect(span.numSwaps).toBe(policy === 'swap' ? span.numPreemptions : 0);
    }
    watcher.leave();
  });

  it('that began before anybody watched is there with what is known of it', async () => {
    const llm = await load();
    const stream = llm.stream('The whale', long(60), { requestId: 'before' });
    await stream.next();
    const watcher = llm.watch()!;
    for await (const _ of stream);
    const [span] = watcher.take().spans;
    expect(span.head!.id).toBe('before');
    expect(actsOf(span)).toEqual([ACTS.queued, ACTS.prefill, ACTS.decode]);
    expect(span).toMatchObject({ reason: 'length', numGeneratedTokens: 60 });
    watcher.leave();
  });

  it('that is aborted ends so; of many, those that ended first are forgotten', async () => {
    const llm = await load();
    const watcher = llm.watch()!;
    const stream = llm.stream('The whale', long(60));
    await stream.next();
    await stream.return(undefined);
    expect(watcher.take().spans).toMatchObject([{ key: 0, reason: 'abort' }]);
    await llm.generate(Array(230).fill({ promptTokenIds: [1] }), long(1));
    const { spans, numHidden } = watcher.take();
    expect([spans.length, numHidden]).toEqual([200, 0]);
    watcher.leave();
  });
});

it('of more requests than are shown, those that run are', async () => {
  const llm = await load({ maxNumSeqs: 3, maxNumWaiting: 600 });
  const watcher = llm.watch()!;
  /** As a page keeps them. */
  const known = new Map<number, SpanFrame['head']>();
  const running = new Set<number>();
  let mostHidden = 0;
  let mostRunning = 0;
  let numEnded = 0;
  const look = () => {
    const { spans, shown, numHidden } = watcher.take();
    for (const { key, head, reason, lanes } of spans) {
      if (head !== undefined) known.set(key, head);
      if (!known.has(key)) throw new Error(`${key} was never introduced`);
      if (lanes.some(({ segments }) => segments.some(([act]) => act >= ACTS.prefill)))
        running.add(key);
      if (reason !== null && running.delete(key)) numEnded++;
    }
    if (shown !== undefined) {
      const keys = new Set(shown);
      for (const key of known.keys()) if (!keys.has(key)) known.delete(key);
      expect([...known.keys()].sort((a, b) => a - b)).toEqual([...keys].sort((a, b) => a - b));
    }
    for (const key of running) expect(known.has(key)).toBe(true);
    mostRunning = Math.max(mostRunning, running.size);
    mostHidden = Math.max(mostHidden, numHidden);
  };
  let isOver = false;
  const calls = Array.from({ length: 400 }, () => llm.generate({ promptTokenIds: [5] }, long(3)));
  void Promise.all(calls).then(() => {
    isOver = true;
  });
  while (!isOver) {
    await new Promise((resolve) => setImmediate(resolve));
    look();
  }
  await until(() => llm.stats().numRequestsRunning === 0);
  look();
  expect([mostHidden > 150, mostRunning]).toEqual([true, 3]);
  expect([known.size, running.size]).toEqual([200, 0]);
  expect(numEnded).toBeGreaterThan(300);
  watcher.leave();
});

describe('grammars', () => {
  it('are timed while somebody watches, and only then', async () => {
    const llm = await load();
    const timed = vi.spyOn(GrammarConstraint.prototype, 'timeMask');
    const choose = (...choice: string[]) =>
      llm.generate('The sea', { maxTokens: 20, structuredOutputs: { choice } });
    await choose('one', 'two');
    expect(timed).not.toHaveBeenCalled();
    const watcher = llm.watch()!;
    await Promise.all([choose('three', 'four'), choose('one', 'two')]);
    const { grammars, grammarTimes, stats } = watcher.take();
    const { length } = timed.mock.calls;
    expect(length).toBeGreaterThan(1);
    expect(length).toBeLessThanOrEqual(stats.numSteps);
    expect([grammars.numCompiled, sum(grammarTimes.compileMs)]).toEqual([2, 1]);
    expect(sum(grammarTimes.maskUs)).toBe(length);
    watcher.leave();
    await choose('five', 'six');
    expect(timed.mock.calls.length).toBe(length);
    expect(sum(watcher.take().grammarTimes.compileMs)).toBe(1);
    vi.restoreAllMocks();
  });
});

describe('prefixes of the cache', () => {
  const ids = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);
  const shared = ids(40, 24);

  /** Of the frames that come until one has what is asked for. */
  const prefixesOf = async (
    watcher: Watcher,
    isWhole: (found: readonly PrefixFrame[]) => boolean,
  ) => {
    for (;;) {
      if (!(await watcher.changed())) throw new Error('nothing comes any more');
      const { prefixes } = watcher.take();
      if (prefixes !== undefined && isWhole(prefixes)) return prefixes;
    }
  };

  it('are told with what goes on from them, who uses them, and no word of salted ones', async () => {
    const llm = await load({ blockSize: 8 });
    const watcher = llm.watch()!;
    const ask = (tokens: readonly number[], more = {}) =>
      llm.generate({ promptTokenIds: tokens }, { ...long(1), ...more });
    // 3 blocks that two prompts share, and 1 and 2 that go on; a prompt of 2 under a salt.
    await ask([...shared, ...ids(80, 9)]);
    await ask([...shared, ...ids(120, 17)]);
    await ask(ids(160, 17), { cacheSalt: 'secret' });
    const told = await prefixesOf(watcher, (found) => found.length === 2);
    const none = { numUsers: 0, users: [] };
    expect(told).toEqual([
      { numBlocks: 6, numTokens: 24, isSalted: false, tokenIds: shared, ...none },
      { numBlocks: 2, numTokens: 16, isSalted: true, tokenIds: [], ...none },
    ]);
    expect(watcher.take().prefixes).toBeUndefined();
    let isOver = false;
    const running = (async () => {
      while (!isOver) {
        const prompt = { promptTokenIds: [...shared, 5] };
        await llm.generate(prompt, { ...long(99), n: 2 }, { requestId: 'mine' });
      }
    })();
    const used = await prefixesOf(watcher, ([first]) => first.numUsers > 0);
    expect(used[0]).toMatchObject({ numTokens: 24, numUsers: 1, users: ['mine'] });
    expect(used[1].numUsers).toBe(0);
    isOver = true;
    await running;
    // Nothing happens any more, and still it is found out.
    const left = await prefixesOf(watcher, ([first]) => first.numUsers === 0);
    expect(left[0].numTokens).toBe(24);
    watcher.leave();
  });
});

it('the tree of a beam search has all that it returned, and what fell out', async () => {
  const llm = await load();
  const watcher = llm.watch()!;
  const search = { beamWidth: 3, maxTokens: 8, ignoreEos: true };
  const { outputs, metrics } = await llm.beamSearch('Call me Ishmael.', search);
  const { spans, stats } = watcher.take();
  const [{ beams, head, forks, reason, numGeneratedTokens }] = spans;
  expect([head!.isBeamSearch, reason, beams!.live]).toEqual([true, 'length', []]);
  expect(forks.length).toBeGreaterThanOrEqual(2);
  const pathOf = (end: number) => {
    const ids: number[] = [];
    for (let node = end; node > 0; node = beams!.nodes[node][0]) {
      ids.unshift(beams!.nodes[node][1]);
    }
    return ids;
  };
  const told = beams!.finished.map(([node, score]) => ({ tokenIds: pathOf(node), score }));
  expect(told).toEqual(outputs.map(({ tokenIds, score }) => ({ tokenIds, score })));
  const numTokens = outputs.reduce((all, one) => all + one.tokenIds.length, 0);
  expect([numGeneratedTokens, metrics.numGeneratedTokens]).toEqual([numTokens, numTokens]);
  expect(stats.generationTokens).toBe(numTokens);
  expect(beams!.nodes.length).toBeGreaterThan(new Set(told.flatMap((one) => one.tokenIds)).size);
  watcher.leave();
});

it('says who uses a block', async () => {
  const llm = await load({ blockSize: 8 });
  const stream = llm.stream('The whale and the sea and the ship', { ...long(80), n: 2 });
  const watcher = llm.watch()!;
  let { value } = await stream.next();
  while (value!.outputs.some(({ tokenIds }) => tokenIds.length < 17)) {
    ({ value } = await stream.next());
  }
  const { cells } = watcher.take();
  const use = watcher.describe(1 + cells.indexOf(3))!;
  expect(use.refCount).toBe(2);
  expect(use.users.map(({ id, index }) => [id, index])).toEqual([
    [value!.requestId, 0],
    [value!.requestId, 1],
  ]);
  expect(use.users[0].to - use.users[0].from).toBe(8);
  for (const block of [0, -1, 0.5, Number.NaN, 1e9]) expect(watcher.describe(block)).toBeNull();
  await stream.return(undefined);
  watcher.leave();
});

it('ends with the model, and for who leaves', async () => {
  const llm = await load();
  const last = async (watcher: Watcher) => {
    while (await watcher.changed()) watcher.take();
    return 'over';
  };
  const [one, other] = [llm.watch()!, llm.watch()!];
  const [left, closed] = [last(one), last(other)];
  one.leave();
  expect(await left).toBe('over');
  await llm.close();
  expect(await closed).toBe('over');
  expect(() => llm.watch()).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
});
