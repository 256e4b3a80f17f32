/** Logprobs as clients read them. */
import type { TokenLogprob } from '../engine/outputs.js';
import type { Tokenizer } from '../text/tokenizer.js';

/** JSON has no −∞; vLLM writes this. */
const LEAST = -9999;

const finite = (logprob: number) => Math.max(logprob, LEAST);

/** Decoders take something from a text's beginning; it is taken from this. */
const ANCHOR = 'a';

export interface TokenText {
  readonly token: string;
  readonly bytes: number[];
}

/** Characters that byte-level tokenizers spell bytes with (Radford et al. 2019). */
const BYTES = new Map<string, number>();
for (let byte = 0, shifted = 256; byte < 256; byte++) {
  const isShown = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  BYTES.set(String.fromCodePoint(isShown ? byte : shifted++), byte);
}

/** A token by itself: its text, with U+FFFD for parts of a character, and its exact bytes. */
export function tokenText(tokenizer: Tokenizer, id: number): TokenText {
  const spelled = tokenizer.idToToken(id);
  if (spelled === null) return { token: '', bytes: [] };
  const byte = tokenizer.byteOf(id);
  if (byte !== undefined && byte >= 0x80) return { token: '\ufffd', bytes: [byte] };
  const token = tokenizer.decodeTokens([ANCHOR, spelled]).slice(ANCHOR.length);
  if (!token.includes('\ufffd')) return { token, bytes: [...Buffer.from(token)] };
  const bytes = Array.from(spelled, (char) => BYTES.get(char));
  const isExact = bytes.every((one) => one !== undefined);
  return { token, bytes: isExact ? (bytes as number[]) : [...Buffer.from(token)] };
}

/** How tokens are written: their text, or `token_id:5` where that was asked for. */
export class TokenWriter {
  readonly #tokenizer: Tokenizer;
  readonly #asIds: boolean;

  constructor(tokenizer: Tokenizer, asIds = false) {
    this.#tokenizer = tokenizer;
    this.#asIds = asIds;
  }

  token(id: number): string {
    return this.#asIds ? `token_id:${id}` : this.text(id).token;
  }

  text(id: number): TokenText {
    return tokenText(this.#tokenizer, id);
  }

  /** Characters that a token adds to a text without special tokens, as Python counts them. */
  width(id: number): number {
    return this.#tokenizer.isSpecial(id) ? 0 : [...this.text(id).token].length;
  }

  /** Of chat completions and responses. */
  chat({ tokenId, logprob, top }: TokenLogprob) {
    return {
      ...this.#entry(tokenId, logprob),
      top_logprobs: top.map((one) => this.#entry(one.tokenId, one.logprob)),
    };
  }

  #entry(id: number, logprob: number) {
    const { token, bytes } = this.text(id);
    return { token: this.#asIds ? `token_id:${id}` : token, logprob: finite(logprob), bytes };
  }

  /** vLLM's `prompt_logprobs`: by token id, the prompt's own token first. */
  prompt(list: readonly (TokenLogprob | null)[]): (object | null)[] {
    return list.map((entry) => {
      if (entry === null) return null;
      const { tokenId, logprob, rank, top } = entry;
      const all: Record<string, object> = {};
      const add = (id: number, lp: number, at: number) => {
        all[id] ??= { logprob: finite(lp), rank: at, decoded_token: this.text(id).token };
      };
      add(tokenId, logprob, rank);
      top.forEach((one, i) => {
        add(one.tokenId, one.logprob, i + 1);
      });
      return all;
    });
  }
}

/** Of text completions: columns, and where in the text each token begins. */
export class CompletionLogprobs {
  readonly #writer: TokenWriter;
  #offset = 0;

  constructor(writer: TokenWriter) {
    this.#writer = writer;
  }

  /** Columns of these tokens, whose text follows that of the tokens before. */
  columns(list: readonly (TokenLogprob | null)[], ids: readonly number[]) {
    const columns = {
      text_offset: [] as number[],
      token_logprobs: [] as (number | null)[],
      tokens: [] as string[],
      top_logprobs: [] as (Record<string, number> | null)[],
    };
    list.forEach((entry, i) => {
      columns.text_offset.push(this.#offset);
      columns.tokens.push(this.#writer.token(ids[i]));
      columns.token_logprobs.push(entry === null ? null : finite(entry.logprob));
      columns.top_logprobs.push(entry === null ? null : this.#top(entry));
      this.#offset += this.#writer.width(ids[i]);
    });
    return columns;
  }

  /** Of tokens that read the same, the likeliest. */
  #top({ tokenId, logprob, top }: TokenLogprob): Record<string, number> {
    const all = new Map<string, number>();
    for (const one of [...top, { tokenId, logprob }]) {
      const token = this.#writer.token(one.tokenId);
      if (!all.has(token)) all.set(token, finite(one.logprob));
    }
    return Object.fromEntries(all);
  }
}
