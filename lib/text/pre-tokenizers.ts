import { octavoError } from '../errors.js';

/** How a byte-level tokenizer cuts a text into words before its merges. */
export interface PreTokenizer {
  /** Regular expressions (Oniguruma), applied one after the other; each match is a word. */
  readonly patterns: readonly string[];
  /** Whether a word that is itself a token is taken whole, before any merge. */
  readonly ignoreMerges: boolean;
  /** Whether a BOS is added where the file does not say. */
  readonly addBos: boolean;
}

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const SPACES = '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

/** GPT-2's: words with the space before them, digits in runs. */
const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** cl100k's shape, with up to `digits` digits in a word. */
function cl100k(digits: string): string {
  const words = `[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}${digits}`;
  return `${CONTRACTIONS}|${words}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${SPACES}`;
}

/** o200k's shape: words also break where lower case turns to upper case. */
function o200k(contractions: string, digits: string): string {
  const upper = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]';
  const lower = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';
  const lead = '[^\\r\\n\\p{L}\\p{N}]?';
  const words = `${lead}${upper}*${lower}+${contractions}|${lead}${upper}+${lower}*${contractions}`;
  return `${words}|\\p{N}${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${SPACES}`;
}

const gpt2: PreTokenizer = { patterns: [GPT2], ignoreMerges: false, addBos: false };
const smollm: PreTokenizer = { ...gpt2, patterns: ['\\p{N}', GPT2] };
const llama3: PreTokenizer = { patterns: [cl100k('{1,3}')], ignoreMerges: true, addBos: true };
const dbrx: PreTokenizer = { ...llama3, ignoreMerges: false, addBos: false };
const qwen2: PreTokenizer = { ...dbrx, patterns: [cl100k('')] };
const tekken: PreTokenizer = { ...llama3, patterns: [o200k('', '')] };
const gpt4o: PreTokenizer = { ...dbrx, patterns: [o200k(`${CONTRACTIONS}?`, '{1,3}')] };

/** By the name in `tokenizer.ggml.pre`; only names whose rule is known for certain. */
const BY_NAME = new Map<string, PreTokenizer>([
  ...['gpt-2', 'gpt2', 'phi-2', 'olmo'].map((name) => [name, gpt2] as const),
  ...['smollm', 'starcoder', 'refact', 'command-r', 'codeshell'].map((n) => [n, smollm] as const),
  ...['llama-bpe', 'llama3', 'llama-v3', 'falcon3', 'pixtral'].map((n) => [n, llama3] as const),
  ...['dbrx', 'smaug-bpe'].map((name) => [name, dbrx] as const),
  ...['qwen2', 'deepseek-r1-qwen', 'megrez'].map((name) => [name, qwen2] as const),
  ['tekken', tekken],
  ...['gpt-4o', 'llama4'].map((name) => [name, gpt4o] as const),
]);

/**
 * The pre-tokenizer of a GGUF file's `tokenizer.ggml.pre`.
 *
 * @throws ERR_MODEL_UNSUPPORTED for a name that is not known, naming it: a guess would tokenize
 *   almost right, which is worse than not at all.
 */
export function preTokenizer(name: string | undefined): PreTokenizer {
  const found = name === undefined ? undefined : BY_NAME.get(name);
  if (found !== undefined) return found;
  const what = name === undefined ? 'names none' : `says ${JSON.stringify(name)}`;
  throw octavoError(
    'ERR_MODEL_UNSUPPORTED',
    `The pre-tokenizer is unknown: tokenizer.ggml.pre ${what}, and this build knows ` +
      `${[...BY_NAME.keys()].join(', ')}. Use a file converted anew, or give a tokenizer.json.`,
    { param: 'tokenizer.ggml.pre' },
  );
}
