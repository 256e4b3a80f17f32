/**
 * Octavo beside node-llama-cpp (llama.cpp's binding), taking turns in one run over the same GGUF
 * files: random weights in the shapes of SmolLM2-135M and Llama-3.2-1B. Both decode greedily with
 * the same prompts; the peer's flash attention is on or off, whichever is faster there. Rates come
 * from the times at which tokens reach JavaScript.
 * `--quick`: little of everything; `--full`: every shape with every type and load (hours); `--only
 * TEXT`: models whose name and type hold it, as '135m F16'; `--greedy`: the bundled model in Q8_0,
 * token by token against the peer.
 */
import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { availableCores } from '../lib/config.js';
import { LLM } from '../lib/index.js';
import { demoGguf } from './support/demo-gguf.js';
import { type Machine, machine, machineRows, median } from './support/machine.js';
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
  greedy: tokenByToken,
} = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    full: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    greedy: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
}).values;
const threads = availableCores();
const REPEATS = quick ? 2 : 3;

interface Measured {
  readonly times: number[][];
  readonly ids: number[][];
  /** Most memory that the process has held, in bytes. */
  readonly peak: number;
  readonly isa?: string;
}

/** A process that loads a model and runs loads over it. */
class Worker {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve(v: Measured): void; reject(e: Error): void }>();
  #next = 0;

  constructor(script: string) {
    this.#child = fork(script, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    this.#child.on('message', (message) => {
      const { id, value, error } = message as { id: number; value: Measured; error?: string };
      const call = this.#waiting.get(id)!;
      this.#waiting.delete(id);
      if (error === undefined) call.resolve(value);
      else call.reject(new Error(error));
    });
    this.#child.on('exit', (code) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`${script}: exit ${code}`));
    });
  }

  call(what: 'load' | 'run', rest: object): Promise<Measured> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, what, threads, ...rest });
    });
  }

  stop(): void {
    this.#child.kill();
  }
}

const OURS = join('.bench', 'bench', 'peers-octavo.js');
const THEIRS = join('bench', 'peers', 'node-llama-cpp.mjs');

function installPeer(): void {
  if (existsSync(join('bench', 'peers', 'node_modules', 'node-llama-cpp'))) return;
  const { status } = spawnSync(
    'npm',
    ['install', '--no-audit', '--no-fund', '--no-package-lock', '--ignore-scripts'],
    { cwd: join('bench', 'peers'), stdio: 'inherit' },
  );
  if (status !== 0) throw new Error('node-llama-cpp could not be installed');
}

/** Tokens a second: all prompts until the last has its first token, then what follows. */
function rates({ times }: Measured, prompt: number): { prefill: number; decode: number } {
  const first = Math.max(...times.map((own) => own[0]));
  const end = Math.max(...times.map((own) => own.at(-1)!));
  const after = times.flat().filter((t) => t > first).length;
  return {
    prefill: (times.length * prompt) / (first / 1000),
    decode: after / ((end - first) / 1000),
  };
}

interface Load {
  readonly n: number;
  readonly prompt: number;
  readonly output: number;
}

function prompts({ n, prompt }: Load, salt: number): number[][] {
  return Array.from({ length: n }, (_, i) =>
    Array.from({ length: prompt }, (_, t) => 300 + ((salt * 7919 + i * 104729 + t * 31) % 40000)),
  );
}

/** Rows of one load: ours, theirs, the ratio of each pair of neighbours. */
async function measure(
  [ours, theirs]: readonly [Worker, Worker],
  load: Load,
): Promise<{ name: 'prefill' | 'decode'; ours: number[]; theirs: number[] }[]> {
  let flashAttention = true;
  let best = 0;
  for (const flash of [true, false]) {
    const run = {
      prompts: prompts(load, flash ? 1 : 2),
      output: load.output,
      flashAttention: flash,
    };
    const { prefill, decode } = rates(await theirs.call('run', run), load.prompt);
    const seconds = (load.n * load.prompt) / prefill + (load.n * load.output) / decode;
    if (best === 0 || seconds < best) [best, flashAttention] = [seconds, flash];
  }
  await ours.call('run', { prompts: prompts(load, 3), output: 2 });
  const found = {
    prefill: { ours: [] as number[], theirs: [] as number[] },
    decode: { ours: [] as number[], theirs: [] as number[] },
  };
  for (let r = 0; r < REPEATS; r++) {
    const run = { prompts: prompts(load, 10 + r), output: load.output, flashAttention };
    const a = rates(await ours.call('run', run), load.prompt);
    const b = rates(await theirs.call('run', run), load.prompt);
    for (const name of ['prefill', 'decode'] as const) {
      found[name].ours.push(a[name]);
      found[name].theirs.push(b[name]);
    }
  }
  return (['prefill', 'decode'] as const).map((name) => ({ name, ...found[name] }));
}

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

/** What a Node process that does nothing holds, in bytes. */
function bareNode(): number {
  const print = 'console.log(process.resourceUsage().maxRSS)';
  return 1024 * Number(spawnSync(process.execPath, ['-e', print], { encoding: 'utf8' }).stdout);
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
  if (!`${shape.name} ${type}`.toLowerCase().includes(only.toLowerCase())) return;
  const path = randomModel(shape, type);
  const workers = [new Worker(OURS), new Worker(THEIRS)] as const;
  const llm = await LLM.load({ model: path, device: 'cpu', maxModelLen: 64 });
  const bytes = llm.info.weightBytes;
  const kvPerToken = llm.info.kvBytesPerToken;
  await llm.close();
  try {
    for (const worker of workers) await worker.call('load', { model: path });
    for (const load of loads) {
      const bounds = boundOf(m, shape, type, bytes, load);
      for (const { name, ours, theirs } of await measure(workers, load)) {
        const ratios = ours.map((rate, i) => rate / theirs[i]);
        const row = {
          name,
          model: shape.name,
          type,
          concurrent: load.n,
          prompt: load.prompt,
          value: median(ours),
          unit: 'tok/s',
          reference: median(theirs),
          ratio: median(ratios),
          least: Math.min(...ratios),
          most: Math.max(...ratios),
          bound: bounds[name],
          ofBound: median(ours) / bounds[name],
        };
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

async function speed(): Promise<void> {
  const m = machine();
  const rows = machineRows(m);
  const save = () => saveJson({ bench: 'peers', rows, json: jsonPath() });
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
  if (rows.length === machineRows(m).length) {
    throw new Error(`no model and type is named ${only}: 135m or 1b, and Q8_0, Q4_0, Q4_K or F16`);
  }
  report({ bench: 'peers', rows, json: jsonPath() });
}

/** The bundled model's supplied prompts: same ids, or how near the two best were at the parting. */
async function greedy(): Promise<void> {
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

installPeer();
await (tokenByToken ? greedy() : speed());
