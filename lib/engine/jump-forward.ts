/**
 * Tokens that a grammar leaves no choice about are not drawn: where the bytes that must come next
 * are known, their tokens join the text with the token drawn before them, and are computed together
 * in one step. They are those that the tokenizer makes of these bytes alone, but for the last: what
 * comes behind it may still merge with it. So they depend on the text only, and the same request
 * gives the same tokens whatever runs beside it.
 *
 * They have no logprobs of their own (under the grammar each is certain: 0), so requests that ask
 * for logprobs draw every token, as beams do and whoever has lists that forbid some. What is drawn
 * depends on the seed and the place in the output: where a text is drawn in other tokens than it
 * would be joined in, what follows has other places, and the same seed may go on otherwise.
 */
import type { Sequence } from '../core/sequence.js';
import { appendTokens, type StepResult } from '../core/step-result.js';
import type { Matcher } from '../grammar/compile.js';
import { bytesOfToken } from '../text/token-bytes.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { GrammarConstraint } from './constraint.js';

/** Texts whose tokens are remembered. */
const MAX_KNOWN = 4096;
/** Most bytes that are looked at for one token drawn. */
const MAX_BYTES = 1024;

/** How often it is asked which bytes must come, where a pool thread has to find out. */
const MAX_ROUNDS = 4;

const NONE: readonly number[] = Object.freeze([]);
const NO_BYTES = new Uint8Array(0);

export class JumpForward {
  readonly #tokenizer: Tokenizer;
  readonly #known = new Map<string, readonly number[]>();

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /**
   * The result of a step with the tokens that must follow those it drew.
   * @param drawn for whom each of its samples drew
   */
  async extend(drawn: readonly Sequence[], result: StepResult): Promise<StepResult> {
    const { tokensAt, tokenIds } = result;
    const forced: (readonly number[])[] = [];
    let count = 0;
    for (const [i, sequence] of drawn.entries()) {
      const isDrawn = tokensAt[i] < tokensAt[i + 1] && mayJump(sequence);
      const ids = isDrawn ? await this.#after(sequence, tokenIds[tokensAt[i]]) : NONE;
      forced.push(ids);
      count += ids.length;
    }
    return count === 0 ? result : appendTokens(result, forced);
  }

  async #after({ constraint, group }: Sequence, token: number): Promise<readonly number[]> {
    if (group.params.endTokenIds.includes(token)) return NONE;
    const next = (constraint as GrammarConstraint).fork();
    try {
      if (!next.advance(token)) return NONE;
      const text = textOf((await forcedBytes(next.matcher)).subarray(0, MAX_BYTES));
      if (text.length < 2) return NONE;
      const ids = this.#known.get(text) ?? (await this.#tokenize(text));
      for (const id of ids) if (!next.advance(id)) return NONE;
      return ids;
    } finally {
      next.close();
    }
  }

  /** All tokens of a text but the last; none where they do not spell it. */
  async #tokenize(text: string): Promise<readonly number[]> {
    const options = { addSpecialTokens: false, parseSpecialTokens: false };
    const ids = await this.#tokenizer.encodeNow(text, options).catch(() => []); // it is drawn then
    const spelled = Buffer.concat(ids.map((id) => bytesOfToken(this.#tokenizer, id)));
    const kept = spelled.equals(Buffer.from(text)) ? Object.freeze(ids.slice(0, -1)) : NONE;
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(text, kept);
    return kept;
  }
}

/** The bytes that must come: found out elsewhere where that takes long, and given up at last. */
async function forcedBytes(matcher: Matcher): Promise<Uint8Array> {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const bytes = matcher.forcedBytes();
    if (bytes !== null) return bytes;
    await matcher.settle();
  }
  return NO_BYTES;
}

function mayJump({ constraint, group, finishReason }: Sequence): boolean {
  const { beam, numLogprobs, allowedIds, badWordIds } = group.params;
  if (constraint === null || finishReason !== null) return false;
  return beam === null && numLogprobs < 0 && allowedIds === null && badWordIds.length === 0;
}

/** Whole characters only. */
function textOf(bytes: Uint8Array): string {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  try {
    return decoder.decode(bytes, { stream: true });
  } catch {
    return ''; // what is forced is no text
  }
}
