/**
 * Engine options: defaults, validation, freezing. Only this and hub.ts read process.env:
 * OCTAVO_MODEL names the default model of the CLI, OCTAVO_NUM_THREADS the default thread count,
 * OCTAVO_API_KEY a key of the server;
 * UV_THREADPOOL_SIZE is libuv's own.
 */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { isPlainObject, readArgument, shown } from '../arguments.js';
import { assert, octavoError } from '../errors.js';
import { type KvEventsConfig, type KvEventsOptions, tellsEvents } from './kv-events.js';
import { availableCores } from './machine.js';

/** The model that ships with the package. */
export const BUNDLED_MODEL = join(
  dirname(dirname(dirname(fileURLToPath(import.meta.url)))),
  'models',
  'octavo-demo',
);

const positive = (max: number) => z.int().min(1).max(max);

/** Instruction sets of the CPU backend; a machine and a build have some of them. */
const ISAS = [
  'amx',
  'avx512_bf16',
  'avx512_vnni',
  'avx512',
  'avx2_vnni',
  'avx2',
  'neon_i8mm',
  'neon_dotprod',
  'neon',
  'scalar',
] as const;

/** ZeroMQ takes a port above 65535, and another one for it. */
function isEndpoint(text: string): boolean {
  const [, port] = /^tcp:\/\/\S+:(\d+|\*)$/.exec(text) ?? [];
  return port === undefined ? /^ipc:\/\/\S+$/.test(text) : !(Number(port) > 65535);
}

const MOST = 10_000_000;
const endpoint = z
  .string()
  .refine(isEndpoint, 'must be tcp://HOST:PORT, tcp://*:PORT or ipc://PATH');

/** Keys of the option `kvEventsConfig`. */
const kvEvents = z.strictObject({
  enableKvCacheEvents: z.boolean().default(false),
  publisher: z.enum(['zmq', 'null']).default('zmq'),
  endpoint: endpoint.default('tcp://*:5557'),
  replayEndpoint: endpoint.nullable().default(null),
  bufferSteps: z.int().min(1).max(MOST).default(10_000),
  hwm: z.int().min(0).max(MOST).default(100_000),
  maxQueueSize: z.int().min(1).max(MOST).default(100_000),
  topic: z.string().default(''),
  eventFormat: z.enum(['array', 'map']).default('array'),
});

const schema = z.strictObject({
  model: z.string().min(1),
  runner: z.enum(['auto', 'generate', 'pooling']),
  // simt: the kernels on a host emulator, in the test addon only.
  device: z
    .string()
    .regex(/^(auto|cpu|simt|cuda(:\d{1,3})?)$/, 'must be auto, cpu, cuda or cuda:N'),
  dtype: z.enum(['auto', 'bfloat16', 'float16']),
  kvCacheDtype: z.enum(['auto', 'float32', 'float16', 'bfloat16', 'fp8', 'int8']),
  gpuMemoryUtilization: z.number().min(0.01).max(1),
  enableCudaGraphs: z.boolean(),
  enableCascadeAttention: z.boolean(),
  batchInvariant: z.boolean(),
  maxModelLen: positive(2 ** 24).optional(),
  blockSize: z.union([z.literal(8), z.literal(16), z.literal(32)], 'must be 8, 16 or 32'),
  numGpuBlocksOverride: z
    .int()
    .min(2)
    .max(2 ** 30)
    .optional(),
  kvCacheMemoryBytes: positive(2 ** 46).optional(),
  maxNumSeqs: positive(65536).optional(),
  maxNumBatchedTokens: positive(2 ** 20).optional(),
  longPrefillTokenThreshold: z
    .int()
    .min(0)
    .max(2 ** 20),
  maxNumWaiting: positive(2 ** 24),
  maxLogprobs: z
    .int()
    .min(-1)
    .max(2 ** 24),
  maxListLength: positive(2 ** 24),
  grammarCacheBytes: positive(2 ** 40),
  grammarMaxSchemaBytes: positive(2 ** 26),
  grammarMaxDepth: positive(1000),
  grammarMaxEnumBytes: positive(2 ** 26),
  grammarMaxStates: positive(2 ** 24),
  grammarMaxCompileMs: positive(600_000),
  enableJumpForward: z.boolean(),
  enablePrefixCaching: z.boolean(),
  swapSpace: z.number().min(0).max(65536).optional(),
  preemptionPolicy: z.enum(['auto', 'recompute', 'swap']),
  schedulingPolicy: z.enum(['fcfs', 'priority']),
  enableChunkedPrefill: z.boolean(),
  kvEventsConfig: kvEvents.optional(),
  traceFile: z.string().min(1).optional(),
  seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  numThreads: positive(1024),
  isa: z.enum(['auto', ...ISAS]),
  activations: z.enum(['auto', 'int8', 'bf16', 'f32']),
  quantize: z.enum(['q8_0', 'q4_0']).optional(),
});

/** What `LLM.load()` takes. Names are vLLM's, in camelCase. */
export interface EngineOptions {
  /** A Hugging Face folder or a .gguf file, or the name of a model on the hub, which is downloaded:
   * `org/name`, with `@revision`, `:quant` or `:file`. Default: the bundled demo model. */
  model?: string;
  /** What the model is loaded for: `generate`, or `pooling` (embed, score, rank, classify). `auto`
   * (default) is `pooling` for encoders, for models with a classification head and for those whose
   * files say how vectors are made of them. */
  runner?: 'auto' | 'generate' | 'pooling';
  /** `auto` (default) | `cpu` | `cuda` | `cuda:N`. */
  device?: string;
  /** Type of activations on a GPU: `auto` (default: float16 where the weights are, else bfloat16),
   * `bfloat16` or `float16`; plain weights are converted to it. The CPU computes in F32. */
  dtype?: 'auto' | 'bfloat16' | 'float16';
  /** What the KV cache is stored in. On the CPU `float32`, `float16`, `bfloat16` or `int8`, `auto`
   * (default) being bfloat16 with BF16 weights (as `activations`; then attention multiplies in
   * bfloat16, too), float16 with other 16-bit weights and with quantised ones that meet int8
   * activations, float32 otherwise. On a GPU `auto` (default: as dtype), `fp8` (e4m3) or `int8`.
   * The 8-bit ones have a scale per token and head. */
  kvCacheDtype?: 'auto' | 'float32' | 'float16' | 'bfloat16' | 'fp8' | 'int8';
  /** Share of a GPU's memory that everything on it may take, other processes included; what is left
   * after loading becomes the KV pool. Default 0.9. */
  gpuMemoryUtilization?: number;
  /** Record decode steps on a GPU as CUDA graphs and replay them. Default true. */
  enableCudaGraphs?: boolean;
  /** On a GPU, read KV that several sequences share once for all of them. Default true. */
  enableCascadeAttention?: boolean;
  /** The same bits for a request whatever runs beside it. Default true. False lets a GPU multiply
   * batches of 128 tokens and more with cuBLASLt where that library is found (`info.isa` says so);
   * no difference on the CPU. */
  batchInvariant?: boolean;
  /** Longest prompt + output of one sequence, in tokens. Default: what the model was made for, or
   * what the KV pool holds if that is less. */
  maxModelLen?: number;
  /** Tokens per KV block: 8, 16 (default) or 32. */
  blockSize?: 8 | 16 | 32;
  /** Blocks of the KV pool, the null block included, whatever the memory. vLLM's name; it holds
   * for every device. */
  numGpuBlocksOverride?: number;
  /** Bytes of the KV pool. Default on the CPU: min(4 GiB, half of the memory free to this
   * process, maxNumSeqs × maxModelLen tokens); on a GPU what gpuMemoryUtilization leaves. */
  kvCacheMemoryBytes?: number;
  /** Sequences that run at once (n parallel samples count n). Default 256, or
   * maxNumBatchedTokens if that is less. */
  maxNumSeqs?: number;
  /** Tokens computed in one step, over all sequences. Default 256, on a GPU 2,048; without chunked
   * prefill at least maxModelLen. Pooling: no text may have more; default maxModelLen, but from 256
   * to 8,192. */
  maxNumBatchedTokens?: number;
  /** A prompt takes at most so many tokens of one step; 0 (default) = the whole budget. */
  longPrefillTokenThreshold?: number;
  /** Requests that may wait; one more is refused with ERR_OVERLOADED. Default 10,000. */
  maxNumWaiting?: number;
  /** Most `logprobs` and `promptLogprobs` that a request may ask for beside each token; −1: the
   * whole vocabulary, which makes results of gigabytes possible. Default 20. */
  maxLogprobs?: number;
  /** Most entries of each list of a request: `stop`, `stopTokenIds`, `badWords`, `logitBias`,
   * `allowedTokenIds`. The texts of one list may have 16 times as many characters together.
   * Default 4,096. */
  maxListLength?: number;
  /** Bytes of compiled grammars (`structuredOutputs`) that are kept for other requests. Default
   * 64 MiB. */
  grammarCacheBytes?: number;
  /** Longest schema or grammar of a request, in bytes of its text. Default 65,536. */
  grammarMaxSchemaBytes?: number;
  /** How deep the parts of a schema may lie in each other. Default 64. */
  grammarMaxDepth?: number;
  /** Most bytes of all enum values and choices of a schema together. Default 100,000. */
  grammarMaxEnumBytes?: number;
  /** Most states of the automata that a grammar is compiled to. Default 250,000. */
  grammarMaxStates?: number;
  /** A grammar that takes longer to compile is refused. Default 5,000. */
  grammarMaxCompileMs?: number;
  /** Tokens that a grammar leaves no choice about are not drawn one by one but join the output
   * together, with logprob 0. Not of requests that ask for logprobs, or have bad words or allowed
   * ids, nor of beams. Default true. */
  enableJumpForward?: boolean;
  /** GiB of host memory that preempted requests are swapped to (page-locked for a GPU; on the CPU
   * backend a second pool, touched lazily). Default: 4, but at most a quarter of the free memory
   * and (CPU) the size of the KV pool. With recurrent layers up to half of it is places for states,
   * no more than maxNumSeqs, each with room for 16 records, and the rest KV blocks; where no layer
   * attends all of it may be places. 0 = never swap. */
  swapSpace?: number;
  /** What happens to a request when the KV pool is full and it has to make room: `recompute` frees
   * its KV, which is computed again (with recurrent layers from the last state that the cache still
   * has); `swap` moves it to the swap space, states with it, while there is room for all of it;
   * `auto` (default) swaps requests with several sequences (samples, beams), recomputes others. */
  preemptionPolicy?: 'auto' | 'recompute' | 'swap';
  /** `fcfs` (default): first come, first served; `priority`: requests with a lower `priority`
   * first. */
  schedulingPolicy?: 'fcfs' | 'priority';
  /** Reuse the KV of shared prefixes. Default true. */
  enablePrefixCaching?: boolean;
  /** Split long prompts over steps. Default true. */
  enableChunkedPrefill?: boolean;
  /** Tells over ZeroMQ which blocks the prefix cache has, as vLLM does; needs the package zeromq.
   * Default: nobody is told. */
  kvEventsConfig?: KvEventsOptions;
  /** Writes everything the scheduler is told and decides to this file (JSON lines, token ids
   * included), to be replayed with `octavo replay`. */
  traceFile?: string;
  /** Seed of the seeds drawn for requests that bring none. Default: random. */
  seed?: number;
  /** Threads of the CPU backend. Default: the cores this process may use (affinity, cgroup). */
  numThreads?: number;
  /** Instruction set of the CPU backend: auto (default: the best this machine has), amx,
   * avx512_bf16, avx512_vnni, avx512, avx2_vnni, avx2, neon_i8mm, neon_dotprod, neon or scalar.
   * All give the same bits. */
  isa?: 'auto' | (typeof ISAS)[number];
  /** What the left side of products is rounded to on the CPU: `auto` (default: with quantised
   * weights int8, a scale per token and 32 values; with BF16 weights bfloat16; with others
   * nothing), `int8` or `bf16` (only the one of these two), or `f32` (nothing; slower). */
  activations?: 'auto' | 'int8' | 'bf16' | 'f32';
  /** Quantises plain weights while they are loaded: `q8_0` or `q4_0` (embedding and head then
   * q8_0). Default: weights stay as they are stored. */
  quantize?: 'q8_0' | 'q4_0';
}

/** Options without a default, or whose default only the model or the device can tell. */
type Open =
  | 'maxModelLen'
  | 'numGpuBlocksOverride'
  | 'kvCacheMemoryBytes'
  | 'maxNumSeqs'
  | 'maxNumBatchedTokens'
  | 'swapSpace'
  | 'kvEventsConfig'
  | 'traceFile'
  | 'seed'
  | 'quantize';

/** Validated, complete but for what only the model can tell. */
export type EngineConfig = Readonly<
  Required<Omit<EngineOptions, Open>> &
    Pick<EngineOptions, Exclude<Open, 'kvEventsConfig'>> & { kvEventsConfig?: KvEventsConfig }
>;

/** Names of all engine options, for the CLI's flags. */
export const ENGINE_OPTION_NAMES = Object.keys(schema.shape) as (keyof EngineOptions)[];

/**
 * Fills in defaults, checks everything, freezes.
 * @throws ERR_INVALID_OPTION naming the option
 */
export function engineConfig(options: EngineOptions = {}): EngineConfig {
  const refusal = (cause?: unknown) =>
    octavoError('ERR_INVALID_OPTION', 'engine options must be given as an object', { cause });
  const { data, issue } = readArgument(() => {
    if (!isPlainObject(options)) throw refusal();
    const given = Object.entries(options).filter(([, value]) => value !== undefined);
    const taken = Object.fromEntries(given);
    const threads = 'numThreads' in taken ? {} : { numThreads: defaultThreads() };
    const parsed = schema.safeParse({ ...DEFAULTS, ...threads, ...taken });
    return { data: parsed.data, issue: parsed.error?.issues[0] };
  }, refusal);
  if (data !== undefined) return Object.freeze(checked(data));
  assert(issue, 'options were refused without a reason');
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  const param = unknown ?? issue.path.join('.');
  const within = issue.path.join('.');
  throw octavoError(
    'ERR_INVALID_OPTION',
    unknown && within
      ? `engine option ${within} has no ${shown(unknown)}`
      : unknown
        ? `there is no engine option ${shown(unknown)}; the options are ` +
          ENGINE_OPTION_NAMES.join(', ')
        : `engine option ${param}: ${issue.message}`,
    { param },
  );
}

/** What each option alone cannot tell. */
function checked<T extends { enablePrefixCaching: boolean; kvEventsConfig?: KvEventsConfig }>(
  config: T,
): T {
  if (config.enablePrefixCaching || !tellsEvents(config.kvEventsConfig)) return config;
  const sentence =
    'engine option kvEventsConfig: KV events tell of the prefix cache, which enablePrefixCaching ' +
    'turns off; leave out one of them';
  throw octavoError('ERR_INVALID_OPTION', sentence, { param: 'kvEventsConfig' });
}

const DEFAULTS: EngineOptions = {
  model: BUNDLED_MODEL,
  runner: 'auto',
  device: 'auto',
  dtype: 'auto',
  kvCacheDtype: 'auto',
  gpuMemoryUtilization: 0.9,
  enableCudaGraphs: true,
  enableCascadeAttention: true,
  batchInvariant: true,
  blockSize: 16,
  longPrefillTokenThreshold: 0,
  maxNumWaiting: 10_000,
  maxLogprobs: 20,
  maxListLength: 4096,
  grammarCacheBytes: 2 ** 26,
  grammarMaxSchemaBytes: 65_536,
  grammarMaxDepth: 64,
  grammarMaxEnumBytes: 100_000,
  grammarMaxStates: 250_000,
  grammarMaxCompileMs: 5000,
  enableJumpForward: true,
  enablePrefixCaching: true,
  preemptionPolicy: 'auto',
  schedulingPolicy: 'fcfs',
  enableChunkedPrefill: true,
  isa: 'auto',
  activations: 'auto',
};

/** The model of a CLI call that names none. */
export function defaultModel(): string {
  return process.env.OCTAVO_MODEL || BUNDLED_MODEL;
}

/**
 * Keys of a server that its command line need not show.
 * @throws ERR_INVALID_OPTION for an empty one: what was to give it did not
 */
export function apiKeysOf(): string[] {
  const { OCTAVO_API_KEY: key } = process.env;
  if (key === undefined) return [];
  if (key !== '') return [key];
  const sentence = 'OCTAVO_API_KEY is empty; unset it for a server that asks for no key';
  throw octavoError('ERR_INVALID_OPTION', sentence, { param: 'OCTAVO_API_KEY' });
}

function defaultThreads(): number {
  const wish = process.env.OCTAVO_NUM_THREADS;
  if (wish === undefined || wish === '') return availableCores();
  const count = Number(wish);
  if (Number.isInteger(count) && count >= 1 && count <= 1024) return count;
  throw octavoError(
    'ERR_INVALID_OPTION',
    `OCTAVO_NUM_THREADS is ${shown(wish)}; it must be an integer from 1 to 1024`,
    { param: 'OCTAVO_NUM_THREADS' },
  );
}

/** Threads of libuv's pool, which tokenizing shares with file access and DNS. */
export function poolThreads(): number {
  const wish = Number(process.env.UV_THREADPOOL_SIZE);
  return Number.isInteger(wish) && wish > 0 ? Math.min(wish, 1024) : 4;
}
