import { expect, it } from 'vitest';
import { LLM } from '../../lib/index.js';
import { sample } from '../support/all.js';
import { random } from '../support/random.js';
import { SEED } from '../support/seed.js';

const REQUESTS = Number(process.env.OCTAVO_SOAK ?? sample(500, 2000));

it(`${REQUESTS} requests with aborts at random leave every block free and memory flat`, async () => {
  const rng = random(SEED);
  // A pool that is too small on purpose, so that preemption is part of it.
  const llm = await LLM.load({ numGpuBlocksOverride: 60, maxModelLen: 256, maxNumSeqs: 48 });
  const prefixes = Array.from({ length: 5 }, (_, i) => `Chapter ${i}. `.repeat(8));
  const counts = { done: 0, aborted: 0, left: 0 };

  async function one(i: number): Promise<void> {
    const prompt = prefixes[rng.integer(5)] + 'x'.repeat(rng.integer(60));
    const params = {
      maxTokens: 1 + rng.integer(90),
      n: rng.integer(6) === 0 ? 2 + rng.integer(3) : 1,
      seed: i,
      stop: rng.integer(4) === 0 ? ['the', '.'] : [],
      logprobs: rng.integer(10) === 0 ? 2 : undefined,
    };
    const kind = rng.integer(10);
    if (kind === 0) {
      for await (const output of llm.stream(prompt, params)) {
        if (output.outputs[0].tokenIds.length >= 3) break; // the reader goes away
      }
      counts.left++;
    } else if (kind <= 2) {
      const signal = AbortSignal.timeout(rng.integer(60));
      await llm.generate(prompt, params, { signal }).then(
        () => counts.done++,
        (error) => {
          expect(error.code).toBe('ERR_ABORTED');
          counts.aborted++;
        },
      );
    } else {
      const output = await llm.generate(prompt, params);
      expect(output.finished).toBe(true);
      counts.done++;
    }
  }

  async function wave(from: number, to: number): Promise<number> {
    let next = from;
    const client = async () => {
      while (next < to) await one(next++);
    };
    await Promise.all(Array.from({ length: 64 }, client));
    return process.memoryUsage.rss();
  }

  const early = await wave(0, Math.floor(REQUESTS / 3));
  const late = await wave(Math.floor(REQUESTS / 3), REQUESTS);
  expect(counts.done + counts.aborted + counts.left).toBe(REQUESTS);
  expect(counts.aborted).toBeGreaterThan(0);
  const { kvCacheUsage, numRequestsRunning, numRequestsWaiting, numPreemptions } = llm.stats();
  expect({ kvCacheUsage, numRequestsRunning, numRequestsWaiting }).toEqual({
    kvCacheUsage: 0,
    numRequestsRunning: 0,
    numRequestsWaiting: 0,
  });
  expect(numPreemptions).toBeGreaterThan(0);
  expect(llm.resetPrefixCache()).toBe(true);
  await llm.close();
  console.log(
    `soak: ${JSON.stringify(counts)}, ${numPreemptions} preemptions, RSS ${early >> 20} → ${late >> 20} MiB`,
  );
  // Garbage not yet collected is not a leak; 2,000 leaked requests would be far more than this.
  expect(late - early).toBeLessThan(64 * 2 ** 20);
});
