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
import type { StructuredOutputs } from '../core/structured.js';
import { checkStructuredOutputs } from '../core/structured-shape.js';
import { octavoError } from '../errors.js';
import type { CachedGrammar, GrammarSource } from '../grammar/compile.js';
import type { GrammarSpec } from '../grammar/index.js';
import type { Checkpoint } from '../model/checkpoint.js';
import { ChatTemplate, defaultChatTemplate } from '../text/chat-template.js';
import { OutputText } from '../text/output-text.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { type ChatPlan, ChatPlanner } from '../tools/chat-plan.js';
import type { CallOptions } from './call-options.js';
import { answersOf, type ChatStart, chatConstraint, startChat } from './chat-tools.js';
import { GrammarConstraint } from './constraint.js';
import type { Deadline } from './deadline.js';
import { type EncodingQueue, encodings } from './encoding-queue.js';
import type { Grammars } from './grammars.js';
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
import type { Structured } from './structured.js';

/**
 * Sampling, or (with `beamWidth`) a beam search. `T` is what a zod schema of `structuredOutputs`
 * makes of an output.
 */
export type GenerateParams<T = unknown> = SamplingParams<T> | BeamSearchParams<T>;

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
  /** What its outputs must be. */
  readonly structured: Structured | null;
}

/** What a call brings that its caller did not write as parameters. */
export interface CallExtras {
  /** What its outputs must be, in place of `structuredOutputs`. */
  readonly grammar?: GrammarSource;
}

/** A call that was accepted as one: nothing of its arguments is looked at again. */
export interface Call {
  readonly id: string;
  readonly prompt: CheckedPrompt;
  readonly params: CheckedParams;
  readonly priority: number;
  /** Drawn for it, in the order of calls; used if its params bring none. */
  readonly seed: number;
  readonly grammar: GrammarSource | null;
  /** Of a conversation whose answer is told apart. */
  readonly plan: ChatPlan | null;
}

/** A call all of whose texts are ids. */
export interface EncodedCall {
  readonly call: Call;
  readonly prompt: EncodedPrompt;
  readonly params: DrawParams;
  readonly grammar: CachedGrammar | null;
  readonly chat: ChatStart | null;
}

export class Gate {
  readonly #checkpoint: GateModel;
  readonly #limits: GateLimits;
  readonly #encoder: Encoder;
  readonly #nextSeed: () => number;
  readonly #grammars: Grammars | null;
  #template: ChatTemplate | undefined;
  #planner: ChatPlanner | undefined;

  constructor(
    checkpoint: GateModel,
    tokenizer: Tokenizer,
    limits: GateLimits,
    nextSeed: () => number,
    grammars: Grammars | null = null,
    queue: EncodingQueue = encodings,
  ) {
    this.#grammars = grammars;
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
    const { structuredOutputs: wish } = given;
    const params = completeBeamParams(given, this.#context());
    const structured = this.#structured(wish && checkStructuredOutputs(wish));
    return { extent: params, hasSeed: false, complete: async () => params, structured };
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
    return { extent, hasSeed, complete, structured: this.#structured(valid.structuredOutputs) };
  }

  #structured(given: StructuredOutputs | undefined): Structured | null {
    if (given === undefined) return null;
    if (this.#grammars !== null) return this.#grammars.structured(given);
    throw octavoError('ERR_MODEL_TASK', 'a model that was loaded to pool has no outputs');
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
  check(
    prompt: unknown,
    params: CheckedParams,
    { requestId, priority }: CallOptions,
    { grammar = params.structured?.source }: CallExtras = {},
  ): Call {
    const checked = this.#planned(checkPrompt(prompt, this.#limits), params.structured?.spec);
    const id = requestId ?? randomUUID();
    const seed = this.#nextSeed();
    // A conversation's grammar is known when its prompt is: see startChat.
    const own = checked.plan === null ? (grammar ?? null) : null;
    return { id, ...checked, params, priority, seed, grammar: own };
  }

  /** A conversation is rendered as its plan says. */
  #planned(prompt: CheckedPrompt, content?: GrammarSpec) {
    if (prompt.kind === 'text' || prompt.chat === undefined) return { prompt, plan: null };
    this.#planner ??= new ChatPlanner({
      tokenizer: this.#encoder.tokenizer,
      template: () => this.chatTemplate(),
      eosTokenIds: this.#limits.eosTokenIds,
      limits: this.#grammars?.limits ?? {},
    });
    const plan = this.#planner.plan(prompt.chat, prompt.template, content);
    return { prompt: { ...prompt, template: plan.render }, plan };
  }

  /**
   * Compiles what the outputs of a call must be, or waits for whoever does: in a batch, before
   * anything of it is accepted.
   * @throws ERR_GRAMMAR
   */
  async compile({ grammar }: Pick<Call, 'grammar'>): Promise<CachedGrammar | null> {
    if (grammar === null || this.#grammars === null) return null;
    return this.#grammars.compile(grammar);
  }

  /**
   * Could its text fit? `encode` asks this, too.
   * @throws ERR_PROMPT_TOO_LONG
   */
  async checkLength({ prompt }: Call): Promise<void> {
    if (prompt.kind !== 'text') return;
    await checkText(prompt.text, this.#encoder.tokenizer, this.#limits.maxModelLen);
  }

  /** @throws what {@link encodePrompt} throws; ERR_INVALID_PARAM, ERR_GRAMMAR */
  async encode(call: Call, deadline: Deadline): Promise<EncodedCall> {
    // Side by side: a grammar may take as long as a text.
    const compiling = this.compile(call);
    compiling.catch(() => {}); // told below, unless the prompt is wrong, too
    const prompt = await encodePrompt(call.prompt, this.#encoder, this.#limits, deadline);
    const params = await call.params.complete(deadline);
    const chat = call.plan && (await this.#startChat(call.plan, prompt, deadline));
    return { call, prompt, params, grammar: await deadline.race(compiling), chat };
  }

  #startChat(plan: ChatPlan, prompt: EncodedPrompt, deadline: Deadline): Promise<ChatStart> {
    const compile = (grammar: GrammarSource | null) => this.compile({ grammar });
    return deadline.race(startChat(plan, prompt, this.#encoder.tokenizer, compile));
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
    const given = checkPrompt(prompt, { vocabSize, maxModelLen: maxTokens + 1 });
    const { prompt: checked } = this.#planned(given);
    if (checked.kind === 'ids') return Array.from(checked.ids);
    const all = { ...wishes, maxTokens };
    return (await tokenizePrompt(checked, this.#encoder, all, deadline)).ids;
  }

  request({ call, prompt, params, grammar, chat }: EncodedCall): Request {
    const { tokenizer } = this.#encoder;
    const { vocabSize } = this.#limits;
    const first =
      chat === null
        ? grammar && new GrammarConstraint(grammar.start(), vocabSize)
        : chatConstraint(chat, tokenizer, vocabSize);
    const group = new SequenceGroup({
      id: call.id,
      promptTokens: prompt.tokenIds,
      params: call.params.hasSeed ? params : Object.freeze({ ...params, seed: call.seed }),
      priority: call.priority,
      constraint: first,
    });
    // Each of its sequences has a fork.
    first?.close();
    const ids = Array.from(prompt.tokenIds);
    const newAnswer = chat && answersOf(chat);
    const marks = newAnswer === null ? undefined : chat?.plan.marks;
    const emptyText = new OutputText(tokenizer, { ...params, promptTail: ids.slice(-16), marks });
    return new Request(group, prompt.text, ids, emptyText, {
      parse: call.params.structured?.parse ?? null,
      isChat: chat !== null,
      newAnswer,
      warnings: [...(chat?.plan.warnings ?? []), ...((chat?.grammar ?? grammar)?.warnings ?? [])],
    });
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
