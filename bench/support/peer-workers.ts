/** Octavo and node-llama-cpp, each in a process of its own, taking turns over the same loads. */
import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { availableCores } from '../../lib/config/machine.js';
import { endWithUs, hasEnded } from './end-with-us.js';
import { median } from './machine.js';

const threads = availableCores();

interface Measured {
  readonly times: number[][];
  readonly ids: number[][];
  /** Most memory that the process has held, in bytes. */
  readonly peak: number;
  /** Of a load: how long it took, the process's start aside. */
  readonly ms: number;
  readonly isa?: string;
}

/** A process that loads a model and runs loads over it, and stands still while not asked. */
export class Worker<T = Measured> {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve(v: T): void; reject(e: Error): void }>();
  #next = 0;

  constructor(script: string) {
    this.#child = fork(script, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    this.#child.on('message', (message) => {
      const { id, value, error } = message as { id: number; value: T; error?: string };
      const call = this.#waiting.get(id)!;
      this.#waiting.delete(id);
      if (this.#waiting.size === 0) this.#child.kill('SIGSTOP');
      if (error === undefined) call.resolve(value);
      else call.reject(new Error(error));
    });
    this.#child.on('exit', (code) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`${script}: exit ${code}`));
    });
    endWithUs(this);
  }

  call(what: 'load' | 'run', rest: object): Promise<T> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.kill('SIGCONT');
      this.#child.send({ id, what, threads, ...rest });
    });
  }

  stop(): void {
    hasEnded(this);
    this.#child.kill('SIGKILL');
  }
}

/** What takes turns: ours first. */
export function startWorkers(): readonly [Worker, Worker] {
  return [new Worker(OURS), new Worker(THEIRS)];
}

export const OURS = join('.bench', 'bench', 'peers-octavo.js');
export const THEIRS = join('bench', 'peers', 'node-llama-cpp.mjs');

export function installPeer(): void {
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

export interface Load {
  readonly n: number;
  readonly prompt: number;
  readonly output: number;
}

export function prompts({ n, prompt }: Load, salt: number): number[][] {
  return Array.from({ length: n }, (_, i) =>
    Array.from({ length: prompt }, (_, t) => 300 + ((salt * 7919 + i * 104729 + t * 31) % 40000)),
  );
}

/** Tokens a second of one load in each round. */
interface Rates {
  readonly name: 'prefill' | 'decode';
  readonly ours: number[];
  readonly theirs: number[];
}

/** Medians, and the ratio of each pair of neighbours. */
export function besideRow({ name, ours, theirs }: Rates, load: Load, model: object) {
  const ratios = ours.map((rate, i) => rate / theirs[i]);
  return {
    ...{ name, ...model, concurrent: load.n, prompt: load.prompt },
    ...{ value: median(ours), unit: 'tok/s', reference: median(theirs), ratio: median(ratios) },
    ...{ least: Math.min(...ratios), most: Math.max(...ratios) },
  };
}

export async function measure(
  [ours, theirs]: readonly [Worker, Worker],
  load: Load,
  repeats: number,
): Promise<Rates[]> {
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
  for (let r = 0; r < repeats; r++) {
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

/** What a Node process that does nothing holds, in bytes. */
export function bareNode(): number {
  const print = 'console.log(process.resourceUsage().maxRSS)';
  return 1024 * Number(spawnSync(process.execPath, ['-e', print], { encoding: 'utf8' }).stdout);
}
