/**
 * From a call's arguments to a request, in three steps: `check` (at once, whole and strict),
 * `encode` (when it is the texts' turn), `request`. Nothing enters the queue here.
 */
import { randomUUID } from 'node:crypto';
import { takeObject } from '../arguments.js';
import { type BeamSearchParams, completeBeamParams, isBeamSearch } from '../core/beam-params.js';
import {
  completeParams,
  type DrawContext,
  type DrawParams,
  type ParamLimits,
  type SamplingParams,
  type ValidSamplingParams,
  validateSamplingParams,
} from '../core/sampling-params.js';
import { SequenceGroup } from '../core/sequence.js';
import { octavoError } from '../errors.js';
import type { Checkpoint } from '../model/checkpoint.js';
import { ChatTemplate, defaultChatTemplate } from '../text/chat-template.js';
import { OutputText } from '../text/output-text.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { CallOptions } from './call-options.js';
import type { Deadline } from './deadline.js';
import { type EncodingQueue, encodings } from './encoding-queue.js';
import {
  badWordIds,
  type CheckedPrompt,
  checkPrompt,
  checkText,
  type EncodedPrompt,
  type Encoder,
  encodePrompt,
  type PromptLimits,
  type TokenizeWishes,
  tokenizePrompt,
} from './prompts.js';
import { Request } from './request.js';

/** Sampling, or (with `beamWidth`) a beam search. */
export type GenerateParams = SamplingParams | BeamSearchParams;

export interface GateLimits extends Required<ParamLimits>, PromptLimits {
  readonly eosTokenIds: readonly number[];
}

/** What the gate asks of a checkpoint; the rest of it, vocabulary included, may be forgotten. */
export type GateModel = Pick<Checkpoint, 'chatTemplate' | 'generationDefaults'>;

/** Checked parameters: of a batch perhaps one for all its prompts. */
export interface CheckedParams {
  /** What decides whether a request can ever fit. */
  readonly extent: Pick<DrawParams, 'n' | 'maxTokens' | 'beam'>;
  /** With a seed that the caller gave; complete, so that its requests need only copy it. */
  complete(deadline: Deadline): Promise<DrawParams>;
  readonly hasSeed: boolean;
}

/** A call that was accepted as one: nothing of its arguments is looked at again. */
export interface Call {
  readonly id: string;
  readonly prompt: CheckedPrompt;
  readonly params: CheckedParams;
  readonly priority: number;
  /** Drawn for it, in the order of calls; used if its params bring none. */
  readonly seed: number;
}

/** A call all of whose texts are ids. */
export interface EncodedCall {
  readonly call: Call;
  readonly prompt: EncodedPrompt;
  readonly params: DrawParams;
}

export class Gate {
  readonly #checkpoint: GateModel;
  readonly #limits: GateLimits;
  readonly #encoder: Encoder;
  readonly #nextSeed: () => number;
  #template: ChatTemplate | undefined;

  constructor(
    checkpoint: GateModel,
    tokenizer: Tokenizer,
    limits: GateLimits,
    nextSeed: () => number,
    queue: EncodingQueue = encodings,
  ) {
    this.#checkpoint = checkpoint;
    this.#encoder = { tokenizer, template: () => this.chatTemplate(), queue };
    const { vocabSize, maxModelLen, eosTokenIds, maxLogprobs, maxListLength } = limits;
    this.#limits = { vocabSize, maxModelLen, eosTokenIds, maxLogprobs, maxListLength };
    this.#nextSeed = nextSeed;
  }

  /** The model's own template, or ChatML or a plain one where it has none. */
  chatTemplate(): ChatTemplate {
    const { tokenizer } = this.#encoder;
    const own = this.#checkpoint.chatTemplate;
    const source = own ?? defaultChatTemplate((token) => tokenizer.tokenToId(token) !== undefined);
    this.#template ??= new ChatTemplate(source, tokenizer);
    return this.#template;
  }

  /**
   * @param params as the caller wrote them
   * @throws ERR_INVALID_PARAM
   */
  checkParams(params: unknown, { useModelDefaults }: CallOptions): CheckedParams {
    const given = takeObject(params, 'sampling parameters', 'params');
    if (isBeamSearch(given)) return this.#beams(given);
    const { beamWidth: _, ...sampling } = given;
    const defaults = useModelDefaults ? this.#checkpoint.generationDefaults : {};
    for (const [name, value] of Object.entries(defaults)) {
      if (sampling[name] === undefined) sampling[name] = value;
    }
    const validate = () => validateSamplingParams(sampling, this.#limits);
    return this.#sampling(fromFile(defaults, this.#limits, validate));
  }

  #beams(given: BeamSearchParams): CheckedParams {
    const params = completeBeamParams(given, this.#context());
    return { extent: params, hasSeed: false, complete: async () => params };
  }

  #sampling(valid: ValidSamplingParams): CheckedParams {
    const hasSeed = valid.seed !== undefined;
    const extent = { n: valid.n, maxTokens: valid.maxTokens, beam: null };
    // Without bad words everything is known now, and refused now.
    let params = valid.badWords.length === 0 ? this.#completed(valid, []) : null;
    const complete = async (deadline: Deadline) => {
      params ??= this.#completed(valid, await badWordIds(valid.badWords, this.#encoder, deadline));
      return params;
    };
    return { extent, hasSeed, complete };
  }

  #completed(valid: ValidSamplingParams, words: readonly (readonly number[])[]): DrawParams {
    return completeParams(valid, { ...this.#context(), badWordIds: words });
  }

  /** Each request gets its own seed later. */
  #context(): DrawContext {
    return { ...this.#limits, seed: 0 };
  }

  /**
   * Everything that costs little.
   * @throws ERR_INVALID_PROMPT, ERR_PROMPT_TOO_LONG
   */
  check(prompt: unknown, params: CheckedParams, { requestId, priority }: CallOptions): Call {
    const checked = checkPrompt(prompt, this.#limits);
    const id = requestId ?? randomUUID();
    return { id, prompt: checked, params, priority, seed: this.#nextSeed() };
  }

  /**
   * Could its text fit? `encode` asks this, too.
   * @throws ERR_PROMPT_TOO_LONG
   */
  async checkLength({ prompt }: Call): Promise<void> {
    if (prompt.kind !== 'text') return;
    await checkText(prompt.text, this.#encoder.tokenizer, this.#limits.maxModelLen);
  }

  /** @throws what {@link encodePrompt} throws; ERR_INVALID_PARAM */
  async encode(call: Call, deadline: Deadline): Promise<EncodedCall> {
    const prompt = await encodePrompt(call.prompt, this.#encoder, this.#limits, deadline);
    return { call, prompt, params: await call.params.complete(deadline) };
  }

  /**
   * The ids of a prompt alone, which may be none, or more than the context holds.
   * @throws what {@link tokenizePrompt} throws
   */
  async tokenize(
    prompt: unknown,
    { maxTokens = this.#limits.maxModelLen, ...wishes }: Partial<TokenizeWishes>,
    deadline: Deadline,
  ): Promise<number[]> {
    const { vocabSize } = this.#limits;
    const checked = checkPrompt(prompt, { vocabSize, maxModelLen: maxTokens + 1 });
    if (checked.kind === 'ids') return Array.from(checked.ids);
    const all = { ...wishes, maxTokens };
    return (await tokenizePrompt(checked, this.#encoder, all, deadline)).ids;
  }

  request({ call, prompt, params }: EncodedCall): Request {
    const group = new SequenceGroup({
      id: call.id,
      promptTokens: prompt.tokenIds,
      params: call.params.hasSeed ? params : Object.freeze({ ...params, seed: call.seed }),
      priority: call.priority,
    });
    const ids = Array.from(prompt.tokenIds);
    const emptyText = new OutputText(this.#encoder.tokenizer, {
      ...params,
      promptTail: ids.slice(-16),
    });
    return new Request(group, prompt.text, ids, emptyText);
  }
}

/** Calls `validate`; if it and the model's own defaults alone fail, the error names their file. */
function fromFile<T>(defaults: object, limits: GateLimits, validate: () => T): T {
  try {
    return validate();
  } catch (error) {
    try {
      validateSamplingParams(defaults, limits);
    } catch (cause) {
      throw octavoError(
        'ERR_MODEL_FORMAT',
        `the model's generation_config.json: ${(cause as Error).message}`,
        { param: 'useModelDefaults', cause },
      );
    }
    throw error;
  }
}
