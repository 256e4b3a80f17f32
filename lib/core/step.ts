/**
 * What one step computes, as the scheduler decided it: a value. It holds numbers, and lists that
 * nobody changes, but no sequence: whoever encodes it, runs it or reads it later sees what was
 * decided, whatever has become of the sequences since. The scheduler finds them again by their
 * rows. The arrays are sized once and used again (two records take turns), because a step is made
 * for every token.
 */
import type { CopySink } from './block-table.js';
import type { SwapSink } from './hosted-states.js';
import { IntList } from './int-list.js';
import type { StateSink } from './recurrent-states.js';
import { NO_UPDATE, RowUpdates } from './row-updates.js';
import type { Sequence } from './sequence.js';
import type { TokenConstraint } from './structured.js';
import { SwapList } from './swap-list.js';

/**
 * Which tokens the mask of a row allows in a draw: all, what a new one says, as before, or what its
 * sequence's constraint allows; `constraintLists`: and the lists of best tokens, too, hold only
 * what may be drawn. The numbers are those of the encoded step.
 */
export const MASKS = {
  none: 0,
  fresh: 1,
  asBefore: 2,
  constraint: 3,
  constraintLists: 4,
} as const;

export class Step implements CopySink, StateSink, SwapSink {
  /** Of the steps of a scheduler, which one; given by it. */
  number = -1;
  numSeqs = 0;
  numTokens = 0;
  numCopies = 0;
  numSamples = 0;
  numPromptRows = 0;
  // One entry per sequence: its row in the slabs; tokens that it computes now, and that its cache
  // holds afterwards; 1 where its angles come from the long table.
  readonly seqRows: Int32Array;
  readonly queryLens: Int32Array;
  readonly contextLens: Int32Array;
  readonly longRope: Int32Array;
  /** Of each KV group, one entry per sequence: blocks of its table. */
  readonly numBlocks: readonly Int32Array[];
  /** Are there recurrent layers? */
  readonly hasStates: boolean;
  // For these, one entry per sequence: the slots of the state that it reads, and that it writes;
  // and of all sequences, one after the other, the records that it reads and those that it writes.
  readonly stateIns: Int32Array;
  readonly stateOuts: Int32Array;
  readonly records = new IntList();
  /** Of all queries, one after the other. */
  readonly tokenIds: Int32Array;
  /** (entry of the table slab, block) pairs: what has changed since the step before, in order. */
  tableChanges = new IntList();
  /** (source, target) pairs. */
  readonly copies: Int32Array;
  /** Blocks of the pool and of the host pool. */
  readonly swaps = new SwapList();
  /** The same of recurrent layers' states, and of their records. */
  readonly stateSwaps = new SwapList();
  readonly recordSwaps = new SwapList();
  /** Arrivals of the groups that this step swaps out, and of those that it swaps in. */
  readonly swappedOut: number[] = [];
  readonly swappedIn: number[] = [];
  // One entry per sample: for the sequence of a row of the slabs it draws the token at a position
  // from a token row, with so many of the best beside it; what the row is told first, an index into
  // `updates`.
  readonly sampleRows: Int32Array;
  readonly sampleTokenRows: Int32Array;
  readonly samplePositions: Int32Array;
  readonly sampleNumTops: Int32Array;
  readonly sampleMasks: Int32Array;
  readonly sampleUpdates: Int32Array;
  readonly updates: RowUpdates;
  /** Those of the samples whose masks they make, in their order: as they are when it is encoded. */
  readonly constraints: TokenConstraint[] = [];
  // One entry per prompt row: which of the step's sequences asks at a token row for the logprob of
  // a target, with so many of the best beside it.
  readonly promptSeqs: Int32Array;
  readonly promptTokenRows: Int32Array;
  readonly promptTargets: Int32Array;
  readonly promptNumTops: Int32Array;
  readonly #mark = new Int32Array(8);

  constructor(maxNumSeqs: number, maxNumTokens: number, numGroups = 1, hasStates = false) {
    const perSeq = () => new Int32Array(maxNumSeqs);
    const perToken = () => new Int32Array(maxNumTokens);
    this.seqRows = perSeq();
    this.queryLens = perSeq();
    this.contextLens = perSeq();
    this.longRope = perSeq();
    this.numBlocks = Array.from({ length: numGroups }, perSeq);
    this.hasStates = hasStates;
    this.stateIns = new Int32Array(hasStates ? maxNumSeqs : 0);
    this.stateOuts = new Int32Array(hasStates ? maxNumSeqs : 0);
    this.tokenIds = perToken();
    // Of each sequence and group the block that is being written to.
    this.copies = new Int32Array(maxNumSeqs * numGroups * 2);
    this.sampleRows = perSeq();
    this.sampleTokenRows = perSeq();
    this.samplePositions = perSeq();
    this.sampleNumTops = perSeq();
    this.sampleMasks = perSeq();
    this.sampleUpdates = perSeq();
    this.updates = new RowUpdates(maxNumSeqs);
    this.promptSeqs = perToken();
    this.promptTokenRows = perToken();
    this.promptTargets = perToken();
    this.promptNumTops = perToken();
  }

  clear(): void {
    this.numSeqs = 0;
    this.numTokens = 0;
    this.numCopies = 0;
    this.numSamples = 0;
    this.numPromptRows = 0;
    this.records.cut(0);
    this.tableChanges.cut(0);
    for (const list of [this.swaps, this.stateSwaps, this.recordSwaps]) list.clear();
    this.swappedOut.length = 0;
    this.swappedIn.length = 0;
    this.updates.cut(0);
    this.constraints.length = 0;
  }

  /** The next `queryLen` tokens of a sequence; draws when computed catches up with tokens. */
  add(sequence: Sequence, queryLen: number): void {
    const i = this.numSeqs++;
    const { numComputed, numTokens } = sequence;
    const end = numComputed + queryLen;
    this.seqRows[i] = sequence.row;
    this.queryLens[i] = queryLen;
    this.contextLens[i] = end;
    this.longRope[i] = sequence.longRope;
    if (queryLen === 1 && end === numTokens) {
      this.tokenIds[this.numTokens++] = sequence.lastToken;
    } else {
      const { tokens } = sequence;
      for (let p = numComputed; p < end; p++) this.tokenIds[this.numTokens++] = tokens[p];
    }
    if (end === numTokens) this.#sample(sequence);
    if (sequence.waitingForks !== null) this.#sampleForks(sequence.waitingForks, end);
  }

  addStates(stateIn: number, stateOut: number): void {
    this.stateIns[this.numSeqs] = stateIn;
    this.stateOuts[this.numSeqs] = stateOut;
  }

  addRecords(ids: Int32Array, from: number, to: number): void {
    this.records.append(ids, from, to);
  }

  addCopy(source: number, target: number): void {
    const at = 2 * this.numCopies++;
    this.copies[at] = source;
    this.copies[at + 1] = target;
  }

  /** Blocks that go out, and that come in. */
  get numSwapOuts(): number {
    return this.swaps.numOuts;
  }

  get numSwapIns(): number {
    return this.swaps.numIns;
  }

  /** Of the sequence that is added next. */
  addPromptRow(tokenRow: number, target: number, numTop: number): void {
    const i = this.numPromptRows++;
    this.promptSeqs[i] = this.numSeqs;
    this.promptTokenRows[i] = tokenRow;
    this.promptTargets[i] = target;
    this.promptNumTops[i] = numTop;
  }

  /** Remembers this point for {@link rollBack}. */
  setMark(): void {
    this.#mark[0] = this.numSeqs;
    this.#mark[1] = this.numTokens;
    this.#mark[2] = this.numCopies;
    this.#mark[3] = this.numSamples;
    this.#mark[4] = this.numPromptRows;
    this.#mark[5] = this.updates.length;
    this.#mark[6] = this.constraints.length;
    this.#mark[7] = this.records.length;
  }

  /** Sequences before the mark. */
  get numMarkedSeqs(): number {
    return this.#mark[0];
  }

  /** Copies before the mark. */
  get numMarkedCopies(): number {
    return this.#mark[2];
  }

  /**
   * Takes out what was added since {@link setMark}, copies and samples with it. Swaps stay: they
   * are of other groups.
   */
  rollBack(): void {
    this.numSeqs = this.#mark[0];
    this.numTokens = this.#mark[1];
    this.numCopies = this.#mark[2];
    this.numSamples = this.#mark[3];
    this.numPromptRows = this.#mark[4];
    this.updates.cut(this.#mark[5]);
    this.constraints.length = this.#mark[6];
    this.records.cut(this.#mark[7]);
  }

  #sample(sequence: Sequence): void {
    const i = this.numSamples++;
    this.sampleRows[i] = sequence.row;
    this.sampleTokenRows[i] = this.numTokens - 1;
    this.samplePositions[i] = sequence.numTokens;
    this.sampleNumTops[i] = sequence.numTop;
    this.sampleMasks[i] = sequence.constraint === null ? MASKS.none : this.#constrain(sequence);
    this.sampleUpdates[i] = sequence.maySendUpdate ? this.updates.add(sequence) : NO_UPDATE;
  }

  #constrain({ constraint, group }: Sequence): number {
    this.constraints.push(constraint!);
    return group.beams === null ? MASKS.constraint : MASKS.constraintLists;
  }

  /**
   * Forks without tokens of their own draw from the row of the parent they wait for. (A fork has
   * at least forkAt tokens, and the query ends there at the latest.)
   */
  #sampleForks(forks: readonly Sequence[], end: number): void {
    for (const child of forks) {
      if (child.numTokens === end) this.#sample(child);
    }
  }
}
