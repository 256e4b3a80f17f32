/**
 * The prefix cache as events: which blocks of tokens it has, by hashes of what they and all before
 * them hold. Content alone makes a hash, so machines that have the same prefix say the same; the
 * cache's own identities, which count up from one in each process, would collide.
 *
 * A prefix that was evicted and computed again is a second node of the same content for as long as
 * what continued the first one stays. Such copies are counted: stored is said of the first, removed
 * of the last.
 */
import { hash } from 'node:crypto';
import type { KvGroups } from '../core/kv-groups.js';
import type { PrefixIndex, PrefixWatcher } from '../core/prefix-hash.js';
import type { BlocksStored, KvEvent, KvEventGroup } from './kv-encoding.js';

/** Where batches of events go. */
export interface KvEventSink {
  /** Takes it over at once; never throws and holds nobody. */
  publish(events: readonly KvEvent[]): void;
}

interface Node {
  readonly hash: bigint;
  /** The node before it; null: none, or one that is gone. */
  readonly before: Node | null;
  /** Of a first block, its root. */
  readonly root: number;
  readonly at: number;
}

export class KvEvents implements PrefixWatcher {
  readonly #prefixes: PrefixIndex;
  readonly #kvGroups: KvGroups;
  readonly #sink: KvEventSink;
  readonly #groups: readonly (KvEventGroup | null)[];
  readonly #nodes = new Map<number, Node>();
  /** Of each group, how many nodes with blocks have a content. */
  readonly #copies: readonly Map<bigint, number>[];
  #events: KvEvent[] = [];

  constructor(prefixes: PrefixIndex, kvGroups: KvGroups, sink: KvEventSink) {
    this.#prefixes = prefixes;
    this.#kvGroups = kvGroups;
    this.#sink = sink;
    const isOne = kvGroups.length === 1;
    this.#groups = kvGroups.blockSizes.map((_, g) => (isOne ? null : groupOf(kvGroups, g)));
    this.#copies = kvGroups.blockSizes.map(() => new Map());
    prefixes.watch(this);
  }

  /** Hands over what has happened since the last time, if anything has. */
  flush(): void {
    if (this.#events.length === 0) return;
    const events = this.#events;
    this.#events = [];
    this.#sink.publish(events);
  }

  entered(identity: number, parent: number, at: number): void {
    const before = this.#nodes.get(parent) ?? null;
    const beginning = before === null ? this.#rootHash(parent) : before.hash;
    const own = { hash: this.#hashOf(beginning, at), before, root: parent, at };
    this.#nodes.set(identity, own);
  }

  left(identity: number): void {
    this.#nodes.delete(identity);
  }

  stored(identity: number, g: number): void {
    const node = this.#nodes.get(identity)!;
    const copies = this.#copies[g];
    const numCopies = copies.get(node.hash) ?? 0;
    copies.set(node.hash, numCopies + 1);
    if (numCopies > 0) return;
    const { tokens, before, root } = this.#pageOf(node, g);
    const parent = before === null ? null : before.hash;
    const last = this.#events.at(-1);
    const group = this.#groups[g];
    if (last?.type === 'stored' && last.group === group && last.hashes.at(-1) === parent) {
      last.hashes.push(node.hash);
      last.tokens.push(...tokens);
      return;
    }
    const salt = before === null ? this.#prefixes.rootAt(root).salt : null;
    const blockSize = this.#kvGroups.blockSizes[g];
    const hashes = [node.hash];
    const event: BlocksStored = { type: 'stored', hashes, parent, tokens, blockSize, salt, group };
    this.#events.push(event);
  }

  removed(identity: number, g: number): void {
    const { hash: gone } = this.#nodes.get(identity)!;
    const copies = this.#copies[g];
    const numCopies = copies.get(gone)! - 1;
    if (numCopies > 0) {
      copies.set(gone, numCopies);
      return;
    }
    copies.delete(gone);
    const last = this.#events.at(-1);
    const group = this.#groups[g];
    if (last?.type === 'removed' && last.group === group) last.hashes.push(gone);
    else this.#events.push({ type: 'removed', hashes: [gone], group });
  }

  cleared(): void {
    this.#nodes.clear();
    for (const copies of this.#copies) copies.clear();
    this.#events.push({ type: 'cleared' });
  }

  /** The tokens of a group's block that ends with a node, and the node before them. */
  #pageOf(node: Node, g: number): { tokens: number[]; before: Node | null; root: number } {
    let first = node;
    const parts = [this.#prefixes.tokensAt(node.at)];
    const count = this.#kvGroups.blockSizes[g] / this.#kvGroups.finest;
    while (parts.length < count && first.before !== null) {
      first = first.before;
      parts.unshift(this.#prefixes.tokensAt(first.at));
    }
    const tokens = parts.flatMap((part) => [...part]);
    return { tokens, before: first.before, root: first.root };
  }

  #rootHash(root: number): bigint {
    const { salt, longRope } = this.#prefixes.rootAt(root);
    return firstBits(Buffer.from(JSON.stringify(['octavo', longRope, salt])));
  }

  #hashOf(before: bigint, at: number): bigint {
    const tokens = this.#prefixes.tokensAt(at);
    const bytes = Buffer.allocUnsafe(8 + 4 * tokens.length);
    bytes.writeBigUInt64LE(before);
    for (let i = 0; i < tokens.length; i++) bytes.writeInt32LE(tokens[i], 8 + 4 * i);
    return firstBits(bytes);
  }
}

function firstBits(bytes: Buffer): bigint {
  return BigInt(`0x${hash('sha256', bytes).slice(0, 16)}`);
}

function groupOf(kvGroups: KvGroups, index: number): KvEventGroup {
  const window = kvGroups.windows[index];
  if (window === 0) return { index, kind: 'full_attention', window: null };
  const kind = kvGroups.isChunked(index) ? 'chunked_local_attention' : 'sliding_window';
  return { index, kind, window };
}
