/** The library's face: load a model, generate, stream, close. */
import { randomInt, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type EngineConfig,
  type EngineOptions,
  engineConfig,
  engineSizes,
  type PoolPlace,
} from '../config.js';
import { type BeamSearchParams, isBeamSearch } from '../core/beam-params.js';
import type { SamplingParamsInput } from '../core/sampling-params.js';
import { schedulerConfig } from '../core/scheduler-config.js';
import { isOctavoError, octavoError } from '../errors.js';
import { type Checkpoint, kvBytesPerToken, openCheckpoint } from '../model/checkpoint.js';
import type { NativeAddon } from '../native.js';
import type { ChatMessage, RenderOptions } from '../text/chat-template.js';
import { ggufTokenizerFiles } from '../text/gguf-tokenizer.js';
import { Tokenizer } from '../text/tokenizer.js';
import { chooseDevice, kvElement, nativeDevice } from './device.js';
import { Engine } from './engine.js';
import type { EventOptions } from './events.js';
import { createNativeExecutor } from './executor.js';
import { Gate, type GateModel, type GenerateParams } from './gate.js';
import type { EngineEvent, EngineStats, RequestOutput } from './outputs.js';
import type { Prompt } from './prompts.js';
import type { Request, RequestOptions } from './request.js';
import { seedSource } from './seeds.js';
import { openTrace, type TraceWriter } from './trace-file.js';

/** Of a batch. */
export interface BatchOptions extends RequestOptions {
  /** Called with each output as it ends, and its place in the batch. */
  readonly onOutput?: (output: RequestOutput, index: number) => void;
}

/** What the loaded model is. */
export interface ModelInfo {
  readonly path: string;
  readonly architecture: string;
  readonly numParameters: number;
  readonly weightBytes: number;
  readonly dtype: string;
  readonly vocabSize: number;
  readonly maxModelLen: number;
  readonly blockSize: number;
  /** Blocks of the KV pool, the null block included. */
  readonly numBlocks: number;
  readonly kvBytesPerToken: number;
  /** Blocks of the host pool for swapping. */
  readonly numHostBlocks: number;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  readonly device: string;
  readonly isa: string;
  readonly numThreads: number;
  readonly eosTokenIds: readonly number[];
}

interface Parts {
  readonly config: EngineConfig;
  readonly model: GateModel;
  readonly tokenizer: Tokenizer;
  readonly engine: Engine;
  readonly info: ModelInfo;
  readonly trace: TraceWriter | null;
}

/**
 * A model, loaded. Any number of `generate()`, `chat()` and `stream()` calls may run at once; they
 * are batched together. The same request (prompt, params, seed) gives the same tokens and logprobs,
 * bit for bit, whatever runs beside it.
 */
export class LLM {
  readonly info: ModelInfo;
  readonly tokenizer: Tokenizer;
  readonly #engine: Engine;
  readonly #gate: Gate;
  readonly #trace: TraceWriter | null;
  #closed = false;

  private constructor(parts: Parts) {
    this.info = parts.info;
    this.tokenizer = parts.tokenizer;
    this.#engine = parts.engine;
    this.#trace = parts.trace;
    const seeds = seedSource(parts.config.seed);
    this.#gate = new Gate(parts.model, parts.tokenizer, parts.info, seeds);
  }

  /**
   * Loads a model: weights are read, the KV pool is reserved, nothing blocks the event loop but
   * the construction of the tokenizer (see Tokenizer.fromJson).
   * @throws ERR_INVALID_OPTION, ERR_MODEL_NOT_FOUND, ERR_MODEL_FORMAT, ERR_MODEL_UNSUPPORTED,
   * ERR_TOKENIZER, ERR_OUT_OF_MEMORY, ERR_DEVICE_NOT_FOUND, ERR_NATIVE_MISSING
   */
  static load(options: EngineOptions = {}): Promise<LLM> {
    return LLM.loadWith(options);
  }

  /** @internal `addon` is another build of the native side, for tests. */
  static async loadWith(options: EngineOptions, addon?: NativeAddon): Promise<LLM> {
    const config = engineConfig(options);
    const device = chooseDevice(config.device, addon);
    const checkpoint = await openCheckpoint(config.model);
    const model = checkpoint.config;
    const perToken = kvBytesPerToken(model, kvElement(device, config, model));
    const sizesOf = (place: PoolPlace) =>
      engineSizes(config, perToken, model.maxPositionEmbeddings, place);
    const onDevice = device.kind !== 'cpu';
    const planned = sizesOf({ onDevice });
    const tokenizer = await loadTokenizer(checkpoint);
    const executor = await createNativeExecutor(
      {
        config: model,
        limits: { ...planned, blockSize: config.blockSize },
        files: checkpoint.files,
        tensors: checkpoint.tensors,
        numThreads: config.numThreads,
        isa: config.isa === 'auto' ? '' : config.isa,
        activations: config.activations,
        quantize: config.quantize ?? '',
        device: nativeDevice(device, config, model, planned),
      },
      addon,
    );
    let sizes = planned;
    let trace: TraceWriter | null = null;
    try {
      if (config.traceFile !== undefined) trace = await openTrace(config.traceFile);
      if (onDevice) sizes = sizesOf({ onDevice, measuredBlocks: executor.loaded.numBlocks });
    } catch (error) {
      await executor.close();
      throw error;
    }
    const scheduling = schedulerConfig({
      ...sizes,
      blockSize: config.blockSize,
      maxNumWaiting: config.maxNumWaiting,
      longPrefillThreshold: config.longPrefillTokenThreshold,
      enableChunkedPrefill: config.enableChunkedPrefill,
      enablePrefixCaching: config.enablePrefixCaching,
      numHostBlocks: planned.numHostBlocks,
      preemptionPolicy: config.preemptionPolicy,
      schedulingPolicy: config.schedulingPolicy,
      slidingWindow: widestWindow(model.windows),
      hashSeed: randomInt(2 ** 31),
    });
    const engine = new Engine(executor, scheduling, trace?.sink);
    const info = Object.freeze({
      path: config.model,
      architecture: model.architecture,
      numParameters: checkpoint.numParameters,
      weightBytes: executor.loaded.weightBytes,
      dtype: model.dtype,
      vocabSize: model.vocabSize,
      ...sizes,
      blockSize: config.blockSize,
      kvBytesPerToken: perToken,
      device: device.kind === 'cuda' ? `cuda:${device.index}` : device.kind,
      isa: executor.loaded.isa,
      numThreads: config.numThreads,
      eosTokenIds: model.eosTokenIds,
    });
    const { chatTemplate, generationDefaults } = checkpoint;
    const kept = { chatTemplate, generationDefaults };
    return new LLM({ config, model: kept, tokenizer, engine, info, trace });
  }

  /**
   * Generates to the end. An array is a batch: outputs come in its order, `params` may be one for
   * all or an array of the same length; params with a `beamWidth` ask for a beam search. Everything
   * is checked before anything is accepted.
   * @throws ERR_INVALID_PROMPT, ERR_INVALID_PARAM, ERR_PROMPT_TOO_LONG, ERR_REQUEST_TOO_LARGE,
   * ERR_OVERLOADED, ERR_ABORTED, ERR_CLOSED
   */
  generate(
    prompt: Prompt,
    params?: GenerateParams,
    options?: RequestOptions,
  ): Promise<RequestOutput>;
  generate(
    prompts: readonly Prompt[],
    params?: GenerateParams | readonly GenerateParams[],
    options?: BatchOptions,
  ): Promise<RequestOutput[]>;
  async generate(
    prompt: Prompt | readonly Prompt[],
    params: GenerateParams | readonly GenerateParams[] = {},
    options: BatchOptions = {},
  ): Promise<RequestOutput | RequestOutput[]> {
    if (Array.isArray(prompt)) return this.#batch(prompt, params, options);
    const request = await this.#request(prompt as Prompt, params as GenerateParams, options);
    const stop = this.#listen([request], options);
    try {
      this.#engine.submit(request);
      return await request.result();
    } finally {
      stop();
    }
  }

  /**
   * Beam search: the `beamWidth` best continuations by score, best first, each with its `score`; as
   * Hugging Face's `generate(num_beams=…)` finds them. Beams share their KV; where they part, at
   * most a block is copied. `beamWidth` is 4 if not given.
   * @throws what `generate()` throws
   */
  beamSearch(
    prompt: Prompt,
    params?: Partial<BeamSearchParams>,
    options?: RequestOptions,
  ): Promise<RequestOutput>;
  beamSearch(
    prompts: readonly Prompt[],
    params?: Partial<BeamSearchParams> | readonly Partial<BeamSearchParams>[],
    options?: BatchOptions,
  ): Promise<RequestOutput[]>;
  beamSearch(
    prompt: Prompt | readonly Prompt[],
    params: Partial<BeamSearchParams> | readonly Partial<BeamSearchParams>[] = {},
    options: BatchOptions = {},
  ): Promise<RequestOutput | RequestOutput[]> {
    const whole = (some: Partial<BeamSearchParams>) => ({ beamWidth: 4, ...some });
    const all = Array.isArray(params) ? params.map(whole) : whole(params as BeamSearchParams);
    return this.generate(prompt as Prompt[], all, options);
  }

  /** `generate({messages}, …)`: the conversation goes through the model's chat template. */
  chat(
    messages: readonly ChatMessage[],
    params: GenerateParams = {},
    options: RequestOptions & { readonly template?: RenderOptions } = {},
  ): Promise<RequestOutput> {
    const { template, ...rest } = options;
    return this.generate({ messages, ...(template ? { template } : {}) }, params, rest);
  }

  /**
   * Outputs as they come, the last with `finished: true`; `outputs[i].delta` is what is new.
   * Leaving the loop early aborts the request and frees its KV. Nothing starts before the first
   * `next()`. A slow reader gets fewer, larger deltas; nothing is lost.
   * @throws what `generate()` throws
   */
  async *stream(
    prompt: Prompt,
    params: SamplingParamsInput = {},
    options: RequestOptions = {},
  ): AsyncGenerator<RequestOutput, void, void> {
    if (isBeamSearch(params)) {
      throw octavoError(
        'ERR_INVALID_PARAM',
        'a beam search cannot be streamed: its best output may change until the end; ' +
          'use beamSearch() or generate()',
        { param: 'beamWidth' },
      );
    }
    const request = await this.#request(prompt, params, options);
    const stop = this.#listen([request], options);
    try {
      this.#engine.submit(request);
      yield* request.states();
    } finally {
      stop();
      this.#engine.abort(request);
    }
  }

  /** The text that the model's chat template makes of a conversation. */
  applyChatTemplate(messages: readonly ChatMessage[], options?: RenderOptions): string {
    return this.#gate.chatTemplate().render(messages, options);
  }

  /** Counters since load, and gauges now. */
  stats(): EngineStats {
    return this.#engine.stats();
  }

  /**
   * Figures of the KV pool and the scheduler after each step, for a dashboard: at most one event in
   * `intervalMs`. A slow reader gets the newest; counters count since load, so none is lost. While
   * nothing runs there is no event, and waiting for one does not keep the process alive. Ends with
   * `close()`; leaving the loop ends it earlier.
   */
  events(options?: EventOptions): AsyncGenerator<EngineEvent, void, void> {
    return this.#engine.events.subscribe(options);
  }

  /** Forgets all cached prefixes; false (and nothing happens) while any request runs. */
  resetPrefixCache(): boolean {
    return this.#engine.resetPrefixCache();
  }

  /**
   * Ends what runs with ERR_CLOSED, waits for the step in flight, gives all memory back.
   * Idempotent.
   */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#engine.close();
    await this.#trace?.close();
  }

  /** For `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #batch(
    prompts: readonly Prompt[],
    params: GenerateParams | readonly GenerateParams[],
    options: BatchOptions,
  ): Promise<RequestOutput[]> {
    if (Array.isArray(params) && params.length !== prompts.length) {
      throw octavoError(
        'ERR_INVALID_PARAM',
        `there are ${prompts.length} prompts but ${params.length} sets of params; ` +
          'give one for all or one for each',
        { param: 'params' },
      );
    }
    const base = options.requestId ?? randomUUID();
    const requests: Request[] = [];
    for (let i = 0; i < prompts.length; i++) {
      const own = (Array.isArray(params) ? params[i] : params) as GenerateParams;
      try {
        const request = await this.#request(prompts[i], own, {
          ...options,
          requestId: `${base}-${i}`,
        });
        this.#engine.checkFeasible(request);
        requests.push(request);
      } catch (error) {
        throw ofPrompt(error, i);
      }
    }
    const stop = this.#listen(requests, options);
    try {
      return await Promise.all(
        requests.map(async (request, i) => {
          await this.#submitPatiently(request);
          const output = await request.result();
          options.onOutput?.(output, i);
          return output;
        }),
      );
    } catch (error) {
      for (const request of requests) {
        this.#engine.abort(request, error as Error);
        request.fail(error as Error);
      }
      throw error;
    } finally {
      stop();
    }
  }

  /** A batch may be larger than the waiting queue: what finds no room yet waits outside. */
  async #submitPatiently(request: Request): Promise<void> {
    for (;;) {
      if (request.settled) return;
      try {
        this.#engine.submit(request);
        return;
      } catch (error) {
        if ((error as { code?: string }).code !== 'ERR_OVERLOADED') throw error;
      }
      await sleep(5);
    }
  }

  /** Checks and encodes everything; nothing enters the queue here. */
  async #request(prompt: Prompt, params: GenerateParams, options: RequestOptions) {
    if (this.#closed) throw octavoError('ERR_CLOSED', 'the model was closed; load it anew');
    if (options.signal?.aborted) throw abortedError(options.signal);
    return this.#gate.request(prompt, params, options);
  }

  /**
   * Aborts requests when the signal says so, or their time is over. Returns what takes listener and
   * timer off again.
   */
  #listen(requests: readonly Request[], { signal, timeoutMs }: RequestOptions): () => void {
    if (signal?.aborted) throw abortedError(signal);
    const end = (error: Error) => {
      for (const request of requests) {
        this.#engine.abort(request, error);
        request.fail(error); // also if it has not got into the queue
      }
    };
    const abort = () => end(abortedError(signal as AbortSignal));
    signal?.addEventListener('abort', abort, { once: true });
    const late = () =>
      end(octavoError('ERR_TIMEOUT', `the request did not end within ${timeoutMs} ms`));
    const timer = timeoutMs === undefined ? undefined : setTimeout(late, timeoutMs);
    return () => {
      signal?.removeEventListener('abort', abort);
      clearTimeout(timer);
    };
  }
}

/** How far back any layer looks; 0 where one sees everything. */
function widestWindow(windows: Int32Array): number {
  return windows.includes(0) ? 0 : Math.max(...windows);
}

/** Says which prompt of a batch an error is about: in its message, and as `promptIndex`. */
function ofPrompt(error: unknown, index: number): unknown {
  if (isOctavoError(error) && error.code !== 'ERR_ABORTED') {
    error.message = `prompt ${index}: ${error.message}`;
    Object.assign(error, { promptIndex: index });
  }
  return error;
}

/** The tokenizer of a model alone; weights are not touched. */
export async function openTokenizer(path: string): Promise<Tokenizer> {
  return loadTokenizer(await openCheckpoint(path));
}

async function loadTokenizer(checkpoint: Checkpoint): Promise<Tokenizer> {
  const { tokenizer } = checkpoint;
  if ('gguf' in tokenizer) {
    const { json, config } = await ggufTokenizerFiles(tokenizer.gguf);
    return Tokenizer.fromJson(json, config, 'the GGUF tokenizer');
  }
  return Tokenizer.fromJson(tokenizer.json, tokenizer.config);
}

/** Named like the platform's own, so that callers who look for AbortError find it. */
function abortedError(signal: AbortSignal): Error {
  const error = octavoError('ERR_ABORTED', 'the request was aborted', { cause: signal.reason });
  error.name = 'AbortError';
  return error;
}
