/** The worker of octavo in `npm run bench -- peers`: a process of its own, as its peer has. */
import { LLM } from '../lib/index.js';

let llm: LLM;

interface RunMessage {
  readonly prompts: readonly (readonly number[])[];
  readonly output: number;
}

async function load(options: { model: string; threads: number }) {
  const begin = performance.now();
  llm = await LLM.load({
    model: options.model,
    device: 'cpu',
    numThreads: options.threads,
    enablePrefixCaching: false,
    maxModelLen: 2048,
  });
  return { isa: llm.info.isa, ms: performance.now() - begin };
}

/** Times of the tokens of all sequences, in ms since the start, and their ids. */
async function run({
  prompts,
  output,
}: RunMessage): Promise<{ times: number[][]; ids: number[][] }> {
  const start = performance.now();
  const ids: number[][] = [];
  const times = await Promise.all(
    prompts.map(async (promptTokenIds, i) => {
      const own: number[] = [];
      const params = { maxTokens: output, ignoreEos: true, temperature: 0 };
      for await (const out of llm.stream({ promptTokenIds: [...promptTokenIds] }, params)) {
        ids[i] = [...out.outputs[0].tokenIds];
        while (own.length < ids[i].length) own.push(performance.now() - start);
      }
      return own;
    }),
  );
  return { times, ids };
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
