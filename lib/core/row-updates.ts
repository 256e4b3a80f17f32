/**
 * What is new of the slab rows that a step draws from: parameters, lists and the ids that penalties
 * count. The native side keeps them from draw to draw: everything is sent with the first draw from
 * a row, later only what has joined the output since, or is for one draw alone.
 */
import { IntList } from './int-list.js';
import type { DrawParams } from './sampling-params.js';
import type { Sequence } from './sequence.js';

/** In place of a number of counted ids: the row begins, whatever it had is forgotten. */
export const BEGINS = -1;
/** In place of an index: a draw without an update. */
export const NO_UPDATE = -1;

/** Columns with an entry for each update; the lists of all are in `ids`. */
export class RowUpdates {
  length = 0;
  /** Ids that the row has counted by earlier draws, or {@link BEGINS}. */
  readonly counted: Int32Array;
  /** Where its lists begin: banned ids, then those of the prompt, then of the output. */
  readonly idsAt: Int32Array;
  readonly numBanned: Int32Array;
  readonly promptLen: Int32Array;
  readonly outputLen: Int32Array;
  readonly ids = new IntList();
  /** Where a row begins: how to draw from it, and biases. */
  readonly params: (DrawParams | null)[] = [];
  /** Which of its request's samples a row that begins is. */
  readonly sampleIndexes: Int32Array;
  /** Ids that may be drawn from now on, null = all; undefined = as before. */
  readonly allowed: (Int32Array | null | undefined)[] = [];

  constructor(maxNumSeqs: number) {
    this.counted = new Int32Array(maxNumSeqs);
    this.idsAt = new Int32Array(maxNumSeqs);
    this.numBanned = new Int32Array(maxNumSeqs);
    this.promptLen = new Int32Array(maxNumSeqs);
    this.outputLen = new Int32Array(maxNumSeqs);
    this.sampleIndexes = new Int32Array(maxNumSeqs);
  }

  /** Forgets those after the first `length`. */
  cut(length: number): void {
    if (length === this.length) return;
    this.ids.cut(this.idsAt[length]);
    this.length = length;
    this.params.length = length;
    this.allowed.length = length;
  }

  /** Takes down what a draw must tell the row of its sequence; returns its index, if anything. */
  add(sequence: Sequence): number {
    const { params } = sequence.group;
    const { allowedIds, numPromptTokens, numTokens, numSent } = sequence;
    const u = this.length;
    const { ids } = this;
    const at = ids.length;
    const begins = numSent === 0;
    const isAllowedNew = begins || allowedIds !== sequence.sentAllowedIds;
    this.#pushBanned(sequence);
    const promptAt = ids.length;
    if (begins && params.needsPrompt) ids.append(sequence.tokens, 0, numPromptTokens);
    const outputAt = ids.length;
    const outputFrom = begins ? numPromptTokens : numSent;
    if (params.needsOutput) ids.append(sequence.tokens, outputFrom, numTokens);
    if (!isAllowedNew && ids.length === at) return NO_UPDATE;
    this.length++;
    this.counted[u] = begins ? BEGINS : countedIds(sequence);
    this.idsAt[u] = at;
    this.numBanned[u] = promptAt - at;
    this.promptLen[u] = outputAt - promptAt;
    this.outputLen[u] = ids.length - outputAt;
    this.sampleIndexes[u] = sequence.index;
    this.params.push(begins ? params : null);
    this.allowed.push(isAllowedNew ? allowedIds : undefined);
    return u;
  }

  /** Ending ids before minTokens; the last id of each bad word whose others were just generated. */
  #pushBanned(sequence: Sequence): void {
    const { endTokenIds, badWordIds } = sequence.group.params;
    const mayStop = sequence.numTokens >= sequence.mayStopAt;
    if (!mayStop) this.ids.append(endTokenIds, 0, endTokenIds.length);
    for (const word of badWordIds) {
      if (endsWithPrefixOf(sequence, word)) this.ids.push(word[word.length - 1]);
    }
  }
}

/** Ids that the row has counted for the penalties by its draws so far. */
function countedIds({ group, numSent, numPromptTokens }: Sequence): number {
  const { needsOutput, needsPrompt } = group.params;
  if (!needsOutput) return 0;
  return needsPrompt ? numSent : numSent - numPromptTokens;
}

/** Does the output end with all of the word but its last id? */
function endsWithPrefixOf(sequence: Sequence, word: readonly number[]): boolean {
  const length = word.length - 1;
  if (sequence.numOutputTokens < length) return false;
  const from = sequence.numTokens - length;
  for (let i = 0; i < length; i++) {
    if (sequence.tokens[from + i] !== word[i]) return false;
  }
  return true;
}
