/**
 * Which prompt prefixes have their KV in the pool. Exact, not probabilistic: every distinct prefix
 * of whole blocks gets an *identity*, a number never used twice, and a node, which remembers the
 * tokens of its last block and the identity of the prefix before it; a lookup compares both. The
 * prefix before it was compared the same way, so by induction a hit means that the whole prefix is
 * equal, token by token. The 32-bit hash only chooses a bucket: a collision costs one comparison
 * more and can never serve another prompt's KV, which is why it may be this cheap (a strong hash of
 * the same strength would cost microseconds per block, and 4,096 sequences may fill a block in one
 * step).
 *
 * A first block has no prefix before it; its parent is a *root*, a negative number. Each cache salt
 * has its own root, so prompts under different salts never meet; nor do those whose angles come
 * from different tables, which gives the same tokens other keys.
 *
 * Nodes are as fine as the finest KV group. A node has for each group the blocks that end with it:
 * none where the group has no border there, or where they were evicted; twins where several
 * sequences computed the same. Either twin may stand for the prefix when the other is evicted. A
 * prefix whose last block is evicted gets a fresh identity when it is computed again, and the old
 * continuation is never hit again: a lost hit, no wrong one. That is rare where a group keeps all
 * tokens, for sequences free their tail before their head. But what slid out of a window is evicted
 * first: so a node that no such group needs stays, without any block, as long as others continue
 * it.
 *
 * Blocks and nodes are numbers from 1 on, and 0 means none: a new index is all zeros, which costs
 * nothing.
 */
import { assert } from '../errors.js';
import { KvGroups } from './kv-groups.js';

/** Identity of "nothing published". */
export const NO_PREFIX = 0;
/** Root of every prompt without a salt, by the model's usual angles. */
export const UNSALTED_ROOT = -1;

interface Root {
  readonly name: string;
  readonly id: number;
  /** Requests that use the root plus first blocks published under it. */
  users: number;
}

/** Who is told which prefixes the cache has, as they come and go. */
export interface PrefixWatcher {
  /** A node for `identity`: the prefix `parent`, or a root, and its own tokens. No block yet. */
  entered(identity: number, parent: number, node: number): void;
  /** A group has its first block that ends with this prefix. */
  stored(identity: number, group: number): void;
  /** It has none any more. */
  removed(identity: number, group: number): void;
  left(identity: number): void;
  /** All of them, at once. */
  cleared(): void;
}

/** Nodes per block where no group keeps all tokens, so that nothing bounds how many have none. */
const SPARE_NODES = 2;

/**
 * Which nodes are continued by others. Only for layouts in which nodes may live without blocks,
 * because the finest group that keeps all tokens has its borders further apart, or there is none.
 */
class Descent {
  readonly #nodeOf = new Map<number, number>();
  readonly #numChildren: Int32Array;
  readonly #needsBlock: Uint8Array;
  readonly #every: number;

  /** @param every so many nodes one needs a block to be of use; 0: none does */
  constructor(numNodes: number, every: number) {
    this.#numChildren = new Int32Array(numNodes);
    this.#needsBlock = new Uint8Array(numNodes);
    this.#every = every;
  }

  /** @param depth of how many blocks its prefix consists */
  enter(node: number, identity: number, parent: number, depth: number): void {
    this.#nodeOf.set(identity, node);
    this.#numChildren[node] = 0;
    this.#needsBlock[node] = this.#every > 0 && depth % this.#every === 0 ? 1 : 0;
    const before = this.#nodeOf.get(parent);
    if (before !== undefined) this.#numChildren[before]++;
  }

  /** Returns the node before it, which has one child less; 0: that is gone, or a root. */
  leave(identity: number, parent: number): number {
    this.#nodeOf.delete(identity);
    const before = this.#nodeOf.get(parent) ?? 0;
    if (before > 0) this.#numChildren[before]--;
    return before;
  }

  /** Is it of use without a block? */
  isContinued(node: number): boolean {
    return this.#numChildren[node] > 0 && this.#needsBlock[node] === 0;
  }
}

export class PrefixIndex {
  readonly #blockSize: number;
  readonly #numGroups: number;
  /** Mixed into every hash, so that nobody outside can aim prompts at one bucket. */
  readonly #seed: number;
  readonly #mask: number;
  // Of nodes; those from #numTaken on were never used, those that came back are chained by #next.
  readonly #numNodes: number;
  #numTaken = 1;
  #returned = 0;
  readonly #bucketHead: Int32Array;
  readonly #bucketOf: Int32Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  // Identities are doubles: they count up for ever, 2^53 of them.
  readonly #identity: Float64Array;
  readonly #parent: Float64Array;
  readonly #tokens: Int32Array;
  readonly #numPages: Int32Array;
  /** Of each node and group, the block that stands for it. */
  readonly #blocks: Int32Array;
  /** null: every node needs a block of its own. */
  readonly #descent: Descent | null;
  // Of blocks: their node and group, and their twins.
  readonly #nodeOf: Int32Array;
  readonly #groupOf: Uint8Array;
  readonly #nextTwin: Int32Array;
  readonly #previousTwin: Int32Array;
  readonly #rootsByName = new Map<string, Root>();
  readonly #rootsById = new Map<number, Root>();
  #nextIdentity = 1;
  #nextRoot = UNSALTED_ROOT - 1;
  #numPublished = 0;
  #numEvictions = 0;
  #numHashed = 0;
  #watcher: PrefixWatcher | null = null;

  constructor(numBlocks: number, blockSize: number, seed = 0, groups = KvGroups.whole(blockSize)) {
    const whole = groups.blockSizes.filter((_, g) => groups.windows[g] === 0);
    const every = whole.length > 0 ? Math.min(...whole) / blockSize : 0;
    // Between two nodes that need a block of their own lie every − 1 that may live without one.
    const numNodes = numBlocks * (every || SPARE_NODES);
    this.#blockSize = blockSize;
    this.#numGroups = groups.length;
    this.#seed = seed | 0;
    const numBuckets = 2 ** Math.ceil(Math.log2(Math.max(2, numNodes * 2)));
    this.#mask = numBuckets - 1;
    this.#numNodes = numNodes;
    this.#bucketHead = new Int32Array(numBuckets);
    this.#bucketOf = new Int32Array(numNodes);
    this.#next = new Int32Array(numNodes);
    this.#previous = new Int32Array(numNodes);
    this.#identity = new Float64Array(numNodes);
    this.#parent = new Float64Array(numNodes);
    this.#tokens = new Int32Array(numNodes * blockSize);
    this.#numPages = new Int32Array(numNodes);
    this.#blocks = new Int32Array(numNodes * groups.length);
    this.#descent = every === 1 ? null : new Descent(numNodes, every);
    this.#nodeOf = new Int32Array(numBlocks);
    this.#groupOf = new Uint8Array(groups.length > 1 ? numBlocks : 0);
    this.#nextTwin = new Int32Array(numBlocks);
    this.#previousTwin = new Int32Array(numBlocks);
  }

  /** To be told from now on; nothing may be published yet. */
  watch(watcher: PrefixWatcher): void {
    assert(this.#numPublished === 0, 'a prefix index is watched too late');
    this.#watcher = watcher;
  }

  /** The last tokens of a node's prefix, a block of the finest group; valid as long as it is. */
  tokensAt(node: number): Int32Array {
    return this.#tokens.subarray(node * this.#blockSize, (node + 1) * this.#blockSize);
  }

  /** What tells a root from others: its salt, and whether angles are from the longer table. */
  rootAt(id: number): { readonly salt: string | null; readonly longRope: boolean } {
    const root = this.#rootsById.get(id);
    if (root === undefined) return { salt: null, longRope: false };
    const [longRope, salt] = JSON.parse(root.name) as [boolean, string | null];
    return { salt, longRope };
  }

  /** No node has this number, or one above it. */
  get endOfNodes(): number {
    return this.#numTaken;
  }

  /** Identity of the prefix before that of a node, or its root. */
  parentAt(node: number): number {
    return this.#parent[node];
  }

  /** How many blocks end with the prefix of a node. */
  numBlocksAt(node: number): number {
    return this.#numPages[node];
  }

  /** How many blocks can be hit. */
  get numPublished(): number {
    return this.#numPublished;
  }

  /** Published blocks that were evicted, ever. */
  get numEvictions(): number {
    return this.#numEvictions;
  }

  /** Prefixes whose tokens were hashed, to find or to publish them, ever. */
  get numHashed(): number {
    return this.#numHashed;
  }

  /** How many roots are remembered: only those that a request or a block still uses. */
  get numRoots(): number {
    return this.#rootsByName.size;
  }

  isPublished(block: number): boolean {
    return this.#nodeOf[block] !== 0;
  }

  /** Identity of the prefix that ends with this block, or {@link NO_PREFIX}. */
  identityOf(block: number): number {
    return this.#identity[this.#nodeOf[block]];
  }

  /** Identity of the prefix of a node, or {@link NO_PREFIX} where it has none any more. */
  identityAt(node: number): number {
    return this.#identity[node];
  }

  /** The block (of several, the eldest) that stands for a node in a group, or 0. */
  blockOf(node: number, group = 0): number {
    return this.#blocks[node * this.#numGroups + group];
  }

  /** The root of a salt and a table of angles, held until {@link releaseRoot}. */
  acquireRoot(salt: string | undefined, longRope = false): number {
    if (salt === undefined && !longRope) return UNSALTED_ROOT;
    const name = JSON.stringify([longRope, salt]);
    let root = this.#rootsByName.get(name);
    if (root === undefined) {
      root = { name, id: this.#nextRoot--, users: 0 };
      this.#rootsByName.set(name, root);
      this.#rootsById.set(root.id, root);
    }
    root.users++;
    return root.id;
  }

  releaseRoot(id: number): void {
    if (id === UNSALTED_ROOT) return;
    const root = this.#rootsById.get(id);
    assert(root !== undefined && root.users > 0, 'a root was released too often');
    if (--root.users > 0) return;
    this.#rootsById.delete(id);
    this.#rootsByName.delete(root.name);
  }

  /** The node of `tokens[at … at + blockSize)` after the prefix `parent`, or 0. */
  find(parent: number, tokens: Int32Array, at: number): number {
    return this.#search(this.#hash(parent, tokens, at) & this.#mask, parent, tokens, at);
  }

  /**
   * Makes a full block of a group hittable, whose last tokens are `tokens[at … at + blockSize)`;
   * returns the identity of the prefix that ends with it; {@link NO_PREFIX}: there is no room.
   */
  publish(block: number, parent: number, tokens: Int32Array, at: number, group = 0): number {
    assert(at + this.#blockSize <= tokens.length, 'a block was published that is not full');
    const bucket = this.#hash(parent, tokens, at) & this.#mask;
    const node =
      this.#search(bucket, parent, tokens, at) || this.#makeNode(bucket, parent, tokens, at);
    if (node === 0) return NO_PREFIX;
    this.#attach(block, node, group);
    return this.#identity[node];
  }

  /** Makes a block hittable that ends with the same prefix as one that is, of another group. */
  publishBeside(block: number, other: number, group: number): void {
    this.#attach(block, this.#nodeOf[other], group);
  }

  /** Forgets what a block holds. Nothing happens where nothing was published. */
  evict(block: number): void {
    const node = this.#nodeOf[block];
    if (node === 0) return;
    const next = this.#nextTwin[block];
    const previous = this.#previousTwin[block];
    const group = this.#numGroups > 1 ? this.#groupOf[block] : 0;
    if (previous > 0) this.#nextTwin[previous] = next;
    else this.#blocks[node * this.#numGroups + group] = next;
    if (next > 0) this.#previousTwin[next] = previous;
    this.#nodeOf[block] = 0;
    this.#numPublished--;
    this.#numEvictions++;
    this.#numPages[node]--;
    if (this.#watcher !== null && previous === 0 && next === 0) {
      this.#watcher.removed(this.#identity[node], group);
    }
    this.#settle(node);
  }

  /** Forgets what all blocks hold. */
  evictAll(): void {
    const watcher = this.#watcher;
    this.#watcher = null;
    for (let block = 1; this.#numPublished > 0; block++) this.evict(block);
    this.#watcher = watcher;
    watcher?.cleared();
  }

  /** A twin stands behind the eldest, which is hit as long as it is there. */
  #attach(block: number, node: number, group: number): void {
    assert(block > 0, 'the null block was published');
    assert(this.#nodeOf[block] === 0, 'a block was published twice');
    const at = node * this.#numGroups + group;
    const eldest = this.#blocks[at];
    const next = eldest > 0 ? this.#nextTwin[eldest] : 0;
    this.#nextTwin[block] = next;
    this.#previousTwin[block] = eldest;
    if (next > 0) this.#previousTwin[next] = block;
    if (eldest > 0) this.#nextTwin[eldest] = block;
    else this.#blocks[at] = block;
    this.#nodeOf[block] = node;
    if (this.#numGroups > 1) this.#groupOf[block] = group;
    this.#numPages[node]++;
    this.#numPublished++;
    if (eldest === 0) this.#watcher?.stored(this.#identity[node], group);
  }

  /** A node without blocks yet, in front of its bucket; 0: there is no room. */
  #makeNode(bucket: number, parent: number, tokens: Int32Array, at: number): number {
    let node = this.#returned;
    if (node > 0) this.#returned = this.#next[node];
    else if (this.#numTaken < this.#numNodes) node = this.#numTaken++;
    else return 0;
    const next = this.#bucketHead[bucket];
    this.#identity[node] = this.#nextIdentity++;
    this.#parent[node] = parent;
    this.#bucketOf[node] = bucket;
    this.#next[node] = next;
    this.#previous[node] = 0;
    if (next > 0) this.#previous[next] = node;
    this.#bucketHead[bucket] = node;
    if (parent < UNSALTED_ROOT) this.#rootsById.get(parent)!.users++;
    const own = node * this.#blockSize;
    for (let i = 0; i < this.#blockSize; i++) this.#tokens[own + i] = tokens[at + i];
    this.#descent?.enter(node, this.#identity[node], parent, at / this.#blockSize + 1);
    this.#watcher?.entered(this.#identity[node], parent, node);
    return node;
  }

  /** Removes a node that is of no use any more, and those before it that were kept for its sake. */
  #settle(node: number): void {
    let last = node;
    while (last > 0 && this.#numPages[last] === 0 && !this.#descent?.isContinued(last)) {
      const next = this.#next[last];
      const previous = this.#previous[last];
      if (previous > 0) this.#next[previous] = next;
      else this.#bucketHead[this.#bucketOf[last]] = next;
      if (next > 0) this.#previous[next] = previous;
      const identity = this.#identity[last];
      const parent = this.#parent[last];
      this.#identity[last] = NO_PREFIX;
      this.#next[last] = this.#returned;
      this.#returned = last;
      this.#watcher?.left(identity);
      if (parent < UNSALTED_ROOT) this.releaseRoot(parent);
      last = this.#descent?.leave(identity, parent) ?? 0;
    }
  }

  /** 0: there is none. */
  #search(bucket: number, parent: number, tokens: Int32Array, at: number): number {
    const size = this.#blockSize;
    for (let node = this.#bucketHead[bucket]; node > 0; node = this.#next[node]) {
      if (this.#parent[node] !== parent) continue;
      const own = node * size;
      let i = 0;
      while (i < size && this.#tokens[own + i] === tokens[at + i]) i++;
      if (i === size) return node;
    }
    return 0;
  }

  #hash(parent: number, tokens: Int32Array, at: number): number {
    this.#numHashed++;
    let h = this.#seed ^ Math.imul(parent | 0, 0x9e3779b1);
    for (let i = 0; i < this.#blockSize; i++) {
      h = Math.imul(h ^ tokens[at + i], 0x85ebca6b);
      h = (h << 13) | (h >>> 19);
    }
    h = Math.imul(h ^ (h >>> 16), 0xc2b2ae35);
    return h ^ (h >>> 15);
  }
}
