/** A grammar that can be asked from outside what it allows; the way generation asks it. */
import { takeList } from '../arguments.js';
import { assert, octavoError } from '../errors.js';
import type { CachedGrammar, Matcher } from '../grammar/compile.js';
import { Pacer } from '../text/pacer.js';
import { bytesOfToken } from '../text/token-bytes.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { allowedTokens, newMask } from './constraint.js';

interface Vocabulary {
  readonly vocabSize: number;
  readonly eosTokenIds: readonly number[];
}

/**
 * What `structuredOutputs` compiles to with a model's vocabulary. Immutable; nothing of it needs to
 * be freed.
 */
export class CompiledGrammar {
  /** What of a schema is not enforced: with `strict: false` only. */
  readonly warnings: readonly string[];
  readonly #grammar: CachedGrammar;
  readonly #tokenizer: Tokenizer;
  readonly #vocabulary: Vocabulary;
  readonly #byteTokens: readonly number[];

  /** @internal @param byteTokens for each byte the token that is it alone, or −1 */
  constructor(
    grammar: CachedGrammar,
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    byteTokens: readonly number[],
  ) {
    this.#grammar = grammar;
    this.#tokenizer = tokenizer;
    this.#vocabulary = vocabulary;
    this.#byteTokens = byteTokens;
    this.warnings = grammar.warnings;
  }

  /** Bytes that it takes now. It grows while it is used, up to a limit. */
  get numBytes(): number {
    return this.#grammar.numBytes;
  }

  /**
   * Whether an output may be this, from its first to its last token: a text, tokenized as the model
   * would, or token ids, at whose end EOS may stand or not. Each token is looked up in the mask of
   * its place, as generation does.
   * @throws ERR_INVALID_PARAM, ERR_GRAMMAR where a limit is met
   */
  async accepts(output: string | ArrayLike<number>): Promise<boolean> {
    const ids = typeof output === 'string' ? await this.#tokenize(output) : this.#idsOf(output);
    if (ids === null) return false;
    const matcher = this.#grammar.start();
    const mask = newMask(this.#vocabulary.vocabSize);
    const pacer = new Pacer(1);
    for (const [i, id] of ids.entries()) {
      const isTaken = takes(matcher, mask, id);
      if (matcher.failure) throw outOfBounds(matcher.failure);
      if (!isTaken) return false;
      const isLast = i === ids.length - 1;
      if (isLast && this.#vocabulary.eosTokenIds.includes(id)) return true;
      if (pacer.due()) await pacer.turn();
    }
    return matcher.complete();
  }

  /**
   * The ids that may come next after these, ascending; those of EOS among them where the output may
   * end. Empty where the ids themselves are not allowed.
   * @throws ERR_INVALID_PARAM
   */
  allowedTokens(tokenIds: ArrayLike<number>): Int32Array {
    const matcher = this.#grammar.start();
    for (const id of this.#idsOf(tokenIds)) if (!matcher.advance(id)) return new Int32Array(0);
    return Int32Array.from(allowedTokens(matcher, newMask(this.#vocabulary.vocabSize)));
  }

  /** How many of a text's UTF-8 bytes an output may begin with: up to the first that is wrong. */
  acceptedBytes(text: string): number {
    return this.#grammar.start().acceptsBytes(Buffer.from(text));
  }

  #idsOf(given: ArrayLike<number>): number[] {
    const { vocabSize } = this.#vocabulary;
    const refusal = () =>
      octavoError(
        'ERR_INVALID_PARAM',
        `what a grammar is asked for must be a text, or an array of token ids from 0 to ` +
          `${vocabSize - 1}`,
        { param: 'tokenIds' },
      );
    if (!Array.isArray(given) && !ArrayBuffer.isView(given)) throw refusal();
    const ids = takeList(given as unknown as readonly unknown[], 'tokenIds');
    const isId = (id: unknown) => Number.isInteger(id) && Number(id) >= 0 && Number(id) < vocabSize;
    if (!ids.every(isId)) throw refusal();
    return ids as number[];
  }

  /**
   * The tokens of a text; where they spell it otherwise (with a space in front, say), a token for
   * each byte. Null: the vocabulary has no tokens for it.
   */
  async #tokenize(text: string): Promise<number[] | null> {
    const bytes = Buffer.from(text);
    if (text === '') return [];
    const options = { addSpecialTokens: false, parseSpecialTokens: false };
    const ids = await this.#tokenizer.encode(text, options);
    const spelled = Buffer.concat(ids.map((id) => bytesOfToken(this.#tokenizer, id)));
    if (spelled.equals(bytes)) return ids;
    const single = Array.from(bytes, (byte) => this.#byteTokens[byte]);
    return single.includes(-1) ? null : single;
  }
}

/** A limit was met while the grammar was used. */
function outOfBounds(failure: string): Error {
  return octavoError('ERR_GRAMMAR', failure, { param: 'structuredOutputs' });
}

function takes(matcher: Matcher, mask: Int32Array, id: number): boolean {
  matcher.fillMask(mask, 0);
  const isAllowed = hasBit(mask, id);
  assert(matcher.advance(id) === isAllowed, 'a mask and its matcher disagree');
  return isAllowed;
}

function hasBit(mask: Int32Array, id: number): boolean {
  return ((mask[id >>> 5] >>> (id & 31)) & 1) === 1;
}
