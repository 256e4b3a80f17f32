/** Reads an encoded step back, trusting nothing but STEP_LAYOUT: the other half of StepEncoder. */
import { STEP_LAYOUT as L } from '../../lib/wire/layout.js';

export interface DecodedExtras {
  /** Ids that the row has counted before; null: the row begins. */
  readonly counted: number | null;
  /** null: every token. */
  readonly allowed: number[] | null | 'as before';
  readonly banned: number[];
  readonly bias: [id: number, value: number][];
  readonly prompt: number[];
  readonly output: number[];
}

export interface DecodedRecurrent {
  readonly stateIn: number;
  /** null: no border is crossed. */
  readonly stateOut: number | null;
  readonly oldRecords: number[];
  readonly newRecords: number[];
}

/** Each with an id here, and one in the host's memory. */
export interface DecodedSwaps {
  readonly outs: [id: number, host: number][];
  readonly ins: [id: number, host: number][];
}

export interface DecodedStep {
  readonly seqs: {
    queryLen: number;
    contextLen: number;
    row: number;
    /** One of each KV group. */
    numBlocks: number[];
    longRope: 0 | 1;
    tokens: number[];
    /** What recurrent layers read and write, if there are any. */
    recurrent?: DecodedRecurrent;
  }[];
  readonly numTokens: number;
  readonly blockSwaps: DecodedSwaps;
  readonly stateSwaps: DecodedSwaps;
  readonly recordSwaps: DecodedSwaps;
  readonly copies: [source: number, target: number][];
  readonly samples: {
    tokenRow: number;
    seqRow: number;
    position: number;
    extras: DecodedExtras | null;
    mask: MaskKind | null;
  }[];
  readonly promptRows: { tokenRow: number; target: number; numTop: number }[];
}

export function decodeStep(buffer: Int32Array): DecodedStep {
  if (buffer[L.headerVersion] !== L.version) throw new Error('another layout version');
  const words = buffer.slice(0, buffer[L.headerTotalWords]);
  const records = (at: number, count: number, size: number) =>
    Array.from({ length: count }, (_, i) => words.slice(at + i * size, at + (i + 1) * size));
  /** Of records that lie in columns. */
  const columns = (at: number, count: number, size: number) =>
    Array.from({ length: count }, (_, i) =>
      Int32Array.from({ length: size }, (_, k) => words[at + k * count + i]),
    );
  let tokenAt = words[L.headerTokensAt];
  let recordAt = words[L.headerRecordsAt];
  const takeRecords = (count: number) => {
    recordAt += count;
    return [...words.slice(recordAt - count, recordAt)];
  };
  const numGroups = words[L.headerNumGroups];
  const hasStates = decodeFlag(words[L.headerHasStates]) === 1;
  const statesAt = L.seqNumBlocks + numGroups;
  const recurrentOf = (w: Int32Array): DecodedRecurrent => {
    const end = w[L.seqContextLen];
    const start = end - w[L.seqQueryLen];
    const border = end - (end % L.chunkTokens);
    const stateOut = w[statesAt + L.stateOut];
    const oldRecords = takeRecords(start % L.chunkTokens);
    const newRecords = takeRecords(end - Math.max(start, border));
    if ((stateOut === L.noState) !== border <= start - oldRecords.length) {
      throw new Error('a state is written without a border, or none at one');
    }
    return {
      stateIn: w[statesAt + L.stateIn],
      stateOut: stateOut === L.noState ? null : stateOut,
      ...{ oldRecords, newRecords },
    };
  };
  const seqWords = L.seqWords + numGroups - 1 + (hasStates ? L.stateWords : 0);
  const seqs = columns(words[L.headerSeqsAt], words[L.headerNumSeqs], seqWords).map((w) => {
    const queryLen = w[L.seqQueryLen];
    const tokens = [...words.slice(tokenAt, tokenAt + queryLen)];
    tokenAt += queryLen;
    return {
      queryLen,
      contextLen: w[L.seqContextLen],
      row: w[L.seqRow],
      numBlocks: [...w.slice(L.seqNumBlocks, statesAt)],
      longRope: decodeFlag(w[L.seqLongRope]),
      tokens,
      ...(hasStates ? { recurrent: recurrentOf(w) } : {}),
    };
  });
  if (recordAt !== words[L.headerSwapsAt]) throw new Error('records are missing, or too many');
  let swapAt = words[L.headerSwapsAt];
  const takeSwaps = (count: number) => {
    const list = records(swapAt, count, L.swapWords);
    swapAt += count * L.swapWords;
    return list.map((w): [number, number] => [w[L.swapDevice], w[L.swapHost]]);
  };
  const swapsOf = (numOuts: number, numIns: number): DecodedSwaps => ({
    outs: takeSwaps(words[numOuts]),
    ins: takeSwaps(words[numIns]),
  });
  const blockSwaps = swapsOf(L.headerNumSwapOuts, L.headerNumSwapIns);
  const stateSwaps = swapsOf(L.headerNumStateOuts, L.headerNumStateIns);
  const recordSwaps = swapsOf(L.headerNumRecordOuts, L.headerNumRecordIns);
  if (swapAt !== words[L.headerCopiesAt]) throw new Error('swaps are missing, or too many');
  return {
    seqs,
    ...{ blockSwaps, stateSwaps, recordSwaps },
    numTokens: words[L.headerNumTokens],
    copies: records(words[L.headerCopiesAt], words[L.headerNumCopies], L.copyWords).map((w) => [
      w[L.copySource],
      w[L.copyTarget],
    ]),
    samples: columns(words[L.headerSamplesAt], words[L.headerNumSamples], L.sampleWords).map(
      (w) => ({
        tokenRow: w[L.sampleTokenRow],
        seqRow: w[L.sampleSeqRow],
        position: w[L.samplePosition],
        extras: w[L.sampleExtra] === L.nothingNew ? null : decodeExtras(words, w[L.sampleExtra]),
        mask: decodeMask(w[L.sampleMask]),
      }),
    ),
    promptRows: columns(
      words[L.headerPromptRowsAt],
      words[L.headerNumPromptRows],
      L.promptRowWords,
    ).map((w) => ({
      tokenRow: w[L.promptRowTokenRow],
      target: w[L.promptRowTarget],
      numTop: w[L.promptRowNumTop],
    })),
  };
}

function decodeFlag(word: number): 0 | 1 {
  if (word !== 0 && word !== 1) throw new Error('no flag');
  return word;
}

type MaskKind = 'new' | 'as before' | "a matcher's" | "a matcher's, with lists";
const KINDS_OF_MASK = new Map<number, MaskKind>([
  [L.newMask, 'new'],
  [L.maskAsBefore, 'as before'],
  [L.matcherMask, "a matcher's"],
  [L.matcherMaskAndLists, "a matcher's, with lists"],
]);

function decodeMask(word: number): MaskKind | null {
  if (word === L.noMask) return null;
  const kind = KINDS_OF_MASK.get(word);
  if (kind === undefined) throw new Error('no kind of mask');
  return kind;
}

function decodeExtras(words: Int32Array, at: number): DecodedExtras {
  if (at < words[L.headerExtrasAt]) throw new Error('extras outside their section');
  let next = at + L.extraWords;
  const take = (count: number) => {
    const list = words.slice(next, next + count);
    if (list.length !== count) throw new Error('extras run over the end');
    next += count;
    return list;
  };
  const numAllowed = words[at + L.extraNumAllowed];
  const allowed =
    numAllowed === L.everyToken
      ? null
      : numAllowed === L.asBefore
        ? 'as before'
        : [...take(numAllowed)];
  const banned = [...take(words[at + L.extraNumBanned])];
  const numBias = words[at + L.extraNumBias];
  const ids = take(numBias);
  const values = new Float32Array(take(numBias).buffer);
  const bias = [...ids].map((id, i): [number, number] => [id, values[i]]);
  const prompt = [...take(words[at + L.extraPromptLen])];
  const output = [...take(words[at + L.extraOutputLen])];
  const counted = words[at + L.extraCounted];
  return {
    counted: counted === L.rowBegins ? null : counted,
    allowed,
    banned,
    bias,
    prompt,
    output,
  };
}
