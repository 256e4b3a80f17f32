/**
 * A model in which three of four layers keep a state (Qwen 3.5 0.8B's shape, random weights):
 * octavo beside node-llama-cpp, taking turns in one run over the same file, as in `peers`; then,
 * octavo alone, seconds and memory of eight samples of one prompt beside those of eight requests.
 * `--quick`: fewer layers, prompts and tokens; `--type Q4_K`: another type than Q8_0.
 */
import { LLM } from '../lib/index.js';
import { machine, median } from './support/machine.js';
import { besidePeer, shapeFlags } from './support/one-shape.js';
import { QWEN35_08B, randomModel, type Shape } from './support/random-models.js';
import { jsonPath, report } from './support/report.js';

const { quick, type } = shapeFlags(['Q8_0', 'Q4_K']);
const shape: Shape = quick ? { ...QWEN35_08B, name: 'qwen3.5-small', layers: 4 } : QWEN35_08B;

/** Most bytes of blocks and states in use after any step, until the promise is settled. */
async function peakOf(llm: LLM, work: Promise<unknown>): Promise<number> {
  const { blockBytes, stateBytes } = llm.info;
  const events = llm.events();
  const ended = work.finally(() => events.return?.());
  let most = 0;
  for await (const { numBlocksUsed, numStatesUsed } of events) {
    most = Math.max(most, numBlocksUsed * blockBytes + numStatesUsed * stateBytes);
  }
  await ended;
  return most;
}

interface Taken {
  readonly seconds: number;
  readonly bytes: number;
}

async function taken(llm: LLM, work: Promise<unknown>): Promise<Taken> {
  const start = performance.now();
  const bytes = await peakOf(llm, work);
  return { seconds: (performance.now() - start) / 1000, bytes };
}

/** Eight answers to one prompt, as samples of one request and as eight requests. */
async function forks(llm: LLM, prompt: number, output: number, salt: number) {
  const { vocabSize } = llm.info;
  const idsOf = (own: number) =>
    Array.from({ length: prompt }, (_, t) => (own * 104_729 + t * 31) % vocabSize);
  const params = { maxTokens: output, ignoreEos: true, temperature: 1, seed: 1 };
  const ask = (own: number, n = 1) =>
    llm.generate({ promptTokenIds: idsOf(own) }, { ...params, n });
  const samples = await taken(llm, ask(salt, 8));
  const each = Array.from({ length: 8 }, (_, i) => ask(salt + 1 + i));
  return { samples, requests: await taken(llm, Promise.all(each)) };
}

const path = randomModel(shape, type);
const setup = { bench: 'hybrid', machine: machine(), model: shape.name, type, path, quick };
const rows = await besidePeer(setup);

const llm = await LLM.load({ model: path, device: 'cpu', enablePrefixCaching: false });
const prompt = quick ? 64 : 2048;
const runs = [];
for (let i = 0; i < (quick ? 1 : 3); i++)
  runs.push(await forks(llm, prompt, quick ? 8 : 64, 16 * i));
await llm.close();
const MIB = 2 ** 20;
for (const [what, unit, of] of [
  ['eight samples of a prompt beside eight requests', 's', ({ seconds }: Taken) => seconds],
  ['their blocks and states at most', 'MiB', ({ bytes }: Taken) => bytes / MIB],
] as const) {
  rows.push({
    ...{ name: what, model: shape.name, type, prompt, unit },
    value: median(runs.map(({ samples }) => of(samples))),
    reference: median(runs.map(({ requests }) => of(requests))),
    ratio: median(runs.map(({ samples, requests }) => of(requests) / of(samples))),
  });
}
report({ bench: 'hybrid', rows, json: jsonPath() });
