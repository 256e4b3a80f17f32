import { describe, expect, it } from 'vitest';
import { type EngineOptions, LLM } from '../../lib/index.js';
import { BEAM_MODELS, beamParams, expectBeams, readBeams } from '../support/beams.js';

async function withModel<T>(options: EngineOptions, use: (llm: LLM) => Promise<T>): Promise<T> {
  // The references' caches are float32, their weights of 16 bits.
  const llm = await LLM.load({ kvCacheDtype: 'float32', activations: 'f32', ...options });
  try {
    return await use(llm);
  } finally {
    await llm.close();
  }
}

const total = { searches: 0, copies: 0, shared: 0, hits: 0 };

describe.each(BEAM_MODELS)('beam searches of %s', (name) => {
  const { model, searches } = readBeams(name);
  const prompts = searches.map((s) => ({ promptTokenIds: s.prompt_token_ids }));
  const params = searches.map(beamParams);

  it('equal Hugging Face, one by one', async () => {
    await withModel({ model, enablePrefixCaching: false }, async (llm) => {
      for (const [i, search] of searches.entries()) {
        const output = await llm.beamSearch(prompts[i], params[i]);
        expectBeams(output, search);
        total.searches++;
        total.copies += output.numBlockCopies;
        total.shared += output.numSharedBlocks;
      }
      expect(llm.stats().kvCacheUsage).toBe(0);
    });
  });

  it('equal it all at once, beside other requests, with prefix hits', async () => {
    await withModel({ model, maxNumBatchedTokens: 64, maxNumSeqs: 64 }, async (llm) => {
      for (let round = 0; round < 2; round++) {
        const noise = llm.generate(prompts.slice(0, 4), { n: 3, maxTokens: 20, seed: 5 });
        const outputs = await llm.generate(prompts, params);
        outputs.forEach((output, i) => {
          expectBeams(output, searches[i]);
        });
        await noise;
      }
      total.hits += llm.stats().prefixCacheHits;
      expect(llm.stats().kvCacheUsage).toBe(0);
    });
  });

  it.each(['recompute', 'swap'] as const)(
    'equal it in a pool so small that they must %s',
    async (policy) => {
      const blockSize = 8;
      const longest = Math.max(
        ...searches.map(
          (s) => Math.ceil((s.prompt_token_ids.length + s.max_tokens) / blockSize) * s.beam_width,
        ),
      );
      const options = {
        model,
        blockSize,
        numGpuBlocksOverride: longest + 8,
        maxModelLen: 250,
        preemptionPolicy: policy,
        swapSpace: 0.05,
      } as const;
      await withModel(options, async (llm) => {
        const outputs = await llm.generate(prompts, params);
        outputs.forEach((output, i) => {
          expectBeams(output, searches[i]);
        });
        const { numPreemptions, numBlocksSwappedIn, numBlocksSwappedOut } = llm.stats();
        expect(numPreemptions).toBeGreaterThan(0);
        expect(numBlocksSwappedIn > 0).toBe(policy === 'swap');
        expect(numBlocksSwappedOut).toBe(numBlocksSwappedIn);
        expect(llm.stats().kvCacheUsage).toBe(0);
      });
    },
  );
});

it('blocks were shared, copied and found in the cache', () => {
  expect(total.searches).toBe(69);
  expect(total.copies).toBeGreaterThan(100);
  expect(total.shared).toBeGreaterThan(100);
  expect(total.hits).toBeGreaterThan(100);
});
