/** The scheduler's settings, checked once and frozen. */
import { octavoError } from '../errors.js';

export interface SchedulerConfig {
  /** Blocks of the KV pool, the null block included. */
  readonly numBlocks: number;
  readonly blockSize: number;
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
   * the host pool has room. auto: recompute for one sequence, swap for a group with several.
   */
  readonly preemptionPolicy: 'recompute' | 'swap' | 'auto';
  /** priority: lower `priority` first, then the earlier; fcfs: the earlier first. */
  readonly schedulingPolicy: 'fcfs' | 'priority';
  /** No layer looks further back than so many tokens, itself included; 0 = some layer sees all. */
  readonly slidingWindow: number;
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
  slidingWindow: 0,
  hashSeed: 0,
} as const;

const MINIMA = {
  numBlocks: 2,
  blockSize: 1,
  maxNumSeqs: 1,
  maxNumBatchedTokens: 1,
  maxModelLen: 2,
  maxNumWaiting: 1,
  longPrefillThreshold: 0,
  numHostBlocks: 0,
  slidingWindow: 0,
} as const;

export function schedulerConfig(options: SchedulerOptions): SchedulerConfig {
  const config: SchedulerConfig = { ...DEFAULTS, ...options };
  for (const [name, minimum] of Object.entries(MINIMA)) {
    const value = config[name as keyof typeof MINIMA];
    if (Number.isInteger(value) && value >= minimum && value < 2 ** 31) continue;
    throw refusal(name, `${name} must be an integer of at least ${minimum}, not ${value}`);
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

function refusal(param: string, sentence: string) {
  return octavoError('ERR_INVALID_OPTION', sentence, { param });
}
