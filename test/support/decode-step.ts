/** Reads an encoded step back, trusting nothing but STEP_LAYOUT: the other half of StepEncoder. */
import { STEP_LAYOUT as L } from '../../lib/core/step.js';

export interface DecodedExtras {
  readonly allowed: number[] | null;
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
    numBlocks: number;
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
  }[];
  readonly promptRows: { tokenRow: number; target: number; numTop: number }[];
}

export function decodeStep(buffer: Int32Array): DecodedStep {
  if (buffer[L.headerVersion] !== L.version) throw new Error('another layout version');
  const words = buffer.slice(0, buffer[L.headerTotalWords]);
  const records = (at: number, count: number, size: number) =>
    Array.from({ length: count }, (_, i) => words.slice(at + i * size, at + (i + 1) * size));
  let tokenAt = words[L.headerTokensAt];
  const seqs = records(words[L.headerSeqsAt], words[L.headerNumSeqs], L.seqWords).map((w) => {
    const queryLen = w[L.seqQueryLen];
    const tokens = [...words.slice(tokenAt, tokenAt + queryLen)];
    tokenAt += queryLen;
    return {
      queryLen,
      contextLen: w[L.seqContextLen],
      row: w[L.seqRow],
      numBlocks: w[L.seqNumBlocks],
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
    samples: records(words[L.headerSamplesAt], words[L.headerNumSamples], L.sampleWords).map(
      (w) => ({
        tokenRow: w[L.sampleTokenRow],
        seqRow: w[L.sampleSeqRow],
        position: w[L.samplePosition],
        extras: w[L.sampleExtra] < 0 ? null : decodeExtras(words, w[L.sampleExtra]),
      }),
    ),
    promptRows: records(
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
  const allowed = numAllowed < 0 ? null : [...take(numAllowed)];
  const banned = [...take(words[at + L.extraNumBanned])];
  const numBias = words[at + L.extraNumBias];
  const ids = take(numBias);
  const values = new Float32Array(take(numBias).buffer);
  const bias = [...ids].map((id, i): [number, number] => [id, values[i]]);
  const prompt = [...take(words[at + L.extraPromptLen])];
  const output = [...take(words[at + L.extraOutputLen])];
  return { allowed, banned, bias, prompt, output };
}
