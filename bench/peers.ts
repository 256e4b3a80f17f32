/**
 * Octavo beside other engines, taking turns in one run. Weights are random, in the shapes of
 * SmolLM2-135M and Llama-3.2-1B. Two parts, of which `--engines` and `--node` ask for one alone:
 * - vLLM, OpenVINO GenAI and llama.cpp built for this machine, with int8 and with BF16 weights: all
 *   load the same folder, or what their own tools make of it (llama.cpp: a GGUF file of that
 *   shape). `sh bench/serving/install-peers.sh` installs them; who is not here is left out.
 * - node-llama-cpp (llama.cpp's binding) over the same GGUF files, greedily with the same prompts,
 *   its flash attention on or off, whichever is faster there. Rates come from the times at which
 *   tokens reach JavaScript.
 * `--quick`: little of everything; `--full`: every shape with every type and load (hours); `--only
 * TEXT`: models whose name and type hold it, as '135m F16' or '1b int8'; `--cell TEXT`: of the
 * engines' table, lines whose name holds it; `--octavo JSON`: more options for octavo there;
 * `--greedy`: the bundled model in Q8_0, token by token against node-llama-cpp.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { LLM } from '../lib/index.js';
import { COMMON, linesOf, MORE, QUICK } from './engines/cells.js';
import { enginesTable } from './engines/table.js';
import type { Weights } from './serving/engines.js';
import { demoGguf } from './support/demo-gguf.js';
import { type Machine, machine, machineRows } from './support/machine.js';
import {
  bareNode,
  besideRow,
  installPeer,
  type Load,
  measure,
  prompts,
  startWorkers,
  THEIRS,
  Worker,
} from './support/peer-workers.js';
import {
  LLAMA32_1B,
  randomModel,
  type Shape,
  SMOLLM2_135M,
  type StoredType,
} from './support/random-models.js';
import { type BenchRow, jsonPath, report, saveJson } from './support/report.js';

const {
  quick,
  full,
  only,
  cell,
  engines,
  node,
  octavo,
  greedy: tokenByToken,
} = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    full: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    cell: { type: 'string', default: '' },
    engines: { type: 'boolean', default: false },
    node: { type: 'boolean', default: false },
    octavo: { type: 'string', default: '{}' },
    greedy: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
}).values;
const REPEATS = quick ? 2 : 3;

const isAsked = (shape: Shape, type: string) =>
  `${shape.name} ${type}`.toLowerCase().includes(only.toLowerCase());

/** What the machine allows at most: arithmetic, or reading weights and KV (float16) once a step. */
function boundOf(m: Machine, shape: Shape, type: StoredType, bytes: number, load: Load) {
  const perLayer =
    shape.hidden * shape.headSize * (2 * shape.heads + 2 * shape.kvHeads) +
    3 * shape.hidden * shape.ffn;
  const head = shape.hidden * shape.vocab;
  const rate = type === 'F16' ? m.flops : m.int8;
  const body = shape.layers * perLayer;
  const prefill = rate / (2 * (body + head / load.prompt));
  const kv = 4 * shape.layers * shape.kvHeads * shape.headSize * load.prompt;
  const streams = (m.read / (bytes + load.n * kv)) * load.n;
  return { prefill, decode: Math.min(streams, rate / (2 * (body + head))) };
}

/** Adds to `rows`, and tells `save` after each load. */
async function compare(
  m: Machine,
  shape: Shape,
  type: StoredType,
  loads: Load[],
  rows: BenchRow[],
  save: () => void,
) {
  if (!isAsked(shape, type)) return;
  const path = randomModel(shape, type);
  const workers = startWorkers();
  const llm = await LLM.load({ model: path, device: 'cpu', maxModelLen: 64 });
  const bytes = llm.info.weightBytes;
  const kvPerToken = llm.info.kvBytesPerToken;
  await llm.close();
  try {
    for (const worker of workers) await worker.call('load', { model: path });
    for (const load of loads) {
      const bounds = boundOf(m, shape, type, bytes, load);
      for (const rates of await measure(workers, load, REPEATS)) {
        const { name } = rates;
        const measured = besideRow(rates, load, { model: shape.name, type });
        const bound = bounds[name];
        const row = { ...measured, bound, ofBound: measured.value / bound };
        rows.push(row);
        console.log(
          `${shape.name} ${type} n=${load.n} prompt=${load.prompt} ${name}: ` +
            `${row.value.toFixed(0)} / ${row.reference.toFixed(0)} tok/s, ` +
            `${row.ratio.toFixed(2)}x, ${(100 * row.ofBound).toFixed(0)} % of the bound`,
        );
      }
      save();
    }
    const most = Math.max(...loads.map((l) => l.n * (l.prompt + l.output)));
    const small = { prompts: prompts({ n: 1, prompt: 4, output: 1 }, 0), output: 1 };
    const [a, b] = (await Promise.all(workers.map((w) => w.call('run', small)))).map(
      ({ peak }) => peak - bareNode(),
    );
    rows.push({
      name: 'peak memory above bare Node',
      model: shape.name,
      type,
      value: a / 2 ** 20,
      unit: 'MiB',
      reference: b / 2 ** 20,
      ratio: a / b,
      weights: bytes / 2 ** 20,
      ofWeightsAndKv: a / (bytes + most * kvPerToken),
    });
  } finally {
    for (const worker of workers) worker.stop();
  }
  save();
}

/** The engines' table; of the large shape the long cells only where there is time. */
async function besideEngines(rows: BenchRow[], save: () => void): Promise<void> {
  for (const shape of quick ? [SMOLLM2_135M] : [SMOLLM2_135M, LLAMA32_1B]) {
    const all = shape === SMOLLM2_135M || full ? [...COMMON, ...MORE] : COMMON;
    const cells = (quick ? QUICK : all).filter((one) =>
      linesOf(one).some(({ name }) => name.toLowerCase().includes(cell.toLowerCase())),
    );
    if (cells.length === 0) throw new Error(`no line of the table is named ${cell}`);
    for (const weights of ['int8', 'BF16'] as Weights[]) {
      if (!isAsked(shape, weights)) continue;
      const options = JSON.parse(octavo);
      await enginesTable({ shape, weights, cells, repeats: REPEATS, options }, rows, save);
    }
  }
}

async function besideNode(m: Machine, rows: BenchRow[], save: () => void): Promise<void> {
  const output = 32;
  const load = (n: number, prompt: number): Load => ({ n, prompt, output });
  const crowds = [1, 8, 32, 64];
  const all = [128, 1024].flatMap((prompt) => crowds.map((n) => load(n, prompt)));
  const some = [...crowds.map((n) => load(n, 128)), load(1, 1024), load(8, 1024)];
  const small = quick ? some.slice(0, 2) : full ? all : some;
  // 576 columns are no whole blocks of Q4_K: such files hold other types in its place.
  for (const type of (quick ? ['Q8_0'] : ['Q8_0', 'Q4_0', 'F16']) as StoredType[]) {
    await compare(m, SMOLLM2_135M, type, small, rows, save);
  }
  const large = quick ? [] : full ? all : [load(1, 128), load(8, 128), load(1, 1024)];
  for (const type of ['Q8_0', 'Q4_0', 'Q4_K', 'F16'] as StoredType[]) {
    if (large.length > 0) await compare(m, LLAMA32_1B, type, large, rows, save);
  }
}

async function speed(): Promise<void> {
  const m = machine();
  const rows = machineRows(m);
  const numMachineRows = rows.length;
  const save = () => saveJson({ bench: 'peers', rows, json: jsonPath() });
  if (!node) await besideEngines(rows, save);
  if (!engines) {
    installPeer();
    await besideNode(m, rows, save);
  }
  if (rows.length === numMachineRows) {
    const types = 'Q8_0, Q4_0, Q4_K, F16, int8 or BF16';
    throw new Error(`no model and type is named ${only}: 135m or 1b, and ${types}`);
  }
  report({ bench: 'peers', rows, json: jsonPath() });
}

/** The bundled model's supplied prompts: same ids, or how near the two best were at the parting. */
async function greedy(): Promise<void> {
  installPeer();
  const path = demoGguf();
  const golden = JSON.parse(
    readFileSync(join('test', 'fixtures', 'octavo-demo', 'golden.json'), 'utf8'),
  ) as { prompts: { prompt_token_ids: number[] }[] };
  const theirs = new Worker(THEIRS);
  await theirs.call('load', { model: path });
  const llm = await LLM.load({ model: path, device: 'cpu' });
  const params = { maxTokens: 64, temperature: 0, ignoreEos: true, logprobs: 2 };
  let same = 0;
  for (const [i, { prompt_token_ids: promptTokenIds }] of golden.prompts.entries()) {
    const [ours] = (await llm.generate({ promptTokenIds }, params)).outputs;
    const run = { prompts: [promptTokenIds], output: 64, flashAttention: false };
    const ids = (await theirs.call('run', run)).ids[0];
    const at = ours.tokenIds.findIndex((id, t) => id !== ids[t]);
    if (at < 0) same++;
    const { top } = ours.logprobs![Math.max(at, 0)];
    const lead = top[0].logprob - top[1].logprob;
    const parting = `parts after ${at} ids, the two best ${lead.toFixed(4)} nats apart there`;
    console.log(`prompt ${i}: ${at < 0 ? '64 ids the same' : parting}`);
  }
  console.log(`${same} of ${golden.prompts.length} prompts the same to the end`);
  await llm.close();
  theirs.stop();
}

await (tokenByToken ? greedy() : speed());
