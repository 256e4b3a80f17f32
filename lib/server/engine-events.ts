/**
 * The one stream of events that every protocol reads, made of what the engine gives. Nothing else
 * of the server knows how outputs look.
 */
import { type BeamSearchParams, isBeamSearch } from '../core/beam-params.js';
import type { GenerateParams } from '../engine/gate.js';
import type { LLM } from '../engine/llm.js';
import type {
  ChatAnswer,
  CompletionDelta,
  FinishReason,
  RequestMetrics,
  RequestOutput,
  TokenLogprob,
} from '../engine/outputs.js';
import type { Prompt } from '../engine/prompts.js';
import type { RequestOptions } from '../engine/request.js';
import { isOctavoError } from '../errors.js';
import { join } from '../tools/chat-events.js';
import type { ChatEvent } from '../tools/types.js';
import { asProblem, type Problem } from './problem.js';

/** The prompt has been computed. */
export interface StartEvent {
  readonly type: 'start';
  readonly prompt: number;
  /** Null where the prompt came as ids. */
  readonly text: string | null;
  readonly tokenIds: readonly number[];
  readonly numCachedTokens: number;
  readonly logprobs?: readonly (TokenLogprob | null)[];
  /** What of the request has no effect. */
  readonly warnings: readonly string[];
}

/** Text and tokens that are new of a sample. The text of a token may come with a later one. */
export interface DeltaEvent {
  readonly type: 'delta';
  readonly prompt: number;
  readonly sample: number;
  text: string;
  /** The text as reasoning, content and calls, where answers are read for them; else it is content
   * as it is. */
  readonly pieces: ChatEvent[];
  readonly tokenIds: number[];
  /** Tokens of the sample so far that were reasoning. */
  numReasoningTokens: number;
  readonly logprobs?: TokenLogprob[];
}

export interface EndEvent {
  readonly type: 'end';
  readonly prompt: number;
  readonly sample: number;
  readonly reason: FinishReason;
  /** The stop string or id; null for EOS. */
  readonly stopReason: string | number | null;
  /** Why it has ended with `error`: what came before stays. */
  readonly problem?: Problem;
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
  /** The field that says what outputs must be. */
  readonly structuredField?: string;
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

async function* run(llm: LLM, call: EngineCall, form: Prompt) {
  const { prompt, params, options } = call;
  if (isBeamSearch(params)) {
    const output = await llm.generate(form, params as BeamSearchParams, options);
    yield start(prompt, output);
    for (const beam of output.outputs) {
      const { index, text: newText, tokenIds: newTokenIds, numReasoningTokens } = beam;
      const events = wholeEvents(beam);
      yield delta(prompt, { index, newText, newTokenIds, events, numReasoningTokens });
      yield end(call, beam);
    }
    yield done(prompt, output.metrics);
    return;
  }
  let hasStarted = false;
  for await (const output of llm.streamDeltas(form, params, options)) {
    if (!hasStarted) yield start(prompt, output);
    hasStarted = true;
    for (const sample of output.outputs) {
      const { newText, newTokenIds, events = [] } = sample;
      if (newTokenIds.length > 0 || newText !== '' || events.length > 0) {
        yield delta(prompt, sample);
      }
      if (sample.finishReason !== null) yield end(call, sample);
    }
    if (output.metrics !== null) yield done(prompt, output.metrics);
  }
}

type PromptOutput = Pick<
  RequestOutput,
  'prompt' | 'promptTokenIds' | 'numCachedTokens' | 'promptLogprobs' | 'warnings'
>;

function start(prompt: number, output: PromptOutput): StartEvent {
  return {
    type: 'start',
    prompt,
    text: output.prompt,
    tokenIds: output.promptTokenIds,
    numCachedTokens: output.numCachedTokens,
    warnings: output.warnings ?? [],
    ...('promptLogprobs' in output ? { logprobs: output.promptLogprobs } : {}),
  };
}

/** Of an answer that comes as a whole; undefined where it is only a text. */
function wholeEvents({ content, reasoning, toolCalls = [] }: ChatAnswer): ChatEvent[] | undefined {
  if (content === undefined) return undefined;
  const calls = toolCalls.flatMap(({ id, name, argumentsText: json }, index): ChatEvent[] => [
    { type: 'call', index, id, name },
    { type: 'arguments', index, json },
    { type: 'call-end', index },
  ]);
  return [
    ...(reasoning === undefined ? [] : [{ type: 'reasoning', text: reasoning } as const]),
    ...(content === '' ? [] : [{ type: 'content', text: content } as const]),
    ...calls,
  ];
}

type NewOfSample = Pick<
  CompletionDelta,
  'index' | 'newText' | 'newTokenIds' | 'newLogprobs' | 'events' | 'numReasoningTokens'
>;

function delta(prompt: number, sample: NewOfSample): DeltaEvent {
  const { index, newText: text, newTokenIds, newLogprobs, events } = sample;
  const asContent: ChatEvent[] = text === '' ? [] : [{ type: 'content', text }];
  return {
    type: 'delta',
    prompt,
    sample: index,
    text,
    pieces: events === undefined ? asContent : [...events],
    tokenIds: [...newTokenIds],
    numReasoningTokens: sample.numReasoningTokens ?? 0,
    ...(newLogprobs === undefined ? {} : { logprobs: [...newLogprobs] }),
  };
}

/** Adds what came after it, as if it had come with it. */
export function addDelta(before: DeltaEvent, after: DeltaEvent): void {
  before.text += after.text;
  before.numReasoningTokens = Math.max(before.numReasoningTokens, after.numReasoningTokens);
  for (const id of after.tokenIds) before.tokenIds.push(id);
  for (const entry of after.logprobs ?? []) before.logprobs?.push(entry);
  join(before.pieces, after.pieces);
}

type EndedSample = Pick<CompletionDelta, 'index' | 'finishReason' | 'stopReason' | 'error'>;

function end({ prompt, structuredField }: EngineCall, sample: EndedSample): EndEvent {
  const { index, finishReason, stopReason, error } = sample;
  const reason = finishReason as FinishReason;
  const problem = error === undefined ? {} : { problem: asProblem(error, structuredField) };
  return { type: 'end', prompt, sample: index, reason, stopReason, ...problem };
}

function done(prompt: number, metrics: RequestMetrics): DoneEvent {
  return { type: 'done', prompt, metrics };
}
