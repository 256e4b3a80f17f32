import { shown } from '../arguments.js';
import { octavoError } from '../errors.js';
import {
  BLOOM,
  CHAMELEON,
  cl100k,
  DEEPSEEK_CODER,
  DEEPSEEK_LLM,
  DEEPSEEK3,
  DIGIT,
  EXAONE_MOE,
  FALCON,
  GPT2,
  JAIS2,
  LAGUNA,
  LING,
  o200k,
  SEED,
  SPARK,
  THREE_DIGITS,
  TINY_AYA,
  UFAKZEKA,
  YOUTU,
} from './word-patterns.js';

/** How a byte-level tokenizer cuts a text into words before its merges. */
export interface PreTokenizer {
  /** What the model's own tokenizer.json does to a text first; llama.cpp does not. */
  readonly normalizer: 'NFC' | null;
  /** Regular expressions (Oniguruma), applied one after the other; each match is a word. */
  readonly patterns: readonly string[];
  /** Whether a word that is itself a token is taken whole, before any merge. */
  readonly ignoreMerges: boolean;
  /** Whether a BOS is added where the file does not say. */
  readonly addBos: boolean;
}

/** A rule with its patterns; the rest as most have it. */
function rule(patterns: readonly string[], more: Partial<PreTokenizer> = {}): PreTokenizer {
  return { normalizer: null, ignoreMerges: false, addBos: false, ...more, patterns };
}

const NFC = { normalizer: 'NFC' } as const;
const WHOLE = { ignoreMerges: true };
const LLAMA3 = [cl100k(THREE_DIGITS)];
const QWEN2 = [cl100k(DIGIT)];
const GPT4O = [o200k({ digits: THREE_DIGITS, contractions: true, ends: '[\\r\\n/]' })];
const TEKKEN = [o200k({ digits: DIGIT, contractions: false, ends: '[\\r\\n/]' })];
const KIMI = [o200k({ digits: THREE_DIGITS, contractions: true, ends: '[\\r\\n]', han: true })];

/** Names in `tokenizer.ggml.pre` and their rule; only those whose rule is known for certain. */
const RULES: readonly (readonly [names: string, rule: PreTokenizer])[] = [
  ['gpt-2 gpt2 phi-2 exaone4 mellum granite-docling', rule([GPT2])],
  ['jina-v1-en jina-v2-code roberta-bpe jais trillion', rule([GPT2])],
  ['jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0', rule([GPT2])],
  ['olmo modern-bert mpt', rule([GPT2], NFC)],
  ['smollm starcoder refact codeshell exaone minerva-7b mellum2', rule([DIGIT, GPT2])],
  ['command-r', rule([DIGIT, GPT2], NFC)],
  [
    'llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral lfm2 midm-2.0 jina-v5-nano',
    rule(LLAMA3, { ...WHOLE, addBos: true }),
  ],
  ['glm4 glm5', rule(LLAMA3, WHOLE)],
  ['dbrx smaug-bpe chatglm-bpe', rule(LLAMA3)],
  ['minicpm5', rule([THREE_DIGITS, cl100k('\\p{N}+')], WHOLE)],
  ['qwen2 f2llmv2 stablelm2', rule(QWEN2, NFC)],
  ['deepseek-r1-qwen megrez hunyuan grok-2 solar-open kormo', rule(QWEN2)],
  ['qwen35', rule([cl100k(DIGIT, '\\p{M}')], NFC)],
  ['seed-coder', rule([SEED])],
  ['bailingmoe bailingmoe2 llada-moe', rule([LING])],
  ['deepseek-llm', rule(DEEPSEEK_LLM)],
  ['deepseek-coder', rule(DEEPSEEK_CODER)],
  ['deepseek-v3 hunyuan-dense joyai-llm hy_v4', rule(DEEPSEEK3)],
  ['tekken', rule(TEKKEN, { ...WHOLE, addBos: true })],
  ['gpt-4o llama4 kanana2 minimax-m2 talkie', rule(GPT4O)],
  ['granite-embed-multi-97m', rule(GPT4O, WHOLE)],
  ['kimi-k2', rule(KIMI)],
  ['falcon', rule(FALCON)],
  ['bloom poro-chat gpt3-finnish', rule([BLOOM])],
  ['viking', rule([BLOOM, DIGIT])],
  ['jais-2', rule([JAIS2])],
  ['ufakzeka', rule([UFAKZEKA])],
  ['exaone-moe', rule([EXAONE_MOE])],
  ['laguna', rule(LAGUNA)],
  ['spark2_5', rule(SPARK)],
  ['chameleon', rule(CHAMELEON, { addBos: true })],
  ['youtu', rule(YOUTU, WHOLE)],
  ['tiny_aya cohere2moe', rule(TINY_AYA)],
];

const BY_NAME = new Map(
  RULES.flatMap(([names, found]) => names.split(' ').map((name) => [name, found] as const)),
);

/** Every name of a byte-level rule, for tests and messages. */
export const PRE_TOKENIZERS: readonly string[] = [...BY_NAME.keys()];

/**
 * The pre-tokenizer of a GGUF file's `tokenizer.ggml.pre`.
 *
 * @throws ERR_MODEL_UNSUPPORTED for a name that is not known, naming it: a guess would tokenize
 *   almost right, which is worse than not at all.
 */
export function preTokenizer(name: string | undefined): PreTokenizer {
  const found = name === undefined ? undefined : BY_NAME.get(name);
  if (found !== undefined) return found;
  const what = name === undefined ? 'names none' : `says ${shown(name)}`;
  throw octavoError(
    'ERR_MODEL_UNSUPPORTED',
    `The pre-tokenizer is unknown: tokenizer.ggml.pre ${what}, and this build knows ` +
      `${PRE_TOKENIZERS.join(', ')}. Use a file converted anew, or give a tokenizer.json.`,
    { param: 'tokenizer.ggml.pre' },
  );
}
