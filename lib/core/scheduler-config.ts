/** The scheduler's settings, checked once and frozen. */
import { octavoError } from '../errors.js';
import { type KvGroup, tableOffsets } from './kv-groups.js';
import { CHUNK, leastSizes, type RecurrentSizes } from './recurrent-states.js';

export interface SchedulerConfig {
  /** Blocks of the KV pool, the null block included. */
  readonly numBlocks: number;
  /** Tokens per block; where groups differ, of the finest. */
  readonly blockSize: number;
  /** How the layers of the model keep their KV. Default: one group that keeps all tokens. */
  readonly groups: readonly KvGroup[];
  /** What there is for recurrent layers; undefined = the model has none. */
  readonly recurrent?: RecurrentSizes;
  /** Entries of a block table of the finest group. Default: what maxModelLen takes. */
  readonly blocksPerRow: number;
  /** Sequences that may run at once; a request with n samples counts n. */
  readonly maxNumSeqs: number;
  /** Tokens that a step may compute. */
  readonly maxNumBatchedTokens: number;
  /** Longest sequence, prompt and output together. */
  readonly maxModelLen: number;
  /** Requests that may wait; more are refused with ERR_OVERLOADED. */
  readonly maxNumWaiting: number;
  /** Most tokens of one sequence in a step; 0 = no limit but the budget. */
  readonly longPrefillThreshold: number;
  /** May a prompt be computed over several steps? */
  readonly enableChunkedPrefill: boolean;
  readonly enablePrefixCaching: boolean;
  /** Blocks of the host pool that preempted groups are swapped to; 0 = none. */
  readonly numHostBlocks: number;
  /**
   * What a preempted group loses. recompute: its KV, which is computed again. swap: nothing, while
   * the host's memory has room, for all that it keeps. auto: recompute for one sequence, swap for a
   * group with several.
   */
  readonly preemptionPolicy: 'recompute' | 'swap' | 'auto';
  /** priority: lower `priority` first, then the earlier; fcfs: the earlier first. */
  readonly schedulingPolicy: 'fcfs' | 'priority';
  /**
   * A request that may grow longer than this many tokens takes its angles from the model's long
   * table, from its first token on; undefined = the model has one table only.
   */
  readonly longRopeFrom?: number;
  /** Mixed into the bucket hash of the prefix cache; draw it at random per process. */
  readonly hashSeed: number;
}

export type SchedulerOptions = Partial<SchedulerConfig> &
  Pick<SchedulerConfig, 'numBlocks' | 'maxModelLen'>;

const DEFAULTS = {
  blockSize: 16,
  maxNumSeqs: 256,
  maxNumBatchedTokens: 8192,
  maxNumWaiting: 4096,
  longPrefillThreshold: 0,
  enableChunkedPrefill: true,
  enablePrefixCaching: true,
  numHostBlocks: 0,
  preemptionPolicy: 'auto',
  schedulingPolicy: 'fcfs',
  hashSeed: 0,
} as const;

/** Most entries of the block-table slab, all rows together: 4 GiB. */
const MAX_TABLE_ENTRIES = 2 ** 30;

const MINIMA = {
  numBlocks: 2,
  blockSize: 1,
  maxNumSeqs: 1,
  maxNumBatchedTokens: 1,
  maxModelLen: 2,
  blocksPerRow: 1,
  maxNumWaiting: 1,
  longPrefillThreshold: 0,
  numHostBlocks: 0,
  longRopeFrom: 1,
} as const;

/** Of what is not named here: 2^31 − 1. */
const MAXIMA: Partial<Record<keyof typeof MINIMA, number>> = {
  numBlocks: 2 ** 30,
  maxNumSeqs: 65_536,
  numHostBlocks: 2 ** 30,
};

export function schedulerConfig(options: SchedulerOptions): SchedulerConfig {
  const sized = { ...DEFAULTS, ...options };
  const widest = Math.ceil(sized.maxModelLen / sized.blockSize);
  const groups = [{ window: 0, blockSize: sized.blockSize }];
  const config: SchedulerConfig = { blocksPerRow: widest, groups, ...sized };
  for (const name of Object.keys(MINIMA) as (keyof typeof MINIMA)[]) {
    const [minimum, maximum] = [MINIMA[name], MAXIMA[name] ?? 2 ** 31 - 1];
    const value = config[name];
    if (value === undefined && name === 'longRopeFrom') continue;
    if (Number.isInteger(value) && value! >= minimum && value! <= maximum) continue;
    throw refusal(name, `${name} must be an integer from ${minimum} to ${maximum}, not ${value}`);
  }
  if (config.blocksPerRow < widest) {
    throw refusal('blocksPerRow', `blocksPerRow must hold maxModelLen, at least ${widest} blocks`);
  }
  checkGroups(config);
  checkRecurrent(config);
  const { rowLength } = tableOffsets(config.groups, config.blockSize, config.blocksPerRow);
  const entries = config.maxNumSeqs * rowLength;
  if (entries > MAX_TABLE_ENTRIES) {
    throw refusal(
      'maxNumSeqs',
      `the block tables of maxNumSeqs (${config.maxNumSeqs}) sequences of maxModelLen ` +
        `(${config.maxModelLen}) tokens have ${entries} entries, more than 2^30; lower one of ` +
        'them, or raise blockSize',
    );
  }
  if (config.maxNumBatchedTokens < config.maxNumSeqs) {
    throw refusal(
      'maxNumBatchedTokens',
      `maxNumBatchedTokens (${config.maxNumBatchedTokens}) must be at least maxNumSeqs ` +
        `(${config.maxNumSeqs}), so that every running sequence gets a token in each step`,
    );
  }
  if (!config.enableChunkedPrefill && config.maxNumBatchedTokens < config.maxModelLen) {
    throw refusal(
      'maxNumBatchedTokens',
      `without chunked prefill maxNumBatchedTokens (${config.maxNumBatchedTokens}) must be at ` +
        `least maxModelLen (${config.maxModelLen}): raise it, or set enableChunkedPrefill`,
    );
  }
  return Object.freeze(config);
}

/** Of each of these there are CHUNK records, which 31 bits must count. */
const MAX_HOST_SLOTS = Math.floor((2 ** 31 - 1) / CHUNK);

/** Most KV groups of a model: the prefix cache numbers them in a byte. */
const MAX_GROUPS = 255;

function checkGroups({ groups, blockSize }: SchedulerConfig): void {
  const wrong = (why: string) => refusal('groups', `groups ${why}`);
  if (groups.length < 1 || groups.length > MAX_GROUPS) {
    throw wrong(`must be 1 to ${MAX_GROUPS}, not ${groups.length}`);
  }
  for (const { window, blockSize: size } of groups) {
    if (!Number.isInteger(window) || window < 0 || window > 2 ** 31 - 1) {
      throw wrong(`have windows from 0 to 2^31 - 1, not ${window}`);
    }
    if (!Number.isInteger(Math.log2(size / blockSize)) || size < blockSize) {
      throw wrong(`have blocks of blockSize (${blockSize}) tokens, times 2, 4 …, not ${size}`);
    }
  }
  if (groups.some((group) => group.blockSize === blockSize)) return;
  throw wrong(`must have one with blocks of blockSize (${blockSize}) tokens`);
}

function checkRecurrent({ recurrent, maxNumSeqs }: SchedulerConfig): void {
  if (recurrent === undefined) return;
  const least = { ...leastSizes(maxNumSeqs), interval: 1, numHostSlots: 0 };
  for (const name of Object.keys(least) as (keyof typeof least)[]) {
    const value = recurrent[name] ?? (name === 'numHostSlots' ? 0 : Number.NaN);
    const most = name === 'numHostSlots' ? MAX_HOST_SLOTS : 2 ** 31 - 1;
    if (Number.isInteger(value) && value >= least[name] && value <= most) continue;
    throw refusal(
      'recurrent',
      `recurrent.${name} must be an integer from ${least[name]} to ${most}, not ${recurrent[name]}`,
    );
  }
}

function refusal(param: string, sentence: string) {
  return octavoError('ERR_INVALID_OPTION', sentence, { param });
}

/**
 * What `make` allocates for these sizes.
 * @throws ERR_OUT_OF_MEMORY where JavaScript cannot
 */
export function allocated<T>(config: SchedulerConfig, make: () => T): T {
  try {
    return make();
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw tooLarge(config, cause);
  }
}

function tooLarge(config: SchedulerConfig, cause: RangeError): Error {
  const { numBlocks, blockSize, maxNumSeqs, maxModelLen } = config;
  return octavoError(
    'ERR_OUT_OF_MEMORY',
    `no memory for the tables of ${numBlocks} blocks of ${blockSize} tokens and of ${maxNumSeqs} ` +
      `sequences of ${maxModelLen} tokens (${cause.message}); lower maxNumSeqs, maxModelLen or ` +
      'the size of the KV pool',
    { cause },
  );
}
