/**
 * What one step computes, as the scheduler decided it: sequences and their query lengths, block
 * copies, samples, prompt rows. Once `schedule()` has returned it, nobody changes it. The arrays
 * are sized once and used again (two records take turns), because a record is made every step.
 */
import type { CopySink } from './block-table.js';
import type { Sequence, SequenceGroup } from './sequence.js';

export class Step implements CopySink {
  numSeqs = 0;
  numTokens = 0;
  numCopies = 0;
  numSamples = 0;
  numPromptRows = 0;
  numSwapOuts = 0;
  numSwapIns = 0;
  /** Length numSeqs … each with its query length. */
  readonly seqs: Sequence[];
  readonly queryLens: Int32Array;
  /** (source, target) pairs. */
  readonly copies: Int32Array;
  /** (block of the pool, block of the host pool) pairs; a step has one direction only. */
  readonly swaps: number[] = [];
  /** Groups that this step swaps out. */
  readonly swappedOut: SequenceGroup[] = [];
  /** Sample i draws the next token of sampleSeqs[i] from token row sampleTokenRows[i]. */
  readonly sampleSeqs: Sequence[];
  readonly sampleTokenRows: Int32Array;
  /** Prompt row i asks at token row promptTokenRows[i] for promptTargets[i]. */
  readonly promptSeqs: Sequence[] = [];
  readonly promptTokenRows: Int32Array;
  readonly promptTargets: Int32Array;
  readonly #mark = new Int32Array(5);
  #highSeqs = 0;
  #highSamples = 0;

  constructor(maxNumSeqs: number, maxNumTokens: number) {
    this.seqs = new Array(maxNumSeqs);
    this.queryLens = new Int32Array(maxNumSeqs);
    this.copies = new Int32Array(maxNumSeqs * 2);
    this.sampleSeqs = new Array(maxNumSeqs);
    this.sampleTokenRows = new Int32Array(maxNumSeqs);
    this.promptTokenRows = new Int32Array(maxNumTokens);
    this.promptTargets = new Int32Array(maxNumTokens);
  }

  clear(): void {
    this.#highSeqs = Math.max(this.#highSeqs, this.numSeqs);
    this.#highSamples = Math.max(this.#highSamples, this.numSamples);
    this.numSeqs = 0;
    this.numTokens = 0;
    this.numCopies = 0;
    this.numSamples = 0;
    this.numPromptRows = 0;
    this.numSwapOuts = 0;
    this.numSwapIns = 0;
    this.swaps.length = 0;
    this.swappedOut.length = 0;
    this.promptSeqs.length = 0;
  }

  /** Lets go of sequences that an earlier, longer use of this record still names. */
  seal(): void {
    while (this.#highSeqs > this.numSeqs) this.seqs[--this.#highSeqs] = undefined!;
    while (this.#highSamples > this.numSamples) this.sampleSeqs[--this.#highSamples] = undefined!;
  }

  /** The next `queryLen` tokens of a sequence; draws when computed catches up with tokens. */
  add(sequence: Sequence, queryLen: number): void {
    const i = this.numSeqs++;
    this.seqs[i] = sequence;
    this.queryLens[i] = queryLen;
    this.numTokens += queryLen;
    const end = sequence.numComputed + queryLen;
    if (end === sequence.numTokens) this.#sample(sequence);
    if (sequence.waitingForks !== null) this.#sampleForks(sequence.waitingForks, end);
  }

  addCopy(source: number, target: number): void {
    const at = 2 * this.numCopies++;
    this.copies[at] = source;
    this.copies[at + 1] = target;
  }

  addSwapOut(block: number, host: number): void {
    this.swaps.push(block, host);
    this.numSwapOuts++;
  }

  addSwapIn(block: number, host: number): void {
    this.swaps.push(block, host);
    this.numSwapIns++;
  }

  addPromptRow(sequence: Sequence, tokenRow: number, target: number): void {
    const i = this.numPromptRows++;
    this.promptSeqs.push(sequence);
    this.promptTokenRows[i] = tokenRow;
    this.promptTargets[i] = target;
  }

  /** Remembers this point for {@link rollBack}. */
  setMark(): void {
    this.#mark[0] = this.numSeqs;
    this.#mark[1] = this.numTokens;
    this.#mark[2] = this.numCopies;
    this.#mark[3] = this.numSamples;
    this.#mark[4] = this.numPromptRows;
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
    this.#highSeqs = Math.max(this.#highSeqs, this.numSeqs);
    this.#highSamples = Math.max(this.#highSamples, this.numSamples);
    this.numSeqs = this.#mark[0];
    this.numTokens = this.#mark[1];
    this.numCopies = this.#mark[2];
    this.numSamples = this.#mark[3];
    this.numPromptRows = this.#mark[4];
    this.promptSeqs.length = this.numPromptRows;
  }

  #sample(sequence: Sequence): void {
    const i = this.numSamples++;
    this.sampleSeqs[i] = sequence;
    this.sampleTokenRows[i] = this.numTokens - 1;
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
