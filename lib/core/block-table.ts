/**
 * Block tables: which block holds the KV of which stretch of a sequence, in each KV group. The
 * tables of all groups of a sequence are one row of a slab, group after group: Int32Array
 * [numRows][sum of the groups' blocks per row]; a step names a row and how many entries of each of
 * its tables count.
 *
 * Tables are append-only: an entry changes only when a shared block is replaced by its copy, or
 * slides out of a window. So each step carries what has changed since the one before, and whoever
 * runs steps keeps a slab of the same shape up to date. (All tables of a step, copied, would cost
 * half as much again as everything else that is done for it.)
 *
 * A group without a window has slots for all tokens of a sequence, one with a window only up to the
 * query that is computed next, and where its window has moved past, the null block (pool: touch and
 * free ignore it). Rows that came back keep stale ids on purpose: nothing reads past what counts.
 */
import { assert } from '../errors.js';
import { type BlockPool, NULL_BLOCK } from './block-pool.js';
import { FreeIds } from './free-ids.js';
import { IntList } from './int-list.js';
import { KvGroups, tableOffsets } from './kv-groups.js';

/** What the tables need to know of their sequence; changed only by {@link BlockTables}. */
export interface TableOwner {
  /** Row of the slab, −1 without one. */
  row: number;
  /** Tokens that have a slot in every group. */
  numSlots: number;
}

/** Takes the block copies that a step must make before it writes. */
export interface CopySink {
  addCopy(source: number, target: number): void;
}

export class BlockTables {
  readonly pool: BlockPool;
  readonly groups: KvGroups;
  readonly numRows: number;
  readonly rowLength: number;
  readonly slab: Int32Array;
  readonly #offsets: readonly number[];
  /** Of each group, entries of each row that count. */
  readonly #numBlocks: readonly Int32Array[];
  /** (entry of the slab, block) pairs, as they changed since a step took them. */
  #changes = new IntList();
  readonly #freeRows: FreeIds;

  /** @param blocksPerRow of the finest group */
  constructor(
    pool: BlockPool,
    numRows: number,
    blocksPerRow: number,
    groups = KvGroups.whole(pool.blockSize),
  ) {
    const sizes = groups.blockSizes.map((blockSize) => ({ blockSize }));
    const { offsets, rowLength } = tableOffsets(sizes, pool.blockSize, blocksPerRow);
    this.pool = pool;
    this.groups = groups;
    this.numRows = numRows;
    this.#freeRows = new FreeIds(numRows);
    this.rowLength = rowLength;
    this.slab = new Int32Array(numRows * rowLength);
    this.#offsets = [...offsets, rowLength];
    this.#numBlocks = sizes.map(() => new Int32Array(numRows));
  }

  get numFreeRows(): number {
    return this.#freeRows.numFree;
  }

  takeRow(owner: TableOwner): void {
    assert(owner.row < 0, 'a second row was taken');
    owner.row = this.#freeRows.take();
  }

  giveRow(owner: TableOwner): void {
    assert(owner.row >= 0 && this.isEmpty(owner), 'a row was given back with blocks in it');
    this.#freeRows.give(owner.row);
    owner.row = -1;
  }

  /** What has changed since this was asked last; the next changes go into `empty`. */
  takeChanges(empty: IntList): IntList {
    const changes = this.#changes;
    this.#changes = empty;
    return changes;
  }

  /** Notes for the first `count` of some rows how long their tables are, in a column per group. */
  measure(rows: Int32Array, count: number, columns: readonly Int32Array[]): void {
    for (let g = 0; g < columns.length; g++) {
      const column = columns[g];
      const ofRows = this.#numBlocks[g];
      for (let i = 0; i < count; i++) column[i] = ofRows[rows[i]];
    }
  }

  /** Entries of a table that count, the null block among them. */
  numBlocksOf(owner: TableOwner, g = 0): number {
    return owner.row < 0 ? 0 : this.#numBlocks[g][owner.row];
  }

  isEmpty(owner: TableOwner): boolean {
    return owner.row < 0 || this.#numBlocks.every((counts) => counts[owner.row] === 0);
  }

  /** Blocks in all tables of a sequence that has computed so much, without what has slid out. */
  numHeld(owner: TableOwner, numComputed: number): number {
    let sum = 0;
    for (let g = 0; g < this.groups.length; g++) {
      sum += Math.max(0, this.numBlocksOf(owner, g) - this.groups.firstKept(g, numComputed));
    }
    return sum;
  }

  /**
   * Blocks that windows will need besides those that they hold, until the tokens there are now are
   * computed. (Others hold theirs already.)
   */
  numToCome(owner: TableOwner, numComputed: number, numTokens: number): number {
    const { groups } = this;
    let sum = 0;
    for (let g = 0; g < groups.length; g++) {
      if (groups.windows[g] === 0) continue;
      const held = this.numBlocksOf(owner, g) - groups.firstKept(g, numComputed);
      sum += Math.max(0, groups.peak(g, numComputed, numTokens) - held);
    }
    return sum;
  }

  blockAt(owner: TableOwner, index: number, g = 0): number {
    return this.slab[owner.row * this.rowLength + this.#offsets[g] + index];
  }

  /** A table as a list; for tests and diagnosis. */
  blocksOf(owner: TableOwner, g = 0): number[] {
    return Array.from({ length: this.numBlocksOf(owner, g) }, (_, i) => this.blockAt(owner, i, g));
  }

  /** Names blocks that already hold the first tokens (a prefix hit), one count more each. */
  adopt(owner: TableOwner, blocks: ArrayLike<number>, g = 0): void {
    const before = this.numBlocksOf(owner, g);
    for (let i = 0; i < blocks.length; i++) {
      this.pool.touch(blocks[i]);
      this.#set(owner, g, before + i, blocks[i]);
    }
    this.#resize(owner, g, before + blocks.length);
  }

  /**
   * Appends blocks until `numTokens` have slots; in groups with a window, until `numNow` have.
   * False (too few are free) changes nothing in any group.
   */
  grow(owner: TableOwner, numTokens: number, numNow = numTokens): boolean {
    const missing = this.#numMissing(owner, numTokens, numNow);
    if (missing > this.pool.numFree) return false;
    if (missing > 0) this.#extend(owner, numTokens, numNow);
    return true;
  }

  /**
   * Makes room for writing the slots from `from` on, as {@link grow}: appends what is missing, and
   * where a block of `from` is begun and shared, puts a new block in its place and tells `copies`
   * to fill it. With count 1 it is written in place. False (not enough free blocks) changes nothing
   * in any group.
   *
   * In each group only the block of `from` can be both shared and unfinished: a fork shares blocks
   * up to the last computed token and no further, and shared blocks before it are full, never
   * written again.
   */
  prepareWrite(
    owner: TableOwner,
    from: number,
    numTokens: number,
    copies: CopySink,
    numNow = numTokens,
  ): boolean {
    const { length } = this.groups;
    let copied = 0;
    for (let g = 0; g < length; g++) if (this.#mustCopy(owner, g, from)) copied++;
    const missing = this.#numMissing(owner, numTokens, numNow);
    if (missing + copied > this.pool.numFree) return false;
    for (let g = 0; g < length && copied > 0; g++) {
      if (this.#mustCopy(owner, g, from)) this.#copy(owner, g, from, copies);
    }
    if (missing > 0) this.#extend(owner, numTokens, numNow);
    return true;
  }

  /** The child's tables become the parent's first `numTokens` tokens; allocates nothing. */
  fork(parent: TableOwner, child: TableOwner, numTokens: number): void {
    assert(this.isEmpty(child), 'a fork into tables that are in use');
    for (let g = 0; g < this.groups.length; g++) {
      const count = this.groups.blocksFor(g, numTokens);
      assert(count <= this.numBlocksOf(parent, g), 'a fork of what is not there');
      for (let i = 0; i < count; i++) {
        const block = this.blockAt(parent, i, g);
        this.pool.touch(block);
        this.#set(child, g, i, block);
      }
      this.#resize(child, g, count);
    }
  }

  /** Takes back the copy that {@link prepareWrite} would have made of `source`. */
  undoCopy(owner: TableOwner, index: number, source: number, g = 0): void {
    this.pool.touch(source);
    this.pool.free(this.blockAt(owner, index, g));
    this.#set(owner, g, index, source);
  }

  /** Frees the entries `from … to − 1`, last first, and leaves the null block in their place. */
  dropHead(owner: TableOwner, from: number, to: number, g = 0): void {
    for (let i = to - 1; i >= from; i--) {
      this.pool.free(this.blockAt(owner, i, g));
      this.#set(owner, g, i, NULL_BLOCK);
    }
  }

  /**
   * Frees all tables, last block first, so that a sequence's tail is evicted before its head: of
   * all groups together, for a hit needs the same stretch of each.
   */
  release(owner: TableOwner): void {
    const { blockSizes, finest, length } = this.groups;
    let last = 0;
    for (let g = 0; g < length; g++) {
      last = Math.max(last, (this.numBlocksOf(owner, g) * blockSizes[g]) / finest);
    }
    for (let i = last - 1; i >= 0; i--) {
      for (let g = 0; g < length; g++) {
        const ratio = blockSizes[g] / finest;
        if (i % ratio !== 0 || i / ratio >= this.numBlocksOf(owner, g)) continue;
        this.pool.free(this.blockAt(owner, i / ratio, g));
      }
    }
    for (let g = 0; g < length && owner.row >= 0; g++) this.#numBlocks[g][owner.row] = 0;
    owner.numSlots = 0;
  }

  /** Blocks for which room must be found so that {@link grow} can do what it is asked. */
  #numMissing(owner: TableOwner, numTokens: number, numNow: number): number {
    const { groups } = this;
    let sum = 0;
    for (let g = 0; g < groups.length; g++) {
      const wanted = groups.blocksFor(g, groups.windows[g] === 0 ? numTokens : numNow);
      assert(this.#offsets[g] + wanted <= this.#offsets[g + 1], 'a table outgrew its row');
      sum += Math.max(0, wanted - this.#numBlocks[g][owner.row]);
    }
    return sum;
  }

  #extend(owner: TableOwner, numTokens: number, numNow: number): void {
    const { groups } = this;
    for (let g = 0; g < groups.length; g++) {
      const before = this.#numBlocks[g][owner.row];
      const wanted = groups.blocksFor(g, groups.windows[g] === 0 ? numTokens : numNow);
      if (wanted <= before) continue;
      const at = owner.row * this.rowLength + this.#offsets[g] + before;
      const isThere = this.pool.allocate(wanted - before, this.slab, at);
      assert(isThere, 'blocks that were free are gone');
      for (let i = at; i < at + wanted - before; i++) this.#noteChange(i);
      this.#resize(owner, g, wanted);
    }
  }

  #mustCopy(owner: TableOwner, g: number, from: number): boolean {
    const size = this.groups.blockSizes[g];
    if (from % size === 0) return false;
    return this.pool.refCounts[this.blockAt(owner, Math.floor(from / size), g)] > 1;
  }

  #copy(owner: TableOwner, g: number, from: number, copies: CopySink): void {
    const index = Math.floor(from / this.groups.blockSizes[g]);
    const source = this.blockAt(owner, index, g);
    const target = this.pool.allocateOne();
    this.#set(owner, g, index, target);
    copies.addCopy(source, target);
    this.pool.free(source);
  }

  #set(owner: TableOwner, g: number, index: number, block: number): void {
    const entry = this.#offsets[g] + index;
    assert(entry < this.#offsets[g + 1], 'a table outgrew its row');
    const at = owner.row * this.rowLength + entry;
    this.slab[at] = block;
    this.#noteChange(at);
  }

  #noteChange(at: number): void {
    this.#changes.push(at);
    this.#changes.push(this.slab[at]);
  }

  #resize(owner: TableOwner, g: number, numBlocks: number): void {
    const { blockSizes, length } = this.groups;
    this.#numBlocks[g][owner.row] = numBlocks;
    let slots = numBlocks * blockSizes[g];
    for (let other = 0; other < length; other++) {
      slots = Math.min(slots, this.#numBlocks[other][owner.row] * blockSizes[other]);
    }
    owner.numSlots = slots;
  }
}
