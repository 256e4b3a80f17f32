/** One request on its way: what the engine records of it, and the caller's side of it. */
import type { FinishedBeam } from '../core/beam-search.js';
import type { Sequence, SequenceGroup } from '../core/sequence.js';
import type { StepResult } from '../core/step.js';
import type { OutputText } from '../text/output-text.js';
import type {
  CompletionOutput,
  FinishReason,
  RequestMetrics,
  RequestOutput,
  TokenLogprob,
} from './outputs.js';

/** What the engine hangs on a sequence: its text and the logprobs of its tokens. */
export class SequenceRecord {
  readonly logprobs: TokenLogprob[] = [];
  /** Characters of the text that the caller of a stream has been given. */
  delivered = 0;

  constructor(
    readonly text: OutputText,
    readonly wantsLogprobs: boolean,
  ) {}
}

/** Reads the lists of top tokens of a result, which follow each other without gaps. */
export class TopListReader {
  #at = 0;

  constructor(readonly result: StepResult) {}

  skip(length: number): [] {
    this.#at += length;
    return [];
  }

  read(length: number): { tokenId: number; logprob: number }[] {
    const { topTokenIds, topLogprobs } = this.result;
    const list = [];
    for (let i = 0; i < length; i++, this.#at++) {
      list.push({ tokenId: topTokenIds[this.#at], logprob: topLogprobs[this.#at] });
    }
    return list;
  }
}

/** What belongs to a call rather than to the drawing of tokens. */
export interface RequestOptions {
  /** Aborts the request; its KV is free before the next step. The caller gets ERR_ABORTED. */
  readonly signal?: AbortSignal;
  /** Shown in the output; must not be in use. Default: a UUID. For a batch `-0`, `-1` … follow. */
  readonly requestId?: string;
  /** Lower runs first; only with the engine option `schedulingPolicy: 'priority'`. Default 0. */
  readonly priority?: number;
  /** The request must end within so many milliseconds, waiting included, or the caller gets
   * ERR_TIMEOUT and its KV is free before the next step. Default: no limit. */
  readonly timeoutMs?: number;
  /** Take sampling values of the model's generation_config.json where none are given. */
  readonly useModelDefaults?: boolean;
}

export class Request {
  readonly arrivalTime = Date.now();
  readonly #arrived = performance.now();
  #started: number | null = null;
  #firstToken: number | null = null;
  #ended: number | null = null;
  #error: Error | null = null;
  /** Something happened since the last snapshot. */
  #news = false;
  #wake: (() => void) | null = null;

  constructor(
    readonly group: SequenceGroup,
    readonly prompt: string | null,
    readonly promptTokenIds: readonly number[],
    /** An empty text, for outputs that are known only at the end. */
    readonly newText: () => OutputText,
  ) {}

  /** It has ended, well or not. */
  get settled(): boolean {
    return this.#ended !== null;
  }

  noteStarted(): void {
    this.#started ??= performance.now();
  }

  noteToken(): void {
    this.#firstToken ??= performance.now();
    this.#news = true;
  }

  /** Lets a waiting caller look; called once a step, after everything was recorded. */
  announce(): void {
    if (this.group.finished) this.#ended ??= performance.now();
    this.#news = true;
    this.#wake?.();
    this.#wake = null;
  }

  /** It ends here with an error, which the caller gets. */
  fail(error: Error): void {
    if (this.settled) return;
    this.#error = error;
    this.#ended = performance.now();
    this.#wake?.();
    this.#wake = null;
  }

  /** Waits for the end. */
  async result(): Promise<RequestOutput> {
    while (!this.settled) await this.#wait();
    if (this.#error) throw this.#error;
    return this.snapshot(true);
  }

  /** The next state that differs from the last one given; null after the end. */
  async *states(): AsyncGenerator<RequestOutput, void, void> {
    for (;;) {
      while (!this.#news && !this.settled) await this.#wait();
      if (this.#error) throw this.#error;
      this.#news = false;
      const state = this.snapshot(false);
      yield state;
      if (state.finished) return;
    }
  }

  #wait(): Promise<void> {
    return new Promise((resolve) => {
      const before = this.#wake;
      this.#wake = () => {
        before?.();
        resolve();
      };
    });
  }

  /** @param whole `delta` is the whole text, not what is new since the last snapshot */
  snapshot(whole: boolean): RequestOutput {
    const { group } = this;
    return {
      requestId: group.id,
      prompt: this.prompt,
      promptTokenIds: this.promptTokenIds,
      ...(group.params.promptLogprobs === undefined
        ? {}
        : { promptLogprobs: promptLogprobs(group) }),
      outputs:
        group.beams === null
          ? group.sequences.map((sequence) => completion(sequence, whole))
          : group.beams.finished.map((beam, index) => beamOutput(beam, index, this.newText())),
      finished: group.finished,
      seed: group.params.seed,
      numCachedTokens: group.numCachedTokens,
      numSharedBlocks: group.numSharedBlocks,
      numBlockCopies: group.numBlockCopies,
      numPreemptions: group.numPreemptions,
      numSwaps: group.numSwaps,
      metrics: this.#metrics(),
    };
  }

  #metrics(): RequestMetrics {
    const since = (t: number | null) => (t === null ? null : t - this.#arrived);
    return {
      arrivalTime: this.arrivalTime,
      queueMs: since(this.#started),
      timeToFirstTokenMs: since(this.#firstToken),
      elapsedMs: (this.#ended ?? performance.now()) - this.#arrived,
    };
  }
}

function completion(sequence: Sequence, whole: boolean): CompletionOutput {
  const record = sequence.attachment as SequenceRecord;
  const { text } = record.text;
  const delta = whole ? text : text.slice(record.delivered);
  record.delivered = text.length;
  return {
    index: sequence.index,
    text,
    delta,
    tokenIds: Array.from(sequence.outputTokens),
    cumulativeLogprob: sequence.cumulativeLogprob,
    ...(record.wantsLogprobs ? { logprobs: record.logprobs.slice() } : {}),
    finishReason: sequence.finishReason as FinishReason | null,
    stopReason: sequence.stopReason,
  };
}

function beamOutput(beam: FinishedBeam, index: number, text: OutputText): CompletionOutput {
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

function promptLogprobs(group: SequenceGroup): (TokenLogprob | null)[] {
  const rest = group.promptLogprobs.map(({ tokenId, logprob, rank, topTokenIds, topLogprobs }) => ({
    tokenId,
    logprob,
    rank,
    top: Array.from(topTokenIds, (id, i) => ({ tokenId: id, logprob: topLogprobs[i] })),
  }));
  return [null, ...rest];
}
