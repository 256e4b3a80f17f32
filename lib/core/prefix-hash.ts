/**
 * Which prompt prefixes have their KV in the pool. Exact, not probabilistic: every distinct prefix
 * of whole blocks gets an *identity*, a number never used twice. A published block remembers its
 * own tokens and the identity of the prefix before it; a lookup compares both. The prefix before
 * it was compared the same way, so by induction a hit means that the whole prefix is equal, token
 * by token. The 32-bit hash only chooses a bucket: a collision costs one comparison more and can
 * never serve another prompt's KV, which is why it may be this cheap (a strong hash of the same
 * strength would cost microseconds per block, and 4,096 sequences may fill a block in one step).
 *
 * A first block has no prefix before it; its parent is a *root*, a negative number. Each cache salt
 * has its own root, so prompts under different salts never meet.
 *
 * Blocks with equal content share one identity, so either may stand for the prefix when the other
 * is evicted. If the last block of a prefix is evicted before its continuation, the prefix gets a
 * fresh identity when it is computed again, and the old continuation is never hit again: a lost
 * hit, no wrong one. It does not come up in practice: sequences free their tail before their head.
 */
import { assert } from '../errors.js';

/** Identity of "nothing published". */
export const NO_PREFIX = 0;
/** Root of every prompt without a salt. */
export const UNSALTED_ROOT = -1;

interface Root {
  readonly salt: string;
  readonly id: number;
  /** Requests that use the root plus first blocks published under it. */
  users: number;
}

export class PrefixIndex {
  readonly #blockSize: number;
  /** Mixed into every hash, so that nobody outside can aim prompts at one bucket. */
  readonly #seed: number;
  readonly #mask: number;
  readonly #bucketHead: Int32Array;
  readonly #bucketOf: Int32Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  // Identities are doubles: they count up for ever, 2^53 of them.
  readonly #identity: Float64Array;
  readonly #parent: Float64Array;
  readonly #tokens: Int32Array;
  readonly #rootsBySalt = new Map<string, Root>();
  readonly #rootsById = new Map<number, Root>();
  #nextIdentity = 1;
  #nextRoot = UNSALTED_ROOT - 1;
  #numPublished = 0;

  constructor(numBlocks: number, blockSize: number, seed = 0) {
    this.#blockSize = blockSize;
    this.#seed = seed | 0;
    const numBuckets = 2 ** Math.ceil(Math.log2(Math.max(2, numBlocks * 2)));
    this.#mask = numBuckets - 1;
    this.#bucketHead = new Int32Array(numBuckets).fill(-1);
    this.#bucketOf = new Int32Array(numBlocks);
    this.#next = new Int32Array(numBlocks).fill(-1);
    this.#previous = new Int32Array(numBlocks).fill(-1);
    this.#identity = new Float64Array(numBlocks);
    this.#parent = new Float64Array(numBlocks);
    this.#tokens = new Int32Array(numBlocks * blockSize);
  }

  /** How many blocks can be hit. */
  get numPublished(): number {
    return this.#numPublished;
  }

  /** How many salts are remembered: only those that a request or a block still uses. */
  get numSalts(): number {
    return this.#rootsBySalt.size;
  }

  isPublished(block: number): boolean {
    return this.#identity[block] !== NO_PREFIX;
  }

  /** Identity of the prefix that ends with this block, or {@link NO_PREFIX}. */
  identityOf(block: number): number {
    return this.#identity[block];
  }

  /** The root of a salt, held until {@link releaseRoot}. */
  acquireRoot(salt: string | undefined): number {
    if (salt === undefined) return UNSALTED_ROOT;
    let root = this.#rootsBySalt.get(salt);
    if (root === undefined) {
      root = { salt, id: this.#nextRoot--, users: 0 };
      this.#rootsBySalt.set(salt, root);
      this.#rootsById.set(root.id, root);
    }
    root.users++;
    return root.id;
  }

  releaseRoot(id: number): void {
    if (id === UNSALTED_ROOT) return;
    const root = this.#rootsById.get(id);
    assert(root !== undefined && root.users > 0, 'a salt was released too often');
    if (--root.users > 0) return;
    this.#rootsById.delete(id);
    this.#rootsBySalt.delete(root.salt);
  }

  /**
   * The block (of several, the eldest) that holds `tokens[at … at + blockSize)` after the prefix
   * `parent`, or −1.
   */
  find(parent: number, tokens: Int32Array, at: number): number {
    return this.#search(this.#hash(parent, tokens, at) & this.#mask, parent, tokens, at);
  }

  /** Makes a full block hittable; returns the identity of the prefix that ends with it. */
  publish(block: number, parent: number, tokens: Int32Array, at: number): number {
    assert(this.#identity[block] === NO_PREFIX, 'a block was published twice');
    const bucket = this.#hash(parent, tokens, at) & this.#mask;
    const twin = this.#search(bucket, parent, tokens, at);
    const identity = twin >= 0 ? this.#identity[twin] : this.#nextIdentity++;
    this.#identity[block] = identity;
    this.#parent[block] = parent;
    this.#bucketOf[block] = bucket;
    const own = block * this.#blockSize;
    for (let i = 0; i < this.#blockSize; i++) this.#tokens[own + i] = tokens[at + i];
    this.#link(block, bucket, twin);
    this.#numPublished++;
    if (parent < UNSALTED_ROOT) this.#rootsById.get(parent)!.users++;
    return identity;
  }

  /** Forgets what a block holds. Nothing happens where nothing was published. */
  evict(block: number): void {
    if (this.#identity[block] === NO_PREFIX) return;
    const next = this.#next[block];
    const previous = this.#previous[block];
    if (previous >= 0) this.#next[previous] = next;
    else this.#bucketHead[this.#bucketOf[block]] = next;
    if (next >= 0) this.#previous[next] = previous;
    this.#identity[block] = NO_PREFIX;
    this.#numPublished--;
    const parent = this.#parent[block];
    if (parent < UNSALTED_ROOT) this.releaseRoot(parent);
  }

  /** A twin stands behind the eldest, which is hit as long as it is there; others in front. */
  #link(block: number, bucket: number, twin: number): void {
    const next = twin >= 0 ? this.#next[twin] : this.#bucketHead[bucket];
    this.#next[block] = next;
    this.#previous[block] = twin;
    if (next >= 0) this.#previous[next] = block;
    if (twin >= 0) this.#next[twin] = block;
    else this.#bucketHead[bucket] = block;
  }

  #search(bucket: number, parent: number, tokens: Int32Array, at: number): number {
    const size = this.#blockSize;
    for (let block = this.#bucketHead[bucket]; block >= 0; block = this.#next[block]) {
      if (this.#parent[block] !== parent) continue;
      const own = block * size;
      let i = 0;
      while (i < size && this.#tokens[own + i] === tokens[at + i]) i++;
      if (i === size) return block;
    }
    return -1;
  }

  #hash(parent: number, tokens: Int32Array, at: number): number {
    let h = this.#seed ^ Math.imul(parent | 0, 0x9e3779b1);
    for (let i = 0; i < this.#blockSize; i++) {
      h = Math.imul(h ^ tokens[at + i], 0x85ebca6b);
      h = (h << 13) | (h >>> 19);
    }
    h = Math.imul(h ^ (h >>> 16), 0xc2b2ae35);
    return h ^ (h >>> 15);
  }
}
