/** One request on its way: what the engine records of it, and the caller's side of it. */
import type { SequenceGroup } from '../core/sequence.js';
import { TokenLogprobs } from '../core/token-logprobs.js';
import { isOctavoError, octavoError } from '../errors.js';
import type { OutputText } from '../text/output-text.js';
import { addLate, once, PRINTABLE } from './lazy.js';
import type {
  CompletionOutput,
  DeltaOutput,
  RequestMetrics,
  RequestOutput,
  StreamOutput,
  TokenLogprob,
} from './outputs.js';
import {
  beamOutput,
  completion,
  hasNews,
  type Makes,
  NOTHING,
  recordOf,
  SequenceRecord,
  takeCompletion,
  takeDelta,
} from './snapshot.js';

/** W3C trace context, as requests of HTTP have it. What is damaged counts as not there. */
export interface TraceHeaders {
  /** The trace, the caller's span, whether it is recorded. */
  readonly traceparent?: string;
  /** What tracers say to each other beside it. */
  readonly tracestate?: string;
}

/** What belongs to a call rather than to the drawing of tokens. */
export interface RequestOptions {
  /** Aborts the request; its KV is free before the next step. The caller gets ERR_ABORTED. */
  readonly signal?: AbortSignal;
  /** Shown in the output; must not be in use. Default: a UUID. For a batch `-0`, `-1` … follow. */
  readonly requestId?: string;
  /** Lower runs first; only with the engine option `schedulingPolicy: 'priority'`. Default 0. */
  readonly priority?: number;
  /** The call must end within so many milliseconds (1 to 2^31 - 1), tokenizing and waiting
   * included, or the caller gets ERR_TIMEOUT and its KV is free before the next step. Default: no
   * limit. */
  readonly timeoutMs?: number;
  /** The caller's span, where it is not the active one of this process: `traceparent` and
   * `tracestate` of a request of HTTP, say. Read where the program has registered a tracer of
   * OpenTelemetry. */
  readonly traceHeaders?: TraceHeaders;
  /** Take sampling values of the model's generation_config.json where none are given. */
  readonly useModelDefaults?: boolean;
}

/**
 * It is settled once, by `finish()` or by `fail()`. Only the engine calls these, also for a request
 * that was aborted before it was submitted.
 */
export class Request {
  readonly arrivalTime = Date.now();
  /** Tokens drawn for it; counted by the engine. */
  numGenerated = 0;
  /** Called when there may be something new for the reader of a stream, the end included. */
  onChange: (() => void) | null = null;
  readonly #emptyText: OutputText;
  readonly #makes: Makes;
  readonly #arrived = performance.now();
  #started: number | null = null;
  #firstToken: number | null = null;
  #lastToken = 0;
  readonly #interTokenMs: number[] = [];
  #ended: number | null = null;
  #error: Error | null = null;
  /** Something happened since the last state was taken. */
  #changed = false;
  #whenSettled: (() => void)[] = [];
  readonly #promptLogprobs = once(() => promptLogprobs(this.group));

  /**
   * @param emptyText each sample begins with a copy of it
   * @param makes what is made of an output beside its text
   */
  constructor(
    readonly group: SequenceGroup,
    readonly prompt: string | null,
    readonly promptTokenIds: readonly number[],
    emptyText: OutputText,
    makes: Makes = NOTHING,
  ) {
    this.#emptyText = emptyText;
    this.#makes = makes;
    if (group.beams !== null) return; // their texts are known only at the end
    const { logprobs, numLogprobs } = group.params;
    for (const sequence of group.sequences) {
      const lists = logprobs === undefined ? null : new TokenLogprobs(numLogprobs);
      sequence.attachment = new SequenceRecord(emptyText.clone(), lists, makes);
    }
  }

  /** What it has ended with, where that is no output. */
  get error(): Error | null {
    return this.#error;
  }

  /** It has ended, well or not. */
  get settled(): boolean {
    return this.#ended !== null;
  }

  /** True when this is the first step that computes something of it. */
  noteStarted(): boolean {
    if (this.#started !== null) return false;
    this.#started = performance.now();
    return true;
  }

  /** A step drew tokens of it, and all was recorded; called once a step. */
  noteTokens(): void {
    const now = performance.now();
    if (this.#firstToken === null) this.#firstToken = now;
    else this.#interTokenMs.push(now - this.#lastToken);
    this.#lastToken = now;
    this.#changed = true;
    if (!this.group.finished) this.onChange?.();
  }

  /** It has ended with an output. */
  finish(): void {
    for (const sequence of this.group.beams === null ? this.group.sequences : []) {
      recordOf(sequence).update(sequence);
    }
    this.#settle(null);
  }

  /** It ends here with an error, which the caller gets. */
  fail(error: Error): void {
    this.#settle(error);
  }

  /** Calls back when it is settled, or now if it is: to take timers and listeners off. */
  onSettled(callback: () => void): void {
    if (this.settled) callback();
    else this.#whenSettled.push(callback);
  }

  /** Waits for the end. */
  async result(): Promise<RequestOutput> {
    await new Promise<void>((resolve) => this.onSettled(resolve));
    if (this.#error) throw this.#error;
    return this.#output(this.#completions());
  }

  /**
   * The next state for the reader of a stream: null while there is none that it was not given. Its
   * cost depends on what is new, not on how long the output is.
   */
  take(): StreamOutput | null {
    if (this.#error) throw this.#error;
    if (!this.#changed) return null;
    this.#changed = false;
    return this.#output(this.group.sequences.map(takeCompletion));
  }

  /** As `take()`, only what is new. */
  takeDelta(): DeltaOutput | null {
    if (this.#error) throw this.#error;
    if (!this.#changed) return null;
    this.#changed = false;
    const { group } = this;
    const output = {
      __proto__: PRINTABLE,
      requestId: group.id,
      prompt: this.prompt,
      promptTokenIds: this.promptTokenIds,
      seed: group.params.seed,
      numCachedTokens: group.numCachedTokens,
      outputs: group.sequences.filter(hasNews).map(takeDelta),
      finished: this.settled,
      metrics: this.settled ? this.metrics() : null,
      ...this.#warnings,
    };
    if (group.params.promptLogprobs !== undefined) {
      addLate(output as DeltaOutput, 'promptLogprobs', this.#promptLogprobs);
    }
    return output;
  }

  #settle(error: Error | null): void {
    if (this.settled) return;
    this.#error = error;
    this.#ended = performance.now();
    this.#changed = true;
    for (const callback of this.#whenSettled) callback();
    this.#whenSettled = [];
    this.onChange?.();
  }

  #completions(): CompletionOutput[] {
    const { beams, sequences } = this.group;
    if (beams === null) return sequences.map(completion);
    try {
      return beams.finished.map((beam, i) => {
        const text = this.#emptyText.clone();
        return beamOutput(beam, i, text, this.#makes);
      });
    } catch (error) {
      throw unreadable(error);
    }
  }

  #output<T extends CompletionOutput>(
    outputs: readonly T[],
  ): RequestOutput & { readonly outputs: readonly T[] } {
    const { group } = this;
    const output = {
      __proto__: PRINTABLE,
      requestId: group.id,
      prompt: this.prompt,
      promptTokenIds: this.promptTokenIds,
      outputs,
      finished: this.settled,
      seed: group.params.seed,
      numCachedTokens: group.numCachedTokens,
      numSharedBlocks: group.numSharedBlocks,
      numBlockCopies: group.numBlockCopies,
      numPreemptions: group.numPreemptions,
      numSwaps: group.numSwaps,
      metrics: this.metrics(),
      ...this.#warnings,
    };
    if (group.params.promptLogprobs !== undefined) {
      addLate(output as RequestOutput, 'promptLogprobs', this.#promptLogprobs);
    }
    return output;
  }

  get #warnings(): { warnings?: readonly string[] } {
    const { warnings } = this.#makes;
    return warnings.length === 0 ? {} : { warnings };
  }

  /** Its times so far, or to its end. */
  metrics(): RequestMetrics {
    const since = (t: number | null) => (t === null ? null : t - this.#arrived);
    const { group } = this;
    const [started, first] = [this.#started, this.#firstToken];
    return {
      arrivalTime: this.arrivalTime,
      queueMs: since(this.#started),
      timeToFirstTokenMs: since(first),
      prefillMs: started === null || first === null ? null : first - started,
      decodeMs: first === null ? null : this.#lastToken - first,
      interTokenMs: this.settled ? this.#interTokenMs : [],
      numPromptTokens: group.numPromptTokens,
      numCachedTokens: group.numCachedTokens,
      numGeneratedTokens: this.numGenerated,
      numPreemptions: group.numPreemptions,
      elapsedMs: (this.#ended ?? performance.now()) - this.#arrived,
    };
  }
}

/** Complete before the first token is drawn, so it is made once, whoever reads it first. */
function promptLogprobs({ promptLogprobs: list }: SequenceGroup): (TokenLogprob | null)[] {
  return [null, ...list.list(0, list.length)];
}

/** The decoder of a tokenizer failed on what a request drew; that ends this request alone. */
export function unreadable(cause: unknown): Error {
  if (isOctavoError(cause)) return cause;
  return octavoError(
    'ERR_TOKENIZER',
    `the tokenizer cannot decode what was drawn: ${(cause as Error)?.message ?? String(cause)}`,
    { cause },
  );
}
