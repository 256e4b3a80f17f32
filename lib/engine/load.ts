/** From options to everything that a loaded model consists of. A load that fails leaves nothing. */
import { randomInt } from 'node:crypto';
import { tellsEvents } from '../config/kv-events.js';
import type { EngineOptions } from '../config/options.js';
import { type EngineConfig, engineConfig } from '../config/options.js';
import { octavoError } from '../errors.js';
import {
  type Checkpoint,
  openCheckpoint,
  openVocabulary,
  type TokenizerSource,
} from '../model/checkpoint.js';
import {
  type NativeAddon,
  type NativeLimits,
  type NativeLoaded,
  native,
  type WeightKind,
} from '../native.js';
import { ggufTokenizer } from '../text/gguf-tokenizer.js';
import { Tokenizer } from '../text/tokenizer.js';
import { Deadline } from './deadline.js';
import { chooseDevice } from './device.js';
import { encodings } from './encoding-queue.js';
import { Engine } from './engine.js';
import { createNativeExecutor } from './executor.js';
import {
  checkAborted,
  checkLoading,
  findModel,
  type LoadOptions,
  type ModelPlace,
} from './find-model.js';
import type { GateModel } from './gate.js';
import { Grammars } from './grammars.js';
import { JumpForward } from './jump-forward.js';
import { type KvPublisher, openKvPublisher } from './kv-publisher.js';
import {
  type DevicePlan,
  type EnginePlan,
  type KvGroupInfo,
  kvGroupsOf,
  measured,
  nativeDevice,
  nativeLimits,
  planEngine,
  storedDtype,
} from './plan.js';
import { PoolingEngine } from './pooling-engine.js';
import type { PoolingInfo } from './pooling-info.js';
import { type PoolingPlan, planPooling, poolingLimits, runnerOf } from './pooling-plan.js';
import { roomBeside, roomOnDevice } from './room.js';
import { openTrace, type TraceWriter } from './trace-file.js';

export type { WeightKind } from '../native.js';

/** What the loaded model is. */
export interface ModelInfo {
  /** Where its files lie: a folder or a .gguf file. */
  readonly path: string;
  /** Of a model that was loaded by name: `org/name`, and the commit; else undefined. */
  readonly hub: { readonly repo: string; readonly revision: string } | undefined;
  /** What it was loaded for: `generate()` and its like, or `embed()` and its like. */
  readonly runner: 'generate' | 'pooling';
  /** What it makes of texts; undefined where it generates. */
  readonly pooling: PoolingInfo | undefined;
  /** Its family, by the name that its files give it. */
  readonly architecture: string;
  /** Weights, counted once each. */
  readonly numParameters: number;
  /** Bytes of memory that they take. */
  readonly weightBytes: number;
  /** What the matrices are stored as and what they are kept as: where both are the same quantised
   * type, they stay packed. */
  readonly weights: readonly WeightKind[];
  /** What the model's files call the type of its weights; '' where they do not say. */
  readonly dtype: string;
  /** Token ids are below it. */
  readonly vocabSize: number;
  /** Longest prompt and output of a sequence together, in tokens. */
  readonly maxModelLen: number;
  /** Tokens per KV block; where groups differ, of the finest. What is loaded to pool has no KV
   * pool: all that is said of one is 0, or nothing. */
  readonly blockSize: number;
  /** Bytes of a KV block, whichever group has it. */
  readonly blockBytes: number;
  /** Blocks of the KV pool, the null block included. */
  readonly numBlocks: number;
  /** Layers that keep their KV alike: one group, or several with blocks of their own. Where no
   * layer attends one without layers, whose blocks hold nothing. */
  readonly kvGroups: readonly KvGroupInfo[];
  /** K and V of one token over all layers, scales included. A layer with a window keeps no more
   * than its window: what a long sequence holds is less than its tokens times this. */
  readonly kvBytesPerToken: number;
  /** What K and V are stored as; '' where there is no KV pool. */
  readonly kvCacheDtype: string;
  /** The option, which counts on a GPU only. */
  readonly gpuMemoryUtilization: number;
  /** Blocks of the host pool for swapping. */
  readonly numHostBlocks: number;
  /** What recurrent layers keep, all together: bytes of the state of a sequence, of which one that
   * runs has up to one and a half, and of the record of a token, of which it has up to 16; and
   * how many states there is room for, those of the prefix cache among them, and in the swap space
   * with their records. 0 = no such layers. */
  readonly stateBytes: number;
  /** Bytes of the record of a token; see `stateBytes`. */
  readonly recordBytes: number;
  /** States that there is room for; see `stateBytes`. */
  readonly numStates: number;
  /** States that the swap space has room for; see `stateBytes`. */
  readonly numHostStates: number;
  /** Sequences that run at once. */
  readonly maxNumSeqs: number;
  /** Requests that may wait; more are refused. */
  readonly maxNumWaiting: number;
  /** Tokens of one step. */
  readonly maxNumBatchedTokens: number;
  /** `cpu`, or `cuda:0`, say. */
  readonly device: string;
  /** The instruction set of the CPU backend; of a GPU its architecture, `sm_90` say. */
  readonly isa: string;
  /** Host threads that compute; 1 beside a GPU. */
  readonly numThreads: number;
  /** Ids that end an output. */
  readonly eosTokenIds: readonly number[];
  /** Whether the model brings a chat template, so was made for conversations. */
  readonly hasChatTemplate: boolean;
}

/** A loaded model; whoever holds it closes the engine, then the trace. */
export interface LoadedModel {
  readonly config: EngineConfig;
  readonly model: GateModel;
  readonly tokenizer: Tokenizer;
  readonly engine: Engine | PoolingEngine;
  /** Of one that is loaded to pool. */
  readonly pooling: PoolingPlan | null;
  readonly info: ModelInfo;
  /** Of one that generates. */
  readonly grammars: Grammars | null;
  readonly trace: TraceWriter | null;
  /** Who is told what the prefix cache has. */
  readonly kvPublisher: { close(): Promise<void> } | null;
}

/** What a model is read with, whatever for. */
interface Reading {
  readonly config: EngineConfig;
  readonly place: ModelPlace;
  readonly checkpoint: Checkpoint;
  readonly plan: DevicePlan & { readonly maxNumBlocks?: number };
  readonly limits: NativeLimits;
  readonly signal: AbortSignal | undefined;
}

/**
 * Loads what `options` ask for. Sizes are planned and checked before a weight is read; the
 * vocabulary is built while the weights are read on the executor's thread.
 * @param loading what ends it, and who is told of a download
 * @param addon another build of the native side, for tests
 */
export async function loadModel(
  options: EngineOptions,
  loading?: LoadOptions,
  addon?: NativeAddon,
): Promise<LoadedModel> {
  const config = engineConfig(options);
  const { signal } = checkLoading(loading);
  // Whoever has no addon needs no model.
  addon ??= native();
  const device = await chooseDevice(config.device, addon);
  const place = await findModel(config.model, {}, loading);
  const checkpoint = await openCheckpoint(place.path);
  const room = roomBeside(checkpoint, config, device);
  const opened = { config, place, checkpoint, signal };
  if (runnerOf(config, checkpoint) === 'pooling') {
    refuseKvEvents(config);
    return loadPooling(opened, planPooling(config, checkpoint, device), addon);
  }
  const onDevice = roomOnDevice(checkpoint, config, device);
  const seed = randomInt(2 ** 31);
  const planned = planEngine(config, checkpoint.spec, device, seed, room, onDevice);
  const trace = config.traceFile === undefined ? null : await openTrace(config.traceFile);
  let kvPublisher: KvPublisher | null = null;
  try {
    const { kvEventsConfig: told } = config;
    if (tellsEvents(told)) kvPublisher = await openKvPublisher(told);
    const limits = nativeLimits(planned);
    const reading = { ...opened, plan: planned, limits };
    const { executor, tokenizer } = await readAll(reading, addon);
    try {
      const plan = measured(planned, config, executor.loaded);
      const jump = config.enableJumpForward ? new JumpForward(tokenizer) : null;
      const engine = new Engine(executor, plan.scheduling, trace?.sink, jump);
      if (kvPublisher !== null) engine.tellPrefixes(kvPublisher);
      const info = infoOf(
        reading,
        executor.loaded,
        tokenizer,
        ofPlan(plan, config, checkpoint.spec),
      );
      const model = gateModel(checkpoint);
      const grammars = new Grammars(addon, tokenizer, info, config);
      const beside = { grammars, trace, kvPublisher };
      return { config, model, tokenizer, engine, pooling: null, info, ...beside };
    } catch (error) {
      await executor.close();
      throw error;
    }
  } catch (error) {
    await Promise.all([trace?.close(), kvPublisher?.close()]);
    throw error;
  }
}

async function loadPooling(
  opened: Pick<Reading, 'config' | 'place' | 'checkpoint' | 'signal'>,
  plan: PoolingPlan,
  addon?: NativeAddon,
): Promise<LoadedModel> {
  const { config, checkpoint } = opened;
  const reading = { ...opened, plan, limits: poolingLimits(plan, config) };
  const { executor, tokenizer } = await readAll(reading, addon);
  try {
    const engine = new PoolingEngine(executor, plan.sizes);
    const info = infoOf(reading, executor.loaded, tokenizer, ofPooling(plan, config));
    const model = gateModel(checkpoint);
    const none = { grammars: null, trace: null, kvPublisher: null };
    return { config, model, tokenizer, engine, pooling: plan, info, ...none };
  } catch (error) {
    await executor.close();
    throw error;
  }
}

/** @throws ERR_MODEL_TASK */
function refuseKvEvents({ kvEventsConfig }: EngineConfig): void {
  if (!tellsEvents(kvEventsConfig)) return;
  const sentence = 'a model that is loaded to pool has no prefix cache; leave out kvEventsConfig';
  throw octavoError('ERR_MODEL_TASK', sentence, { param: 'kvEventsConfig' });
}

function gateModel({ chatTemplate, generationDefaults }: Checkpoint): GateModel {
  return { chatTemplate, generationDefaults };
}

/** Weights and vocabulary, side by side; both have ended when this does. */
async function readAll({ config, checkpoint, plan, limits, signal }: Reading, addon?: NativeAddon) {
  checkAborted(signal);
  const reading = createNativeExecutor(
    {
      spec: checkpoint.spec,
      limits,
      files: checkpoint.files,
      tensors: checkpoint.tensors,
      numThreads: config.numThreads,
      isa: config.isa === 'auto' ? '' : config.isa,
      activations: config.activations,
      quantize: config.quantize ?? '',
      device: nativeDevice(plan, config, checkpoint.spec),
    },
    addon,
  );
  const [executor, tokenizer] = await Promise.allSettled([
    reading,
    loadTokenizer(checkpoint.tokenizer),
  ]);
  if (executor.status === 'rejected') throw executor.reason;
  try {
    if (tokenizer.status === 'rejected') throw tokenizer.reason;
    checkAborted(signal);
    return { executor: executor.value, tokenizer: tokenizer.value };
  } catch (error) {
    await executor.value.close();
    throw error;
  }
}

/** What the two kinds of plans say of a model. */
type PlanInfo = Pick<
  ModelInfo,
  | 'runner'
  | 'pooling'
  | 'maxModelLen'
  | 'blockSize'
  | 'blockBytes'
  | 'numBlocks'
  | 'kvBytesPerToken'
  | 'kvGroups'
  | 'kvCacheDtype'
  | 'numHostBlocks'
  | 'stateBytes'
  | 'recordBytes'
  | 'numStates'
  | 'numHostStates'
  | 'maxNumSeqs'
  | 'maxNumBatchedTokens'
>;

function ofPlan(plan: EnginePlan, config: EngineConfig, model: Checkpoint['spec']): PlanInfo {
  const { numBlocks, maxModelLen, blockSize, blockBytes, kvBytesPerToken } = plan;
  return {
    runner: 'generate',
    pooling: undefined,
    ...{ maxModelLen, blockSize, blockBytes, numBlocks, kvBytesPerToken },
    kvGroups: kvGroupsOf(plan),
    kvCacheDtype: storedDtype(plan, config, model),
    numHostBlocks: plan.numHostBlocks,
    ...statesInfo(plan),
    maxNumSeqs: plan.maxNumSeqs,
    maxNumBatchedTokens: plan.maxNumBatchedTokens,
  };
}

const NO_STATES = { stateBytes: 0, recordBytes: 0, numStates: 0, numHostStates: 0 };

/** Slot 0 is no room for a state. */
function statesInfo({ recurrent }: EnginePlan) {
  if (recurrent === null) return NO_STATES;
  const { stateBytes, recordBytes, sizes } = recurrent;
  const { numSlots, numHostSlots: numHostStates = 0 } = sizes;
  return { stateBytes, recordBytes, numStates: numSlots - 1, numHostStates };
}

function ofPooling(plan: PoolingPlan, { blockSize }: EngineConfig): PlanInfo {
  return {
    runner: 'pooling',
    pooling: plan.info,
    ...{ maxModelLen: plan.maxModelLen, blockSize, blockBytes: 0, numBlocks: 0 },
    ...{ kvBytesPerToken: 0, kvGroups: Object.freeze([]), kvCacheDtype: '', numHostBlocks: 0 },
    ...NO_STATES,
    maxNumSeqs: plan.maxNumSeqs,
    maxNumBatchedTokens: plan.maxNumBatchedTokens,
  };
}

function infoOf(
  { config, place, checkpoint, plan: { device } }: Reading,
  loaded: NativeLoaded,
  tokenizer: Tokenizer,
  plan: PlanInfo,
): ModelInfo {
  const { spec: model, numParameters, chatTemplate } = checkpoint;
  return Object.freeze({
    ...plan,
    path: place.path,
    hub:
      place.fetched &&
      Object.freeze({ repo: place.fetched.repo, revision: place.fetched.revision }),
    architecture: model.architecture,
    numParameters,
    weightBytes: loaded.weightBytes,
    weights: Object.freeze(loaded.weights),
    dtype: model.dtype,
    vocabSize: model.vocabSize,
    maxNumWaiting: config.maxNumWaiting,
    gpuMemoryUtilization: config.gpuMemoryUtilization,
    device: device.kind === 'cuda' ? `cuda:${device.index}` : device.kind,
    isa: loaded.isa,
    numThreads: loaded.numThreads,
    eosTokenIds: knownEos(model, tokenizer.eosTokenId),
    hasChatTemplate: chatTemplate !== undefined,
  });
}

/**
 * What ends a text: the ids of the model's files and its tokenizer's own. A file may name one that
 * has no row in the embedding; nothing draws it, nothing bans it.
 */
function knownEos(
  { eosTokenIds, vocabSize }: Checkpoint['spec'],
  ofTokenizer: number | undefined,
): readonly number[] {
  const foreign = eosTokenIds.filter((id) => id >= vocabSize);
  if (foreign.length > 0) {
    process.emitWarning(
      `octavo: the model's files name ${foreign.slice(0, 4).join(', ')} as end of sequence, but ` +
        `it has only the tokens 0 to ${vocabSize - 1}; what is beyond is ignored`,
    );
  }
  const all = ofTokenizer === undefined ? eosTokenIds : [...eosTokenIds, ofTokenizer];
  return [...new Set(all)].filter((id) => id < vocabSize);
}

/** The tokenizer of a model alone; no weights need be there, nor a family that is known. */
export async function openTokenizer(model: string, loading?: LoadOptions): Promise<Tokenizer> {
  const { path } = await findModel(model, { tokenizerOnly: true }, loading);
  return loadTokenizer(await openVocabulary(path));
}

/**
 * The grammars of a model of which only the tokenizer is read. Where that names no end of
 * sequence, one behind all its tokens stands for it.
 */
export async function openGrammars(config: EngineConfig, loading?: LoadOptions): Promise<Grammars> {
  const tokenizer = await openTokenizer(config.model, loading);
  const { vocabSize, eosTokenId } = tokenizer;
  const model = {
    vocabSize: eosTokenId === undefined ? vocabSize + 1 : vocabSize,
    eosTokenIds: [eosTokenId ?? vocabSize],
  };
  return new Grammars(native(), tokenizer, model, config);
}

async function loadTokenizer(source: TokenizerSource): Promise<Tokenizer> {
  const tokenizer = await buildTokenizer(source);
  // What callers tokenize by themselves takes its turn with prompts.
  tokenizer.useQueue((size, encode) => encodings.run(size, encode, new Deadline()));
  return tokenizer;
}

async function buildTokenizer(source: TokenizerSource): Promise<Tokenizer> {
  if ('gguf' in source) return ggufTokenizer(source.gguf);
  return Tokenizer.fromJson(source.json, source.config);
}
