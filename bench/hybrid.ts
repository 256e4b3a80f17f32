/**
 * A model in which three of four layers keep a state (Qwen 3.5 0.8B's shape, random weights):
 * octavo beside node-llama-cpp, taking turns in one run over the same file, as in `peers`; then,
 * octavo alone, the seconds of eight samples of one prompt beside those of eight requests.
 * `--quick`: fewer layers, prompts and tokens; `--type Q4_K`: another type than Q8_0.
 */
import { LLM } from '../lib/index.js';
import { machine, median } from './support/machine.js';
import { besidePeer, shapeFlags } from './support/one-shape.js';
import { QWEN35_08B, randomModel, type Shape } from './support/random-models.js';
import { jsonPath, report } from './support/report.js';

const { quick, type } = shapeFlags(['Q8_0', 'Q4_K']);
const shape: Shape = quick ? { ...QWEN35_08B, name: 'qwen3.5-small', layers: 4 } : QWEN35_08B;

/** Seconds of eight answers to one prompt, as samples of one request or as eight requests. */
async function forks(llm: LLM, prompt: number, output: number, salt: number) {
  const { vocabSize } = llm.info;
  const idsOf = (own: number) =>
    Array.from({ length: prompt }, (_, t) => (own * 104_729 + t * 31) % vocabSize);
  const params = { maxTokens: output, ignoreEos: true, temperature: 1, seed: 1 };
  const start = performance.now();
  await llm.generate({ promptTokenIds: idsOf(salt) }, { ...params, n: 8 });
  const samples = (performance.now() - start) / 1000;
  const again = performance.now();
  await Promise.all(
    Array.from({ length: 8 }, (_, i) =>
      llm.generate({ promptTokenIds: idsOf(salt + 1 + i) }, params),
    ),
  );
  return { samples, requests: (performance.now() - again) / 1000 };
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
rows.push({
  ...{ name: 'eight samples of a prompt beside eight requests', model: shape.name, type, prompt },
  ...{ value: median(runs.map(({ samples }) => samples)), unit: 's' },
  reference: median(runs.map(({ requests }) => requests)),
  ratio: median(runs.map(({ samples, requests }) => requests / samples)),
});
report({ bench: 'hybrid', rows, json: jsonPath() });
