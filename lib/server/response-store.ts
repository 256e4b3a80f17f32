/** Responses that a later request may go on from: the newest, within a number and bytes. */
import type { WireMessage } from './schemas/chat.js';

export interface StoredResponse {
  /** What was answered, as it was sent. */
  readonly response: object;
  /** The conversation so far, the answer included. */
  readonly messages: readonly WireMessage[];
}

interface Entry extends StoredResponse {
  readonly numBytes: number;
}

export class ResponseStore {
  readonly #maxCount: number;
  readonly #maxBytes: number;
  readonly #entries = new Map<string, Entry>();
  #numBytes = 0;

  constructor(maxCount: number, maxBytes: number) {
    this.#maxCount = maxCount;
    this.#maxBytes = maxBytes;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(id: string): StoredResponse | undefined {
    return this.#entries.get(id);
  }

  set(id: string, stored: StoredResponse): void {
    const numBytes = sizeOf(stored);
    if (numBytes > this.#maxBytes || this.#maxCount === 0) return;
    this.#entries.set(id, { ...stored, numBytes });
    this.#numBytes += numBytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#maxCount && this.#numBytes <= this.#maxBytes) return;
      this.delete(oldest);
    }
  }

  delete(id: string): boolean {
    this.#numBytes -= this.#entries.get(id)?.numBytes ?? 0;
    return this.#entries.delete(id);
  }
}

/** Of what is nested deeper than can be written: more than there is. */
function sizeOf(stored: StoredResponse): number {
  try {
    return JSON.stringify(stored).length;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
