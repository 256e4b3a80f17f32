/** The library's face: load a model, generate, stream, close. */
import { takeObject } from '../arguments.js';
import type { EngineOptions } from '../config/options.js';
import { type BeamSearchParams, isBeamSearch } from '../core/beam-params.js';
import type { SamplingParams } from '../core/sampling-params.js';
import { octavoError } from '../errors.js';
import type { NativeAddon } from '../native.js';
import type { ChatMessage, RenderOptions } from '../text/chat-template.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { Batches } from './batch.js';
import { type BatchOptions, callOptions, type EncodeCallOptions } from './call-options.js';
import type { Engine } from './engine.js';
import type { EventOptions } from './events.js';
import { Gate, type GenerateParams } from './gate.js';
import { Intake } from './intake.js';
import { type LoadedModel, loadModel, type ModelInfo } from './load.js';
import type { DrainOptions, DrainResult } from './open-calls.js';
import type {
  DeltaOutput,
  EngineEvent,
  EngineStats,
  RequestOutput,
  StreamOutput,
} from './outputs.js';
import type { Prompt } from './prompts.js';
import type { Request, RequestOptions } from './request.js';
import { seedSource } from './seeds.js';
import { OutputStream } from './stream.js';
import type { TraceWriter } from './trace-file.js';

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
  readonly #intake: Intake;
  readonly #batches: Batches;
  readonly #trace: TraceWriter | null;

  private constructor(parts: LoadedModel) {
    this.info = parts.info;
    this.tokenizer = parts.tokenizer;
    this.#engine = parts.engine;
    this.#trace = parts.trace;
    const { seed, maxLogprobs, maxListLength, maxNumWaiting } = parts.config;
    const limits = { ...parts.info, maxLogprobs, maxListLength };
    this.#gate = new Gate(parts.model, parts.tokenizer, limits, seedSource(seed));
    this.#intake = new Intake(this.#gate, parts.engine, maxNumWaiting);
    // As many as can start in one step keep the engine busy; half of the queue is others'.
    const share = Math.min(parts.info.maxNumSeqs, Math.floor(maxNumWaiting / 2));
    this.#batches = new Batches(this.#intake, Math.max(1, share));
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
    return new LLM(await loadModel(options, addon));
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
  generate(
    prompt: Prompt | readonly Prompt[],
    params?: GenerateParams,
    options?: RequestOptions,
  ): Promise<RequestOutput | RequestOutput[]>;
  async generate(
    prompt: Prompt | readonly Prompt[],
    params: GenerateParams | readonly GenerateParams[] = {},
    options: BatchOptions = {},
  ): Promise<RequestOutput | RequestOutput[]> {
    if (Array.isArray(prompt)) return this.#batches.run(prompt, params, options);
    const request = await this.#intake.open(prompt, params, options);
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
   * tokens are those that the template writes; what messages, tools and variables spell is text,
   * unless `parseSpecialTokens` is true.
   */
  async chat(
    messages: readonly ChatMessage[],
    params: GenerateParams = {},
    options: RequestOptions & {
      readonly template?: RenderOptions;
      readonly parseSpecialTokens?: boolean;
    } = {},
  ): Promise<RequestOutput> {
    const given = takeObject(options, 'request options', 'options');
    const { template, parseSpecialTokens, ...rest } = given;
    const prompt = { messages, template, parseSpecialTokens } as Prompt;
    return this.generate(prompt, params, rest);
  }

  /**
   * Outputs as they come, the last with `finished: true`. What is new is in `outputs[i].delta`,
   * `deltaTokenIds` and (if asked for) `deltaLogprobs`; everything so far stands beside it, and is
   * put together only when it is read. Leaving the loop, `return()` or destroying a Readable made
   * of it aborts the request at once and frees its KV, also while a `next()` waits. Nothing starts
   * before the first `next()`. A slow reader gets fewer, larger deltas; nothing is lost.
   * @throws what `generate()` throws
   */
  stream(
    prompt: Prompt,
    params: SamplingParams = {},
    options: RequestOptions = {},
  ): AsyncGenerator<StreamOutput, void, void> {
    return this.#newStream(prompt, params, options, (request) => request.take());
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
      (request) => this.#engine.abort(request),
    );
  }

  async #startStream(
    prompt: Prompt,
    params: SamplingParams,
    options: RequestOptions,
    left: AbortSignal,
  ): Promise<Request> {
    if (isBeamSearch(takeObject(params, 'sampling parameters', 'params'))) {
      throw octavoError(
        'ERR_INVALID_PARAM',
        'a beam search cannot be streamed: its best output may change until the end; ' +
          'use beamSearch() or generate()',
        { param: 'beamWidth' },
      );
    }
    return this.#intake.open(prompt, params, options, left);
  }

  /**
   * The text that the model's chat template, or another (`chatTemplate`), makes of a conversation.
   * Option names that are not RenderOptions' are variables of the template.
   * @throws ERR_INVALID_PROMPT, ERR_INVALID_PARAM, ERR_CHAT_TEMPLATE
   */
  applyChatTemplate(messages: readonly ChatMessage[], options?: RenderOptions): string {
    return this.#gate.chatTemplate().render(messages, options);
  }

  /**
   * The ids that a prompt becomes, exactly those that `generate()` would begin with: a conversation
   * goes through the template, and what it says spells no control token. It is a call as any other:
   * it takes a place in the queue while it is tokenized, and has a deadline and a signal.
   * @throws ERR_INVALID_PROMPT, ERR_INVALID_PARAM, ERR_PROMPT_TOO_LONG beyond `maxTokens`,
   * ERR_CHAT_TEMPLATE, ERR_OVERLOADED, ERR_ABORTED, ERR_TIMEOUT, ERR_DRAINING, ERR_CLOSED
   */
  encode(prompt: Prompt, options: EncodeCallOptions = {}): Promise<number[]> {
    return this.#intake.encode(prompt, options);
  }

  /**
   * Throws what a call would be refused with now, whatever it asks for: before its prompt is
   * fetched or read, say.
   * @throws ERR_CLOSED, ERR_DRAINING, ERR_OVERLOADED, or what killed the engine
   */
  checkAdmission(): void {
    this.#intake.checkOpen();
    this.#intake.checkRoom();
  }

  /**
   * Throws what a call with these parameters would be refused with, whatever its prompt.
   * @throws ERR_INVALID_PARAM
   */
  checkParams(params: GenerateParams = {}): void {
    this.#gate.checkParams(params, callOptions({}));
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
   * Takes no new call (ERR_DRAINING), lets those that were accepted end, and resolves then; there
   * is no way back but `close()`. Streams that were not read yet have not begun. After `timeoutMs`
   * what is left ends with ERR_DRAINING. Any number of times, also beside and after `close()`.
   * @throws ERR_INVALID_PARAM
   */
  drain(options?: DrainOptions): Promise<DrainResult> {
    return this.#intake.calls.drain(options);
  }

  /**
   * Ends what runs with ERR_CLOSED, waits for the step in flight, gives all memory back.
   * Idempotent.
   */
  async close(): Promise<void> {
    try {
      await this.#engine.close();
    } finally {
      await this.#trace?.close();
    }
  }

  /** For `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** `beamWidth` is 4 where it is not given. */
function withWidth(params: unknown): BeamSearchParams {
  const given = takeObject(params, 'parameters of a beam search', 'params');
  return { ...given, beamWidth: (given.beamWidth === undefined ? 4 : given.beamWidth) as number };
}
