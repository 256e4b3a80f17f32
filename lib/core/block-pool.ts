/**
 * The blocks of the KV pool: who uses them, which are free, which can be hit by the prefix cache.
 *
 * Free blocks form a doubly linked list inside two arrays, so that a hit takes a block out of the
 * middle in O(1). Blocks are handed out from the head. A block that comes back with nothing
 * published goes to the head (its content is worth nothing), one that can still be hit goes to the
 * tail, which makes the list LRU. A free block stays hittable until it is handed out.
 *
 * A link of 0 stands for the neighbour by number: so a new pool is all zeros, which costs neither
 * time nor memory before a block is handed out, however many there are.
 *
 * Block 0 is the null block: never free, never written, always count 1; a table may name it where
 * it has nothing to say. `touch` and `free` leave it alone.
 */
import { assert } from '../errors.js';
import { KvGroups } from './kv-groups.js';
import { PrefixIndex } from './prefix-hash.js';

export const NULL_BLOCK = 0;

export interface PoolOptions {
  readonly numBlocks: number;
  /** Tokens per block of the finest group. */
  readonly blockSize: number;
  readonly hashSeed?: number;
  /** Default: one, which keeps all tokens. */
  readonly groups?: KvGroups;
}

export class BlockPool {
  readonly numBlocks: number;
  readonly blockSize: number;
  readonly prefixes: PrefixIndex;
  /** How many tables name a block. Read freely, changed only here. */
  readonly refCounts: Int32Array;
  // Index numBlocks is the ring's anchor: next of it is the head, previous of it the tail.
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #anchor: number;
  readonly #marks: Int32Array;
  #epoch = 0;
  #numFree: number;
  #numRevivals = 0;

  constructor(options: PoolOptions) {
    const { numBlocks, blockSize, groups = KvGroups.whole(blockSize) } = options;
    assert(Number.isInteger(numBlocks) && numBlocks >= 2, 'a pool needs at least two blocks');
    assert(Number.isInteger(blockSize) && blockSize >= 1, 'a block needs at least one slot');
    this.numBlocks = numBlocks;
    this.blockSize = blockSize;
    this.prefixes = new PrefixIndex(numBlocks, blockSize, options.hashSeed, groups);
    this.refCounts = new Int32Array(numBlocks);
    this.#marks = new Int32Array(numBlocks);
    this.refCounts[NULL_BLOCK] = 1;
    this.#anchor = numBlocks;
    this.#next = new Int32Array(numBlocks + 1);
    this.#previous = new Int32Array(numBlocks + 1);
    this.#next[this.#anchor] = 1;
    this.#previous[1] = this.#anchor;
    this.#numFree = numBlocks - 1;
  }

  get numFree(): number {
    return this.#numFree;
  }

  /** Free blocks that a hit has taken back into use, ever. */
  get numRevivals(): number {
    return this.#numRevivals;
  }

  /** Blocks that requests can have: all but the null block. */
  get numUsable(): number {
    return this.numBlocks - 1;
  }

  /** Part of the usable blocks that is in use, 0 … 1. */
  get usage(): number {
    return 1 - this.#numFree / (this.numBlocks - 1);
  }

  /**
   * Hands out `count` blocks from the head of the free list, with count 1 and nothing published,
   * into `out[at …]`. All or nothing: false changes nothing.
   */
  allocate(count: number, out: Int32Array, at: number): boolean {
    if (count > this.#numFree) return false;
    for (let i = 0; i < count; i++) out[at + i] = this.#takeHead();
    return true;
  }

  /** One block as {@link allocate} hands it out, or −1. */
  allocateOne(): number {
    return this.#numFree === 0 ? -1 : this.#takeHead();
  }

  /** One table more names the block; a free one leaves the free list. */
  touch(block: number): void {
    if (block === NULL_BLOCK) return;
    if (this.refCounts[block]++ > 0) return;
    this.#unlink(block);
    this.#numRevivals++;
  }

  /** One table less names the block. A sequence frees its blocks last to first. */
  free(block: number): void {
    if (block === NULL_BLOCK) return;
    const count = this.refCounts[block] - 1;
    assert(count >= 0, 'a block was freed twice');
    this.refCounts[block] = count;
    if (count > 0) return;
    const anchor = this.#anchor;
    if (this.prefixes.isPublished(block)) this.#insert(block, this.#previousOf(anchor), anchor);
    else this.#insert(block, anchor, this.#nextOf(anchor));
  }

  /** Starts a round of {@link mark}. */
  startMarks(): void {
    this.#epoch++;
  }

  /** True the first time that a block is named in this round: for counting distinct blocks. */
  mark(block: number): boolean {
    if (this.#marks[block] === this.#epoch) return false;
    this.#marks[block] = this.#epoch;
    return true;
  }

  /** Forgets every published prefix. Refused (false) while any block is in use. */
  resetPrefixes(): boolean {
    if (this.#numFree !== this.numBlocks - 1) return false;
    this.prefixes.evictAll();
    return true;
  }

  /** The free list, head first; for tests and diagnosis. */
  freeBlocks(): number[] {
    const blocks: number[] = [];
    for (let b = this.#head; b !== this.#anchor; b = this.#nextOf(b)) blocks.push(b);
    return blocks;
  }

  /** free + used + null = total, the list is sound both ways, counts are not negative. */
  checkInvariants(): void {
    let free = 0;
    let before = this.#anchor;
    for (let b = this.#head; b !== this.#anchor; b = this.#nextOf(b)) {
      assert(b > 0 && b < this.numBlocks, 'the free list leaves the pool');
      assert(this.refCounts[b] === 0, 'a block in use is on the free list');
      assert(this.#previousOf(b) === before, 'the free list is torn');
      assert(++free <= this.#numFree, 'the free list is longer than it says');
      before = b;
    }
    assert(this.#previousOf(this.#anchor) === before, 'the free list has lost its tail');
    assert(free === this.#numFree, 'the free list is shorter than it says');
    assert(this.refCounts[NULL_BLOCK] === 1, 'the null block was counted');
    assert(!this.prefixes.isPublished(NULL_BLOCK), 'the null block was published');
    let used = 0;
    for (let b = 1; b < this.numBlocks; b++) {
      assert(this.refCounts[b] >= 0, 'a count is negative');
      if (this.refCounts[b] > 0) used++;
    }
    assert(free + used + 1 === this.numBlocks, 'blocks were lost');
  }

  get #head(): number {
    return this.#nextOf(this.#anchor);
  }

  #nextOf(block: number): number {
    return this.#next[block] || block + 1;
  }

  #previousOf(block: number): number {
    return this.#previous[block] || block - 1;
  }

  #takeHead(): number {
    const block = this.#head;
    this.#unlink(block);
    this.refCounts[block] = 1;
    this.prefixes.evict(block);
    return block;
  }

  #unlink(block: number): void {
    const next = this.#nextOf(block);
    const previous = this.#previousOf(block);
    this.#next[previous] = next;
    this.#previous[next] = previous;
    this.#numFree--;
  }

  #insert(block: number, previous: number, next: number): void {
    this.#previous[block] = previous;
    this.#next[block] = next;
    this.#next[previous] = block;
    this.#previous[next] = block;
    this.#numFree++;
  }
}
