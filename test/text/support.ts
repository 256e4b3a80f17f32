import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type GgufTokenizerMetadata, ggufTokenizer } from '../../lib/text/gguf-tokenizer.js';
import { Tokenizer } from '../../lib/text/tokenizer.js';
import { readGgufTokenizer } from '../support/tiny-gguf.js';

/** Where the fixtures are; ends with a slash. */
export const FIXTURES = fileURLToPath(new URL('../fixtures/tokenizers/', import.meta.url));
const DEMO = fileURLToPath(new URL('../../models/octavo-demo/', import.meta.url));

export interface GoldenText {
  text: string;
  token_ids: number[];
  /** What the family's own tokenizer says, where llama.cpp does not say the same. */
  hf_token_ids?: number[];
  decoded: string;
}

export function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, 'utf8')) as T;
}

export function goldenMetadata(name: string): GgufTokenizerMetadata {
  return readGgufTokenizer(`${FIXTURES}${name}.gguf`) as GgufTokenizerMetadata;
}

/** Golden vocabularies in which every text has its tokens. */
export const GGUF_CASES = [
  ...['spm', 'gemma4', 'bpe-gpt-2', 'bpe-smollm', 'bpe-llama-bpe', 'bpe-qwen2', 'bpe-qwen35'],
  ...['bpe-lfm2', 'bpe-glm4', 'bpe-exaone4', 'bpe-modern-bert', 'bpe-gpt-4o', 'bpe-minimax-m2'],
  ...['bpe-tekken', 'bpe-kimi-k2', 'bpe-seed-coder'],
  ...['bpe-deepseek-llm', 'bpe-deepseek-coder', 'bpe-deepseek-v3'],
];
/** Those of encoders, which know some characters only. */
export const ENCODER_CASES = ['wordpiece', 'unigram', 'unigram-normalised'];
/** One of each kind of decoder, and what is read most. */
const KINDS = ['spm', 'gemma4', 'bpe-gpt-2', 'bpe-smollm', 'bpe-llama-bpe', 'bpe-qwen2'];

export function demoJson(): string {
  return readFileSync(`${DEMO}tokenizer.json`, 'utf8');
}

export function demoTokenizer(): Tokenizer {
  return Tokenizer.fromJson(demoJson(), readJson(`${DEMO}tokenizer_config.json`));
}

export function hf320(): Tokenizer {
  return Tokenizer.fromJson(readFileSync(`${FIXTURES}hf-320.json`, 'utf8'));
}

async function named(names: readonly string[]): Promise<[string, Tokenizer][]> {
  return Promise.all(names.map(async (name) => [name, await ggufTokenizer(goldenMetadata(name))]));
}

/** Golden tokenizers by name: one of each kind that has tokens for every text. */
export async function allTokenizers(): Promise<[string, Tokenizer][]> {
  return [...(await named(KINDS)), ['hf-320', hf320()], ['octavo-demo', demoTokenizer()]];
}

/** Golden tokenizers of encoders by name. */
export function encoderTokenizers(): Promise<[string, Tokenizer][]> {
  return named(ENCODER_CASES);
}

/** mulberry32: a seeded generator of numbers in [0, 1). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
