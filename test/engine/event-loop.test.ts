import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { expect, it } from 'vitest';
import { LLM } from '../../lib/index.js';
import { ROOT } from '../support/addon.js';

it('loading and tokenizing a long prompt leave the event loop its turns', async () => {
  const path = join(ROOT, 'models', 'octavo-demo');
  expect(existsSync(path)).toBe(true);
  await (await LLM.load()).close(); // modules and code are warm
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const llm = await LLM.load();
  await new Promise((resolve) => setTimeout(resolve, 20));
  const load = delay.max / 1e6;
  delay.reset();
  await llm.tokenizer.encode('The whale, the whale! '.repeat(5000));
  await new Promise((resolve) => setTimeout(resolve, 20));
  const encode = delay.max / 1e6;
  delay.disable();
  await llm.close();
  console.log(`event loop: ${load.toFixed(1)} ms at load, ${encode.toFixed(1)} ms at encode`);
  // The aim is 10 ms; the bound is loose, because a neighbour may take this core for a while.
  expect(load).toBeLessThan(80);
  expect(encode).toBeLessThan(80);
});
