/**
 * How long a model takes to be there, octavo's beside node-llama-cpp's: a GGUF file in the shape of
 * Qwen2.5-0.5B, of random weights and 151,936 tokens, which are half of the work. Each load in a
 * process of its own, whose start does not count, in turns; from the page cache, and with nothing
 * of the file in it. `--quick`: two of each.
 */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { median } from './support/machine.js';
import { installPeer, OURS, prompts, THEIRS, Worker } from './support/peer-workers.js';
import { QWEN25_05B, randomModel, type StoredType } from './support/random-models.js';
import { type BenchRow, jsonPath, report } from './support/report.js';
import { wordsOf } from './support/words.js';

const { quick } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, json: { type: 'string' } },
}).values;
const REPEATS = quick ? 2 : 7;

interface Loaded {
  /** Milliseconds until the model is there, and until it has answered with one token. */
  readonly load: number;
  readonly firstToken: number;
}

async function loadOnce(script: string, model: string): Promise<Loaded> {
  const worker = new Worker(script);
  try {
    const { ms: load } = await worker.call('load', { model });
    const begin = performance.now();
    const run = { prompts: prompts({ n: 1, prompt: 4, output: 1 }, 0), output: 1 };
    await worker.call('run', { ...run, flashAttention: true });
    return { load, firstToken: load + performance.now() - begin };
  } finally {
    worker.stop();
  }
}

/** Whatever the system keeps of a file goes; of what is not on the disk yet, nothing would. */
function forget(path: string): void {
  spawnSync('sync', [path]);
  const { status } = spawnSync('dd', [`if=${path}`, 'iflag=nocache', 'count=0'], {
    stdio: 'ignore',
  });
  if (status !== 0) throw new Error('this dd cannot empty the page cache of a file');
}

async function compare(type: StoredType, isCold: boolean): Promise<BenchRow[]> {
  const path = randomModel(QWEN25_05B, type, { vocabulary: wordsOf(QWEN25_05B.vocab) });
  const scripts = [OURS, THEIRS];
  const found: Loaded[][] = [[], []];
  // The first of each is not counted: it brings programs into the cache.
  for (let r = -1; r < REPEATS; r++) {
    for (const i of r % 2 === 0 ? [0, 1] : [1, 0]) {
      if (isCold) forget(path);
      const loaded = await loadOnce(scripts[i], path);
      if (r >= 0) found[i].push(loaded);
    }
  }
  return (['load', 'firstToken'] as const).map((what) => {
    const [ours, theirs] = found.map((all) => all.map((one) => one[what]));
    const [value, reference] = [median(ours), median(theirs)];
    const range = { least: Math.min(...ours), most: Math.max(...ours) };
    const name = `${what === 'load' ? 'load' : 'to the first token'}, ${isCold ? 'cold' : 'warm'}`;
    const row = { name, model: QWEN25_05B.name, type, value, unit: 'ms', ...range };
    return { ...row, reference, ratio: value / reference };
  });
}

installPeer();
const rows: BenchRow[] = [];
for (const type of ['Q8_0', 'Q4_0'] as StoredType[]) {
  for (const isCold of [false, true]) rows.push(...(await compare(type, isCold)));
}
report({ bench: 'load', rows, json: jsonPath() });
