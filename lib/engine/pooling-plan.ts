/** Every number of a model that is loaded to pool: it has no KV pool and no scheduler. */
import type { EngineConfig } from '../config/options.js';
import { octavoError } from '../errors.js';
import type { Checkpoint } from '../model/checkpoint.js';
import type { PoolingSpec } from '../model/pooling.js';
import type { NativeLimits } from '../native.js';
import type { Device } from './device.js';
import { contextLength, type DevicePlan } from './plan.js';
import type { PoolingSizes } from './pooling-engine.js';
import type { PoolingInfo } from './pooling-info.js';

/** Tokens that the CPU computes at once: more make no step faster, and callers wait for its end. */
const CPU_STEP_TOKENS = 512;

export interface PoolingPlan extends DevicePlan {
  readonly maxModelLen: number;
  readonly maxNumSeqs: number;
  /** Most tokens of a step, so of a text. */
  readonly maxNumBatchedTokens: number;
  readonly sizes: PoolingSizes;
  readonly info: PoolingInfo;
  readonly hasTokenTypes: boolean;
  readonly activation: PoolingSpec['activation'];
}

function seesLeftOnly({ layers }: Checkpoint['spec']): boolean {
  return layers.every(({ attention }) => attention?.causal ?? true);
}

/** What decides for what a model is loaded. */
type Runnable = Pick<Checkpoint, 'spec' | 'pooling'>;

/**
 * Which runner a model gets.
 * @throws ERR_INVALID_OPTION where it cannot generate and is asked to
 */
export function runnerOf(
  { runner }: Pick<EngineConfig, 'runner'>,
  { spec, pooling }: Runnable,
): 'generate' | 'pooling' {
  const isCausal = seesLeftOnly(spec);
  const canGenerate = isCausal && spec.head !== undefined;
  if (runner === 'auto') return pooling.isDeclared || !canGenerate ? 'pooling' : 'generate';
  if (runner === 'pooling' || canGenerate) return runner;
  throw octavoError(
    'ERR_INVALID_OPTION',
    `runner: this model generates no text: ${
      isCausal ? 'it has no head over its vocabulary' : 'its attention sees both sides'
    }; load it with runner "pooling"`,
    { param: 'runner' },
  );
}

/** What asks for something that only a model which generates has, and why it is refused. */
const OF_GENERATING = {
  traceFile: 'has no scheduler to be traced',
  kvCacheDtype: 'keeps no KV cache',
  kvCacheMemoryBytes: 'keeps no KV cache',
  numGpuBlocksOverride: 'keeps no KV cache',
  swapSpace: 'keeps no KV cache that could be swapped',
} as const satisfies Partial<Record<keyof EngineConfig, string>>;

function refuseCacheOptions(config: EngineConfig): void {
  for (const [param, why] of Object.entries(OF_GENERATING)) {
    const value = config[param as keyof typeof OF_GENERATING];
    if (value === undefined || value === 'auto') continue;
    const sentence = `${param}: a model that is loaded to pool ${why}; leave it out`;
    throw octavoError('ERR_INVALID_OPTION', sentence, { param });
  }
}

/** @throws ERR_INVALID_OPTION naming the option, ERR_MODEL_UNSUPPORTED where it cannot pool */
export function planPooling(
  config: EngineConfig,
  { spec, pooling }: Runnable,
  device: Device,
): PoolingPlan {
  if (pooling.refusal !== undefined) {
    const sentence = `${pooling.refusal}; runner "generate" loads this model without it`;
    throw octavoError('ERR_MODEL_UNSUPPORTED', sentence, { param: 'runner' });
  }
  if (spec.layers.some(({ recurrent }) => recurrent !== undefined)) {
    const sentence =
      'this model has layers that keep a state, and texts are pooled without one; load it with ' +
      'runner "generate"';
    throw octavoError('ERR_MODEL_UNSUPPORTED', sentence, { param: 'runner' });
  }
  refuseCacheOptions(config);
  const maxModelLen = contextLength(config, spec);
  const maxNumSeqs = config.maxNumSeqs ?? Math.min(256, config.maxNumBatchedTokens ?? 256);
  const maxNumBatchedTokens =
    config.maxNumBatchedTokens ?? Math.max(256, Math.min(maxModelLen, 8192));
  const usual = device.kind === 'cpu' ? CPU_STEP_TOKENS : maxNumBatchedTokens;
  const stepTokens = Math.min(maxNumBatchedTokens, config.maxNumBatchedTokens ?? usual);
  const { maxSeqLength = maxModelLen, isDeclared, activation, refusal, ...facts } = pooling;
  const longest = Math.min(maxModelLen, maxNumBatchedTokens, maxSeqLength);
  const scoring = scoringOf(pooling, spec);
  return Object.freeze({
    device,
    kvCacheDtype: 'auto',
    maxModelLen,
    maxNumSeqs,
    maxNumBatchedTokens,
    sizes: Object.freeze({ maxNumSeqs, stepTokens, longRopeFrom: spec.longRopeFrom }),
    info: Object.freeze({ ...facts, maxSeqLength: longest, scoring }),
    hasTokenTypes: spec.embedding.numTokenTypes > 1,
    activation,
  });
}

function scoringOf(
  { labels, isDeclared, similarity }: PoolingSpec,
  spec: Checkpoint['spec'],
): PoolingInfo['scoring'] {
  if (labels === undefined) return spec.head && !isDeclared ? 'tokens' : similarity;
  if (labels.length === 1) return 'head';
  // A reranker's two answers: other models that say yes and no are asked no question.
  const answers = labels.length === 2 && labels.includes('yes') && labels.includes('no');
  const isAnswer = answers && seesLeftOnly(spec);
  return isAnswer ? 'tokens' : undefined;
}

/** What native sizes its buffers by; without groups it keeps no cache. */
export function poolingLimits(plan: PoolingPlan, { blockSize }: EngineConfig): NativeLimits {
  const { maxNumSeqs, maxNumBatchedTokens, info } = plan;
  return {
    numBlocks: 0,
    blockSize,
    groups: [],
    maxNumSeqs,
    maxNumBatchedTokens,
    maxModelLen: info.maxSeqLength,
    blocksPerRow: 0,
    numHostBlocks: 0,
  };
}
