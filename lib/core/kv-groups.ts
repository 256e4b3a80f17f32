/**
 * The layers of a model fall into groups that keep their KV alike: all tokens, or those of a
 * window. All groups take their pages (blocks) from one pool, so every page has the same bytes; a
 * group with fewer bytes per token puts more tokens into a page. Each group has a table of its own
 * per sequence.
 *
 * A query at position p of a group with window W looks at p − W + 1 … p; where the window is
 * chunked, at its own chunk only: ⌊p / W⌋ · W … p. So what a group must hold follows from how many
 * tokens are computed, and nobody needs to remember what has slid out.
 */
import { assert } from '../errors.js';

export interface KvGroup {
  /** Its layers look no further back than so many tokens, the query's own included; 0 = at all. */
  readonly window: number;
  /** Nor out of a query's own chunk of `window` tokens, counted from position 0. */
  readonly chunked?: boolean;
  /** Tokens per page: the finest of all groups, or that times a power of two. */
  readonly blockSize: number;
}

/** What decides how large groups can become. */
export interface GroupSizes {
  readonly groups: readonly KvGroup[];
  readonly blockSize: number;
  readonly maxModelLen: number;
  readonly maxNumBatchedTokens: number;
  readonly longPrefillThreshold: number;
}

/** Arithmetic of the groups of one engine. Group g is the g-th of its options. */
export class KvGroups {
  readonly length: number;
  readonly windows: readonly number[];
  readonly #chunked: readonly boolean[];
  readonly blockSizes: readonly number[];
  /** Tokens per page of the finest group. */
  readonly finest: number;
  /** Of the coarsest; where all groups have a border. */
  readonly coarsest: number;
  /** Does any group let tokens go? */
  readonly slides: boolean;
  /**
   * Most pages of one table at a time. Of a window: what the first token of the largest query looks
   * at, the query itself, and one for the borders that it crosses.
   */
  readonly #peaks: readonly number[];

  constructor({ groups, blockSize, ...sizes }: GroupSizes) {
    const { maxModelLen, maxNumBatchedTokens, longPrefillThreshold } = sizes;
    assert(groups.length > 0, 'an engine without a KV group');
    this.length = groups.length;
    // A window that no sequence outgrows lets nothing go.
    this.windows = groups.map(({ window }) => (window >= maxModelLen ? 0 : window));
    this.#chunked = groups.map((group) => group.chunked ?? false);
    this.blockSizes = groups.map((group) => group.blockSize);
    this.finest = blockSize;
    this.coarsest = Math.max(...this.blockSizes);
    this.slides = this.windows.some((window) => window > 0);
    const threshold = longPrefillThreshold || maxNumBatchedTokens;
    const query = Math.min(threshold, maxNumBatchedTokens, maxModelLen);
    this.#peaks = this.windows.map((window, g) =>
      window === 0
        ? Number.POSITIVE_INFINITY
        : Math.ceil((window - 1 + query) / this.blockSizes[g]) + 1,
    );
  }

  /** One group that keeps every token. */
  static whole(blockSize: number): KvGroups {
    const groups = [{ window: 0, blockSize }];
    const many = Number.MAX_SAFE_INTEGER;
    const sizes = { maxModelLen: many, maxNumBatchedTokens: many, longPrefillThreshold: 0 };
    return new KvGroups({ groups, blockSize, ...sizes });
  }

  /** Does a group's window end at the borders of chunks? */
  isChunked(g: number): boolean {
    return this.windows[g] > 0 && this.#chunked[g];
  }

  /** Pages that `numTokens` from the start take in a group. */
  blocksFor(g: number, numTokens: number): number {
    return Math.ceil(numTokens / this.blockSizes[g]);
  }

  /** First page that any query from position `numComputed` on looks at. */
  firstKept(g: number, numComputed: number): number {
    const window = this.windows[g];
    if (window === 0) return 0;
    const first = this.#chunked[g]
      ? numComputed - (numComputed % window)
      : numComputed - window + 1;
    return Math.max(0, Math.floor(first / this.blockSizes[g]));
  }

  /** Most pages that a table holds at once while the tokens from `numComputed` on are computed. */
  peak(g: number, numComputed: number, numTokens: number): number {
    const all = this.blocksFor(g, numTokens) - this.firstKept(g, numComputed);
    return Math.min(all, this.#peaks[g]);
  }

  /**
   * Pages of all groups that a sequence takes for itself after a fork at `forkAt`: what it does not
   * share, or its copy.
   */
  ownBlocks(forkAt: number, numTokens: number): number {
    let sum = 0;
    for (let g = 0; g < this.length; g++) {
      const own = this.blocksFor(g, numTokens) - Math.floor(forkAt / this.blockSizes[g]);
      sum += Math.min(own, this.#peaks[g]);
    }
    return sum;
  }

  /**
   * The most pages that n sequences with one prompt can hold at once, each at most `longest` tokens
   * long: full pages of the prompt once, the rest n times. Of a window no sequence holds more than
   * its peak either; what several share when they are forked becomes each one's own as they move
   * on, so the peak counts n times.
   */
  worstCase(promptLen: number, longest: number, n: number): number {
    let sum = 0;
    for (let g = 0; g < this.length; g++) {
      const total = this.blocksFor(g, longest);
      const shared = n > 1 ? Math.floor(promptLen / this.blockSizes[g]) : 0;
      sum += Math.min(shared + n * (total - shared), n * this.#peaks[g]);
    }
    return sum;
  }
}

/** Entries of a row of the slab before those of each group, and all of them. */
export function tableOffsets(
  groups: readonly Pick<KvGroup, 'blockSize'>[],
  blockSize: number,
  blocksPerRow: number,
): { readonly offsets: readonly number[]; readonly rowLength: number } {
  const offsets: number[] = [];
  let rowLength = 0;
  for (const group of groups) {
    offsets.push(rowLength);
    rowLength += Math.ceil((blocksPerRow * blockSize) / group.blockSize);
  }
  return { offsets, rowLength };
}

/** Of which the KV of one layer consists. */
export interface LayerKv {
  /** As {@link KvGroup.window} and {@link KvGroup.chunked}. */
  readonly window: number;
  readonly chunked?: boolean;
  /** Of one token: its K and V (or whatever it keeps), and the scales of an 8-bit cache. */
  readonly valueBytes: number;
  readonly scaleBytes: number;
}

export interface PlannedGroup extends KvGroup {
  /** Its layers by number, in the order in which they lie in a page. */
  readonly layers: readonly number[];
}

export interface GroupPlan {
  readonly groups: readonly PlannedGroup[];
  /** Bytes of a page, whichever group has it. */
  readonly pageBytes: number;
  /** Part of one page of each group, all together, that nothing is ever written to: 0 … 1. */
  readonly waste: number;
}

/** Most groups of a plan: a step has a table of each for every sequence. */
const MAX_PLANNED = 32;
/** Most tokens of a page that has more than the finest ones: as far as attention reads. */
const MAX_BLOCK_SIZE = 256;
/** Where scales begin, and where pages do. */
const SCALES_ALIGN = 16;
const PAGE_ALIGN = 256;

/**
 * Puts the layers of a model into groups. Where all look equally far they are one group, whatever
 * their bytes: nothing is padded. Otherwise layers of one kind (window, bytes) make up groups of
 * equally many: as many as the kind with the fewest has, or those of the kind with the most where
 * that is less than half as much again (so one group of 11 and one padded of 10, not three). Of
 * kinds with fewer bytes per token a page holds twice, four times … as many tokens, as far as that
 * goes into the bytes of the largest; what is left over is padding.
 *
 * In a page the values of a group's layers lie one after the other; the scales of all of them lie
 * behind the values of the largest group.
 */
export function planGroups(layers: readonly LayerKv[], blockSize: number): GroupPlan {
  assert(layers.length > 0, 'a model without a layer');
  const kinds = kindsOf(layers);
  const groups =
    layers.every((layer) => reachOf(layer) === reachOf(layers[0])) || kinds.length > MAX_PLANNED
      ? [oneGroup(layers, blockSize)]
      : groupsByKind(layers, kinds, blockSize);
  const bytesOf = (part: 'valueBytes' | 'scaleBytes') =>
    groups.map((group) => group.blockSize * sumOf(group.layers, (layer) => layers[layer][part]));
  const [values, scales] = [bytesOf('valueBytes'), bytesOf('scaleBytes')];
  const [mostValues, mostScales] = [Math.max(...values), Math.max(...scales)];
  const scalesAt = mostScales > 0 ? aligned(mostValues, SCALES_ALIGN) : mostValues;
  const pageBytes = aligned(scalesAt + mostScales, PAGE_ALIGN);
  const used = sumOf(values, (bytes) => bytes) + sumOf(scales, (bytes) => bytes);
  return { groups, pageBytes, waste: 1 - used / (groups.length * pageBytes) };
}

/** Numbers of the layers of each kind. */
function kindsOf(layers: readonly LayerKv[]): number[][] {
  const kinds = new Map<string, number[]>();
  layers.forEach((layer, i) => {
    const kind = `${reachOf(layer)} ${layer.valueBytes} ${layer.scaleBytes}`;
    const members = kinds.get(kind);
    if (members === undefined) kinds.set(kind, [i]);
    else members.push(i);
  });
  return [...kinds.values()];
}

/** How far a layer looks: layers of which this is the same keep the same tokens. */
function reachOf({ window, chunked }: LayerKv): string {
  return window > 0 && chunked ? `chunk ${window}` : `${window}`;
}

/** The window of a group, with no more words than it needs. */
function windowOf(window: number, chunked = false): Pick<KvGroup, 'window' | 'chunked'> {
  return window > 0 && chunked ? { window, chunked } : { window };
}

/**
 * All layers: they keep what the one that looks furthest needs. A window as long as a chunk covers
 * it, but not the other way round.
 */
function oneGroup(layers: readonly LayerKv[], blockSize: number): PlannedGroup {
  const windows = layers.map(({ window }) => window);
  const window = windows.includes(0) ? 0 : Math.max(...windows);
  const alike = layers.every((layer) => reachOf(layer) === reachOf(layers[0]));
  const reach = windowOf(window, alike && layers[0].chunked);
  return { ...reach, blockSize, layers: layers.map((_, i) => i) };
}

function groupsByKind(
  layers: readonly LayerKv[],
  kinds: readonly number[][],
  blockSize: number,
): PlannedGroup[] {
  const counts = kinds.map((members) => members.length);
  const [fewest, most] = [Math.min(...counts), Math.max(...counts)];
  let perGroup = most < 1.5 * fewest ? most : fewest;
  while (sumOf(counts, (count) => Math.ceil(count / perGroup)) > MAX_PLANNED) perGroup++;
  // Of the kind that needs most for its finest blocks, which are those of `blockSize`.
  const needs = kinds.map((of) => Math.min(perGroup, of.length) * layers[of[0]].valueBytes);
  const page = blockSize * Math.max(...needs);
  return kinds.flatMap((members) => {
    const { window, chunked, valueBytes } = layers[members[0]];
    const bytes = Math.min(perGroup, members.length) * valueBytes;
    let size = blockSize;
    while (2 * size <= MAX_BLOCK_SIZE && 2 * size * bytes <= page) size *= 2;
    const groups: PlannedGroup[] = [];
    for (let i = 0; i < members.length; i += perGroup) {
      const own = members.slice(i, i + perGroup);
      groups.push({ ...windowOf(window, chunked), blockSize: size, layers: own });
    }
    return groups;
  });
}

function aligned(bytes: number, to: number): number {
  return Math.ceil(bytes / to) * to;
}

function sumOf<T>(values: readonly T[], of: (value: T) => number): number {
  return values.reduce((sum, value) => sum + of(value), 0);
}
