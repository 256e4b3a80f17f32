/** From a call's arguments to a request: everything is checked here, nothing enters the queue. */
import { randomUUID } from 'node:crypto';
import { checkWidth } from '../core/admission.js';
import { type BeamSearchParams, completeBeamParams, isBeamSearch } from '../core/beam-params.js';
import {
  completeParams,
  type DrawContext,
  type DrawParams,
  type SamplingParamsInput,
  validateSamplingParams,
} from '../core/sampling-params.js';
import { SequenceGroup } from '../core/sequence.js';
import { octavoError } from '../errors.js';
import type { Checkpoint } from '../model/checkpoint.js';
import { ChatTemplate, defaultChatTemplate } from '../text/chat-template.js';
import { OutputText } from '../text/output-text.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { badWordIds, encodePrompt, type Prompt } from './prompts.js';
import { Request, type RequestOptions, SequenceRecord } from './request.js';

/** Sampling, or (with `beamWidth`) a beam search. */
export type GenerateParams = SamplingParamsInput | BeamSearchParams;

export interface GateLimits {
  readonly vocabSize: number;
  readonly eosTokenIds: readonly number[];
  readonly maxNumSeqs: number;
}

function checkNumber(value: unknown, param: string, low: number, whole: boolean): number {
  const fits = typeof value === 'number' && value >= low && value < 2 ** 31;
  if (fits && (!whole || Number.isInteger(value))) return value;
  const kind = whole ? 'an integer' : 'a number';
  throw octavoError(
    'ERR_INVALID_PARAM',
    `${param} must be ${kind} of at least ${low} and below 2^31`,
    { param },
  );
}

/** What the gate asks of a checkpoint; the rest of it, vocabulary included, may be forgotten. */
export type GateModel = Pick<Checkpoint, 'chatTemplate' | 'generationDefaults'>;

export class Gate {
  readonly #checkpoint: GateModel;
  readonly #tokenizer: Tokenizer;
  readonly #limits: GateLimits;
  readonly #nextSeed: () => number;
  #template: ChatTemplate | undefined;

  constructor(
    checkpoint: GateModel,
    tokenizer: Tokenizer,
    limits: GateLimits,
    nextSeed: () => number,
  ) {
    this.#checkpoint = checkpoint;
    this.#tokenizer = tokenizer;
    this.#limits = limits;
    this.#nextSeed = nextSeed;
  }

  /** The model's own template, or ChatML or a plain one where it has none. */
  chatTemplate(): ChatTemplate {
    const tokenizer = this.#tokenizer;
    const own = this.#checkpoint.chatTemplate;
    const source = own ?? defaultChatTemplate((token) => tokenizer.tokenToId(token) !== undefined);
    this.#template ??= new ChatTemplate(source, tokenizer);
    return this.#template;
  }

  /** @throws ERR_INVALID_PARAM, ERR_INVALID_PROMPT, ERR_CHAT_TEMPLATE */
  async request(prompt: Prompt, input: GenerateParams, options: RequestOptions): Promise<Request> {
    if (options.timeoutMs !== undefined) checkNumber(options.timeoutMs, 'timeoutMs', 1, false);
    const params = await this.#params(input, options.useModelDefaults ?? false);
    const { vocabSize, maxNumSeqs } = this.#limits;
    checkWidth(params, maxNumSeqs);
    const template = () => this.chatTemplate();
    const encoded = await encodePrompt(prompt, this.#tokenizer, template, vocabSize);
    const group = new SequenceGroup({
      id: options.requestId ?? randomUUID(),
      promptTokens: encoded.tokenIds,
      params,
      priority: checkNumber(options.priority ?? 0, 'priority', -(2 ** 31), true),
    });
    const promptTail = encoded.tokenIds.slice(-16);
    const newText = () => new OutputText(this.#tokenizer, { ...params, promptTail });
    for (const sequence of params.beam === null ? group.sequences : []) {
      sequence.attachment = new SequenceRecord(newText(), params.logprobs !== undefined);
    }
    return new Request(group, encoded.text, encoded.tokenIds, newText);
  }

  async #params(input: GenerateParams, useModelDefaults: boolean): Promise<DrawParams> {
    const context: DrawContext = { ...this.#limits, seed: this.#nextSeed() };
    if (isBeamSearch(input)) return completeBeamParams(input, context);
    const defaults = useModelDefaults ? this.#checkpoint.generationDefaults : {};
    const { beamWidth: _, ...sampling } = { ...defaults, ...input } as Record<string, unknown>;
    const params = validateSamplingParams(sampling, context);
    const words = await badWordIds(params.badWords, this.#tokenizer);
    return completeParams(params, { ...context, badWordIds: words });
  }
}
