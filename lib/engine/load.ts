/** From options to everything that a loaded model consists of. A load that fails leaves nothing. */
import { randomInt } from 'node:crypto';
import type { EngineOptions } from '../config/options.js';
import { type EngineConfig, engineConfig } from '../config/options.js';
import {
  type Checkpoint,
  openCheckpoint,
  openVocabulary,
  type TokenizerSource,
} from '../model/checkpoint.js';
import type { NativeAddon, NativeLoaded } from '../native.js';
import { ggufTokenizer } from '../text/gguf-tokenizer.js';
import { Tokenizer } from '../text/tokenizer.js';
import { Deadline } from './deadline.js';
import { chooseDevice } from './device.js';
import { encodings } from './encoding-queue.js';
import { Engine } from './engine.js';
import { createNativeExecutor } from './executor.js';
import type { GateModel } from './gate.js';
import {
  type EnginePlan,
  type KvGroupInfo,
  kvGroupsOf,
  measured,
  nativeDevice,
  nativeLimits,
  planEngine,
} from './plan.js';
import { roomBeside } from './room.js';
import { openTrace, type TraceWriter } from './trace-file.js';

/** What the loaded model is. */
export interface ModelInfo {
  readonly path: string;
  readonly architecture: string;
  readonly numParameters: number;
  readonly weightBytes: number;
  readonly dtype: string;
  readonly vocabSize: number;
  readonly maxModelLen: number;
  /** Tokens per KV block; where groups differ, of the finest. */
  readonly blockSize: number;
  /** Bytes of a KV block, whichever group has it. */
  readonly blockBytes: number;
  /** Blocks of the KV pool, the null block included. */
  readonly numBlocks: number;
  /** Layers that keep their KV alike: one group, or several with blocks of their own. */
  readonly kvGroups: readonly KvGroupInfo[];
  /** K and V of one token over all layers, scales included. A layer with a window keeps no more
   * than its window: what a long sequence holds is less than its tokens times this. */
  readonly kvBytesPerToken: number;
  /** Blocks of the host pool for swapping. */
  readonly numHostBlocks: number;
  readonly maxNumSeqs: number;
  /** Requests that may wait; more are refused. */
  readonly maxNumWaiting: number;
  readonly maxNumBatchedTokens: number;
  readonly device: string;
  readonly isa: string;
  /** Host threads that compute; 1 beside a GPU. */
  readonly numThreads: number;
  readonly eosTokenIds: readonly number[];
  /** Whether the model brings a chat template, so was made for conversations. */
  readonly hasChatTemplate: boolean;
}

/** A loaded model; whoever holds it closes the engine, then the trace. */
export interface LoadedModel {
  readonly config: EngineConfig;
  readonly model: GateModel;
  readonly tokenizer: Tokenizer;
  readonly engine: Engine;
  readonly info: ModelInfo;
  readonly trace: TraceWriter | null;
}

/**
 * Loads what `options` ask for. Sizes are planned and checked before a weight is read; the
 * vocabulary is built while the weights are read on the executor's thread.
 * @param addon another build of the native side, for tests
 */
export async function loadModel(options: EngineOptions, addon?: NativeAddon): Promise<LoadedModel> {
  const config = engineConfig(options);
  const device = await chooseDevice(config.device, addon);
  const checkpoint = await openCheckpoint(config.model);
  const room = roomBeside(checkpoint, config, device);
  const planned = planEngine(config, checkpoint.spec, device, randomInt(2 ** 31), room);
  const trace = config.traceFile === undefined ? null : await openTrace(config.traceFile);
  try {
    const { executor, tokenizer } = await readAll(config, checkpoint, planned, addon);
    try {
      const plan = measured(planned, config, executor.loaded);
      const engine = new Engine(executor, plan.scheduling, trace?.sink);
      const info = infoOf(config, checkpoint, plan, executor.loaded, tokenizer);
      const { chatTemplate, generationDefaults } = checkpoint;
      const model = { chatTemplate, generationDefaults };
      return { config, model, tokenizer, engine, info, trace };
    } catch (error) {
      await executor.close();
      throw error;
    }
  } catch (error) {
    await trace?.close();
    throw error;
  }
}

/** Weights and vocabulary, side by side; both have ended when this does. */
async function readAll(
  config: EngineConfig,
  checkpoint: Checkpoint,
  plan: EnginePlan,
  addon?: NativeAddon,
) {
  const reading = createNativeExecutor(
    {
      spec: checkpoint.spec,
      limits: nativeLimits(plan),
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
  if (tokenizer.status === 'fulfilled') {
    return { executor: executor.value, tokenizer: tokenizer.value };
  }
  await executor.value.close();
  throw tokenizer.reason;
}

function infoOf(
  config: EngineConfig,
  { spec: model, numParameters, chatTemplate }: Checkpoint,
  plan: EnginePlan,
  loaded: NativeLoaded,
  tokenizer: Tokenizer,
): ModelInfo {
  const { device, numBlocks, maxModelLen, blockSize, blockBytes, kvBytesPerToken } = plan;
  return Object.freeze({
    path: config.model,
    architecture: model.architecture,
    numParameters,
    weightBytes: loaded.weightBytes,
    dtype: model.dtype,
    vocabSize: model.vocabSize,
    ...{ maxModelLen, blockSize, blockBytes, numBlocks, kvBytesPerToken },
    kvGroups: kvGroupsOf(plan),
    numHostBlocks: plan.numHostBlocks,
    maxNumSeqs: plan.maxNumSeqs,
    maxNumWaiting: plan.scheduling.maxNumWaiting,
    maxNumBatchedTokens: plan.maxNumBatchedTokens,
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
export async function openTokenizer(path: string): Promise<Tokenizer> {
  return loadTokenizer(await openVocabulary(path));
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
