/** octavo as a worker of lines: `node octavo.js MODEL OPTIONS`. */
import { createInterface } from 'node:readline';
import { LLM } from '../../lib/index.js';
import type { Ask } from './cells.js';

const [model, options] = process.argv.slice(2);
const GREEDY = { temperature: 0, ignoreEos: true };
const SAMPLED = { temperature: 1, seed: 1, ignoreEos: true };

function say(result: object): void {
  const peakMiB = process.resourceUsage().maxRSS / 1024;
  console.log(`RESULT ${JSON.stringify({ ...result, peakMiB })}`);
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await run();
  return (performance.now() - begin) / 1000;
}

let llm!: LLM;
const seconds = await timed(async () => {
  llm = await LLM.load({ model, ...JSON.parse(options) });
});

async function answer({ prompts, output, samples = 1, beams }: Ask): Promise<void> {
  const given = prompts.map((ids) => ({ promptTokenIds: [...ids] }));
  if (beams !== undefined) {
    await llm.beamSearch(given[0], { beamWidth: beams, maxTokens: output, ignoreEos: true });
    return;
  }
  const params = { ...(samples > 1 ? SAMPLED : GREEDY), n: samples, maxTokens: output };
  for (const { outputs } of await llm.generate(given, params)) {
    const isWhole =
      outputs.length === samples && outputs.every((o) => o.tokenIds.length === output);
    if (!isWhole) throw new Error('an answer is too short');
  }
}

await answer({ prompts: [Array.from({ length: 64 }, (_, i) => 40300 + i)], output: 8 });
const { isa, numThreads } = llm.info;
say({ seconds, about: `${isa}, ${numThreads} threads` });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    const ask = JSON.parse(line) as Ask;
    say({ seconds: await timed(() => answer(ask)) });
  } catch (error) {
    say({ seconds: 0, error: (error as Error).message });
  }
}
await llm.close();
