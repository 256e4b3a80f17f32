/** The flags of `octavo bench serve`: vLLM's names, defaults and meanings. */

import { randomBytes } from 'node:crypto';
import { type Command, Option } from 'commander';
import { octavoError } from '../errors.js';
import type { RampUp } from '../loadgen/arrivals.js';
import type { Backend } from '../loadgen/bench.js';
import { type Goodput, METRICS, type MetricName } from '../loadgen/metrics.js';
import { writtenMember } from '../text/json-members.js';

/** As Commander has them once their values were read. */
export interface BenchFlags {
  backend: Backend;
  baseUrl?: string;
  host: string;
  port: number;
  endpoint: string;
  header: Record<string, string>;
  apiKey?: string;
  insecure?: boolean;
  model?: string;
  servedModelName?: string;
  tokenizer?: string;
  vocabSize?: number;
  datasetName: 'random' | 'sharegpt' | 'prefix_repetition';
  datasetPath?: string;
  numPrompts: number;
  seed: number;
  inputLen?: number;
  outputLen?: number;
  randomInputLen: number;
  randomOutputLen: number;
  randomRangeRatio: number;
  randomPrefixLen: number;
  sharegptOutputLen?: number;
  prefixRepetitionPrefixLen: number;
  prefixRepetitionSuffixLen: number;
  prefixRepetitionNumPrefixes: number;
  prefixRepetitionOutputLen: number;
  requestRate: number;
  burstiness: number;
  rampUpStrategy?: RampUp['strategy'];
  rampUpStartRps?: number;
  rampUpEndRps?: number;
  /** The three above, where they are given. */
  rampUp?: RampUp;
  maxConcurrency: number;
  numWarmups: number;
  readyCheckTimeoutSec: number;
  ignoreEos?: boolean;
  temperature?: number;
  topP?: number;
  topK?: number;
  minP?: number;
  frequencyPenalty?: number;
  presencePenalty?: number;
  repetitionPenalty?: number;
  logprobs?: number;
  extraBody?: Record<string, string>;
  goodput: Goodput;
  percentileMetrics: MetricName[];
  metricPercentiles: number[];
  saveResult?: boolean;
  saveDetailed?: boolean;
  appendResult?: boolean;
  disableTqdm?: boolean;
  requestIdPrefix: string;
  resultDir: string;
  resultFilename?: string;
  label?: string;
  metadata: Record<string, string>;
  plot?: string;
}

/** vLLM's names of backends that speak these two APIs. */
const BACKENDS: Readonly<Record<string, Backend>> = {
  openai: 'openai',
  vllm: 'openai',
  lmdeploy: 'openai',
  scalellm: 'openai',
  sglang: 'openai',
  'llama.cpp': 'openai',
  octavo: 'openai',
  'openai-chat': 'openai-chat',
};

const ENDPOINTS = { openai: '/v1/completions', 'openai-chat': '/v1/chat/completions' } as const;

function refuse(flag: string, what: string): never {
  throw octavoError('ERR_INVALID_PARAM', `--${flag} ${what}`, { param: flag });
}

interface Range {
  readonly least: number;
  readonly most?: number;
  readonly whole?: boolean;
  readonly above?: boolean;
}

/** A parser of numbers that refuses what is out of range with a sentence. */
export function within(
  flag: string,
  { least, most = Infinity, whole = true, above = false }: Range,
) {
  return (text: string): number => {
    const value = /^\+?inf(inity)?$/i.test(text) ? Infinity : text.trim() === '' ? NaN : +text;
    const fits = (above ? value > least : value >= least) && value <= most;
    if (fits && (!whole || Number.isSafeInteger(value))) return value;
    const kind = whole ? 'a whole number' : 'a number';
    const upper = most === Infinity ? '' : ` and at most ${most}`;
    return refuse(flag, `must be ${kind} ${above ? 'above' : 'of at least'} ${least}${upper}`);
  };
}

type Row = readonly [
  flag: string,
  fallback: unknown,
  help: string,
  read?: (text: string) => unknown,
];

const count = (flag: string, fallback: number | undefined, help: string, least = 1): Row => [
  `${flag} <number>`,
  fallback,
  help,
  within(flag, { least }),
];

const real = (flag: string, fallback: number | undefined, help: string, range: Range): Row => [
  `${flag} <number>`,
  fallback,
  help,
  within(flag, { whole: false, ...range }),
];

const SERVER: readonly Row[] = [
  ['backend <name>', 'openai', 'openai (completions; also vllm, sglang …) or openai-chat', backend],
  ['base-url <url>', undefined, 'http(s)://host:port, instead of --host and --port'],
  ['host <host>', '127.0.0.1', 'host of the server'],
  count('port', 8000, 'port of the server'),
  ['endpoint <path>', undefined, "path of the API (default: the backend's)"],
  ['api-key <key>', undefined, 'sent as a bearer token'],
  ['insecure', undefined, 'take any certificate'],
  ['model <name>', undefined, 'name of the model (default: the first of /v1/models)'],
  ['served-model-name <name>', undefined, 'its name in requests, where that is another'],
  ['tokenizer <path>', undefined, 'count tokens with this model folder, not the server'],
  count('vocab-size', undefined, 'random ids are below it, where nobody counts tokens'),
];

const DATASET: readonly Row[] = [
  ['dataset-path <file>', undefined, 'the file of sharegpt'],
  count('num-prompts', 1000, 'requests to send'),
  count('seed', 0, 'of prompts and arrivals', 0),
  count('input-len', undefined, 'the same as --random-input-len'),
  count('output-len', undefined, 'output tokens, whatever the dataset'),
  count('random-input-len', 1024, 'random: tokens of a prompt'),
  count('random-output-len', 128, 'random: tokens of an output'),
  real('random-range-ratio', 0, 'random: lengths differ by up to this share', {
    least: 0,
    most: 0.999999,
  }),
  count('random-prefix-len', 0, 'random: tokens that all prompts begin with, besides', 0),
  count('sharegpt-output-len', undefined, "sharegpt: output tokens (default: the dataset's)"),
  count('prefix-repetition-prefix-len', 256, 'prefix_repetition: tokens of a prefix'),
  count('prefix-repetition-suffix-len', 256, 'prefix_repetition: tokens after it'),
  count('prefix-repetition-num-prefixes', 10, 'prefix_repetition: prefixes'),
  count('prefix-repetition-output-len', 128, 'prefix_repetition: tokens of an output'),
];

const ID_PREFIX = `bench-${randomBytes(4).toString('hex')}-`;

const LOAD: readonly Row[] = [
  real('request-rate', Infinity, 'arrivals a second; inf = all at once', { least: 0, above: true }),
  real('burstiness', 1, 'shape of the gamma intervals: 1 = Poisson, less = bursts', {
    least: 0,
    above: true,
  }),
  ['ramp-up-strategy <how>', undefined, 'a rate that grows: linear or exponential', strategy],
  real('ramp-up-start-rps', undefined, 'requests a second at the first', { least: 0, above: true }),
  real('ramp-up-end-rps', undefined, 'requests a second at the last', { least: 0, above: true }),
  count('max-concurrency', Infinity, 'requests that run at once; later ones wait here'),
  count('num-warmups', 1, 'requests before the clock starts'),
  real('ready-check-timeout-sec', 0, 'how long to wait for the server to answer', { least: 0 }),
  ['ignore-eos', undefined, 'go on after the end-of-sequence token (default with random)'],
  ['no-ignore-eos', undefined, 'do not send ignore_eos, which not every server knows'],
  real('temperature', undefined, "0 = greedy (default: the server's)", { least: 0 }),
  real('top-p', undefined, 'as the API has it', { least: 0, most: 1 }),
  ['top-k <number>', undefined, 'as the API has it', within('top-k', { least: -1 })],
  real('min-p', undefined, 'as the API has it', { least: 0, most: 1 }),
  real('frequency-penalty', undefined, 'as the API has it', { least: -2, most: 2 }),
  real('presence-penalty', undefined, 'as the API has it', { least: -2, most: 2 }),
  real('repetition-penalty', undefined, 'as the API has it', { least: 0, above: true }),
  count('logprobs', undefined, 'best tokens to report beside each', 0),
  ['request-id-prefix <word>', ID_PREFIX, 'x-request-id of a request, before its number'],
  ['extra-body <json>', undefined, 'an object that is put into every request', jsonObject],
];

const RESULT: readonly Row[] = [
  [
    'percentile-metrics <list>',
    ['ttft', 'tpot', 'itl', 'e2el', 'normalized_latency'],
    'metrics to tell',
    metricList,
  ],
  ['metric-percentiles <list>', [99], 'percentiles to tell: 50,90,99', percentileList],
  ['save-result', undefined, 'write the figures as JSON'],
  ['save-detailed', undefined, 'the same, with those of every request'],
  ['append-result', undefined, 'write them behind what the file has'],
  ['disable-tqdm', undefined, 'no progress bar'],
  ['result-dir <folder>', '.', 'where to'],
  ['result-filename <name>', undefined, 'as what (default: as vLLM names it)'],
  ['label <word>', undefined, "the file name's first word (default: the backend)"],
  ['plot <file>', undefined, 'draw latencies and load into this SVG (needs echarts)'],
];

export function addBenchFlags(command: Command): Command {
  const groups = { Server: SERVER, Dataset: DATASET, Load: LOAD, Result: RESULT };
  command.addOption(
    new Option('--dataset-name <name>', 'what is asked')
      .choices(['random', 'sharegpt', 'prefix_repetition'])
      .default('random')
      .helpGroup('Dataset:'),
  );
  for (const [heading, rows] of Object.entries(groups)) {
    for (const [flag, fallback, help, read] of rows) {
      const option = new Option(`--${flag}`, help).helpGroup(`${heading}:`);
      if (fallback !== undefined) option.default(fallback, wordsOf(fallback));
      if (read) option.argParser(read);
      if (flag.startsWith('api-key')) option.env('OPENAI_API_KEY');
      command.addOption(option);
    }
  }
  const pairs = (flag: string) => (text: string, before: Record<string, string>) => ({
    ...before,
    ...pairOf(flag, text),
  });
  type Read<T> = (text: string, before: T) => T;
  const add = <T>(heading: string, flag: string, help: string, read: Read<T>) => {
    const option = new Option(`--${flag}`, help).helpGroup(heading).default({}, 'none');
    command.addOption(option.argParser(read));
  };
  add('Server:', 'header <KEY=VALUE...>', 'of every request; may be repeated', pairs('header'));
  add('Result:', 'metadata <KEY=VALUE...>', 'members of the JSON besides', pairs('metadata'));
  const objectives = (text: string, before: Goodput) => ({ ...before, ...objective(text) });
  add('Result:', 'goodput <KEY:MS...>', 'what good requests meet: ttft:200 tpot:50', objectives);
  return command;
}

/** A default as --help shows it. */
function wordsOf(value: unknown): string {
  return value === Infinity ? 'inf' : String(value);
}

/** What depends on several flags. */
export function checkFlags(values: BenchFlags): BenchFlags {
  const { datasetName, datasetPath, inputLen, outputLen } = values;
  if (datasetName === 'sharegpt' && datasetPath === undefined) {
    refuse('dataset-path', 'must name the file of --dataset-name sharegpt');
  }
  if (datasetName !== 'sharegpt' && datasetPath !== undefined) {
    refuse('dataset-path', `is not for --dataset-name ${datasetName}`);
  }
  return {
    ...values,
    rampUp: rampUpOf(values),
    endpoint: values.endpoint ?? ENDPOINTS[values.backend],
    randomInputLen: inputLen ?? values.randomInputLen,
    randomOutputLen: outputLen ?? values.randomOutputLen,
    sharegptOutputLen: outputLen ?? values.sharegptOutputLen,
    prefixRepetitionOutputLen: outputLen ?? values.prefixRepetitionOutputLen,
  };
}

function rampUpOf(values: BenchFlags): RampUp | undefined {
  const { rampUpStrategy: strategy, rampUpStartRps: startRps, rampUpEndRps: endRps } = values;
  if (strategy === undefined) {
    if (startRps !== undefined) refuse('ramp-up-start-rps', 'is for --ramp-up-strategy');
    if (endRps !== undefined) refuse('ramp-up-end-rps', 'is for --ramp-up-strategy');
    return undefined;
  }
  if (values.requestRate !== Infinity) {
    refuse('request-rate', 'and --ramp-up-strategy exclude each other; leave it out');
  }
  if (startRps === undefined || endRps === undefined) {
    const flag = startRps === undefined ? 'ramp-up-start-rps' : 'ramp-up-end-rps';
    return refuse(flag, 'must be given with --ramp-up-strategy');
  }
  if (startRps > endRps) refuse('ramp-up-end-rps', `must be at least ${startRps}, the start`);
  return { strategy, startRps, endRps };
}

export function baseUrlOf({ baseUrl, host, port }: BenchFlags): string {
  return baseUrl ?? `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

export function headersOf({ header, apiKey }: Pick<BenchFlags, 'header' | 'apiKey'>) {
  return { ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }), ...header };
}

function strategy(name: string): RampUp['strategy'] {
  if (name === 'linear' || name === 'exponential') return name;
  return refuse('ramp-up-strategy', 'must be linear or exponential');
}

function backend(name: string): Backend {
  return BACKENDS[name] ?? refuse('backend', `must be one of ${Object.keys(BACKENDS).join(', ')}`);
}

/** The members, each as it is written: JavaScript would round a seed of 64 bits. */
function jsonObject(text: string): Record<string, string> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      const names = Object.keys(value);
      return Object.fromEntries(names.map((name) => [name, writtenMember(text, [name])!]));
    }
  } catch {
    // The same sentence as for what is no object.
  }
  return refuse('extra-body', 'must be a JSON object');
}

function metricList(text: string): MetricName[] {
  const names = text.split(',').map((name) => name.trim());
  const stranger = names.find((name) => !Object.hasOwn(METRICS, name));
  if (stranger === undefined) return names as MetricName[];
  return refuse('percentile-metrics', `must be of ${Object.keys(METRICS).join(', ')}`);
}

function percentileList(text: string): number[] {
  return text.split(',').map(within('metric-percentiles', { least: 0, most: 100, whole: false }));
}

export function pairOf(flag: string, text: string): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) refuse(flag, 'must be KEY=VALUE');
  return { [text.slice(0, at).trim()]: text.slice(at + 1).trim() };
}

function objective(text: string): Goodput {
  const [name, ms, ...rest] = text.split(':');
  const known = ['ttft', 'tpot', 'e2el'].includes(name) && rest.length === 0;
  if (!known || ms === undefined) refuse('goodput', 'must be ttft:MS, tpot:MS or e2el:MS');
  return { [name]: within('goodput', { least: 0, whole: false })(ms) };
}
