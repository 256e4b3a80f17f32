/** A request's state as its caller sees it: made of what the engine recorded, and then fixed. */
import type { FinishedBeam } from '../core/beam-search.js';
import type { Sequence } from '../core/sequence.js';
import type { TokenLogprobs } from '../core/token-logprobs.js';
import type { OutputText } from '../text/output-text.js';
import type { Answer } from '../tools/answer.js';
import { join } from '../tools/answer-reader.js';
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
  /** What reads the answer of a conversation. */
  readonly newAnswer: (() => Answer) | null;
  /** What of the request has no effect. */
  readonly warnings: readonly string[];
}

export const NOTHING: Makes = Object.freeze({ parse: null, newAnswer: null, warnings: [] });

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
  readonly parse: Parse | null;
  readonly answer: Answer | null;
  /** Tokens that the answer has been told, and whether all of it has. */
  #numRead = 0;
  #isRead = false;

  constructor(
    readonly text: OutputText,
    /** Of its tokens, where they were asked for. */
    readonly logprobs: TokenLogprobs | null,
    makes: Makes,
  ) {
    this.parse = makes.parse;
    this.answer = makes.newAnswer?.() ?? null;
  }

  /** Tells apart what was not yet; whoever looks at the answer calls this before. */
  read(sequence: Sequence): ChatEvent[] {
    const { answer, numTokens, finishReason, stopReason } = this;
    if (answer === null || this.#isRead) return [];
    // The id that ends an answer has no text; one that completes a stop string has.
    const isEnd = finishReason === 'stop' && typeof stopReason !== 'string';
    const to = sequence.numPromptTokens + numTokens - (isEnd ? 1 : 0);
    const events: ChatEvent[] = [];
    const from = sequence.numPromptTokens + this.#numRead;
    this.#numRead = Math.max(this.#numRead, to - sequence.numPromptTokens);
    join(events, answer.push(sequence.tokens.subarray(from, to)));
    if (finishReason === null) return events;
    this.#isRead = true;
    join(events, answer.finish());
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
  record.read(sequence);
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
  addAnswer(output, record.answer);
  addJson(output, record.parse);
  return output;
}

/** The value of an output that has ended by itself, where one was asked for. */
function addJson(output: CompletionOutput, parse: Parse | null): void {
  if (parse === null || output.finishReason !== 'stop') return;
  addLate(output, 'json', () => parse(output.content ?? output.text));
}

/** What has been told apart by now. */
function addAnswer(output: ChatAnswer, answer: Answer | null): void {
  if (answer === null) return;
  const { content, reasoning, toolCalls, numReasoningTokens } = answer;
  Object.assign(output, {
    content,
    ...(reasoning === undefined ? {} : { reasoning }),
    ...(toolCalls === undefined ? {} : { toolCalls }),
    numReasoningTokens,
  });
}

/** What is new of a sample, which is taken with that: what all that streams is made of. */
export function takeDelta(sequence: Sequence): CompletionDelta {
  const record = recordOf(sequence);
  const { logprobs, numTokens: to, numTaken: from } = record;
  const { tokens, numPromptTokens: base } = sequence;
  record.numTaken = to;
  record.endTaken = record.finishReason !== null;
  const events = record.read(sequence);
  const newTokenIds: number[] = [];
  for (let i = base + from; i < base + to; i++) newTokenIds.push(tokens[i]);
  const delta: CompletionDelta & { readonly __proto__: object } = {
    __proto__: PRINTABLE,
    index: sequence.index,
    newText: record.text.takeDelta(),
    newTokenIds,
    finishReason: record.toldReason,
    stopReason: record.stopReason,
  };
  if (logprobs !== null) addLate(delta, 'newLogprobs', () => logprobs.list(from, to));
  if (record.answer !== null) {
    const { numReasoningTokens } = record.answer;
    Object.assign(delta, { events, numReasoningTokens });
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
  addAnswer(output, record.answer);
  addJson(output, record.parse);
  return output;
}

/** @param text an empty one, which is filled */
export function beamOutput(
  beam: FinishedBeam,
  index: number,
  text: OutputText,
  { parse, newAnswer }: Makes,
): CompletionOutput {
  const tokenIds = Array.from(beam.tokens);
  const joins = beam.finishReason === 'stop' ? tokenIds.slice(0, -1) : tokenIds;
  for (const id of joins) text.push(id);
  text.finish();
  const answer = newAnswer?.() ?? null;
  answer?.push(joins);
  answer?.finish();
  const reason = beam.finishReason as EndReason;
  const output: CompletionOutput = {
    index,
    text: text.text,
    delta: text.text,
    tokenIds,
    cumulativeLogprob: beam.cumulativeLogprob,
    score: beam.score,
    finishReason: reason === 'stop' && answer?.hasCalled ? 'tool_calls' : reason,
    stopReason: beam.stopReason,
  };
  addAnswer(output, answer);
  addJson(output, parse);
  return output;
}
