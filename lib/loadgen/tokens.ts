/** Token counts, and ids to make prompts of, of a model that is on the other side of a wire. */
import { octavoError } from '../errors.js';
import { describe, type HttpClient, type JsonReply } from './http.js';

export interface TokenCounter {
  /** Ids of a text, without BOS and the like. */
  encode(text: string): Promise<readonly number[]>;
}

/**
 * The server's own tokenizer: vLLM's and octavo's /tokenize take `prompt`, llama-server's takes
 * `content`; all answer with `tokens`. Null where the server answers that it has no such route.
 * @throws ERR_INVALID_PARAM where it does not answer
 */
export async function serverTokens(
  client: HttpClient,
  model: string,
): Promise<TokenCounter | null> {
  const ask = (text: string) => {
    const body = { model, prompt: text, content: text, add_special_tokens: false };
    return client.json('POST', '/tokenize', body).catch((cause: NodeJS.ErrnoException) => {
      throw refusal(`the server does not answer: ${describe(cause)}`, cause);
    });
  };
  const encode = async (text: string) => {
    const reply = await ask(text);
    const tokens = tokensOf(reply);
    if (tokens === null) throw refusal(`/tokenize of the server fails: HTTP ${reply.status}`);
    return tokens;
  };
  return tokensOf(await ask('a')) === null ? null : { encode };
}

function tokensOf({ status, body }: JsonReply): readonly number[] | null {
  const { tokens } = (body ?? {}) as { tokens?: unknown };
  const isList = Array.isArray(tokens) && tokens.every(Number.isInteger);
  return status === 200 && isList ? tokens : null;
}

function refusal(sentence: string, cause?: unknown): Error {
  return octavoError('ERR_INVALID_PARAM', sentence, { param: 'base-url', cause });
}

/** A counter's ids of many random words: all are in the vocabulary, none is a special one. */
export async function idPool(tokens: TokenCounter, text: string): Promise<readonly number[]> {
  return [...new Set(await tokens.encode(text))].sort((a, b) => a - b);
}
