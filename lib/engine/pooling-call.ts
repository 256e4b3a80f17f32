/** One call of a pooling model, of one text or of any number, on its way. */
import { Pacer } from '../text/pacer.js';
import type { Encoded } from '../text/whole-texts.js';
import type { Pooling } from '../wire/layout.js';
import type { Deadline } from './deadline.js';
import type { EncodingQueue } from './encoding-queue.js';
import type { PoolingEngine, ReadyText, TextOwner, TextQueue } from './pooling-engine.js';
import type { EncodedText } from './pooling-texts.js';
import { ofPrompt } from './prompts.js';

/** What a call asks for. */
export interface PoolingWork<T> {
  readonly numTexts: number;
  readonly pooling: Pooling;
  readonly tokenLogits?: readonly number[];
  /** Characters of a text. */
  size(index: number): number;
  /** Of texts from one place up to another, what {@link encode} may know beforehand. */
  prepare(from: number, to: number): Promise<ReadonlyMap<number, Encoded>>;
  encode(index: number, known: Encoded | undefined): Promise<EncodedText>;
  /** @param values a view that is not valid later */
  output(text: ReadyText, values: Float32Array): T;
  /** The place in the caller's list that an error is about; undefined: it gave none. */
  placeOf(index: number): number | undefined;
}

/** Texts of a call that are encoded in one go, and their characters. */
const CHUNK_TEXTS = 32;
const CHUNK_UNITS = 16_384;

/** Such chunks of one call that are under way at once. */
const NUM_ENCODING = 2;

/** Runs a call; texts are encoded ahead of the engine, and no further than two steps. */
export class PoolingCall<T> implements TextOwner {
  readonly pooling: Pooling;
  readonly tokenLogits: readonly number[] | undefined;
  readonly #work: PoolingWork<T>;
  readonly #engine: PoolingEngine;
  readonly #encodings: EncodingQueue;
  readonly #deadline: Deadline;
  readonly #outputs: T[];
  #queue: TextQueue | null = null;
  #numTaken = 0;
  #numEncoding = 0;
  #numDone = 0;
  #hasEnded = false;
  #resolve: (outputs: T[]) => void = () => {};
  #reject: (error: unknown) => void = () => {};

  constructor(
    work: PoolingWork<T>,
    engine: PoolingEngine,
    encodings: EncodingQueue,
    deadline: Deadline,
  ) {
    this.pooling = work.pooling;
    this.tokenLogits = work.tokenLogits;
    this.#work = work;
    this.#engine = engine;
    this.#encodings = encodings;
    this.#deadline = deadline;
    this.#outputs = new Array(work.numTexts);
  }

  /**
   * What the texts became, in their order.
   * @throws the first error of any of them, which ends the others; what ends the deadline
   */
  outputs(): Promise<T[]> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      if (this.#work.numTexts === 0) return resolve([]);
      this.#queue = this.#engine.enter(this, this.#work.numTexts);
      this.#deadline.onEnd((error) => this.#end(error));
      this.onTaken();
    });
  }

  /** Encodes more, where the engine has less than two steps of it. */
  onTaken(): void {
    const { maxNumSeqs, stepTokens } = this.#engine.sizes;
    const queue = this.#queue as TextQueue;
    const isAhead = () =>
      queue.numReady >= 2 * maxNumSeqs || queue.numReadyTokens >= 2 * stepTokens;
    while (!this.#hasEnded && this.#numEncoding < NUM_ENCODING && !isAhead()) {
      if (this.#numTaken === this.#work.numTexts) return;
      void this.#encodeChunk();
    }
  }

  async #encodeChunk(): Promise<void> {
    const from = this.#numTaken;
    let size = 0;
    do size += this.#work.size(this.#numTaken++);
    while (
      this.#numTaken < this.#work.numTexts &&
      this.#numTaken - from < CHUNK_TEXTS &&
      size + this.#work.size(this.#numTaken) <= CHUNK_UNITS
    );
    const to = this.#numTaken;
    this.#numEncoding++;
    try {
      await this.#encodings.run(size, () => this.#encodeAll(from, to), this.#deadline);
    } catch (error) {
      this.#end(error as Error);
    }
    this.#numEncoding--;
    this.onTaken();
  }

  /** They join the queue together, so that a few documents are one step. */
  async #encodeAll(from: number, to: number): Promise<void> {
    const pacer = new Pacer(1);
    const texts: ReadyText[] = [];
    const known = await this.#work.prepare(from, to);
    for (let index = from; index < to && !this.#hasEnded; index++) {
      try {
        texts.push({ ...(await this.#work.encode(index, known.get(index - from))), index });
      } catch (error) {
        throw ofPrompt(error, this.#work.placeOf(index));
      }
      if (pacer.due()) await pacer.turn();
    }
    for (const text of texts) this.#engine.push(this.#queue as TextQueue, text);
  }

  deliver(text: ReadyText, values: Float32Array): void {
    let output: T;
    try {
      output = this.#work.output(text, values);
    } catch (error) {
      throw ofPrompt(error, this.#work.placeOf(text.index));
    }
    this.#outputs[text.index] = output;
    if (++this.#numDone < this.#work.numTexts) return;
    this.#hasEnded = true;
    this.#resolve(this.#outputs);
  }

  fail(error: Error): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#outputs.length = 0;
    this.#reject(error);
  }

  #end(error: Error): void {
    if (this.#queue !== null) this.#engine.end(this.#queue, error);
    this.fail(error);
  }
}
