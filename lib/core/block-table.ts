/**
 * Block tables: which block holds the KV of which stretch of a sequence. All tables are rows of one
 * slab, Int32Array [numRows][blocksPerRow], which goes to the native side as it is; a step names a
 * row and how many of its entries count. Tables are append-only: an entry changes only when a
 * shared block is replaced by its copy.
 *
 * Entries may be the null block (pool: touch and free ignore it): a window that has moved past its
 * first blocks can free them and leave 0 behind. Freed rows keep stale ids on purpose: nothing
 * reads past numBlocks.
 */
import { assert } from '../errors.js';
import { type BlockPool, NULL_BLOCK } from './block-pool.js';

/** What a table needs to know of its sequence; changed only by {@link BlockTables}. */
export interface TableOwner {
  /** Row of the slab, −1 without one. */
  row: number;
  /** Entries of the row that count. */
  numBlocks: number;
  /** numBlocks · blockSize: tokens that have a slot. */
  numSlots: number;
}

/** Takes the block copies that a step must make before it writes. */
export interface CopySink {
  addCopy(source: number, target: number): void;
}

export class BlockTables {
  readonly pool: BlockPool;
  readonly numRows: number;
  readonly blocksPerRow: number;
  readonly slab: Int32Array;
  readonly #freeRows: Int32Array;
  #numFreeRows: number;

  constructor(pool: BlockPool, numRows: number, blocksPerRow: number) {
    this.pool = pool;
    this.numRows = numRows;
    this.blocksPerRow = blocksPerRow;
    this.slab = new Int32Array(numRows * blocksPerRow);
    this.#freeRows = new Int32Array(numRows);
    for (let i = 0; i < numRows; i++) this.#freeRows[i] = numRows - 1 - i;
    this.#numFreeRows = numRows;
  }

  get numFreeRows(): number {
    return this.#numFreeRows;
  }

  takeRow(owner: TableOwner): void {
    assert(this.#numFreeRows > 0 && owner.row < 0, 'no row is free, or a second one was taken');
    owner.row = this.#freeRows[--this.#numFreeRows];
  }

  giveRow(owner: TableOwner): void {
    assert(owner.row >= 0 && owner.numBlocks === 0, 'a row was given back with blocks in it');
    this.#freeRows[this.#numFreeRows++] = owner.row;
    owner.row = -1;
  }

  blockAt(owner: TableOwner, index: number): number {
    return this.slab[owner.row * this.blocksPerRow + index];
  }

  /** The table as a list; for tests and diagnosis. */
  blocksOf(owner: TableOwner): number[] {
    const at = owner.row * this.blocksPerRow;
    return Array.from(this.slab.subarray(at, at + owner.numBlocks));
  }

  /** Names blocks that already hold the first tokens (a prefix hit), one count more each. */
  adopt(owner: TableOwner, blocks: readonly number[], from: number, count: number): void {
    for (let i = 0; i < count; i++) {
      this.pool.touch(blocks[from + i]);
      this.#set(owner, owner.numBlocks + i, blocks[from + i]);
    }
    this.#resize(owner, owner.numBlocks + count);
  }

  /** Appends blocks until `numTokens` have slots. False (too few are free) changes nothing. */
  grow(owner: TableOwner, numTokens: number): boolean {
    const missing = this.#blocksFor(numTokens) - owner.numBlocks;
    if (missing <= 0) return true;
    assert(owner.numBlocks + missing <= this.blocksPerRow, 'a table outgrew its row');
    const at = owner.row * this.blocksPerRow + owner.numBlocks;
    if (!this.pool.allocate(missing, this.slab, at)) return false;
    this.#resize(owner, owner.numBlocks + missing);
    return true;
  }

  /**
   * Makes room for writing the slots `from … numTokens − 1`: appends what is missing, and where the
   * block of `from` is begun and shared, puts a new block in its place and tells `copies` to fill
   * it. With count 1 it is written in place. False (not enough free blocks) changes nothing.
   *
   * Only the block of `from` can be both shared and unfinished: a fork shares blocks up to the
   * last computed token and no further, and shared blocks before it are full, never written again.
   */
  prepareWrite(owner: TableOwner, from: number, numTokens: number, copies: CopySink): boolean {
    const { pool } = this;
    const index = Math.floor(from / pool.blockSize);
    const begun = from % pool.blockSize !== 0;
    const source = begun ? this.blockAt(owner, index) : -1;
    if (!begun || pool.refCounts[source] === 1) return this.grow(owner, numTokens);
    const missing = Math.max(0, this.#blocksFor(numTokens) - owner.numBlocks);
    if (pool.numFree < missing + 1) return false;
    const target = pool.allocateOne();
    this.#set(owner, index, target);
    copies.addCopy(source, target);
    pool.free(source);
    return this.grow(owner, numTokens);
  }

  /** The child's table becomes the parent's first `numTokens` tokens; allocates nothing. */
  fork(parent: TableOwner, child: TableOwner, numTokens: number): void {
    const count = this.#blocksFor(numTokens);
    assert(count <= parent.numBlocks && child.numBlocks === 0, 'a fork of what is not there');
    const from = parent.row * this.blocksPerRow;
    for (let i = 0; i < count; i++) {
      const block = this.slab[from + i];
      this.pool.touch(block);
      this.#set(child, i, block);
    }
    this.#resize(child, count);
  }

  /** Takes back the copy that {@link prepareWrite} would have made of `source`. */
  undoCopy(owner: TableOwner, index: number, source: number): void {
    this.pool.touch(source);
    this.pool.free(this.blockAt(owner, index));
    this.#set(owner, index, source);
  }

  /** Frees the entries `from … to − 1`, last first, and leaves the null block in their place. */
  dropHead(owner: TableOwner, from: number, to: number): void {
    for (let i = to - 1; i >= from; i--) {
      this.pool.free(this.blockAt(owner, i));
      this.#set(owner, i, NULL_BLOCK);
    }
  }

  /** Frees the table last block first, so that a sequence's tail is evicted before its head. */
  release(owner: TableOwner): void {
    const at = owner.row * this.blocksPerRow;
    for (let i = owner.numBlocks - 1; i >= 0; i--) this.pool.free(this.slab[at + i]);
    this.#resize(owner, 0);
  }

  #blocksFor(numTokens: number): number {
    return Math.ceil(numTokens / this.pool.blockSize);
  }

  #set(owner: TableOwner, index: number, block: number): void {
    assert(index < this.blocksPerRow, 'a table outgrew its row');
    this.slab[owner.row * this.blocksPerRow + index] = block;
  }

  #resize(owner: TableOwner, numBlocks: number): void {
    owner.numBlocks = numBlocks;
    owner.numSlots = numBlocks * this.pool.blockSize;
  }
}
