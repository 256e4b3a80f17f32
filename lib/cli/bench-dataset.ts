/** The requests of a bench, and who counts their tokens. */
import { openTokenizer } from '../engine/load.js';
import {
  idMaker,
  idsBelow,
  idsOfWords,
  type PromptMaker,
  prefixRepetitionRequests,
  randomRequests,
  type SampleRequest,
  textMaker,
} from '../loadgen/datasets.js';
import type { HttpClient } from '../loadgen/http.js';
import { Random } from '../loadgen/random.js';
import { shareGptRequests } from '../loadgen/sharegpt.js';
import { serverTokens, type TokenCounter } from '../loadgen/tokens.js';
import type { BenchFlags } from './bench-flags.js';
import { withDownloads } from './download.js';

export interface Samples {
  readonly requests: readonly SampleRequest[];
  /** Null where neither --tokenizer nor the server counts. */
  readonly tokens: TokenCounter | null;
}

export async function sampleRequests(
  client: HttpClient,
  model: string,
  flags: BenchFlags,
): Promise<Samples> {
  const random = new Random(flags.seed);
  const tokens =
    flags.tokenizer === undefined
      ? await serverTokens(client, flags.servedModelName ?? model)
      : await fileTokens(flags.tokenizer);
  const { numPrompts, datasetName } = flags;
  if (datasetName === 'sharegpt') {
    if (!tokens) hint('lengths are guessed at four characters a token');
    const { datasetPath, sharegptOutputLen: outputLen } = flags;
    const options = { path: datasetPath as string, outputLen };
    return { requests: await shareGptRequests(numPrompts, options, tokens, random), tokens };
  }
  const maker = await makerOf(flags, tokens, random);
  const requests =
    datasetName === 'random'
      ? await randomRequests(numPrompts, randomOptions(flags), maker, random)
      : await prefixRepetitionRequests(numPrompts, prefixOptions(flags), maker, random);
  return { requests, tokens };
}

/** Ids where the API takes them and some are known to be in the vocabulary; else text. */
async function makerOf(
  flags: BenchFlags,
  tokens: TokenCounter | null,
  random: Random,
): Promise<PromptMaker> {
  const { backend, vocabSize } = flags;
  if (backend === 'openai' && vocabSize !== undefined) return idMaker(idsBelow(vocabSize), random);
  if (backend === 'openai' && tokens) return idMaker(await idsOfWords(tokens, random), random);
  if (!tokens) hint('prompts are text of so many words; their tokens are what its usage says');
  return textMaker(tokens, random);
}

function hint(what: string): void {
  process.stderr.write(
    `octavo: the server has no /tokenize: ${what} (--tokenizer PATH counts on this side)\n`,
  );
}

async function fileTokens(path: string): Promise<TokenCounter> {
  const tokenizer = await withDownloads((loading) => openTokenizer(path, loading));
  return { encode: (text) => tokenizer.encode(text, { addSpecialTokens: false }) };
}

function randomOptions(flags: BenchFlags) {
  return {
    inputLen: flags.randomInputLen,
    outputLen: flags.randomOutputLen,
    rangeRatio: flags.randomRangeRatio,
    prefixLen: flags.randomPrefixLen,
  };
}

function prefixOptions(flags: BenchFlags) {
  return {
    prefixLen: flags.prefixRepetitionPrefixLen,
    suffixLen: flags.prefixRepetitionSuffixLen,
    numPrefixes: flags.prefixRepetitionNumPrefixes,
    outputLen: flags.prefixRepetitionOutputLen,
  };
}
