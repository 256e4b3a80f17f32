import { describe, expect, it } from 'vitest';
import type { LLM } from '../../lib/index.js';
import { random } from '../support/random.js';
import { SEED } from '../support/seed.js';
import { essence, expectValid, withModel } from '../support/structured.js';

const rng = random(SEED);
const schema = {
  type: 'object',
  properties: {
    identification: { type: 'integer', minimum: 0, maximum: 999 },
    description: { enum: ['a long text that is always the same', 'another text that is not'] },
    availability: { type: 'boolean' },
  },
  required: ['identification', 'description', 'availability'],
  additionalProperties: false,
};
const structuredOutputs = { json: schema, disableAnyWhitespace: true };
const params = () => ({ structuredOutputs, maxTokens: 200, seed: rng.integer(2 ** 31) });

const stepsOf = (llm: LLM) => llm.stats().numSteps;

describe('tokens that a grammar forces', () => {
  it('join the output without a step of their own, and count', async () => {
    await withModel({}, async (llm) => {
      const asked = params();
      const jumped = await llm.generate('Data: ', asked);
      const [output] = jumped.outputs;
      expectValid(output, schema);
      const steps = stepsOf(llm);
      const { numTokensForced, generationTokens } = llm.stats();
      expect(numTokensForced).toBeGreaterThan(8);
      expect(generationTokens).toBe(output.tokenIds.length);
      expect(jumped.metrics.numGeneratedTokens).toBe(output.tokenIds.length);
      expect(steps).toBeLessThanOrEqual(output.tokenIds.length - numTokensForced + 1);
      expect(await llm.tokenizer.decode(output.tokenIds)).toBe(output.text);
      // Each in turn, where logprobs are asked for: their sum is that of all tokens.
      const drawn = await llm.generate('Data: ', { ...asked, logprobs: 0 });
      expectValid(drawn.outputs[0], schema);
      expect(llm.stats().numTokensForced).toBe(numTokensForced);
      const sum = drawn.outputs[0].logprobs!.reduce((all, { logprob }) => all + logprob, 0);
      expect(drawn.outputs[0].cumulativeLogprob).toBeCloseTo(sum, 8);
    });
  });

  it('are not looked for where the engine is told so, nor beside lists, nor of beams', async () => {
    await withModel({ enableJumpForward: false }, async (llm) => {
      expectValid((await llm.generate('Data: ', params())).outputs[0], schema);
      expect(llm.stats().numTokensForced).toBe(0);
    });
    await withModel({}, async (llm) => {
      await llm.generate('Data: ', { ...params(), badWords: ['unheard-of'] });
      await llm.beamSearch('Data: ', { structuredOutputs, beamWidth: 2, maxTokens: 80 });
      expect(llm.stats().numTokensForced).toBe(0);
    });
  });

  it('end at maxTokens and at stop strings as drawn ones do', async () => {
    await withModel({}, async (llm) => {
      let forced = 0;
      for (const maxTokens of [2, 3, 5, 8]) {
        const before = llm.stats();
        const { outputs, metrics } = await llm.generate('Data: ', { ...params(), maxTokens });
        const after = llm.stats();
        // Each step drew one: of those that came with it, only what joined the output counts.
        const joined = after.numTokensForced - before.numTokensForced;
        expect(joined).toBe(maxTokens - (after.numSteps - before.numSteps));
        forced += joined;
        expect(outputs[0]).toMatchObject({ finishReason: 'length' });
        expect(outputs[0].tokenIds).toHaveLength(maxTokens);
        expect(metrics.numGeneratedTokens).toBe(maxTokens);
      }
      expect(forced).toBeGreaterThan(3);
      const { outputs, metrics } = await llm.generate('Data: ', { ...params(), stop: 'cation' });
      expect(outputs[0]).toMatchObject({ text: '{"identifi', finishReason: 'stop' });
      expect(metrics.numGeneratedTokens).toBe(outputs[0].tokenIds.length);
    });
  });

  it('are the same however the request runs', async () => {
    const json = { type: 'array', items: schema, minItems: 3, maxItems: 4 };
    const asks = Array.from({ length: 8 }, (_, i) => ({
      ...params(),
      structuredOutputs: { ...structuredOutputs, json },
      n: 1 + (i % 3),
    }));
    const prompts = asks.map((_, i) => 'Some data: '.repeat(1 + i * 3));
    const alone = await withModel({ enablePrefixCaching: false }, async (llm) => {
      const outputs: ReturnType<typeof essence>[] = [];
      for (const [i, ask] of asks.entries()) {
        outputs.push(essence(await llm.generate(prompts[i], ask)));
      }
      return outputs;
    });
    const small = { blockSize: 8, numGpuBlocksOverride: 100, maxModelLen: 300 } as const;
    for (const options of [
      {},
      { maxNumBatchedTokens: 16, maxNumSeqs: 16 },
      { ...small, preemptionPolicy: 'recompute' },
      { ...small, preemptionPolicy: 'swap', swapSpace: 0.05 },
    ] as const) {
      await withModel(options, async (llm) => {
        const sea = Array.from({ length: 8 }, () => 'The sea');
        const noise = llm.generate(sea, { maxTokens: 150, ignoreEos: true, seed: 1 });
        expect((await llm.generate(prompts, asks)).map(essence)).toEqual(alone);
        await noise;
        if ('preemptionPolicy' in options) expect(llm.stats().numPreemptions).toBeGreaterThan(0);
      });
    }
  });
});
