/** The engines of the table, each with what it is given: the same cores, lengths and cache. */
import { spawnSync } from 'node:child_process';
import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { availableCores } from '../../lib/config/machine.js';
import { PEERS, VLLM_PYTHON, vllmEnvironment, type Weights } from '../serving/engines.js';
import { int8Folder } from '../serving/int8-folder.js';
import { randomModel, type Shape } from '../support/random-models.js';
import type { Words } from '../support/words.js';
import { KV_GIB, MAX_MODEL_LEN, MAX_NUM_SEQS, measure } from './cells.js';
import type { Engine } from './engine.js';
import { LlamaCpp } from './llama-cpp.js';
import { LineWorker, type Program } from './worker.js';

export interface Given {
  readonly shape: Shape;
  readonly weights: Weights;
  readonly words: Words;
  /** More options for octavo. */
  readonly options: Readonly<Record<string, unknown>>;
}

interface Candidate {
  readonly name: string;
  /** How it is had; undefined: it is here. */
  readonly missing: string | undefined;
  readonly start: (given: Given) => Promise<Engine>;
}

const threads = availableCores();
const install = (word: string, path: string) =>
  existsSync(path) ? undefined : `sh bench/serving/install-peers.sh ${word}`;

const OPENVINO_PYTHON = join(PEERS, 'openvino', 'bin', 'python');
const OPENVINO_EXPORT = join(PEERS, 'openvino-export', 'bin', 'optimum-cli');
const BATCHED_BENCH = join(PEERS, 'llama-batched-bench');

/** octavo first: the others are what it is compared with. */
export const CANDIDATES: readonly Candidate[] = [
  { name: 'octavo', missing: undefined, start: octavo },
  { name: 'vLLM', missing: install('vllm', VLLM_PYTHON), start: vllm },
  { name: 'OpenVINO', missing: install('openvino', OPENVINO_EXPORT), start: openvino },
  { name: 'llama.cpp', missing: install('llama.cpp', BATCHED_BENCH), start: llamaCpp },
];

/** An engine that is a worker of lines. */
async function worker(name: string, given: Given, command: Program): Promise<Engine> {
  const { shape, weights } = given;
  const log = join('.bench', `${name}-${shape.name}-${weights}.log`);
  const begin = performance.now();
  const own = await LineWorker.start(command, log);
  return {
    name,
    about: `${own.about}; ${command.args.at(-1)}`,
    loadSeconds: (performance.now() - begin) / 1000,
    measure: (cell) => measure(cell, (ask) => own.ask(ask)),
    peakMiB: () => own.peakMiB,
    stop: () => own.stop(),
  };
}

function octavo(given: Given): Promise<Engine> {
  const { shape, weights, words, options } = given;
  const settings = {
    ...(weights === 'int8' ? { quantize: 'q8_0' } : {}),
    ...{ device: 'cpu', numThreads: threads, maxModelLen: MAX_MODEL_LEN },
    ...{ kvCacheMemoryBytes: KV_GIB * 2 ** 30, ...options },
  };
  const model = randomModel(shape, 'BF16', { vocabulary: words });
  return worker('octavo', given, {
    program: process.execPath,
    args: [join('.bench', 'bench', 'engines', 'octavo.js'), model, JSON.stringify(settings)],
  });
}

/** In one process: those that it starts by itself take time from its own on two cores. */
function vllm(given: Given): Promise<Engine> {
  const { shape, weights, words } = given;
  const plain = randomModel(shape, 'BF16', { vocabulary: words });
  const settings = {
    ...{ dtype: 'bfloat16', max_model_len: MAX_MODEL_LEN, max_num_seqs: MAX_NUM_SEQS },
    distributed_executor_backend: 'uni',
  };
  const model = weights === 'int8' ? int8Folder(plain) : plain;
  return worker('vLLM', given, {
    program: VLLM_PYTHON,
    args: [join('bench', 'peers', 'vllm_worker.py'), model, JSON.stringify(settings)],
    env: {
      ...vllmEnvironment(threads),
      VLLM_CPU_KVCACHE_SPACE: `${KV_GIB}`,
      VLLM_ENABLE_V1_MULTIPROCESSING: '0',
      VLLM_LOGGING_LEVEL: 'WARNING',
    },
  });
}

/** Its types of activations and KV are its own choice, as they are octavo's. */
function openvino(given: Given): Promise<Engine> {
  const settings = {
    scheduler: {
      ...{ cache_size: KV_GIB, max_num_batched_tokens: 512, max_num_seqs: 2 * MAX_NUM_SEQS },
      ...{ enable_prefix_caching: true, dynamic_split_fuse: true },
    },
    device: { INFERENCE_NUM_THREADS: threads },
  };
  return worker('OpenVINO', given, {
    program: OPENVINO_PYTHON,
    args: [
      join('bench', 'peers', 'openvino_worker.py'),
      openvinoModel(given),
      JSON.stringify(settings),
    ],
  });
}

/** A folder in its own form, made on the first call. */
function openvinoModel({ shape, weights, words }: Given): string {
  const plain = randomModel(shape, 'BF16', { vocabulary: words });
  const folder = `${plain}-openvino-${weights}`;
  if (existsSync(folder)) return folder;
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  const format = weights === 'int8' ? 'int8' : 'fp16';
  const { status, stderr } = spawnSync(
    OPENVINO_EXPORT,
    [
      ...['export', 'openvino', '--model', plain, '--task', 'text-generation-with-past'],
      ...['--weight-format', format, part],
    ],
    { encoding: 'utf8', env: { ...process.env, HF_HUB_OFFLINE: '1' } },
  );
  if (status !== 0) throw new Error(`no model for it: ${stderr.trim().split('\n').at(-1)}`);
  renameSync(part, folder);
  return folder;
}

async function llamaCpp({ shape, weights, words }: Given): Promise<Engine> {
  const type = weights === 'int8' ? 'Q8_0' : 'BF16';
  const model = randomModel(shape, type, { vocabulary: words, gguf: true });
  return new LlamaCpp(BATCHED_BENCH, model, threads);
}
