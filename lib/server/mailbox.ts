/**
 * Between the engine and a client: events wait here, those of a sample in one, so that a slow
 * reader gets fewer and larger deltas; one for whom too much waits is given up. A reader may also
 * ask for larger ones, as each frame costs server and client more than the token in it.
 */
import { addDelta, type DeltaEvent, type GenerationEvent } from './engine-events.js';

const nobody = () => {};

export class Mailbox {
  readonly #maxBytes: number;
  readonly #interval: number;
  /** Samples whose first delta has come. */
  readonly #begun = new Set<string>();
  /** Whether what waits is to be read now. */
  #isDue = false;
  #events: GenerationEvent[] = [];
  /** The last event of each sample, where text may still be added to it. */
  #open = new Map<string, DeltaEvent>();
  /** Of what counts; see {@link Mailbox.push}. */
  #numBytes = 0;
  /** The prompt whose step found nothing waiting. */
  #first: number | null = null;
  #error: unknown;
  #state: 'open' | 'ended' | 'failed' = 'open';
  #wake: () => void = nobody;
  #close: () => void = nobody;

  /**
   * @param maxBytes what may wait
   * @param interval tokens of a sample that are waited for after its first, before it is told
   */
  constructor(maxBytes: number, interval = 1) {
    this.#maxBytes = maxBytes;
    this.#interval = interval;
  }

  /**
   * False when more waits than may. What one step brings where nothing waited does not count, or
   * whoever asks for more in a step than may wait would be given up however fast it reads.
   */
  push(event: GenerationEvent): boolean {
    if (this.#state !== 'open') return true;
    if (event.type === 'delta') this.#add(event);
    else {
      this.#events.push(event);
      this.#isDue = true;
    }
    if (event.type === 'end') this.#open.delete(`${event.prompt} ${event.sample}`);
    const fits = this.#numBytes <= this.#maxBytes;
    if (!fits) this.#isDue = true;
    if (this.#isDue) this.#wake();
    return fits;
  }

  #add(event: DeltaEvent): void {
    const key = `${event.prompt} ${event.sample}`;
    const before = this.#open.get(key);
    this.#first ??= event.prompt;
    if (before !== undefined || event.prompt !== this.#first) this.#numBytes += sizeOf(event);
    if (before === undefined) {
      this.#open.set(key, event);
      this.#events.push(event);
    } else addDelta(before, event);
    const numTokens = (before ?? event).tokenIds.length;
    if (numTokens >= this.#interval || !this.#begun.has(key)) this.#isDue = true;
    this.#begun.add(key);
  }

  /** Whether more waits than may although its reader has had a turn to take it. */
  async staysFull(): Promise<boolean> {
    await new Promise((resolve) => setImmediate(resolve));
    return this.#state === 'open' && this.#numBytes > this.#maxBytes;
  }

  end(): void {
    if (this.#state === 'open') this.#state = 'ended';
    this.#wake();
    this.#close();
  }

  /** What waits is dropped; the reader gets the error. */
  fail(error: unknown): void {
    if (this.#state !== 'open') return;
    this.#state = 'failed';
    this.#error = error;
    this.#wake();
    this.#close();
  }

  /** What has come since the last time, at least one event; null at the end. */
  async take(): Promise<GenerationEvent[] | null> {
    while (this.#state === 'open' && !this.#isDue) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#taken();
  }

  /** Waits for the end: everything, that of a sample in one; null for nothing. */
  async takeAll(): Promise<GenerationEvent[] | null> {
    if (this.#state === 'open') {
      await new Promise<void>((resolve) => {
        this.#close = resolve;
      });
    }
    return this.#taken();
  }

  #taken(): GenerationEvent[] | null {
    if (this.#state === 'failed') throw this.#error;
    if (this.#events.length === 0) return null;
    const events = this.#events;
    this.#events = [];
    this.#open = new Map();
    this.#numBytes = 0;
    this.#first = null;
    this.#isDue = false;
    return events;
  }
}

/** About what it takes on the wire. */
function sizeOf({ text, tokenIds, logprobs }: DeltaEvent): number {
  const entries = logprobs?.reduce((sum, { top }) => sum + 1 + top.length, 0) ?? 0;
  return text.length + 8 * tokenIds.length + 64 * entries;
}
