/**
 * Logprobs of tokens, one after the other, as columns: a vocabulary of lists costs bytes, not
 * objects. It only ever grows, so whoever remembers a range of it may read that range later.
 */
import type { StepResult } from './step-result.js';

/** One token with its raw log-softmax (before penalties, bias and temperature), in nats. */
export interface TokenLogprob {
  /** The token. */
  readonly tokenId: number;
  /** Its logprob. */
  readonly logprob: number;
  /** 1 = the most likely token. */
  readonly rank: number;
  /** The most likely tokens, best first, as many as were asked for. */
  readonly top: readonly { readonly tokenId: number; readonly logprob: number }[];
}

/** Entries that there is room for at first. */
const FIRST_ROOM = 16;

const NO_IDS = new Int32Array(0);
const NO_VALUES = new Float64Array(0);

export class TokenLogprobs {
  /** How many of the best tokens stand beside each. */
  readonly numTop: number;
  #length = 0;
  #tokenIds = NO_IDS;
  #logprobs = NO_VALUES;
  #ranks = NO_IDS;
  #topTokenIds = NO_IDS;
  #topLogprobs = NO_VALUES;

  constructor(numTop: number) {
    this.numTop = Math.max(0, numTop);
  }

  get length(): number {
    return this.#length;
  }

  /** Takes one in; its best tokens are the `numTop` entries of the result's lists from `topAt`. */
  push(
    tokenId: number,
    logprob: number,
    rank: number,
    { topTokenIds, topLogprobs }: Pick<StepResult, 'topTokenIds' | 'topLogprobs'>,
    topAt: number,
  ): void {
    const i = this.#length;
    if (i === this.#tokenIds.length) this.#enlarge(Math.max(FIRST_ROOM, 2 * i));
    this.#tokenIds[i] = tokenId;
    this.#logprobs[i] = logprob;
    this.#ranks[i] = rank;
    const { numTop } = this;
    if (numTop > 0) {
      this.#topTokenIds.set(topTokenIds.subarray(topAt, topAt + numTop), i * numTop);
      this.#topLogprobs.set(topLogprobs.subarray(topAt, topAt + numTop), i * numTop);
    }
    this.#length++;
  }

  /** Entries [from … to) as objects, made anew by each call. */
  list(from: number, to: number): TokenLogprob[] {
    const { numTop } = this;
    const list: TokenLogprob[] = [];
    for (let i = from; i < to; i++) {
      const top = [];
      for (let t = i * numTop; t < (i + 1) * numTop; t++) {
        top.push({ tokenId: this.#topTokenIds[t], logprob: this.#topLogprobs[t] });
      }
      const tokenId = this.#tokenIds[i];
      list.push({ tokenId, logprob: this.#logprobs[i], rank: this.#ranks[i], top });
    }
    return list;
  }

  #enlarge(room: number): void {
    this.#tokenIds = copied(new Int32Array(room), this.#tokenIds);
    this.#logprobs = copied(new Float64Array(room), this.#logprobs);
    this.#ranks = copied(new Int32Array(room), this.#ranks);
    this.#topTokenIds = copied(new Int32Array(room * this.numTop), this.#topTokenIds);
    this.#topLogprobs = copied(new Float64Array(room * this.numTop), this.#topLogprobs);
  }
}

function copied<T extends Int32Array | Float64Array>(larger: T, from: T): T {
  larger.set(from);
  return larger;
}
