/** A request's state as its caller sees it: made of what the engine recorded, and then fixed. */
import type { FinishedBeam } from '../core/beam-search.js';
import type { Sequence } from '../core/sequence.js';
import type { TokenLogprobs } from '../core/token-logprobs.js';
import type { OctavoError } from '../errors.js';
import type { OutputText } from '../text/output-text.js';
import type { Answer } from '../tools/answer.js';
import { join } from '../tools/chat-events.js';
import type { ChatEvent } from '../tools/types.js';
import { addLate, once, PRINTABLE } from './lazy.js';
import type {
  ChatAnswer,
  CompletionDelta,
  CompletionOutput,
  EndReason,
  FinishReason,
  StreamedCompletion,
} from './outputs.js';

/** The value of a whole text, undefined where it has none. */
export type Parse = (text: string) => unknown;

/** What is made of an output beside its text. */
export interface Makes {
  /** A value, where one was asked for. */
  readonly parse: Parse | null;
  /** Whether it answers a conversation. */
  readonly isChat: boolean;
  /** What tells an answer apart; null where it is all content. */
  readonly newAnswer: (() => Answer) | null;
  /** What of the request has no effect. */
  readonly warnings: readonly string[];
}

export const NOTHING: Makes = Object.freeze({
  parse: null,
  isChat: false,
  newAnswer: null,
  warnings: [],
});

/**
 * What the engine attaches to a sequence: its text, its logprobs, and how far both are. A step is
 * committed before its text is read, so callers look at this, not at the sequence.
 */
export class SequenceRecord {
  numTokens = 0;
  cumulativeLogprob = 0;
  finishReason: EndReason | null = null;
  stopReason: string | number | null = null;
  /** Tokens that the reader of a stream was given. */
  numTaken = 0;
  /** Its reader knows that it has ended. */
  endTaken = false;
  /** Why nothing could be drawn for it. */
  error: OctavoError | null = null;
  readonly parse: Parse | null;
  readonly isChat: boolean;
  readonly answer: Answer | null;
  /** Of the answer, since they were taken. */
  #events: ChatEvent[] = [];

  constructor(
    readonly text: OutputText,
    /** Of its tokens, where they were asked for. */
    readonly logprobs: TokenLogprobs | null,
    makes: Makes,
  ) {
    this.parse = makes.parse;
    this.isChat = makes.isChat;
    this.answer = makes.newAnswer?.() ?? null;
  }

  /** The next token joins the text; returns the stop string that ends it there. */
  push(token: number, mayStop = true): string | null {
    const { stop } = this.text.push(token, { mayStop });
    if (this.answer !== null) join(this.#events, this.answer.push(this.text.takeMarked()));
    return stop;
  }

  /** The text ends; what is held back belongs to it, unless a stop string has cut it. */
  end(isCut: boolean): void {
    if (!isCut) this.text.finish();
    if (this.answer !== null) join(this.#events, this.answer.finish(this.text.takeMarked()));
  }

  /** What is new of the answer to a conversation, told apart. @param text the same as a text */
  takeEvents(text: string): ChatEvent[] {
    if (this.answer === null) return text === '' ? [] : [{ type: 'content', text }];
    const events = this.#events;
    this.#events = [];
    return events;
  }

  /** How it ended, as its caller is told. */
  get toldReason(): FinishReason | null {
    const { finishReason, answer } = this;
    return finishReason === 'stop' && answer?.hasCalled ? 'tool_calls' : finishReason;
  }

  /** Text and logprobs have caught up with the sequence. */
  update(sequence: Sequence): void {
    this.numTokens = sequence.numOutputTokens;
    this.cumulativeLogprob = sequence.cumulativeLogprob;
    this.finishReason = sequence.finishReason as EndReason | null;
    this.stopReason = sequence.stopReason;
  }
}

export function recordOf(sequence: Sequence): SequenceRecord {
  return sequence.attachment as SequenceRecord;
}

/** A sample that has ended. */
export function completion(sequence: Sequence): CompletionOutput {
  const record = recordOf(sequence);
  const { logprobs, numTokens } = record;
  const { text } = record.text;
  const output: CompletionOutput & { readonly __proto__: object } = {
    __proto__: PRINTABLE,
    index: sequence.index,
    text,
    delta: text,
    tokenIds: Array.from(sequence.outputTokens),
    cumulativeLogprob: record.cumulativeLogprob,
    finishReason: record.toldReason,
    stopReason: record.stopReason,
  };
  if (logprobs !== null) addLate(output, 'logprobs', () => logprobs.list(0, numTokens));
  addRest(output, record);
  return output;
}

/** How it failed, its answer told apart, and its value: each where there is one. */
function addRest(
  output: { -readonly [K in keyof CompletionOutput]: CompletionOutput[K] },
  { error, parse, isChat, answer }: Pick<SequenceRecord, 'error' | 'parse' | 'isChat' | 'answer'>,
): void {
  if (error !== null) output.error = error;
  if (isChat) addAnswer(output, answer);
  addJson(output, parse);
}

/** The value of an output that has ended by itself, where one was asked for. */
function addJson(output: CompletionOutput, parse: Parse | null): void {
  if (parse === null || output.finishReason !== 'stop') return;
  addLate(output, 'json', () => parse(output.content ?? output.text));
}

/** What has been told apart by now; all of it is content where nothing tells it apart. */
function addAnswer(output: ChatAnswer & { readonly text: string }, answer: Answer | null): void {
  if (answer === null) {
    Object.assign(output, { content: output.text, numReasoningTokens: 0 });
    return;
  }
  const { content, reasoning, toolCalls, numReasoningTokens } = answer;
  Object.assign(output, { content, ...(reasoning === undefined ? {} : { reasoning }) });
  if (toolCalls !== undefined) addLate(output, 'toolCalls', toolCalls);
  Object.assign(output, { numReasoningTokens });
}

/** What is new of a sample, which is taken with that: what all that streams is made of. */
export function takeDelta(sequence: Sequence): CompletionDelta {
  const record = recordOf(sequence);
  const { logprobs, numTokens: to, numTaken: from } = record;
  const { tokens, numPromptTokens: base } = sequence;
  record.numTaken = to;
  record.endTaken = record.finishReason !== null;
  const newText = record.text.takeDelta();
  const newTokenIds: number[] = [];
  for (let i = base + from; i < base + to; i++) newTokenIds.push(tokens[i]);
  const delta: CompletionDelta & { readonly __proto__: object } = {
    __proto__: PRINTABLE,
    index: sequence.index,
    newText,
    newTokenIds,
    finishReason: record.toldReason,
    stopReason: record.stopReason,
  };
  if (logprobs !== null) addLate(delta, 'newLogprobs', () => logprobs.list(from, to));
  const { error, isChat, answer } = record;
  if (error !== null) Object.assign(delta, { error });
  if (isChat) {
    const numReasoningTokens = answer?.numReasoningTokens ?? 0;
    Object.assign(delta, { events: record.takeEvents(newText), numReasoningTokens });
  }
  return delta;
}

/** Whether it has tokens, or an end, that its reader does not know. */
export function hasNews(sequence: Sequence): boolean {
  const { numTokens, numTaken, finishReason, endTaken } = recordOf(sequence);
  return numTokens > numTaken || (finishReason !== null && !endTaken);
}

/**
 * A sample of a stream, made of its delta. The members that are as long as the output remember
 * where to find it: tokens and logprobs are only ever appended.
 */
export function takeCompletion(sequence: Sequence): StreamedCompletion {
  const record = recordOf(sequence);
  const { logprobs, numTokens: to, numTaken: from } = record;
  const { tokens, numPromptTokens: base } = sequence;
  const { newText, newTokenIds, finishReason, stopReason, events } = takeDelta(sequence);
  const tokenIds = once(() => Array.from(tokens.subarray(base, base + to)));
  const output: StreamedCompletion & { readonly __proto__: object } = {
    __proto__: PRINTABLE,
    index: sequence.index,
    text: record.text.text,
    delta: newText,
    get tokenIds() {
      return tokenIds();
    },
    deltaTokenIds: newTokenIds,
    cumulativeLogprob: record.cumulativeLogprob,
    finishReason,
    stopReason,
  };
  if (logprobs !== null) {
    addLate(output, 'logprobs', () => logprobs.list(0, to));
    addLate(output, 'deltaLogprobs', () => logprobs.list(from, to));
  }
  if (events !== undefined) Object.assign(output, { events });
  addRest(output, record);
  return output;
}

/** @param text an empty one, which is filled */
export function beamOutput(
  beam: FinishedBeam,
  index: number,
  text: OutputText,
  makes: Makes,
): CompletionOutput {
  const tokenIds = Array.from(beam.tokens);
  const record = new SequenceRecord(text, null, makes);
  for (const id of beam.finishReason === 'stop' ? tokenIds.slice(0, -1) : tokenIds) {
    record.push(id);
  }
  record.end(false);
  record.finishReason = beam.finishReason;
  const output: CompletionOutput = {
    index,
    text: text.text,
    delta: text.text,
    tokenIds,
    cumulativeLogprob: beam.cumulativeLogprob,
    score: beam.score,
    finishReason: record.toldReason,
    stopReason: beam.stopReason,
  };
  addRest(output, record);
  return output;
}
