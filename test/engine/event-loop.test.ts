import { expect, it } from 'vitest';
import { LLM } from '../../lib/index.js';
import { watchEventLoop } from '../support/event-loop.js';

it('loading and tokenizing a long prompt leave the event loop its turns', async () => {
  await (await LLM.load()).close(); // modules and code are warm
  const load = await watchEventLoop(() => LLM.load());
  const llm = load.value;
  const text = 'The whale, the whale! '.repeat(5000);
  const encode = await watchEventLoop(() => llm.tokenizer.encode(text));
  const step = await watchEventLoop(() => llm.generate('A', { maxTokens: 50, ignoreEos: true }));
  await llm.close();
  console.log(
    `event loop, longest wait: ${load.longest.toFixed(1)} ms at load, ` +
      `${encode.longest.toFixed(1)} ms at encode, ${step.longest.toFixed(1)} ms while generating`,
  );
  expect(load.turns).toBeGreaterThan(5);
  expect(encode.turns).toBeGreaterThan(5);
  expect(step.turns).toBeGreaterThan(50);
});
