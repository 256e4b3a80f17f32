/** The flags that engine options and sampling parameters become; one table each. */
import { type Command, Option } from 'commander';
import { kvEventsOf } from '../config/kv-events.js';
import type { EngineOptions } from '../config/options.js';
import type { BeamSearchParams } from '../core/beam-params.js';
import type { SamplingParams } from '../core/sampling-params.js';

type Kind =
  | ('number' | 'string' | 'on' | 'off' | 'ids' | 'list' | 'bias' | 'flag-or-word')
  | 'kv-events';
type Row = readonly [flag: string, name: string, kind: Kind, help: string];

const ENGINE_FLAGS: readonly Row[] = [
  ['runner', 'runner', 'string', 'auto, generate or pooling (default auto)'],
  ['device', 'device', 'string', 'auto, cpu, cuda or cuda:N (default auto)'],
  ['dtype', 'dtype', 'string', 'on a GPU: auto, bfloat16 or float16'],
  [
    'kv-cache-dtype',
    'kvCacheDtype',
    'string',
    'auto, float32, float16, bfloat16 or int8; on a GPU auto, fp8 or int8',
  ],
  ['gpu-memory-utilization', 'gpuMemoryUtilization', 'number', 'share of GPU memory (0.9)'],
  ['no-enable-cuda-graphs', 'enableCudaGraphs', 'off', 'launch every kernel of a step'],
  [
    'no-batch-invariant',
    'batchInvariant',
    'off',
    'on a GPU, cuBLASLt for large batches where it is found',
  ],
  [
    'no-enable-cascade-attention',
    'enableCascadeAttention',
    'off',
    'read shared KV once per sequence',
  ],
  ['max-model-len', 'maxModelLen', 'number', 'longest prompt + output, in tokens'],
  ['block-size', 'blockSize', 'number', 'tokens per KV block: 8, 16 or 32 (default 16)'],
  ['num-gpu-blocks-override', 'numGpuBlocksOverride', 'number', 'blocks of the KV pool'],
  ['kv-cache-memory-bytes', 'kvCacheMemoryBytes', 'number', 'bytes of the KV pool'],
  ['max-num-seqs', 'maxNumSeqs', 'number', 'sequences that run at once (default 256)'],
  ['max-num-batched-tokens', 'maxNumBatchedTokens', 'number', 'tokens of one step (default 256)'],
  [
    'long-prefill-token-threshold',
    'longPrefillTokenThreshold',
    'number',
    'tokens of one prompt in one step; 0 = all',
  ],
  ['max-num-waiting', 'maxNumWaiting', 'number', 'requests that may wait (default 10000)'],
  ['max-logprobs', 'maxLogprobs', 'number', 'most logprobs a request may ask for (20); -1 = all'],
  ['max-list-length', 'maxListLength', 'number', 'most stop strings, bad words … a request (4096)'],
  [
    'grammar-cache-bytes',
    'grammarCacheBytes',
    'number',
    'bytes of compiled grammars that are kept',
  ],
  ['grammar-max-schema-bytes', 'grammarMaxSchemaBytes', 'number', 'longest schema (65536)'],
  ['grammar-max-depth', 'grammarMaxDepth', 'number', 'deepest schema (64)'],
  ['grammar-max-enum-bytes', 'grammarMaxEnumBytes', 'number', 'all values of enums (100000)'],
  ['grammar-max-states', 'grammarMaxStates', 'number', 'states of a compiled grammar (250000)'],
  ['grammar-max-compile-ms', 'grammarMaxCompileMs', 'number', 'longest time to compile (5000)'],
  [
    'no-enable-jump-forward',
    'enableJumpForward',
    'off',
    'draw also what a grammar leaves no choice',
  ],
  [
    'no-enable-prefix-caching',
    'enablePrefixCaching',
    'off',
    'do not reuse the KV of shared prefixes',
  ],
  ['no-enable-chunked-prefill', 'enableChunkedPrefill', 'off', 'compute each prompt in one step'],
  ['swap-space', 'swapSpace', 'number', 'GiB of host memory to swap preempted requests to'],
  ['preemption-policy', 'preemptionPolicy', 'string', 'auto, recompute or swap (default auto)'],
  ['scheduling-policy', 'schedulingPolicy', 'string', 'fcfs or priority (default fcfs)'],
  [
    'kv-events-config',
    'kvEventsConfig',
    'kv-events',
    "tell over ZeroMQ what the prefix cache has: vLLM's JSON (needs zeromq)",
  ],
  ['trace-file', 'traceFile', 'string', 'write a scheduling trace, for `octavo replay`'],
  ['engine-seed', 'seed', 'number', 'seed of the seeds of requests without one'],
  ['num-threads', 'numThreads', 'number', 'threads of the CPU backend'],
  [
    'isa',
    'isa',
    'string',
    'amx, avx512_bf16, avx512_vnni, avx512, avx2, neon, scalar … (default auto)',
  ],
  [
    'activations',
    'activations',
    'string',
    'what products round to: auto (default), int8, bf16 or f32',
  ],
  ['quantize', 'quantize', 'string', 'plain weights become q8_0 or q4_0 when loaded'],
];

/** Those of a model that is loaded to pool: it has no scheduler and no cache. */
const POOLING_HELP: Readonly<Record<string, string | null>> = {
  device: null,
  dtype: null,
  'no-batch-invariant': null,
  'max-model-len': 'longest text, in tokens',
  'max-num-seqs': 'texts of one step (default 256)',
  'max-num-batched-tokens': 'tokens of one step, so of a text (default: the context, 256 to 8192)',
  'max-num-waiting': 'texts that may wait (default 10000)',
  'num-threads': null,
  isa: null,
  activations: null,
  quantize: null,
};

const SAMPLING_FLAGS: readonly Row[] = [
  ['n', 'n', 'number', 'samples per prompt; they share its KV'],
  ['temperature', 'temperature', 'number', '0 = greedy (default 1)'],
  ['top-p', 'topP', 'number', 'smallest set of tokens whose mass reaches this (default 1)'],
  ['top-k', 'topK', 'number', 'only the k most likely tokens; 0 = all'],
  ['min-p', 'minP', 'number', 'only tokens at least this share as likely as the best'],
  ['presence-penalty', 'presencePenalty', 'number', '-2 to 2'],
  ['frequency-penalty', 'frequencyPenalty', 'number', '-2 to 2'],
  ['repetition-penalty', 'repetitionPenalty', 'number', 'above 1 discourages repetition'],
  ['seed', 'seed', 'number', 'same seed, same text; sample i draws with seed + i'],
  ['stop', 'stop', 'list', 'text that ends the output; may be repeated'],
  ['stop-token-ids', 'stopTokenIds', 'ids', 'ids that end the output: 5,6'],
  ['ignore-eos', 'ignoreEos', 'on', 'go on after the end-of-sequence token'],
  ['max-tokens', 'maxTokens', 'number', 'tokens to generate at most (default 128)'],
  ['min-tokens', 'minTokens', 'number', 'tokens to generate at least'],
  ['logprobs', 'logprobs', 'number', 'report so many of the best tokens (with --json)'],
  ['prompt-logprobs', 'promptLogprobs', 'number', 'the same for the prompt (with --json)'],
  ['logit-bias', 'logitBias', 'bias', 'ID:BIAS, -100 to 100; may be repeated'],
  ['allowed-token-ids', 'allowedTokenIds', 'ids', 'only these ids may be drawn: 5,6'],
  ['bad-words', 'badWords', 'list', 'a word that must not be generated; may be repeated'],
  ['no-skip-special-tokens', 'skipSpecialTokens', 'off', 'show special tokens in the text'],
  [
    'include-stop-str-in-output',
    'includeStopStrInOutput',
    'on',
    'keep the stop text in the output',
  ],
  ['cache-salt', 'cacheSalt', 'string', 'share cached prefixes only within this salt'],
];

const BEAM_FLAGS: readonly Row[] = [
  ['beam', 'beamWidth', 'number', 'beam search with so many beams, instead of sampling'],
  ['length-penalty', 'lengthPenalty', 'number', 'score = logprob / length ^ this (default 1)'],
  ['early-stopping', 'earlyStopping', 'flag-or-word', 'true, false or never (default false)'],
];

const ids = (text: string) => text.split(',').map((word) => number(word.trim()));
const collect = (text: string, before: string[] | undefined) => [...(before ?? []), text];

/** NaN for what is no number: the gate refuses it with a sentence that names the parameter. */
function number(text: string): number {
  return text.trim() === '' ? Number.NaN : Number(text);
}

function flagOrWord(text: string): boolean | string {
  return text === 'true' ? true : text === 'false' ? false : text;
}

/** Commander keeps values by its own names, so each row's is `key`. */
function optionOf([flag, name, kind, help]: Row): { option: Option; key: string } {
  const value = {
    number: ' <number>',
    string: ' <word>',
    ids: ' <ids>',
    list: ' <text>',
    bias: ' <id:bias>',
    on: '',
    off: '',
    'flag-or-word': ' <word>',
    'kv-events': ' <json>',
  }[kind];
  const option = new Option(`--${flag}${value}`, help);
  if (kind === 'number') option.argParser(number);
  if (kind === 'ids') option.argParser(ids);
  if (kind === 'kv-events') option.argParser(kvEventsOf);
  if (kind === 'flag-or-word') option.argParser(flagOrWord);
  if (kind === 'list' || kind === 'bias') option.argParser(collect);
  return { option, key: option.attributeName() || name };
}

function add(command: Command, rows: readonly Row[], heading: string): void {
  for (const row of rows) command.addOption(optionOf(row).option.helpGroup(heading));
}

function collectValues(
  rows: readonly Row[],
  values: Record<string, unknown>,
): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const row of rows) {
    const [, name, kind] = row;
    const value = values[optionOf(row).key];
    if (value === undefined || (kind === 'off' && value === true)) continue;
    out[name] = kind === 'bias' ? biasOf(value as string[]) : value;
  }
  return out;
}

function biasOf(pairs: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.lastIndexOf(':');
      return [pair.slice(0, Math.max(0, at)), number(pair.slice(at + 1))];
    }),
  );
}

export function addEngineFlags(command: Command): Command {
  add(command, ENGINE_FLAGS, 'Engine:');
  return command;
}

/** Of `octavo embed` and `octavo rank`; `--runner` is taken, too, and has one value that it can. */
export function addPoolingEngineFlags(command: Command): Command {
  const rows = ENGINE_FLAGS.flatMap(([flag, name, kind, help]): Row[] =>
    flag in POOLING_HELP ? [[flag, name, kind, POOLING_HELP[flag] ?? help]] : [],
  );
  add(command, rows, 'Engine:');
  return command.addOption(optionOf(ENGINE_FLAGS[0]).option.hideHelp());
}

export function addSamplingFlags(command: Command): Command {
  add(command, SAMPLING_FLAGS, 'Sampling:');
  add(command, BEAM_FLAGS, 'Beam search:');
  return command;
}

/** What only several outputs of one prompt, or JSON, have a use for. */
const NOT_IN_CHATS: ReadonlySet<string> = new Set(['n', 'logprobs', 'prompt-logprobs']);

/** Of `octavo chat`. */
export function addChatSamplingFlags(command: Command): Command {
  const rows = SAMPLING_FLAGS.filter(([flag]) => !NOT_IN_CHATS.has(flag)).map(
    ([flag, name, kind, help]): Row =>
      flag === 'max-tokens'
        ? [flag, name, kind, 'tokens of an answer at most (default 2048)']
        : [flag, name, kind, help],
  );
  add(command, rows, 'Sampling:');
  return command;
}

export function engineOptionsOf(values: Record<string, unknown>): EngineOptions {
  return collectValues(ENGINE_FLAGS, values);
}

export function samplingParamsOf(values: Record<string, unknown>): SamplingParams {
  return collectValues(SAMPLING_FLAGS, values);
}

export function beamParamsOf(values: Record<string, unknown>): Partial<BeamSearchParams> {
  return collectValues(BEAM_FLAGS, values);
}

/** Ids of a --prompt-token-ids flag. */
export const parseIds = ids;

/** What the command line of `octavo generate` says, engine and sampling flags among it. */
export interface GenerateFlags {
  model?: string;
  file?: string;
  promptsFile?: string;
  promptTokenIds?: number[];
  chat?: boolean;
  system?: string;
  json?: boolean;
  stats?: boolean;
  timeoutMs?: number;
  events?: string;
  useModelDefaults?: boolean;
  [name: string]: unknown;
}

/** Options of each request. */
export function requestOptionsOf({ useModelDefaults = false, timeoutMs }: GenerateFlags) {
  return { useModelDefaults, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
}
