import { expect, it } from 'vitest';
import { LLM } from '../../lib/index.js';
import { testAddon, simtDevice } from '../support/addon.js';

it('text', async () => {
  simtDevice({ threads: 2 });
  const llm = await LLM.loadWith({ device: 'simt', numGpuBlocksOverride: 65, maxModelLen: 256, maxNumBatchedTokens: 64 , maxNumSeqs: 8}, testAddon());
  const t0 = performance.now();
  const out = await llm.generate('Call me Ishmael.', { temperature: 0, maxTokens: 24 });
  console.log(out.outputs[0].text, performance.now() - t0, simtDevice());
  const cpu = await LLM.load();
  const want = await cpu.generate('Call me Ishmael.', { temperature: 0, maxTokens: 24 });
  console.log(want.outputs[0].text);
  await llm.close();
  await cpu.close();
  expect(out.outputs[0].text).toBe(want.outputs[0].text);
}, 120000);
