/** The library's face: load a model, generate, stream, close. */
import { takeObject } from '../arguments.js';
import type { EngineOptions } from '../config/options.js';
import { type BeamSearchParams, isBeamSearch, withWidth } from '../core/beam-params.js';
import type { SamplingParams } from '../core/sampling-params.js';
import type { StructuredOutputs } from '../core/structured.js';
import { octavoError } from '../errors.js';
import type { NativeAddon } from '../native.js';
import type { ChatMessage, ChatTemplate, RenderOptions } from '../text/chat-template.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { Batches } from './batch.js';
import { type BatchOptions, callOptions, type EncodeCallOptions } from './call-options.js';
import { type ChatCallOptions, chatCall } from './chat-tools.js';
import type { CompiledGrammar } from './compiled-grammar.js';
import { Engine } from './engine.js';
import { Entrance } from './entrance.js';
import type { EventOptions } from './events.js';
import type { LoadOptions } from './find-model.js';
import { Gate, type GenerateParams } from './gate.js';
import type { Grammars } from './grammars.js';
import { Intake } from './intake.js';
import { type LoadedModel, loadModel, type ModelInfo } from './load.js';
import type { DrainOptions, DrainResult } from './open-calls.js';
import type {
  ChatOutput,
  DeltaOutput,
  EngineEvent,
  EngineStats,
  RequestOutput,
  StreamOutput,
} from './outputs.js';
import { Pooler } from './pooler.js';
import type { PoolingEngine } from './pooling-engine.js';
import type {
  ClassifyOptions,
  EmbedOptions,
  RankOptions,
  ScoreOptions,
} from './pooling-options.js';
import type {
  ClassifyOutput,
  EmbeddingOutput,
  RankOutput,
  ScoreOutput,
} from './pooling-outputs.js';
import type { PoolingPrompt } from './pooling-texts.js';
import type { Prompt } from './prompts.js';
import type { Request, RequestOptions } from './request.js';
import { seedSource } from './seeds.js';
import { OutputStream } from './stream.js';
import type { Watcher } from './watch.js';

/** What a model generates with. */
interface Generator {
  readonly engine: Engine;
  readonly intake: Intake;
  readonly batches: Batches;
}

/**
 * A model, loaded. Any number of calls may run at once; they are batched together. The same request
 * (prompt, params, seed) gives the same tokens and logprobs, bit for bit, whatever runs beside it.
 */
export class LLM {
  /** What is loaded. */
  readonly info: ModelInfo;
  /** From text to ids and back, as the model knows them. */
  readonly tokenizer: Tokenizer;
  /** @internal The model's own, or what stands in for it. */
  readonly chatTemplate = (): ChatTemplate => this.#gate.chatTemplate();
  readonly #engine: Engine | PoolingEngine;
  readonly #gate: Gate;
  readonly #entrance: Entrance;
  readonly #generator: Generator | null;
  readonly #pooler: Pooler | null;
  readonly #grammars: Grammars | null;
  /** What ends after the engine. */
  readonly #beside: readonly ({ close(): Promise<void> } | null)[];

  private constructor(parts: LoadedModel) {
    const { info, tokenizer, engine, pooling, config } = parts;
    this.info = info;
    this.tokenizer = tokenizer;
    this.#engine = engine;
    this.#beside = [parts.trace, parts.kvPublisher, parts.grammars];
    const { seed, maxLogprobs, maxListLength, maxNumWaiting } = config;
    const limits = { ...info, maxLogprobs, maxListLength };
    this.#grammars = parts.grammars;
    this.#gate = new Gate(parts.model, tokenizer, limits, seedSource(seed), parts.grammars);
    if (engine instanceof Engine) {
      const intake = new Intake(this.#gate, engine, maxNumWaiting);
      // As many as can start in one step keep the engine busy; half of the queue is others'.
      const share = Math.min(info.maxNumSeqs, Math.floor(maxNumWaiting / 2));
      this.#entrance = intake;
      this.#generator = { engine, intake, batches: new Batches(intake, Math.max(1, share)) };
      this.#pooler = null;
    } else {
      this.#entrance = new Entrance(this.#gate, engine, maxNumWaiting);
      this.#generator = null;
      this.#pooler = pooling && new Pooler(engine, this.#entrance, tokenizer, info, pooling);
    }
  }

  /**
   * Loads a model, by name out of the cache or downloaded (`loading`): weights are read, the KV
   * pool is reserved; only building the tokenizer blocks the event loop (see Tokenizer.fromJson).
   * @throws ERR_INVALID_OPTION, ERR_MODEL_…, ERR_TOKENIZER, ERR_ABORTED; of downloads, devices
   */
  static async load(options: EngineOptions = {}, loading: LoadOptions = {}): Promise<LLM> {
    return new LLM(await loadModel(options, loading));
  }

  /** @internal `addon` is another build of the native side, for tests. */
  static async loadWith(options: EngineOptions, addon?: NativeAddon, loading = {}): Promise<LLM> {
    return new LLM(await loadModel(options, loading, addon));
  }

  /**
   * Generates to the end. An array is a batch, of any size: outputs come in its order, `params`
   * may be one for all or an array of the same length; params with a `beamWidth` ask for a beam
   * search. Arrays of a batch are copied by the call and may be changed after it; the prompts and
   * params in them may not, before the batch has ended.
   *
   * Options, params, and of each prompt what can be told without tokenizing it (is it a prompt, its
   * ids, could its text fit?) are checked before anything is accepted. A batch tokenizes while its
   * first prompts run already, so a text that turns out too long, or that the chat template
   * refuses, ends it then: one error ends all of a batch, with `promptIndex` where it is a
   * prompt's own.
   * @throws ERR_INVALID_PROMPT, ERR_INVALID_PARAM, ERR_PROMPT_TOO_LONG, ERR_REQUEST_TOO_LARGE,
   * ERR_MODEL_TASK, ERR_OVERLOADED, ERR_ABORTED, ERR_CLOSED; ERR_GRAMMAR for what cannot be
   * compiled, and where a grammar left no sample a token (else see `finishReason`)
   */
  generate<T = unknown>(
    prompt: Prompt,
    params?: GenerateParams<T>,
    options?: RequestOptions,
  ): Promise<RequestOutput<T>>;
  generate<T = unknown>(
    prompts: readonly Prompt[],
    params?: GenerateParams<T> | readonly GenerateParams<T>[],
    options?: BatchOptions,
  ): Promise<RequestOutput<T>[]>;
  generate<T = unknown>(
    prompt: Prompt | readonly Prompt[],
    params?: GenerateParams<T>,
    options?: RequestOptions,
  ): Promise<RequestOutput<T> | RequestOutput<T>[]>;
  async generate(
    prompt: Prompt | readonly Prompt[],
    params: GenerateParams | readonly GenerateParams[] = {},
    options: BatchOptions = {},
  ): Promise<RequestOutput | RequestOutput[]> {
    const { batches, intake } = this.#generating();
    if (Array.isArray(prompt)) return batches.run(prompt, params, options);
    const request = await intake.open(prompt, params, options);
    return request.result();
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
  async beamSearch(
    prompt: Prompt | readonly Prompt[],
    params: Partial<BeamSearchParams> | readonly Partial<BeamSearchParams>[] = {},
    options: BatchOptions = {},
  ): Promise<RequestOutput | RequestOutput[]> {
    const all = Array.isArray(params) ? params.map(withWidth) : withWidth(params);
    return this.generate(prompt as Prompt[], all, options);
  }

  /**
   * `generate({messages}, …)`: the conversation goes through the model's chat template. Control
   * tokens are those that the template writes, not what messages, tools and variables spell, unless
   * `parseSpecialTokens` is true. The answer is told apart: see {@link ChatAnswer}; calls of
   * `tools` are of a given name, with arguments that parse.
   * @throws what `generate()` throws; ERR_GRAMMAR for a tool's schema
   */
  async chat<T = unknown>(
    messages: readonly ChatMessage[],
    params: GenerateParams<T> = {},
    options: ChatCallOptions = {},
  ): Promise<ChatOutput<T>> {
    const call = chatCall(messages, options);
    return this.generate(call.prompt, params, call.options) as Promise<ChatOutput<T>>;
  }

  /**
   * Outputs as they come, the last with `finished: true`. What is new is in `outputs[i].delta`,
   * `deltaTokenIds` and (if asked for) `deltaLogprobs`; everything so far stands beside it, and is
   * put together only when it is read. Leaving the loop, `return()` or destroying a Readable made
   * of it aborts the request at once and frees its KV, also while a `next()` waits. Nothing starts
   * before the first `next()`. A slow reader gets fewer, larger deltas; nothing is lost.
   * @throws what `generate()` throws
   */
  stream<T = unknown>(
    prompt: Prompt,
    params: SamplingParams<T> = {},
    options: RequestOptions = {},
  ): AsyncGenerator<StreamOutput<T>, void, void> {
    const take = (request: Request) => request.take() as StreamOutput<T> | null;
    return this.#newStream(prompt, params, options, take);
  }

  /**
   * As `stream()`, and only what is new: new text, ids and logprobs of the samples that have some,
   * and how each ended; times once all is finished. What was given is not put together again.
   * @throws what `generate()` throws
   */
  streamDeltas(
    prompt: Prompt,
    params: SamplingParams = {},
    options: RequestOptions = {},
  ): AsyncGenerator<DeltaOutput, void, void> {
    return this.#newStream(prompt, params, options, (request) => request.takeDelta());
  }

  #newStream<T extends { readonly finished: boolean }>(
    prompt: Prompt,
    params: SamplingParams,
    options: RequestOptions,
    take: (request: Request) => T | null,
  ): OutputStream<T> {
    return new OutputStream(
      (left) => this.#startStream(prompt, params, options, left),
      take,
      (request) => this.#generator?.engine.abort(request),
    );
  }

  async #startStream(
    prompt: Prompt,
    params: SamplingParams,
    options: RequestOptions,
    left: AbortSignal,
  ): Promise<Request> {
    const { intake } = this.#generating();
    if (isBeamSearch(takeObject(params, 'sampling parameters', 'params'))) {
      throw octavoError(
        'ERR_INVALID_PARAM',
        'a beam search cannot be streamed: its best output may change until the end; ' +
          'use beamSearch() or generate()',
        { param: 'beamWidth' },
      );
    }
    return intake.open(prompt, params, options, left);
  }

  /**
   * The vector of a text, or of each of a list of any size, in its order. Texts of all calls are
   * computed together; a vector does not depend on what stands beside it. A list is copied by the
   * call. One error ends all of a list, with `promptIndex` where it is a text's own.
   * @throws ERR_INVALID_PROMPT, ERR_INVALID_PARAM, ERR_PROMPT_TOO_LONG, ERR_MODEL_TASK,
   * ERR_NON_FINITE, ERR_OVERLOADED, ERR_ABORTED, ERR_TIMEOUT, ERR_DRAINING, ERR_CLOSED
   */
  embed(text: PoolingPrompt, options?: EmbedOptions): Promise<EmbeddingOutput>;
  embed(texts: readonly PoolingPrompt[], options?: EmbedOptions): Promise<EmbeddingOutput[]>;
  embed(
    text: PoolingPrompt | readonly PoolingPrompt[],
    options?: EmbedOptions,
  ): Promise<EmbeddingOutput | EmbeddingOutput[]>;
  async embed(
    text: PoolingPrompt | readonly PoolingPrompt[],
    options: EmbedOptions = {},
  ): Promise<EmbeddingOutput | EmbeddingOutput[]> {
    return this.#pooling().embed(text, options);
  }

  /**
   * How well documents answer a query, in their order: by the model's head for scores (a
   * cross-encoder), by the logits of two answers to a question about each document (a reranker like
   * Qwen3-Reranker), or, of an embedding model, by the cosine or the product of vectors; see
   * `info.pooling.scoring`. What a query's own vector takes is counted with the first document.
   * @throws as {@link embed}; `promptIndex` is a document's place
   */
  async score(
    query: string,
    documents: string | readonly string[],
    options: ScoreOptions = {},
  ): Promise<ScoreOutput[]> {
    return this.#pooling().score(query, documents, options);
  }

  /**
   * As {@link score}, the best first, with the documents; of equal scores the first given.
   * @throws as {@link score}
   */
  async rank(
    query: string,
    documents: string | readonly string[],
    options: RankOptions = {},
  ): Promise<RankOutput[]> {
    return this.#pooling().rank(query, documents, options);
  }

  /**
   * The labels of a text, or of each of a list, by a model with a classification head.
   * @throws as {@link embed}
   */
  classify(text: PoolingPrompt, options?: ClassifyOptions): Promise<ClassifyOutput>;
  classify(texts: readonly PoolingPrompt[], options?: ClassifyOptions): Promise<ClassifyOutput[]>;
  classify(
    text: PoolingPrompt | readonly PoolingPrompt[],
    options?: ClassifyOptions,
  ): Promise<ClassifyOutput | ClassifyOutput[]>;
  async classify(
    text: PoolingPrompt | readonly PoolingPrompt[],
    options: ClassifyOptions = {},
  ): Promise<ClassifyOutput | ClassifyOutput[]> {
    return this.#pooling().classify(text, options);
  }

  #generating(): Generator {
    if (this.#generator !== null) return this.#generator;
    throw octavoError(
      'ERR_MODEL_TASK',
      'this model was loaded to pool, and generates nothing; use embed(), score(), rank() or ' +
        "classify(), or load it with runner: 'generate' if it can",
    );
  }

  #pooling(): Pooler {
    if (this.#pooler !== null) return this.#pooler;
    throw octavoError(
      'ERR_MODEL_TASK',
      "this model was loaded to generate; for vectors and scores load it with runner: 'pooling'",
    );
  }

  /**
   * The text that the model's chat template, or another (`chatTemplate`), makes of a conversation.
   * Option names that are not RenderOptions' are variables of the template.
   * @throws ERR_INVALID_PROMPT, ERR_INVALID_PARAM, ERR_CHAT_TEMPLATE
   */
  applyChatTemplate(messages: readonly ChatMessage[], options?: RenderOptions): string {
    return this.chatTemplate().render(messages, options);
  }

  /**
   * The ids that a prompt becomes, exactly those that `generate()` would begin with: a conversation
   * goes through the template, and what it says spells no control token. It is a call as any other:
   * it takes a place in the queue while it is tokenized, and has a deadline and a signal.
   * @throws ERR_INVALID_PROMPT, ERR_INVALID_PARAM, ERR_PROMPT_TOO_LONG beyond `maxTokens`,
   * ERR_CHAT_TEMPLATE, ERR_OVERLOADED, ERR_ABORTED, ERR_TIMEOUT, ERR_DRAINING, ERR_CLOSED
   */
  encode(prompt: Prompt, options: EncodeCallOptions = {}): Promise<number[]> {
    return this.#entrance.encode(prompt, options);
  }

  /**
   * Throws what a call would be refused with now, whatever it asks for: before its prompt is
   * fetched or read, say.
   * @throws ERR_CLOSED, ERR_DRAINING, ERR_OVERLOADED, or what killed the engine
   */
  checkAdmission(): void {
    this.#entrance.checkOpen();
    this.#entrance.checkRoom();
  }

  /**
   * Throws what a call with these parameters would be refused with, whatever its prompt.
   * @throws ERR_INVALID_PARAM
   */
  checkParams(params: GenerateParams = {}): void {
    this.#gate.checkParams(params, callOptions({}));
  }

  /**
   * Compiles what `structuredOutputs` says, or finds it compiled: to see what of a schema is
   * refused, or what a grammar accepts, before anything is generated; and requests that ask for the
   * same soon after do not wait.
   * @throws ERR_INVALID_PARAM, ERR_GRAMMAR, ERR_MODEL_TASK
   */
  async compileGrammar(spec: StructuredOutputs): Promise<CompiledGrammar> {
    this.#generating();
    return this.#grammars!.compileGrammar(spec);
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

  /** @internal Spans of requests and the state of each block; null: it generates nothing. */
  watch(): Watcher | null {
    return this.#generator?.engine.watch(this.#grammars!) ?? null;
  }

  /** Forgets all cached prefixes; false (and nothing happens) while any request runs. */
  resetPrefixCache(): boolean {
    return this.#generator?.engine.resetPrefixCache() ?? true;
  }

  /**
   * Takes no new call (ERR_DRAINING), lets those that were accepted end, and resolves then; there
   * is no way back but `close()`. Streams that were not read yet have not begun. After `timeoutMs`
   * what is left ends with ERR_DRAINING. Any number of times, also beside and after `close()`.
   * @throws ERR_INVALID_PARAM
   */
  drain(options?: DrainOptions): Promise<DrainResult> {
    return this.#entrance.calls.drain(options);
  }

  /** Ends what runs (ERR_CLOSED), waits for the step in flight, gives memory back. Idempotent. */
  async close(): Promise<void> {
    try {
      await this.#engine.close();
    } finally {
      await Promise.all(this.#beside.map((one) => one?.close()));
    }
  }

  /** For `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
