import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { replayTrace, type TraceEvent } from '../../lib/core/trace.js';
import { type EngineEvent, type EngineOptions, LLM } from '../../lib/index.js';
import { testAddon } from '../support/addon.js';
import { readBeams } from '../support/beams.js';

const folder = mkdtempSync(join(tmpdir(), 'octavo-pressure-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function withModel<T>(options: EngineOptions, use: (llm: LLM) => Promise<T>): Promise<T> {
  const llm = await LLM.loadWith(options, options.device === 'simt' ? testAddon() : undefined);
  try {
    return await use(llm);
  } finally {
    await llm.close();
  }
}

const code = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
  );

/** An aborted request's blocks are fenced until the step in flight has ended. */
async function idle(llm: LLM): Promise<void> {
  while (llm.stats().kvCacheUsage > 0) await new Promise((resolve) => setImmediate(resolve));
}

const LONG = { maxTokens: 400, ignoreEos: true };
const SEARCH = { ...LONG, beamWidth: 1 };

describe('timeoutMs', () => {
  it('ends running, waiting, streamed and batched requests, and frees their KV', async () => {
    await withModel({ maxNumSeqs: 1 }, async (llm) => {
      const first = llm.generate('The sea', LONG);
      expect(await code(llm.generate('The sky', LONG, { timeoutMs: 20 }))).toMatch(
        /^ERR_TIMEOUT: .* 20 ms/,
      );
      await first;
      expect(await code(llm.generate('The sea', LONG, { timeoutMs: 10 }))).toMatch(/^ERR_TIMEOUT/);
      expect(await code(llm.generate(['A', 'B'], LONG, { timeoutMs: 10 }))).toMatch(/^ERR_TIMEOUT/);
      expect(await code(llm.beamSearch('A', SEARCH, { timeoutMs: 5 }))).toMatch(/^ERR_TIMEOUT/);
      const streamed = (async () => {
        for await (const _ of llm.stream('The sea', LONG, { timeoutMs: 10 })) void _;
      })();
      expect(await code(streamed)).toMatch(/^ERR_TIMEOUT/);
      await idle(llm);
      const quick = await llm.generate(
        'The sea',
        { maxTokens: 2, ignoreEos: true },
        { timeoutMs: 60_000 },
      );
      expect(quick.outputs[0].tokenIds).toHaveLength(2);
    });
  });

  it.each([0, -1, Number.NaN, '5', 2 ** 31])('%s is refused', async (timeoutMs) => {
    await withModel({}, async (llm) => {
      const promise = llm.generate('A', {}, { timeoutMs: timeoutMs as number });
      expect(await code(promise)).toMatch(/^ERR_INVALID_PARAM: timeoutMs must be/);
    });
  });
});

describe('priority', () => {
  it('decides who is admitted first, under the policy for it', async () => {
    await withModel({ maxNumSeqs: 1, schedulingPolicy: 'priority' }, async (llm) => {
      const order: string[] = [];
      const run = async (name: string, priority: number) => {
        const prompt = { promptTokenIds: [5, 6, 7] };
        await llm.generate(prompt, { maxTokens: 4, ignoreEos: true }, { priority });
        order.push(name);
      };
      await Promise.all([run('late', 5), run('middle', 1), run('first', -2), run('middle too', 1)]);
      expect(order).toEqual(['first', 'middle', 'middle too', 'late']);
      expect(await code(llm.generate('A', {}, { priority: 0.5 }))).toMatch(
        /^ERR_INVALID_PARAM: priority must be/,
      );
    });
    await withModel({}, async (llm) => {
      expect(await code(llm.generate('A', {}, { priority: 1 }))).toMatch(
        /schedulingPolicy 'priority'/,
      );
    });
  });
});

describe('events()', () => {
  it('gives figures that add up, to any number of readers, and ends with close()', async () => {
    const events: EngineEvent[] = [];
    const slow: EngineEvent[] = [];
    let readers: Promise<void>[] = [];
    await withModel(
      { numGpuBlocksOverride: 40, maxModelLen: 128, swapSpace: 0.05 },
      async (llm) => {
        const read = async (into: EngineEvent[], intervalMs: number) => {
          for await (const event of llm.events({ intervalMs })) into.push(event);
        };
        readers = [read(events, 0), read(slow, 10_000)];
        await llm.generate(['One', 'Two', 'Three'], {
          n: 4,
          maxTokens: 60,
          ignoreEos: true,
          seed: 1,
        });
        for await (const _ of llm.events()) break; // leaving is no harm
        const bad = llm.events({ intervalMs: -1 }).next();
        expect(await code(bad)).toMatch(/^ERR_INVALID_PARAM: intervalMs/);
      },
    );
    await Promise.all(readers);
    expect(events.length).toBeGreaterThan(50);
    expect(slow.length).toBeGreaterThan(0);
    expect(slow.length).toBeLessThan(events.length);
    for (const e of events) expect(e.numBlocksUsed + e.numBlocksFree + 1).toBe(40);
    const last = events[events.length - 1];
    expect(last).toMatchObject({
      numRequestsRunning: 0,
      numRequestsFinished: 3,
      generationTokens: 720,
    });
    expect(last.numBlocksCached).toBeGreaterThan(0);
    expect(events.some((e) => e.step.numBlocksSwappedOut > 0 && e.numRequestsSwapped > 0)).toBe(
      true,
    );
    expect(events.reduce((sum, e) => sum + e.step.numBlockCopies, 0)).toBe(last.numBlockCopies);
  });
});

it('a reader of events that pauses for long ends with close() all the same', async () => {
  const events: EngineEvent[] = [];
  let reading: Promise<void> | undefined;
  await withModel({}, async (llm) => {
    reading = (async () => {
      for await (const event of llm.events({ intervalMs: 1_000_000 })) events.push(event);
    })();
    await llm.generate('One', { maxTokens: 20, ignoreEos: true });
  });
  await reading;
  expect(events.length).toBe(2); // the first, and the last after close()
  expect(events[1].generationTokens).toBe(20);
});

describe('traceFile', () => {
  it('holds what happened: it replays to the same decisions', async () => {
    const traceFile = join(folder, 'a.jsonl');
    const options = { traceFile, numGpuBlocksOverride: 20, maxModelLen: 128, swapSpace: 0.05 };
    const stats = await withModel(options, async (llm) => {
      const abort = new AbortController();
      const cut = code(llm.generate('Cut', LONG, { signal: abort.signal, requestId: 'cut' }));
      const rest = [
        llm.generate(['One', 'Two'], { n: 3, maxTokens: 70, stop: ['the sea'], seed: 3 }),
        llm.beamSearch('The sea', { beamWidth: 3, maxTokens: 30 }),
      ];
      setTimeout(() => abort.abort(), 30);
      await Promise.all(rest);
      await cut;
      llm.resetPrefixCache();
      return llm.stats();
    });
    const events = readFileSync(traceFile, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as TraceEvent & { ms: number });
    expect(events.every((e, i) => e.ms >= (events[i - 1]?.ms ?? 0))).toBe(true);
    expect(replayTrace(events)).toMatchObject({
      numPreemptions: stats.numPreemptions,
      numBlockCopies: stats.numBlockCopies,
      numSwappedIn: stats.numBlocksSwappedIn,
      numUnfinished: 0,
    });
  });

  it('that cannot be written is refused at load', async () => {
    const traceFile = join(folder, 'none', 'a.jsonl');
    expect(await code(LLM.load({ traceFile }))).toMatch(
      /^ERR_FILE: the trace .* cannot be written/,
    );
  });
});

describe('a sliding window', () => {
  const { model, searches } = readBeams('mistral-window');
  const golden = JSON.parse(readFileSync(join(model, 'golden.json'), 'utf8')).prompts as {
    prompt_token_ids: number[];
    greedy_token_ids: number[];
    greedy_logprobs: number[];
  }[];
  const prompts = golden.map((p) => ({ promptTokenIds: p.prompt_token_ids }));

  it('holds no more blocks than it looks at, and gives the same tokens in the smallest pool', async () => {
    const options: EngineOptions = {
      model,
      activations: 'f32', // as the reference
      blockSize: 8,
      maxNumBatchedTokens: 16,
      maxNumSeqs: 16,
    };
    const params = { temperature: 0, maxTokens: 32, ignoreEos: true };
    // Alone, the longest (150 + 32 tokens) ends with the blocks of its window, 24 tokens.
    await withModel({ ...options, enablePrefixCaching: false }, async (llm) => {
      const used: number[] = [];
      const reading = (async () => {
        for await (const event of llm.events()) used.push(event.numBlocksUsed);
      })();
      const output = await llm.generate(prompts[3], params);
      expect(output.outputs[0].tokenIds).toEqual(golden[3].greedy_token_ids);
      await llm.close();
      await reading;
      expect(Math.max(...used.slice(-20))).toBeLessThanOrEqual(4);
    });
    for (const preemptionPolicy of ['swap', 'recompute'] as const) {
      const tight = {
        numGpuBlocksOverride: 30,
        maxModelLen: 190,
        preemptionPolicy,
        swapSpace: 0.1,
      };
      await withModel({ ...options, ...tight }, async (llm) => {
        const twice = [...prompts, ...prompts];
        const outputs = await llm.generate(twice, { ...params, n: 2 });
        outputs.forEach((output, i) => {
          const { greedy_token_ids: wanted } = golden[i % prompts.length];
          for (const { tokenIds } of output.outputs) expect(tokenIds).toEqual(wanted);
        });
        expect(llm.stats().kvCacheUsage).toBe(0);
      });
    }
    expect(searches.length).toBe(10);
  });

  it('on the CUDA sources: the null block in a table harms nothing', async () => {
    const options: EngineOptions = { model, device: 'simt', dtype: 'float16', maxModelLen: 256 };
    await withModel({ ...options, maxNumBatchedTokens: 64, swapSpace: 0 }, async (llm) => {
      const params = { temperature: 0, maxTokens: 32, ignoreEos: true, logprobs: 1 };
      const outputs = await llm.generate(prompts.slice(1), params);
      let same = 0;
      outputs.forEach(({ outputs: [output] }, i) => {
        const { greedy_token_ids: ids, greedy_logprobs: logprobs } = golden[i + 1];
        for (const [j, id] of output.tokenIds.entries()) {
          expect(Number.isFinite(output.logprobs![j].logprob)).toBe(true);
          if (id !== ids[j]) break; // a near-tie: from here on another text
          same++;
          expect(Math.abs(output.logprobs![j].logprob - logprobs[j])).toBeLessThan(0.02);
        }
      });
      expect(same).toBeGreaterThan(60);
    });
  });
});

it('a stop string, a length and an abort inside a group free exactly their own blocks', async () => {
  await withModel({ blockSize: 8, enablePrefixCaching: false }, async (llm) => {
    const params = {
      n: 4,
      maxTokens: 40,
      stop: ['e'],
      ignoreEos: true,
      seed: 11,
      temperature: 1.3,
    };
    const used: number[] = [];
    const reading = (async () => {
      for await (const event of llm.events()) used.push(event.numBlocksUsed);
    })();
    const { outputs } = await llm.generate('Call me', params);
    expect(new Set(outputs.map((o) => o.tokenIds.length)).size).toBeGreaterThan(1);
    expect(llm.stats().kvCacheUsage).toBe(0);
    for await (const output of llm.stream('Call me', { ...params, stop: [] })) {
      if (output.outputs[0].tokenIds.length > 5) break; // aborts all four
    }
    await idle(llm);
    await llm.close();
    await reading;
    // Sequences end at different steps: use falls in more than one stride.
    expect(used.filter((blocks, i) => i > 0 && blocks < used[i - 1]).length).toBeGreaterThan(1);
  });
});
