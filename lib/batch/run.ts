/** Asks what a file asks, a bounded number at once, and goes on where it was stopped. */
import { isOctavoError, octavoError } from '../errors.js';
import { describe } from '../loadgen/http.js';
import { type Line, linesOf } from './lines.js';
import {
  type Answered,
  checkDistinct,
  isFailure,
  newId,
  OutputFile,
  type OutputLine,
  readAnswered,
} from './output.js';
import { type BatchRequest, parseRequest } from './request-line.js';
import { type BatchTarget, type LineTarget, UNREACHABLE } from './target.js';

export interface BatchOptions {
  readonly input: string;
  readonly output: string;
  readonly target: BatchTarget | LineTarget;
  readonly maxConcurrency: number;
  /** No line is begun once it is aborted; those that run are finished. */
  readonly stop?: AbortSignal;
  /** Gives up those that run as well: they get no line and are asked next time. */
  readonly kill?: AbortSignal;
  /** Bytes of the input whose lines were taken, and lines written so far. */
  readonly onProgress?: (bytes: number, totals: BatchTotals) => void;
}

export interface BatchTotals {
  /** Lines of the output that bring an answer, those of this run. */
  answered: number;
  /** Lines that are wrong, got no answer or one with a status of 400 and more. */
  failed: number;
  /** Lines that the output had before. */
  skipped: number;
  /** Failures among those. */
  failedBefore: number;
}

/**
 * @throws ERR_FILE; ERR_INVALID_PARAM where nobody answers, ERR_DEVICE_LOST where nobody will (what
 * was asked then gets no line)
 */
export async function runBatch(options: BatchOptions): Promise<BatchTotals> {
  await checkDistinct(options.input, options.output);
  const run = new Run(options, await readAnswered(options.output));
  return run.finish(await OutputFile.open(options.output));
}

class Run {
  readonly #totals: BatchTotals;
  /** custom_ids of lines that were taken in this run. */
  readonly #taken = new Set<string>();
  #failure: Error | null = null;
  #bytes = 0;

  constructor(
    readonly options: BatchOptions,
    readonly answered: Answered,
  ) {
    this.#totals = { answered: 0, failed: 0, skipped: 0, failedBefore: answered.failed };
  }

  async finish(output: OutputFile): Promise<BatchTotals> {
    // One generator for all: each asks it for the next line when it has a place free.
    const lines = linesOf(this.options.input);
    try {
      const workers = Array.from({ length: this.options.maxConcurrency }, () =>
        this.#work(lines, output),
      );
      await Promise.all(workers);
      if (this.#failure) throw this.#failure;
    } finally {
      await lines.return(undefined);
      await output.close();
    }
    return this.#totals;
  }

  /** Never rejects: the first failure stops all of them, when what runs has ended. */
  async #work(lines: AsyncGenerator<Line>, output: OutputFile): Promise<void> {
    const { stop, kill } = this.options;
    try {
      while (!stop?.aborted && !kill?.aborted && !this.#failure) {
        const { value: line, done } = await lines.next();
        if (done) return;
        await this.#take(line, output);
        this.#bytes = Math.max(this.#bytes, line.end);
        this.options.onProgress?.(this.#bytes, this.#totals);
      }
    } catch (error) {
      this.#failure ??= error as Error;
    }
  }

  async #take(line: Line, output: OutputFile): Promise<void> {
    if (line.text.trim() === '') return;
    if (this.answered.badLines.has(line.number)) {
      this.#totals.skipped++;
      return;
    }
    const request = parseRequest(line.text);
    if ('problem' in request) return this.#refuse(line, request.customId, request.problem, output);
    const { customId } = request;
    if (this.#taken.has(customId)) {
      return this.#refuse(line, customId, 'its custom_id was used by a line before', output);
    }
    this.#taken.add(customId);
    const { target } = this.options;
    if (this.answered.ids.has(customId)) {
      if (typeof target !== 'function') target.had(request);
      this.#totals.skipped++;
      return;
    }
    const answer = await this.#ask(request);
    if (!answer) return;
    await this.#write(answer, output);
    if (typeof target === 'function') return;
    await output.sync();
    await target.written(customId);
  }

  #refuse(line: Line, id: string | null, message: string, output: OutputFile): Promise<void> {
    const error = { code: 'invalid_request', message, line: line.number };
    return this.#write({ id: newId(), custom_id: id, response: null, error }, output);
  }

  /** Null where it was given up, to be asked next time. */
  async #ask(request: BatchRequest): Promise<OutputLine | null> {
    const { target, kill = new AbortController().signal } = this.options;
    const { customId, url, body } = request;
    const line = { id: newId(), custom_id: customId };
    try {
      if (typeof target !== 'function') return await target.answer(request, kill);
      const { status, requestId, body: answer } = await target(url, body, kill);
      const response = { status_code: status, request_id: requestId, body: answer };
      return { ...line, response, error: null };
    } catch (cause) {
      if (kill.aborted) return null;
      if (isOctavoError(cause)) throw cause;
      const message = describe(cause as NodeJS.ErrnoException);
      if (UNREACHABLE.has((cause as NodeJS.ErrnoException).code)) {
        throw octavoError(
          'ERR_INVALID_PARAM',
          `nobody answers (${message}); the same command goes on from here`,
          { param: 'base-url', cause },
        );
      }
      return { ...line, response: null, error: { code: 'request_failed', message } };
    }
  }

  async #write(line: OutputLine, output: OutputFile): Promise<void> {
    await output.append(line);
    if (isFailure(line)) this.#totals.failed++;
    else this.#totals.answered++;
  }
}
