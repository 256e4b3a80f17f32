/**
 * The one stream of events that every protocol reads, made of what the engine gives. Nothing else
 * of the server knows how outputs look.
 */
import { type BeamSearchParams, isBeamSearch } from '../core/beam-params.js';
import type { GenerateParams } from '../engine/gate.js';
import type { LLM } from '../engine/llm.js';
import type {
  CompletionDelta,
  FinishReason,
  RequestMetrics,
  RequestOutput,
  TokenLogprob,
} from '../engine/outputs.js';
import type { Prompt } from '../engine/prompts.js';
import type { RequestOptions } from '../engine/request.js';
import { isOctavoError } from '../errors.js';

/** The prompt has been computed. */
export interface StartEvent {
  readonly type: 'start';
  readonly prompt: number;
  /** Null where the prompt came as ids. */
  readonly text: string | null;
  readonly tokenIds: readonly number[];
  readonly numCachedTokens: number;
  readonly logprobs?: readonly (TokenLogprob | null)[];
}

/** Text and tokens that are new of a sample. The text of a token may come with a later one. */
export interface DeltaEvent {
  readonly type: 'delta';
  readonly prompt: number;
  readonly sample: number;
  text: string;
  readonly tokenIds: number[];
  readonly logprobs?: TokenLogprob[];
}

export interface EndEvent {
  readonly type: 'end';
  readonly prompt: number;
  readonly sample: number;
  readonly reason: FinishReason;
  /** The stop string or id; null for EOS. */
  readonly stopReason: string | number | null;
}

/** All samples of a prompt have ended. */
export interface DoneEvent {
  readonly type: 'done';
  readonly prompt: number;
  readonly metrics: RequestMetrics;
}

export type GenerationEvent = StartEvent | DeltaEvent | EndEvent | DoneEvent;

export interface EngineCall {
  /** Which prompt of the request it is. */
  readonly prompt: number;
  /** The same prompt in several forms; the first that the chat template takes is used. */
  readonly forms: Iterable<Prompt>;
  readonly params: GenerateParams;
  readonly options: RequestOptions;
}

/** Runs to the end; what is thrown is the engine's. Leaving it aborts the request. */
export async function* engineEvents(
  llm: LLM,
  call: EngineCall,
): AsyncGenerator<GenerationEvent, void, void> {
  let refused: unknown;
  for (const form of call.forms) {
    try {
      yield* run(llm, call, form);
      return;
    } catch (error) {
      if (!isOctavoError(error) || error.code !== 'ERR_CHAT_TEMPLATE') throw error;
      refused = error;
    }
  }
  throw refused;
}

async function* run(llm: LLM, { prompt, params, options }: EngineCall, form: Prompt) {
  if (isBeamSearch(params)) {
    const output = await llm.generate(form, params as BeamSearchParams, options);
    yield start(prompt, output);
    for (const beam of output.outputs) {
      yield delta(prompt, beam.index, beam.text, beam.tokenIds);
      yield end(prompt, beam);
    }
    yield done(prompt, output.metrics);
    return;
  }
  let hasStarted = false;
  for await (const output of llm.streamDeltas(form, params, options)) {
    if (!hasStarted) yield start(prompt, output);
    hasStarted = true;
    for (const sample of output.outputs) {
      const { index, newText, newTokenIds, newLogprobs } = sample;
      if (newTokenIds.length > 0 || newText !== '') {
        yield delta(prompt, index, newText, newTokenIds, newLogprobs);
      }
      if (sample.finishReason !== null) yield end(prompt, sample);
    }
    if (output.metrics !== null) yield done(prompt, output.metrics);
  }
}

type PromptOutput = Pick<
  RequestOutput,
  'prompt' | 'promptTokenIds' | 'numCachedTokens' | 'promptLogprobs'
>;

function start(prompt: number, output: PromptOutput): StartEvent {
  return {
    type: 'start',
    prompt,
    text: output.prompt,
    tokenIds: output.promptTokenIds,
    numCachedTokens: output.numCachedTokens,
    ...('promptLogprobs' in output ? { logprobs: output.promptLogprobs } : {}),
  };
}

function delta(
  prompt: number,
  sample: number,
  text: string,
  tokenIds: readonly number[],
  logprobs?: readonly TokenLogprob[],
): DeltaEvent {
  const lists = logprobs === undefined ? {} : { logprobs: [...logprobs] };
  return { type: 'delta', prompt, sample, text, tokenIds: [...tokenIds], ...lists };
}

type EndedSample = Pick<CompletionDelta, 'index' | 'finishReason' | 'stopReason'>;

function end(prompt: number, { index, finishReason, stopReason }: EndedSample): EndEvent {
  const reason = finishReason as FinishReason;
  return { type: 'end', prompt, sample: index, reason, stopReason };
}

function done(prompt: number, metrics: RequestMetrics): DoneEvent {
  return { type: 'done', prompt, metrics };
}
