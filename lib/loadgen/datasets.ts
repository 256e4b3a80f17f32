/** Prompts that are made: random ones, and random ones with shared prefixes. */
import { octavoError } from '../errors.js';
import type { Random } from './random.js';
import { idPool, type TokenCounter } from './tokens.js';

export interface SampleRequest {
  /** Text, or token ids. */
  readonly prompt: string | readonly number[];
  /** What is meant; what the server counted replaces it. */
  readonly promptTokens: number;
  readonly outputTokens: number;
}

/** Makes prompts of a number of tokens. */
export interface PromptMaker {
  /** A part of a prompt; parts are joined in their order. */
  part(length: number): Promise<Part>;
  join(parts: readonly Part[]): SampleRequest['prompt'];
}

export interface Part {
  readonly content: string | readonly number[];
  /** Its tokens as well as they are known. */
  readonly length: number;
}

/** Token ids drawn from a list: the length is exact. For /v1/completions. */
export function idMaker(ids: readonly number[], random: Random): PromptMaker {
  const one = () => ids[random.integer(0, ids.length - 1)];
  return {
    part: async (length) => ({ content: Array.from({ length }, one), length }),
    join: (parts) => parts.flatMap(({ content }) => content as readonly number[]),
  };
}

/** Ids below the size of a vocabulary; special ones are not known here, so they are among them. */
export function idsBelow(vocabSize: number): number[] {
  return Array.from({ length: vocabSize }, (_, id) => id);
}

/** Ids that the tokenizer gives for random words. */
export function idsOfWords(tokens: TokenCounter, random: Random): Promise<readonly number[]> {
  return idPool(tokens, wordsOf(4000, random));
}

/**
 * Text of random words. With a counter its length is right, or a token off where no number of
 * words has it; without one a word is taken for a token, which the usage of the answer corrects.
 */
export function textMaker(tokens: TokenCounter | null, random: Random): PromptMaker {
  let perWord = 1;
  const fitted = async (length: number): Promise<Part> => {
    let best: Part = { content: '', length: 0 };
    const words = wordsOf(length * 2, random).split(' ');
    let count = Math.round(length / perWord);
    for (let attempt = 0; attempt < 8 && length > 0; attempt++) {
      count = Math.max(1, count);
      while (words.length < count) words.push(wordsOf(1, random));
      const content = ` ${words.slice(0, count).join(' ')}`;
      const got = tokens ? (await tokens.encode(content)).length : length;
      if (Math.abs(got - length) < Math.abs(best.length - length)) best = { content, length: got };
      if (got === length) break;
      perWord = got / count;
      const step = Math.round((length - got) / perWord) || Math.sign(length - got);
      // The last words are drawn anew: with the same ones it might go to and fro.
      words.length = Math.max(0, Math.min(count, count + step) - 1);
      count += step;
    }
    return best;
  };
  return {
    part: fitted,
    join: (parts) =>
      parts
        .map(({ content }) => content)
        .join('')
        .trim(),
  };
}

const CONSONANTS = 'bcdfghjklmnprstvw';
const VOWELS = 'aeiou';

/** Made-up words of one or two syllables, which any tokenizer knows parts of. */
function wordsOf(count: number, random: Random): string {
  const letter = (of: string) => of[random.integer(0, of.length - 1)];
  const syllable = () => letter(CONSONANTS) + letter(VOWELS);
  return Array.from({ length: count }, () =>
    random.uniform() < 0.5 ? syllable() : syllable() + letter(CONSONANTS),
  ).join(' ');
}

export interface RandomOptions {
  readonly inputLen: number;
  readonly outputLen: number;
  /** Lengths are drawn from [len (1 − ratio), len (1 + ratio)]. */
  readonly rangeRatio: number;
  /** Tokens that all prompts begin with, besides `inputLen`. */
  readonly prefixLen: number;
}

/** vLLM's dataset `random`. */
export async function randomRequests(
  count: number,
  options: RandomOptions,
  maker: PromptMaker,
  random: Random,
): Promise<SampleRequest[]> {
  const { inputLen, outputLen, rangeRatio, prefixLen } = options;
  const drawn = (length: number, least: number) =>
    Math.max(
      least,
      random.integer(Math.floor(length * (1 - rangeRatio)), Math.ceil(length * (1 + rangeRatio))),
    );
  const prefix = await maker.part(prefixLen);
  const requests: SampleRequest[] = [];
  for (let i = 0; i < count; i++) {
    const own = await maker.part(drawn(inputLen, prefixLen > 0 ? 0 : 1));
    requests.push(requestOf(maker, [prefix, own], drawn(outputLen, 1)));
  }
  return requests;
}

export interface PrefixRepetitionOptions {
  readonly prefixLen: number;
  readonly suffixLen: number;
  readonly numPrefixes: number;
  readonly outputLen: number;
}

/** vLLM's dataset `prefix_repetition`: each of a few prefixes is used equally often. */
export async function prefixRepetitionRequests(
  count: number,
  options: PrefixRepetitionOptions,
  maker: PromptMaker,
  random: Random,
): Promise<SampleRequest[]> {
  const { prefixLen, suffixLen, numPrefixes, outputLen } = options;
  const perPrefix = Math.floor(count / numPrefixes);
  if (perPrefix === 0) {
    throw octavoError(
      'ERR_INVALID_PARAM',
      `--num-prompts (${count}) must be at least --prefix-repetition-num-prefixes (${numPrefixes})`,
      { param: 'num-prompts' },
    );
  }
  const requests: SampleRequest[] = [];
  for (let i = 0; i < numPrefixes; i++) {
    const prefix = await maker.part(prefixLen);
    for (let j = 0; j < perPrefix; j++) {
      requests.push(requestOf(maker, [prefix, await maker.part(suffixLen)], outputLen));
    }
  }
  return random.shuffle(requests);
}

function requestOf(maker: PromptMaker, parts: readonly Part[], outputTokens: number) {
  const promptTokens = parts.reduce((sum, { length }) => sum + length, 0);
  return { prompt: maker.join(parts), promptTokens, outputTokens };
}
