/**
 * The loop of a model that is loaded to pool: pack → execute → deliver, as long as there are texts.
 * Each text is computed whole in one step, so there is no cache, and nothing but the order of texts
 * to decide: first come, first served, where a list of texts takes turns with all others. What a
 * text becomes does not depend on its neighbours in a step.
 *
 * What goes wrong with a text ends its call alone. A step that failed ends the calls in it; the
 * engine itself ends when the executor is lost.
 */
import type { NativePooledResult } from '../native.js';
import { Pacer } from '../text/pacer.js';
import type { Pooling } from '../wire/layout.js';
import { encodePooled } from '../wire/pooled.js';
import { EventFeed } from './events.js';
import type { PoolingExecutor } from './executor.js';
import type { EngineStats } from './outputs.js';
import type { EncodedText } from './pooling-texts.js';
import { ABORTING, closedError, coded, FATAL } from './request-ends.js';

/** A text that waits for a step. */
export interface ReadyText extends EncodedText {
  /** Its place in its call. */
  readonly index: number;
}

/** Who has texts computed: the callbacks are called once the engine has taken note. */
export interface TextOwner {
  readonly pooling: Pooling;
  /** The values are the logits of these ids. */
  readonly tokenLogits?: readonly number[];
  /** A text's values are there, which are a view of the step's. */
  deliver(text: ReadyText, values: Float32Array): void;
  /** Texts left the queue for a step: there is room for more. */
  onTaken(): void;
  /** None of its texts will be computed any more. */
  fail(error: Error): void;
}

/** Most texts of one call that are taken before others have a turn. */
const TURN = 32;

/** One call's place in the queue. */
export class TextQueue {
  #ready: ReadyText[] = [];
  /** Place of the first that was not taken. */
  #head = 0;
  numReadyTokens = 0;
  /** Texts that were not given to a step yet, whether they are ready or not. */
  numLeft: number;
  /** Of these, and those in a step, what did not end. */
  numOpen: number;
  /** A step that it shared was refused: its texts go alone. */
  isSuspect = false;

  constructor(
    readonly owner: TextOwner,
    numTexts: number,
  ) {
    this.numLeft = numTexts;
    this.numOpen = numTexts;
  }

  get numReady(): number {
    return this.#ready.length - this.#head;
  }

  /** The next one; there is one. */
  get first(): ReadyText {
    return this.#ready[this.#head];
  }

  push(text: ReadyText): void {
    this.#ready.push(text);
    this.numReadyTokens += text.tokenIds.length;
  }

  /** Takes the first for a step. */
  take(): ReadyText {
    const text = this.#ready[this.#head++];
    this.numReadyTokens -= text.tokenIds.length;
    this.numLeft--;
    // What was taken goes when it is half of all, so that taking costs no more the more wait.
    if (2 * this.#head >= this.#ready.length) this.#keep([]);
    return text;
  }

  /** The last that were taken, in their order. */
  putBack(texts: readonly ReadyText[]): void {
    this.#keep(texts);
    for (const { tokenIds } of texts) this.numReadyTokens += tokenIds.length;
    this.numLeft += texts.length;
  }

  clear(): void {
    this.#ready = [];
    this.#head = 0;
    this.numReadyTokens = 0;
  }

  #keep(front: readonly ReadyText[]): void {
    this.#ready = front.concat(this.#ready.slice(this.#head));
    this.#head = 0;
  }
}

interface PoolingStep {
  readonly queues: readonly TextQueue[];
  readonly texts: readonly ReadyText[];
  readonly numTokens: number;
}

interface FinishedStep extends PoolingStep {
  readonly values: Float32Array;
}

export interface PoolingSizes {
  readonly maxNumSeqs: number;
  /** Tokens up to which further texts join a step; one text may have more. */
  readonly stepTokens: number;
  /** Texts of more tokens use the long table of angles; undefined: there is none. */
  readonly longRopeFrom: number | undefined;
}

export class PoolingEngine {
  readonly #executor: PoolingExecutor;
  readonly sizes: PoolingSizes;
  readonly events = new EventFeed();
  onRoom: () => void = () => {};
  /** All that were let in and have not ended. */
  readonly #open = new Set<TextQueue>();
  /** Those with ready texts, in the order of their turns. */
  readonly #turns = new Set<TextQueue>();
  #numWaiting = 0;
  #numTextsLeft = 0;
  #numRunning = 0;
  #loop: Promise<void> | null = null;
  #isOpen = true;
  #closing: Promise<void> | null = null;
  #fatal: Error | null = null;
  #finished: FinishedStep | null = null;
  readonly #counts = { numSteps: 0, promptTokens: 0, numFinished: 0, numAborted: 0, numFailed: 0 };

  constructor(executor: PoolingExecutor, sizes: PoolingSizes) {
    this.#executor = executor;
    this.sizes = sizes;
  }

  /** @throws ERR_CLOSED, or what killed the engine */
  checkOpen(): void {
    if (!this.#isOpen) throw closedError();
    if (this.#fatal) throw this.#fatal;
  }

  /** Calls of which some text waits. */
  get numWaiting(): number {
    return this.#numWaiting;
  }

  /**
   * Lets a call in; its texts come with {@link push}.
   * @throws ERR_CLOSED, or what killed the engine
   */
  enter(owner: TextOwner, numTexts: number): TextQueue {
    this.checkOpen();
    const queue = new TextQueue(owner, numTexts);
    this.#open.add(queue);
    this.#numWaiting++;
    this.#numTextsLeft += numTexts;
    return queue;
  }

  push(queue: TextQueue, text: ReadyText): void {
    if (!this.#open.has(queue)) return;
    queue.push(text);
    this.#turns.add(queue);
    this.#loop ??= this.#run();
  }

  /** The call ends here; its places are free at once. Nothing happens where it has ended. */
  end(queue: TextQueue, error: Error): void {
    if (!this.#open.delete(queue)) return;
    this.#turns.delete(queue);
    if (queue.numLeft > 0) this.#numWaiting--;
    this.#numTextsLeft -= queue.numLeft;
    const isAborted = ABORTING.has((error as { code?: string }).code ?? '');
    this.#counts.numAborted += queue.numOpen;
    if (!isAborted) this.#counts.numFailed += queue.numOpen;
    queue.clear();
    queue.owner.fail(error);
    this.onRoom();
  }

  stats(): EngineStats {
    const { numSteps, promptTokens, numFinished, numAborted, numFailed } = this.#counts;
    return {
      numRequestsRunning: this.#numRunning,
      numRequestsWaiting: this.#numTextsLeft,
      numRequestsSwapped: 0,
      kvCacheUsage: 0,
      peakKvCacheUsage: 0,
      numSteps,
      promptTokens,
      generationTokens: 0,
      promptTokensCached: 0,
      prefixCacheQueries: 0,
      prefixCacheHits: 0,
      ...{ numStatesUsed: 0, numStatesCached: 0, numStateHits: 0 },
      numPreemptions: 0,
      numBlockCopies: 0,
      numBlocksSwappedOut: 0,
      numBlocksSwappedIn: 0,
      ...{ numStatesSwappedOut: 0, numStatesSwappedIn: 0 },
      numMasks: 0,
      numTokensForced: 0,
      numRequestsFinished: numFinished,
      numRequestsAborted: numAborted,
      numRequestsBy: {
        stop: numFinished,
        length: 0,
        abort: numAborted - numFailed,
        error: numFailed,
      },
    };
  }

  /** Ends all calls with ERR_CLOSED, waits for the step in flight, frees; idempotent. */
  close(): Promise<void> {
    this.#isOpen = false;
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#deliver();
    for (const queue of [...this.#open]) this.end(queue, closedError());
    this.onRoom();
    const [, closed] = await Promise.allSettled([this.#loop, this.#executor.close()]);
    this.events.close();
    if (closed.status === 'rejected') throw closed.reason;
  }

  async #run(): Promise<void> {
    // Texts of the same turn of the event loop start together.
    await new Promise(setImmediate);
    const pacer = new Pacer(1);
    try {
      while (this.#turns.size > 0) {
        const step = this.#pack();
        const executing = this.#execute(step);
        let turn: Promise<void> | undefined;
        try {
          this.onRoom();
          this.#deliver();
          if (pacer.due()) turn = pacer.turn();
        } finally {
          await (turn === undefined ? executing : Promise.all([executing, turn]));
        }
      }
      this.#deliver();
    } catch (error) {
      this.#die(coded(error));
    } finally {
      this.#loop = null;
    }
  }

  /** The texts of the next step, in the order of turns; the first that does not fit ends it. */
  #pack(): PoolingStep {
    const { maxNumSeqs, stepTokens } = this.sizes;
    const queues: TextQueue[] = [];
    const texts: ReadyText[] = [];
    const touched = new Set<TextQueue>();
    let numTokens = 0;
    const fits = ({ tokenIds }: ReadyText) =>
      texts.length === 0 || numTokens + tokenIds.length <= stepTokens;
    // A queue that was taken from joins the end of the line, and comes again if there is room.
    for (const queue of this.#turns) {
      const [first] = queues;
      if (first !== undefined && !mayShare(first, queue)) break;
      let taken = 0;
      while (taken < TURN && texts.length < maxNumSeqs && queue.numReady > 0) {
        if (!fits(queue.first)) break;
        const text = queue.take();
        numTokens += text.tokenIds.length;
        if (queue.numLeft === 0) this.#numWaiting--;
        queues.push(queue);
        texts.push(text);
        taken++;
      }
      touched.add(queue);
      const isFull = taken < TURN && queue.numReady > 0;
      if (!isFull) this.#turns.delete(queue);
      if (isFull) break;
      if (queue.numReady > 0) this.#turns.add(queue);
    }
    this.#numTextsLeft -= texts.length;
    for (const queue of touched) queue.owner.onTaken();
    return { queues, texts, numTokens };
  }

  async #execute(step: PoolingStep): Promise<void> {
    const { queues, texts, numTokens } = step;
    const { longRopeFrom = Number.POSITIVE_INFINITY } = this.sizes;
    this.#numRunning = texts.length;
    this.#counts.promptTokens += numTokens;
    const started = performance.now();
    let result: NativePooledResult;
    try {
      const words = encodePooled({
        texts: texts.map(({ tokenIds, tokenTypes }, i) => ({
          tokenIds,
          tokenTypes,
          pooling: queues[i].owner.pooling,
          longRope: tokenIds.length > longRopeFrom,
        })),
        tokenLogits: queues[0].owner.tokenLogits,
      });
      result = await this.#executor.embed(words);
    } catch (error) {
      this.#numRunning = 0;
      this.#failStep(step, coded(error));
      return;
    }
    this.#numRunning = 0;
    this.#counts.numSteps++;
    this.#finished = { ...step, values: result.values };
    if (this.events.isHeard) this.#publish(step, performance.now() - started, result.computeMs);
  }

  /** Callers hear of the last step while the next one is computed. */
  #deliver(): void {
    const finished = this.#finished;
    if (finished === null) return;
    this.#finished = null;
    const { queues, texts, values } = finished;
    const width = values.length / texts.length;
    for (let i = 0; i < texts.length; i++) {
      const queue = queues[i];
      if (!this.#open.has(queue)) continue;
      try {
        queue.owner.deliver(texts[i], values.subarray(i * width, (i + 1) * width));
      } catch (error) {
        this.end(queue, coded(error));
        continue;
      }
      this.#counts.numFinished++;
      if (--queue.numOpen === 0) this.#open.delete(queue);
    }
  }

  #publish({ texts, numTokens }: PoolingStep, ms: number, computeMs: number): void {
    this.events.publish({
      ...this.stats(),
      time: Date.now(),
      numBlocksUsed: 0,
      numBlocksFree: 0,
      numBlocksCached: 0,
      numTableEntries: 0,
      numHostBlocksUsed: 0,
      numHostStatesUsed: 0,
      step: {
        ms,
        computeMs,
        numSeqs: texts.length,
        numTokens,
        numBlockCopies: 0,
        numBlocksSwappedOut: 0,
        numBlocksSwappedIn: 0,
      },
    });
  }

  /**
   * A step that was refused ran nothing: its calls run one by one then, until it is known whose it
   * was. Any other failure ends them.
   */
  #failStep(step: PoolingStep, error: Error & { code?: string }): void {
    const owners = new Set(step.queues);
    if (error.code === 'ERR_INVALID_STEP' && owners.size > 1) {
      this.#putBack(step);
      return;
    }
    for (const queue of owners) this.end(queue, error);
    if (FATAL.has(error.code ?? '')) throw error;
  }

  /** Texts are as if they had not been taken; those that ended meanwhile are forgotten. */
  #putBack({ queues, texts, numTokens }: PoolingStep): void {
    this.#counts.promptTokens -= numTokens;
    const others = [...this.#turns];
    this.#turns.clear();
    const taken = new Map<TextQueue, ReadyText[]>();
    queues.forEach((queue, i) => {
      const own = taken.get(queue);
      if (own === undefined) taken.set(queue, [texts[i]]);
      else own.push(texts[i]);
    });
    for (const [queue, own] of taken) {
      if (!this.#open.has(queue)) continue;
      queue.isSuspect = true;
      if (queue.numLeft === 0) this.#numWaiting++;
      queue.putBack(own);
      this.#numTextsLeft += own.length;
      this.#turns.add(queue);
    }
    for (const queue of others) this.#turns.add(queue);
  }

  /** Something of the engine's own is wrong, or the executor is lost: nobody is served any more. */
  #die(error: Error): void {
    this.#fatal = error;
    for (const queue of [...this.#open]) this.end(queue, error);
    this.onRoom();
  }
}

/** Whether texts of two calls may be in one step. */
function mayShare(a: TextQueue, b: TextQueue): boolean {
  if (a === b) return true;
  const [ours, theirs] = [a.owner.tokenLogits, b.owner.tokenLogits];
  return !a.isSuspect && !b.isSuspect && ours?.join() === theirs?.join();
}
