import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { replayTrace, type TraceEvent } from '../../lib/core/trace.js';
import type { EngineOptions, LLM } from '../../lib/index.js';
import { sample } from '../support/all.js';
import { random } from '../support/random.js';
import { SEED } from '../support/seed.js';
import {
  essence,
  expectValid,
  paramsOf,
  SCHEMAS,
  someAsks,
  withModel,
} from '../support/structured.js';

const rng = random(SEED);
const folder = mkdtempSync(join(tmpdir(), 'octavo-structured-'));
afterAll(() => rmSync(folder, { recursive: true }));

const searches = SCHEMAS.map((json, i) => ({
  beamWidth: 2 + (i % 3),
  maxTokens: 120,
  structuredOutputs: { json },
}));
const prompts = searches.map((_, i) => 'Some data: '.repeat(1 + i * 3));

describe('beams under a grammar', () => {
  it('are all valid, best first', async () => {
    await withModel({}, async (llm) => {
      for (const [i, params] of searches.entries()) {
        const { outputs } = await llm.beamSearch(prompts[i], params);
        expect(outputs.length).toBeGreaterThan(0);
        for (const output of outputs) expectValid(output, SCHEMAS[i]);
        const scores = outputs.map(({ score }) => score!);
        expect(scores).toEqual(scores.toSorted((a, b) => b - a));
      }
    });
  });

  it('are those of all that the grammar allows, where the beams are as many', async () => {
    await withModel({}, async (llm) => {
      const choice = ['a', 'b', 'c'];
      const params = {
        beamWidth: 3,
        maxTokens: 8,
        lengthPenalty: 0,
        structuredOutputs: { choice },
      };
      const { outputs, promptTokenIds } = await llm.beamSearch('The ', params);
      expect(outputs.map(({ text }) => text).toSorted()).toEqual(choice);
      // Raw logprobs, as those of a prompt: what is forbidden takes no part, but leaves its share.
      for (const { tokenIds, cumulativeLogprob } of outputs) {
        const ids = [...promptTokenIds, ...tokenIds, tokenIds[0]];
        const asPrompt = await llm.generate(
          { promptTokenIds: ids },
          { maxTokens: 1, promptLogprobs: 0, ignoreEos: true },
        );
        const from = promptTokenIds.length;
        const sum = asPrompt
          .promptLogprobs!.slice(from, from + tokenIds.length)
          .reduce((total, one) => total + one!.logprob, 0);
        expect(cumulativeLogprob).toBeCloseTo(sum, 10);
      }
    });
  });

  const small = { blockSize: 8, numGpuBlocksOverride: 80, maxModelLen: 300 } as const;
  it.each<[string, EngineOptions, (llm: LLM) => number]>([
    ['in a batch', {}, (llm) => llm.stats().numBlockCopies],
    [
      'preempted and computed again',
      { ...small, preemptionPolicy: 'recompute' },
      (llm) => llm.stats().numPreemptions,
    ],
    [
      'preempted and swapped',
      { ...small, preemptionPolicy: 'swap', swapSpace: 0.05 },
      (llm) => llm.stats().numBlocksSwappedIn,
    ],
  ])('are the same %s as alone', async (_, options, happened) => {
    const alone = await withModel({ enablePrefixCaching: false }, async (llm) => {
      const found: ReturnType<typeof essence>[] = [];
      for (const [i, params] of searches.entries()) {
        found.push(essence(await llm.beamSearch(prompts[i], params)));
      }
      return found;
    });
    await withModel(options, async (llm) => {
      const noise = llm.generate(prompts, { maxTokens: 60, n: 2, seed: 3 });
      const outputs = await llm.generate(prompts, searches);
      expect(outputs.map(essence)).toEqual(alone);
      await noise;
      expect(happened(llm)).toBeGreaterThan(0);
      expect(llm.stats().kvCacheUsage).toBe(0);
    });
  });
});

it('a trace of constrained requests and beams is replayed without their grammars', async () => {
  const traceFile = join(folder, 'trace.jsonl');
  const small = { blockSize: 8, numGpuBlocksOverride: 80, maxModelLen: 300 } as const;
  const asks = someAsks(rng, sample(8, 24));
  const numTokens = await withModel({ ...small, traceFile }, async (llm) => {
    await llm.generate(
      [...prompts, ...asks.map(({ prompt }) => prompt)],
      [...searches, ...asks.map(paramsOf)],
    );
    return llm.stats().generationTokens;
  });
  const lines = readFileSync(traceFile, 'utf8').trim().split('\n');
  const events = lines.map((line) => JSON.parse(line) as TraceEvent);
  expect(lines.some((line) => line.includes('"enum"'))).toBe(false);
  const summary = replayTrace(events);
  expect(summary).toMatchObject({ numRequests: prompts.length + asks.length, numUnfinished: 0 });
  expect(numTokens).toBeGreaterThan(0);
});
