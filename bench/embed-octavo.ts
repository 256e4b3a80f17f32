/** The worker of octavo in `npm run bench -- embed`: a process of its own, as its peer has. */
import { LLM } from '../lib/index.js';

let llm: LLM;

async function load(options: { model: string; threads: number }): Promise<object> {
  llm = await LLM.load({ model: options.model, device: 'cpu', numThreads: options.threads });
  return { isa: llm.info.isa };
}

/** Milliseconds of all texts, their tokens, and the first vector. */
async function run({ texts }: { texts: readonly string[] }): Promise<object> {
  const start = performance.now();
  const outputs = await llm.embed(texts);
  const ms = performance.now() - start;
  const numTokens = outputs.reduce((sum, { numPromptTokens }) => sum + numPromptTokens, 0);
  return { ms, numTokens, vector: Array.from(outputs[0].embedding) };
}

process.on('message', async ({ id, what, ...rest }: { id: number; what: string }) => {
  try {
    const value = what === 'load' ? await load(rest as never) : await run(rest as never);
    const peak = process.resourceUsage().maxRSS * 1024;
    process.send!({ id, value: { ...value, peak } });
  } catch (error) {
    process.send!({ id, error: (error as Error).stack });
  }
});
