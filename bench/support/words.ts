/**
 * A vocabulary of made-up words, the same one for readers of tokenizer.json and of GGUF: byte-level
 * BPE that takes a text of such words apart into one token each, and gives text for every id. So
 * all servers of a bench count alike, and none of them has special work with invalid UTF-8.
 */
import { type GgufKey, number, text, u32, u64 } from './gguf-writer.js';

export interface Vocabulary {
  /** Of files that hold it. */
  readonly name: string;
  readonly tokenizer: object;
  readonly ggufKeys: readonly GgufKey[];
}

export interface Words extends Vocabulary {
  /** Text of one token each, a space in front. */
  readonly words: readonly string[];
}

const SPECIAL = ['<|endoftext|>', '<|begin|>', '<|end|>'];
const CONSONANTS = [...'bcdfghjklmnpqrstvwxyz'];
const VOWELS = [...'aeiou'];

/** What byte-level BPE writes for a space. */
const SPACE = '\u0120';

/** GPT-2's characters for the 256 bytes: itself where it can be seen, else one beyond Latin-1. */
function byteCharacters(): string[] {
  let next = 256;
  const isSeen = (b: number) => (b > 32 && b < 127) || (b > 160 && b !== 173);
  return Array.from({ length: 256 }, (_, b) => String.fromCharCode(isSeen(b) ? b : next++));
}

/** @param size entries: at least 11,494 */
export function wordsOf(size: number): Words {
  const tokens = [...SPECIAL, ...byteCharacters()];
  const merges: [string, string][] = [];
  const merge = (a: string, b: string) => {
    if (tokens.length >= size) return;
    tokens.push(a + b);
    merges.push([a, b]);
  };
  // A syllable is a consonant and a vowel, so no letter has two it could be merged with.
  for (const c of CONSONANTS) for (const v of VOWELS) merge(c, v);
  const syllables = tokens.slice(SPECIAL.length + 256);
  let starts = [SPACE];
  while (tokens.length < size) {
    const before = tokens.length;
    for (const start of starts) for (const syllable of syllables) merge(start, syllable);
    starts = tokens.slice(before);
  }
  const words = merges
    .map(([a, b]) => a + b)
    .filter((token) => token.startsWith(SPACE))
    .map((token) => token.replace(SPACE, ' '));
  return {
    name: 'words',
    words,
    tokenizer: tokenizerOf(tokens, merges),
    ggufKeys: ggufKeysOf(tokens, merges),
  };
}

function tokenizerOf(tokens: readonly string[], merges: readonly [string, string][]): object {
  const byteLevel = { type: 'ByteLevel', trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map((content, id) => ({
      ...{ id, content, special: true },
      ...{ single_word: false, lstrip: false, rstrip: false, normalized: false },
    })),
    normalizer: null,
    pre_tokenizer: { ...byteLevel, add_prefix_space: false },
    post_processor: null,
    decoder: { ...byteLevel, add_prefix_space: true },
    model: {
      ...{ type: 'BPE', dropout: null, unk_token: null, fuse_unk: false, byte_fallback: false },
      ...{ continuing_subword_prefix: null, end_of_word_suffix: null, ignore_merges: false },
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}

function ggufKeysOf(tokens: readonly string[], merges: readonly [string, string][]): GgufKey[] {
  const array = (kind: number, count: number, values: Buffer) => [
    ...[u32(9), u32(kind), u64(count)],
    values,
  ];
  const texts = (list: readonly string[]) =>
    array(8, list.length, Buffer.concat(list.map((one) => text(one))));
  const types = Int32Array.from(tokens, (_, id) => (id < SPECIAL.length ? 3 : 1));
  return [
    ['tokenizer.ggml.model', [u32(8), text('gpt2')]],
    ['tokenizer.ggml.pre', [u32(8), text('gpt-2')]],
    ['tokenizer.ggml.tokens', texts(tokens)],
    ['tokenizer.ggml.token_type', array(5, tokens.length, Buffer.from(types.buffer))],
    ['tokenizer.ggml.merges', texts(merges.map((pair) => pair.join(' ')))],
    ['tokenizer.ggml.bos_token_id', number(1)],
    ['tokenizer.ggml.eos_token_id', number(0)],
    ['tokenizer.ggml.add_bos_token', [u32(7), Buffer.of(0)]],
  ];
}
