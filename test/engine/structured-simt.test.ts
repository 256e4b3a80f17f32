import { expect, it } from 'vitest';
import type { LLM } from '../../lib/index.js';
import { simtDevice, testAddon } from '../support/addon.js';
import { SEED } from '../support/seed.js';
import { essence, expectValid, withModel } from '../support/structured.js';

/** Masks and the lists of beams, as the CUDA sampler applies them, on the emulator. */
const SMALL = { device: 'simt', maxModelLen: 128, maxNumBatchedTokens: 32, swapSpace: 0 } as const;

it('a grammar decides what is drawn, and what beams go on with', async () => {
  simtDevice({ order: (SEED % 3) as 0 | 1 | 2, seed: SEED, memoryBytes: 2 ** 29 });
  const schema = { type: 'array', items: { enum: [1, true, 'é'] }, minItems: 1, maxItems: 2 };
  const structuredOutputs = { json: schema, disableAnyWhitespace: true };
  const hot = { structuredOutputs, temperature: 2, maxTokens: 24, seed: SEED, logprobs: 1 };
  await withModel(
    SMALL,
    async (llm: LLM) => {
      const free = { maxTokens: 6, seed: SEED, ignoreEos: true };
      const [one, other] = await llm.generate(['A', 'B'], [{ ...hot, n: 2 }, free]);
      for (const output of one.outputs) expectValid(output, schema);
      expect(essence(await llm.generate('A', { ...hot, n: 2 }))).toEqual(essence(one));
      expect(essence(await llm.generate('B', free))).toEqual(essence(other));
      const choice = ['a', 'b'];
      const search = { beamWidth: 2, maxTokens: 4, structuredOutputs: { choice } };
      const { outputs } = await llm.beamSearch('The', search);
      expect(outputs.map(({ text }) => text).toSorted()).toEqual(choice);
    },
    testAddon(),
  );
});
