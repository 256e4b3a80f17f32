/**
 * What a server sent and when, and what that says. While requests run, bytes and times are kept
 * and nothing else is done: parsing a token's chunk would delay the stamp of the next one.
 */
import { createParser } from 'eventsource-parser';

/** Times are seconds of one clock. */
export interface Recording {
  readonly sentAt: number;
  /** 0 where no answer came. */
  status: number;
  readonly chunks: Buffer[];
  readonly times: number[];
  /** Why it ended before its end. */
  error: string | null;
}

export interface Outcome {
  readonly success: boolean;
  /** Empty where it succeeded. */
  readonly error: string;
  readonly startTime: number;
  /** Seconds to the first token. */
  readonly ttft: number;
  /** Gaps between the chunks that bring tokens, in seconds. */
  readonly itl: readonly number[];
  /** Seconds to the last token. */
  readonly latency: number;
  readonly text: string;
  /** As the server counts; null where it sent no usage. */
  readonly promptTokens: number | null;
  readonly outputTokens: number | null;
}

/** The parts of OpenAI's chunks that are looked at. */
interface Chunk {
  error?: { message?: string } | string;
  choices?: readonly Choice[] | null;
  usage?: { prompt_tokens?: number; completion_tokens?: number } | null;
}

interface Choice {
  text?: string | null;
  delta?: {
    role?: string | null;
    content?: string | null;
    reasoning?: string | null;
    reasoning_content?: string | null;
    tool_calls?: readonly unknown[] | null;
  } | null;
  finish_reason?: string | null;
}

/** The longest error that is kept of a body, in characters. */
const MAX_ERROR = 2000;

export function outcomeOf(recording: Recording): Outcome {
  const { sentAt, status, chunks, times } = recording;
  if (status !== 200) {
    const body = Buffer.concat(chunks).toString().slice(0, MAX_ERROR);
    return failed(sentAt, recording.error ?? `HTTP ${status}: ${errorIn(body)}`);
  }
  const stream = new StreamReader(sentAt);
  const decoder = new TextDecoder();
  const parser = createParser({ onEvent: ({ data }) => stream.take(data) });
  for (let i = 0; i < chunks.length; i++) {
    stream.now = times[i];
    parser.feed(decoder.decode(chunks[i], { stream: true }));
  }
  return stream.outcome(recording.error);
}

/** Follows one stream, event by event. */
class StreamReader {
  /** The time of what is read now. */
  now = 0;
  readonly #itl: number[] = [];
  #first: number | null = null;
  #last = 0;
  #end = 0;
  #text = '';
  #error: string | null = null;
  #whole = false;
  #usage: Chunk['usage'] = null;

  constructor(readonly sentAt: number) {}

  take(data: string): void {
    if (this.#error !== null) return;
    if (data === '[DONE]') {
      this.#whole = true;
      return;
    }
    const chunk = parsed(data);
    if (chunk === null) this.#error = `a chunk is no JSON object: ${data.slice(0, 200)}`;
    else if (chunk.error) this.#error = messageOf(chunk.error);
    else this.#takeChunk(chunk);
  }

  #takeChunk({ choices, usage }: Chunk): void {
    if (usage) this.#usage = usage;
    if (!Array.isArray(choices) || choices.length === 0) return;
    let isToken = false;
    for (const choice of choices as readonly Choice[]) {
      if (choice.finish_reason) this.#whole = true;
      this.#text += textOf(choice);
      isToken ||= bringsToken(choice);
    }
    this.#end = this.now;
    if (!isToken) return;
    if (this.#first === null) this.#first = this.now;
    else this.#itl.push(this.now - this.#last);
    this.#last = this.now;
  }

  outcome(cut: string | null): Outcome {
    const error =
      this.#error ??
      cut ??
      (this.#whole ? null : 'the stream ended without a finish_reason or [DONE]') ??
      (this.#first === null ? 'the stream brought no token' : null);
    const usage = this.#usage;
    return {
      success: error === null,
      error: error ?? '',
      startTime: this.sentAt,
      ttft: this.#first === null ? 0 : this.#first - this.sentAt,
      itl: this.#itl,
      latency: this.#first === null ? 0 : this.#end - this.sentAt,
      text: this.#text,
      promptTokens: countOf(usage?.prompt_tokens),
      outputTokens: countOf(usage?.completion_tokens),
    };
  }
}

/**
 * As vLLM counts, any chunk with a choice brings a token, its text may be empty (half a character,
 * a special token). But for two: the role that opens a chat, which some servers send before they
 * compute anything, and an empty chunk that only says why it finished.
 */
function bringsToken(choice: Choice): boolean {
  const { delta, finish_reason: finish } = choice;
  if (textOf(choice) !== '' || delta?.tool_calls?.length) return true;
  return !finish && !delta?.role;
}

function textOf({ text, delta }: Choice): string {
  return text ?? `${delta?.reasoning ?? delta?.reasoning_content ?? ''}${delta?.content ?? ''}`;
}

function countOf(value: unknown): number | null {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 ? value : null;
}

function parsed(data: string): Chunk | null {
  try {
    const value: unknown = JSON.parse(data);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

function messageOf(error: NonNullable<Chunk['error']>): string {
  const { message } = typeof error === 'string' ? { message: error } : error;
  return message ?? JSON.stringify(error);
}

/** The sentence in an error's body, or the body. */
export function errorIn(body: string): string {
  const { error } = parsed(body) ?? {};
  return error ? messageOf(error) : body.trim();
}

function failed(startTime: number, error: string): Outcome {
  return {
    success: false,
    error,
    startTime,
    ttft: 0,
    itl: [],
    latency: 0,
    text: '',
    promptTokens: null,
    outputTokens: null,
  };
}
