/** Which tokens of a GGUF file begin, end and pad, by its keys and by spelling. */
import type { ModelSpec } from './spec.js';

/** The special tokens of a file, and its tokenizer's keys without ids that no token has. */
export interface GgufTokens extends Pick<ModelSpec, 'bosTokenId' | 'eosTokenIds'> {
  /** As GgufTokenizerMetadata (lib/text) says. */
  readonly tokenizer: Record<string, unknown>;
}

/** Keys that name one token, without their "_token_id": those that end a generation, the others. */
const END_KEYS = ['eos', 'eot', 'eom', 'fim_pad', 'fim_rep', 'fim_sep'];
const OTHER_KEYS = ['bos', 'unknown', 'padding', 'separator', 'seperator', 'mask', 'cls'];

/**
 * Tokens that end a generation by their spelling, as in llama.cpp: ends of a text, of a turn, of a
 * message to a tool; and what only stands between files where middles are filled in.
 */
const END_SPELLINGS = new Set([
  ...['</s>', '<eos>', '[EOS]', '<|endoftext|>', '<|end_of_text|>', '<EOT>', '_<EOT>', '[EOT]'],
  ...['<|im_end|>', '<|eot_id|>', '<|eom_id|>', '<|end|>', '<end_of_turn>', '<turn|>'],
  ...['<end_of_utterance>', '<｜end▁of▁sentence｜>', '<|tool_response>'],
  ...['<|return|>', '<|call|>', '<|calls|>', '<|flush|>'],
  ...['<|fim_pad|>', '<fim-pad>', '<fim_pad>', '<PAD>', '[PAD]'],
  ...['<|fim_repo|>', '<|repo_name|>', '<fim-repo>', '<REPO>', '<reponame>', '<|file_sep|>'],
]);

/** Unknown and control, among the types of tokens. */
const isSpecial = (type: number | undefined) => type === 2 || type === 3;

/**
 * What llama.cpp takes where a file names none, by model. But for "llama" only if it is a control
 * (or the unknown) token: 11 is Falcon's <|endoftext|> but a comma elsewhere.
 */
const USUAL: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  llama: { bos: 1, eos: 2 },
  gpt2: { bos: 11, eos: 11 },
  bert: { cls: 101, seperator: 102, unknown: 100 },
  t5: { eos: 1, unknown: 2 },
};

/**
 * Ids by key count where a token has them: converters wrote −1 or the vocabulary's size for "none".
 */
export function ggufTokens(keys: Readonly<Record<string, unknown>>): GgufTokens {
  const tokenizer = { ...keys };
  const tokens: readonly unknown[] = Array.isArray(keys.tokens) ? keys.tokens : [];
  const types = keys.token_type as ArrayLike<number> | undefined;
  const idOf = (name: string) => tokenizer[`${name}_token_id`] as number | undefined;
  for (const name of [...END_KEYS, ...OTHER_KEYS]) {
    const id = idOf(name);
    if (Number.isInteger(id) && !((id as number) >= 0 && (id as number) < tokens.length)) {
      delete tokenizer[`${name}_token_id`];
    }
  }
  for (const [name, id] of Object.entries(usualOf(keys.model))) {
    const fits = keys.model === 'llama' ? id < tokens.length : isSpecial(types?.[id]);
    if (idOf(name) === undefined && fits) tokenizer[`${name}_token_id`] = id;
  }
  const spelled = endsBySpelling(tokens);
  tokenizer.control_token_ids = spelled;
  const named = END_KEYS.map(idOf).filter((id) => id !== undefined);
  return { tokenizer, bosTokenId: idOf('bos'), eosTokenIds: [...new Set([...named, ...spelled])] };
}

function usualOf(model: unknown): Readonly<Record<string, number>> {
  return typeof model === 'string' && Object.hasOwn(USUAL, model) ? USUAL[model] : {};
}

/** In gpt-oss and its like `<|end|>` closes a channel, not the answer. */
function endsBySpelling(tokens: readonly unknown[]): number[] {
  const idOf = new Map<string, number>();
  tokens.forEach((token, id) => {
    // Few tokens begin like one of these: the others need no hash.
    if (typeof token !== 'string' || token.length < 3 || !'<[_'.includes(token[0])) return;
    if (END_SPELLINGS.has(token)) idOf.set(token, id);
  });
  const channels = idOf.has('<|return|>') && idOf.has('<|call|>');
  if (channels || (idOf.has('<|calls|>') && idOf.has('<|flush|>'))) idOf.delete('<|end|>');
  return [...idOf.values()];
}
