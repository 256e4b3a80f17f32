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

export interface DecodedStep {
  readonly seqs: {
    queryLen: number;
    contextLen: number;
    row: number;
    /** One of each KV group. */
    numBlocks: number[];
    longRope: 0 | 1;
    tokens: number[];
  }[];
  readonly numTokens: number;
  readonly swapOuts: [block: number, host: number][];
  readonly swapIns: [block: number, host: number][];
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
  const seqWords = L.seqWords + words[L.headerNumGroups] - 1;
  const seqs = columns(words[L.headerSeqsAt], words[L.headerNumSeqs], seqWords).map((w) => {
    const queryLen = w[L.seqQueryLen];
    const tokens = [...words.slice(tokenAt, tokenAt + queryLen)];
    tokenAt += queryLen;
    return {
      queryLen,
      contextLen: w[L.seqContextLen],
      row: w[L.seqRow],
      numBlocks: [...w.slice(L.seqNumBlocks)],
      longRope: decodeFlag(w[L.seqLongRope]),
      tokens,
    };
  });
  const swaps = records(
    words[L.headerSwapsAt],
    words[L.headerNumSwapOuts] + words[L.headerNumSwapIns],
    L.swapWords,
  ).map((w): [number, number] => [w[L.swapDevice], w[L.swapHost]]);
  return {
    seqs,
    swapOuts: swaps.slice(0, words[L.headerNumSwapOuts]),
    swapIns: swaps.slice(words[L.headerNumSwapOuts]),
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
