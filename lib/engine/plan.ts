/**
 * Every number that a loaded engine has, in one frozen record: scheduler, native limits, `info` and
 * `inspect` read it and compute nothing. Two strokes: {@link planEngine} before anything is loaded,
 * all of it checked; {@link measured} with what the device turned out to hold.
 */
import { availableMemory } from '../config/machine.js';
import type { EngineConfig } from '../config/options.js';
import { type GroupSizes, KvGroups, type PlannedGroup } from '../core/kv-groups.js';
import { type SchedulerConfig, schedulerConfig } from '../core/scheduler-config.js';
import { octavoError } from '../errors.js';
import { type CacheElement, hasLatent, kvBytesPerToken, type ModelSpec } from '../model/spec.js';
import {
  DTYPES,
  type DTypeName,
  kindOf,
  type NativeDevice,
  type NativeLimits,
  type NativeLoaded,
} from '../native.js';
import type { Device } from './device.js';
import { blocksWithoutKv, groupsOf, keeping, ofScheduler } from './kv-plan.js';
import { planRecurrent, type RecurrentPlan } from './recurrent-plan.js';
import { planSwaps } from './swap-plan.js';

const GiB = 2 ** 30;
const MAX_BLOCKS = 2 ** 30;

/** What a plan asks of a model. */
export type PlannedModel = Pick<
  ModelSpec,
  'layers' | 'dtype' | 'maxPositionEmbeddings' | 'longRopeFrom'
>;

/** What every runner's plan says about the device. */
export interface DevicePlan {
  readonly device: Device;
  /** What the KV cache is stored in; `auto` (a device's) is as its activations. */
  readonly kvCacheDtype: NativeDevice['kvCacheDtype'];
}

export interface EnginePlan extends DevicePlan {
  /** Tokens per KV block; where groups differ, of the finest. */
  readonly blockSize: number;
  /** How the layers keep their KV; a window that no sequence outgrows is 0: all tokens. */
  readonly groups: readonly PlannedGroup[];
  /** K and V of one token over all layers, in bytes, scales included; not padded. */
  readonly kvBytesPerToken: number;
  /** One block of the pool, in bytes; compared with the native side's own at load. */
  readonly blockBytes: number;
  /** Blocks of the KV pool, the null block included; 0 = measured once all else is loaded. */
  readonly numBlocks: number;
  /** No batch can fill more blocks than these; a measured pool stops here. */
  readonly maxNumBlocks: number;
  /** Blocks of the host pool for swapping; 0 = none. */
  readonly numHostBlocks: number;
  readonly maxModelLen: number;
  /**
   * Sequences of maxModelLen tokens that the pool holds at once, sharing nothing; where windows let
   * go, at least so many: the chunk under way is counted for each. 0 = measured.
   */
  readonly numFullSeqs: number;
  /** What recurrent layers keep; null: there are none. */
  readonly recurrent: RecurrentPlan | null;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  /** Block ids in a table of the finest group. */
  readonly blocksPerRow: number;
  /** The scheduler's settings; its numBlocks is maxNumBlocks until the pool is measured. */
  readonly scheduling: SchedulerConfig;
}

/** Layers that keep their KV alike. */
export interface KvGroupInfo {
  /** How many of a sequence's latest tokens they keep at least; 0 = all of them. */
  readonly window: number;
  /** Of these only the ones in the chunk of `window` tokens that is being computed. */
  readonly chunked?: boolean;
  /** Tokens per KV block of this group. */
  readonly blockSize: number;
  /** How many layers it has. */
  readonly numLayers: number;
}

/** The groups without the numbers of their layers. */
export function kvGroupsOf({ groups }: EnginePlan): readonly KvGroupInfo[] {
  const infos = groups.map(({ layers, ...group }) =>
    Object.freeze({ ...group, numLayers: layers.length }),
  );
  return Object.freeze(infos);
}

/**
 * What `config` asks for with this model on this device. The pool of a device is measured later, if
 * no option gives its size: then `numBlocks` is 0 and `maxModelLen` what was asked.
 * @param hashSeed of the prefix cache; drawn at random per engine
 * @param room bytes of the host's memory that the weights leave
 * @param roomOnDevice of a GPU's
 * @throws ERR_INVALID_OPTION naming the option: a context longer than the model's, a pool that
 * cannot hold one sequence, a KV type this device has no kernels for, a step too small
 */
export function planEngine(
  config: EngineConfig,
  model: PlannedModel,
  device: Device,
  hashSeed = 0,
  room = availableMemory(),
  roomOnDevice = Number.POSITIVE_INFINITY,
): EnginePlan {
  const onDevice = device.kind !== 'cpu';
  const kvCacheDtype = cacheDtype(device, config, model);
  const { blockSize } = config;
  const element = elementOf(kvCacheDtype);
  const wantedLen = contextLength(config, model);
  const { groups, pageBytes } = groupsOf(model, element, wantedLen, blockSize);
  const wantedSeqs = config.maxNumSeqs ?? Math.min(256, config.maxNumBatchedTokens ?? 256);
  const stateRoom = onDevice ? roomOnDevice : room;
  const recurrent = planRecurrent(model.layers, config, wantedSeqs, stateRoom);
  const maxNumSeqs = recurrent?.maxNumSeqs ?? wantedSeqs;
  // Without chunks a step takes what the context takes: of a shorter one, so much less.
  const maxNumBatchedTokens = stepTokens(config, maxNumSeqs, wantedLen, onDevice);
  const { longPrefillTokenThreshold: longPrefillThreshold } = config;
  const needs = { groups, blockSize, maxNumBatchedTokens, longPrefillThreshold };
  // What windows let go of is still worth having, for those who come again.
  const attends = groups.some(({ layers }) => layers.length > 0);
  const useful =
    attends || recurrent === null
      ? maxNumSeqs * blocksOfWhole(groups, wantedLen) + 1
      : blocksWithoutKv(recurrent, blocksOfOne(needs, wantedLen), blockSize);
  const kvRoom = onDevice ? 0 : room - (recurrent?.bytes ?? 0);
  const numBlocks = attends
    ? poolBlocks(config, pageBytes, kvRoom, useful)
    : (config.numGpuBlocksOverride ?? useful);
  const isMeasured = onDevice && numBlocks === 0;
  const maxModelLen = isMeasured ? wantedLen : longestIn(config, needs, numBlocks, wantedLen);
  const blocksHere = onDevice ? useful : numBlocks;
  const swapped = { blockBytes: pageBytes, numBlocks: blocksHere, recurrent, attends };
  const { numHostBlocks, numHostSlots } = planSwaps(config, swapped, room);
  return finished(
    {
      device,
      kvCacheDtype,
      blockSize,
      groups: keeping(groups, maxModelLen),
      kvBytesPerToken: kvBytesPerToken(model, element),
      blockBytes: pageBytes,
      numBlocks,
      maxNumBlocks: Math.min(MAX_BLOCKS, useful),
      numHostBlocks,
      recurrent: recurrent && withHost(recurrent, numHostSlots),
      maxModelLen,
      numFullSeqs: isMeasured
        ? 0
        : Math.min(fullSeqs(needs, numBlocks, maxModelLen), attends ? MAX_BLOCKS : maxNumSeqs),
      maxNumSeqs,
      maxNumBatchedTokens: stepTokens(config, maxNumSeqs, maxModelLen, onDevice),
      blocksPerRow: Math.ceil(maxModelLen / blockSize),
    },
    config,
    model,
    hashSeed,
  );
}

/**
 * The plan with what the native side has: a measured pool may hold less than the context asked for.
 * Rows of the block-table slab stay as wide as native was told.
 * @throws ERR_NATIVE_MISMATCH when native counts other bytes or blocks than the plan;
 * ERR_INVALID_OPTION when the pool that was measured is less than the maxModelLen that was asked
 */
export function measured(
  plan: EnginePlan,
  config: EngineConfig,
  loaded: Pick<NativeLoaded, 'numBlocks' | 'blockBytes' | 'stateBytes' | 'recordBytes'>,
): EnginePlan {
  checkNative('bytes of a KV block', loaded.blockBytes, plan.blockBytes);
  checkNative('bytes of a state', loaded.stateBytes, plan.recurrent?.stateBytes ?? 0);
  checkNative('bytes of a record', loaded.recordBytes, plan.recurrent?.recordBytes ?? 0);
  if (plan.numBlocks !== 0) {
    checkNative('KV blocks', loaded.numBlocks, plan.numBlocks);
    return plan;
  }
  const { numBlocks } = loaded;
  const { longPrefillThreshold } = plan.scheduling;
  const needs = { ...plan, longPrefillThreshold };
  const maxModelLen = longestIn(config, needs, numBlocks, plan.maxModelLen, true);
  const numFullSeqs = fullSeqs(needs, numBlocks, maxModelLen);
  const groups = keeping(plan.groups, maxModelLen);
  const sizes = { numBlocks, maxModelLen, groups: groups.map(ofScheduler) };
  const scheduling = schedulerConfig({ ...plan.scheduling, ...sizes });
  return Object.freeze({ ...plan, numBlocks, maxModelLen, numFullSeqs, groups, scheduling });
}

/** What native sizes its buffers by. */
export function nativeLimits(plan: EnginePlan): NativeLimits {
  const { numBlocks, blockSize, groups, maxNumSeqs, maxNumBatchedTokens } = plan;
  const { maxModelLen, blocksPerRow, numHostBlocks, recurrent } = plan;
  return {
    ...{ numBlocks, blockSize, groups, maxNumSeqs, maxNumBatchedTokens },
    ...{ maxModelLen, blocksPerRow, numHostBlocks },
    ...(recurrent === null ? {} : { recurrent: recurrent.sizes }),
  };
}

/** Whether a GPU's activations are float16; else they are bfloat16. */
function isHalf(config: EngineConfig, dtype: string): boolean {
  return config.dtype === 'float16' || (config.dtype === 'auto' && dtype === 'F16');
}

/** What K and V are stored as. */
export function storedDtype(
  { kvCacheDtype }: Pick<DevicePlan, 'kvCacheDtype'>,
  config: EngineConfig,
  { dtype }: Pick<ModelSpec, 'dtype'>,
): string {
  if (kvCacheDtype !== 'auto') return kvCacheDtype;
  return isHalf(config, dtype) ? 'float16' : 'bfloat16';
}

/** What the native side is told about the device. */
export function nativeDevice(
  plan: DevicePlan & { readonly maxNumBlocks?: number },
  config: EngineConfig,
  { dtype }: Pick<ModelSpec, 'dtype'>,
): NativeDevice {
  return {
    index: plan.device.index,
    dtype: isHalf(config, dtype) ? DTYPES.F16 : DTYPES.BF16,
    kvCacheDtype: plan.kvCacheDtype,
    memoryUtilization: config.gpuMemoryUtilization,
    maxNumBlocks: plan.maxNumBlocks ?? 2,
    graphs: config.enableCudaGraphs,
    sharePrefixes: config.enableCascadeAttention,
    batchInvariant: config.batchInvariant,
  };
}

function finished(
  sizes: Omit<EnginePlan, 'scheduling'>,
  config: EngineConfig,
  model: PlannedModel,
  hashSeed: number,
): EnginePlan {
  const scheduling = schedulerConfig({
    numBlocks: sizes.numBlocks || sizes.maxNumBlocks,
    blockSize: sizes.blockSize,
    blocksPerRow: sizes.blocksPerRow,
    numHostBlocks: sizes.numHostBlocks,
    maxModelLen: sizes.maxModelLen,
    maxNumSeqs: sizes.maxNumSeqs,
    maxNumBatchedTokens: sizes.maxNumBatchedTokens,
    maxNumWaiting: config.maxNumWaiting,
    longPrefillThreshold: config.longPrefillTokenThreshold,
    enableChunkedPrefill: config.enableChunkedPrefill,
    enablePrefixCaching: config.enablePrefixCaching,
    preemptionPolicy: config.preemptionPolicy,
    schedulingPolicy: config.schedulingPolicy,
    groups: sizes.groups.map(ofScheduler),
    longRopeFrom: model.longRopeFrom,
    recurrent: sizes.recurrent?.sizes,
    hashSeed,
  });
  return Object.freeze({ ...sizes, scheduling });
}

/** @throws ERR_INVALID_OPTION */
export function contextLength(
  config: EngineConfig,
  { maxPositionEmbeddings }: Pick<ModelSpec, 'maxPositionEmbeddings'>,
): number {
  const wanted = config.maxModelLen ?? maxPositionEmbeddings;
  if (wanted <= maxPositionEmbeddings) return wanted;
  throw octavoError(
    'ERR_INVALID_OPTION',
    `maxModelLen ${wanted} is more than the ${maxPositionEmbeddings} tokens this model was ` +
      'made for',
    { param: 'maxModelLen' },
  );
}

/** What decides how many blocks a sequence of some length takes. */
type PoolNeeds = Omit<GroupSizes, 'maxModelLen'>;

/** Most blocks that one sequence of so many tokens holds at once, in an engine made for these. */
function blocksOfOne({ groups, blockSize, ...steps }: PoolNeeds, numTokens: number): number {
  const { maxNumBatchedTokens, longPrefillThreshold } = steps;
  const sizes = { groups, blockSize, maxNumBatchedTokens, longPrefillThreshold };
  return new KvGroups({ ...sizes, maxModelLen: numTokens }).worstCase(0, numTokens, 1);
}

function withHost(recurrent: RecurrentPlan, numHostSlots: number): RecurrentPlan {
  return { ...recurrent, sizes: { ...recurrent.sizes, numHostSlots } };
}

/** Blocks for all that a sequence computes, if it keeps them. */
function blocksOfWhole(groups: readonly PlannedGroup[], numTokens: number): number {
  return groups.reduce((sum, { blockSize }) => sum + Math.ceil(numTokens / blockSize), 0);
}

/** One block of a pool is the null block. */
function fullSeqs(needs: PoolNeeds, numBlocks: number, maxModelLen: number): number {
  return Math.floor((numBlocks - 1) / blocksOfOne(needs, maxModelLen));
}

/** The longest sequence of at most `longest` tokens that fits into a pool; 0 = none does. */
function capacity(needs: PoolNeeds, numBlocks: number, longest: number): number {
  let [fits, tooLong] = [0, longest + 1];
  while (tooLong - fits > 1) {
    const middle = Math.floor((fits + tooLong) / 2);
    if (blocksOfOne(needs, middle) <= numBlocks - 1) fits = middle;
    else tooLong = middle;
  }
  return fits;
}

/**
 * The context that a pool has room for, `wantedLen` at most. One sequence must fit: of any length,
 * and of the length that was asked.
 */
function longestIn(
  config: EngineConfig,
  needs: PoolNeeds,
  numBlocks: number,
  wantedLen: number,
  isMeasured = false,
): number {
  const holds = capacity(needs, numBlocks, wantedLen);
  if (holds >= (config.maxModelLen === undefined ? 1 : wantedLen)) return holds;
  const raise =
    config.numGpuBlocksOverride !== undefined
      ? 'numGpuBlocksOverride'
      : isMeasured
        ? 'gpuMemoryUtilization'
        : 'kvCacheMemoryBytes';
  if (holds === 0) {
    const { groups, blockSize } = needs;
    const least =
      groups.length === 1
        ? `a block of ${blockSize} tokens`
        : `a block for each of the model's ${groups.length} KV groups`;
    const sentence = `the KV pool has no room for ${least}; raise ${raise}`;
    throw octavoError('ERR_INVALID_OPTION', sentence, { param: raise });
  }
  throw octavoError(
    'ERR_INVALID_OPTION',
    `the KV pool of ${numBlocks} blocks holds a sequence of ${holds} tokens, not one of ` +
      `${wantedLen}; lower maxModelLen to at most ${holds} or raise ${raise}`,
    { param: 'maxModelLen' },
  );
}

/** @param room of the host; 0 = a device's, which is measured */
function poolBlocks(
  config: EngineConfig,
  blockBytes: number,
  room: number,
  useful: number,
): number {
  if (config.numGpuBlocksOverride !== undefined) return config.numGpuBlocksOverride;
  if (config.kvCacheMemoryBytes !== undefined) {
    return Math.min(MAX_BLOCKS, Math.max(1, Math.floor(config.kvCacheMemoryBytes / blockBytes)));
  }
  return Math.min(useful, Math.floor(Math.min(4 * GiB, room / 2) / blockBytes));
}

function stepTokens(
  config: EngineConfig,
  maxNumSeqs: number,
  maxModelLen: number,
  onDevice: boolean,
): number {
  const tokens = config.maxNumBatchedTokens ?? Math.max(onDevice ? 2048 : 256, maxNumSeqs);
  const whole = !config.enableChunkedPrefill && config.maxNumBatchedTokens === undefined;
  return whole ? Math.max(tokens, maxModelLen) : tokens;
}

/**
 * What the KV cache is stored in. The CPU's `auto` is what products round to where the weights are
 * BF16; float16 where they have 16 bits otherwise, or products round to int8 anyway; else float32.
 * `auto` on a GPU is the activations' type.
 */
function cacheDtype(
  device: Device,
  { kvCacheDtype, activations, quantize }: EngineConfig,
  { dtype, layers }: Pick<ModelSpec, 'dtype' | 'layers'>,
): NativeDevice['kvCacheDtype'] {
  const types = device.kind === 'cpu' ? CPU_CACHES : DEVICE_CACHES;
  if (!types.includes(kvCacheDtype)) {
    throw octavoError(
      'ERR_INVALID_OPTION',
      `kvCacheDtype ${kvCacheDtype} is not for device ${device.kind}; use ${types.join(', ')}`,
      { param: 'kvCacheDtype' },
    );
  }
  if (elementOf(kvCacheDtype).scale > 0 && hasLatent(layers)) {
    throw octavoError(
      'ERR_INVALID_OPTION',
      `kvCacheDtype ${kvCacheDtype} is not for rows of latent attention; use auto or 16 bits`,
      { param: 'kvCacheDtype' },
    );
  }
  if (kvCacheDtype !== 'auto' || device.kind !== 'cpu') return kvCacheDtype;
  const kind = quantize === undefined ? kindOf(dtype as DTypeName) : 'quantised';
  const roundsTo = (type: typeof activations) => activations === 'auto' || activations === type;
  if (quantize === undefined && dtype === 'BF16' && roundsTo('bf16')) return 'bfloat16';
  const coarse = kind === 'quantised' ? roundsTo('int8') : kind === 'half';
  return coarse ? 'float16' : 'float32';
}
const CPU_CACHES: readonly string[] = ['auto', 'float32', 'float16', 'bfloat16', 'int8'];
const DEVICE_CACHES: readonly string[] = ['auto', 'fp8', 'int8'];

function elementOf(dtype: NativeDevice['kvCacheDtype']): CacheElement {
  if (dtype === 'fp8' || dtype === 'int8') return { value: 1, scale: 4 };
  return { value: dtype === 'float32' ? 4 : 2, scale: 0 };
}

function checkNative(what: string, theirs: number, ours: number): void {
  if (theirs === ours) return;
  throw octavoError(
    'ERR_NATIVE_MISMATCH',
    `the native addon has ${theirs} ${what}, planned were ${ours}; run "npm rebuild octavo"`,
  );
}
