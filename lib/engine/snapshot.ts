/** A request's state as its caller sees it: made of what the engine recorded, and then fixed. */
import type { FinishedBeam } from '../core/beam-search.js';
import type { Sequence } from '../core/sequence.js';
import type { TokenLogprobs } from '../core/token-logprobs.js';
import type { OutputText } from '../text/output-text.js';
import { addLate, once, PRINTABLE } from './lazy.js';
import type {
  CompletionDelta,
  CompletionOutput,
  FinishReason,
  StreamedCompletion,
} from './outputs.js';

/**
 * What the engine attaches to a sequence: its text, its logprobs, and how far both are. A step is
 * committed before its text is read, so callers look at this, not at the sequence.
 */
export class SequenceRecord {
  numTokens = 0;
  cumulativeLogprob = 0;
  finishReason: FinishReason | null = null;
  stopReason: string | number | null = null;
  /** Tokens that the reader of a stream was given. */
  numTaken = 0;
  /** Its reader knows that it has ended. */
  endTaken = false;

  constructor(
    readonly text: OutputText,
    /** Of its tokens, where they were asked for. */
    readonly logprobs: TokenLogprobs | null,
  ) {}

  /** Text and logprobs have caught up with the sequence. */
  update(sequence: Sequence): void {
    this.numTokens = sequence.numOutputTokens;
    this.cumulativeLogprob = sequence.cumulativeLogprob;
    this.finishReason = sequence.finishReason as FinishReason | null;
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
    finishReason: record.finishReason,
    stopReason: record.stopReason,
  };
  if (logprobs !== null) addLate(output, 'logprobs', () => logprobs.list(0, numTokens));
  return output;
}

/** What is new of a sample, which is taken with that: what all that streams is made of. */
export function takeDelta(sequence: Sequence): CompletionDelta {
  const record = recordOf(sequence);
  const { logprobs, numTokens: to, numTaken: from } = record;
  const { tokens, numPromptTokens: base } = sequence;
  record.numTaken = to;
  record.endTaken = record.finishReason !== null;
  const newTokenIds: number[] = [];
  for (let i = base + from; i < base + to; i++) newTokenIds.push(tokens[i]);
  const delta: CompletionDelta & { readonly __proto__: object } = {
    __proto__: PRINTABLE,
    index: sequence.index,
    newText: record.text.takeDelta(),
    newTokenIds,
    finishReason: record.finishReason,
    stopReason: record.stopReason,
  };
  if (logprobs !== null) addLate(delta, 'newLogprobs', () => logprobs.list(from, to));
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
  const { newText, newTokenIds, finishReason, stopReason } = takeDelta(sequence);
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
  return output;
}

/** @param text an empty one, which is filled */
export function beamOutput(beam: FinishedBeam, index: number, text: OutputText): CompletionOutput {
  const tokenIds = Array.from(beam.tokens);
  const joins = beam.finishReason === 'stop' ? tokenIds.slice(0, -1) : tokenIds;
  for (const id of joins) text.push(id);
  text.finish();
  return {
    index,
    text: text.text,
    delta: text.text,
    tokenIds,
    cumulativeLogprob: beam.cumulativeLogprob,
    score: beam.score,
    finishReason: beam.finishReason as FinishReason,
    stopReason: beam.stopReason,
  };
}
