/** A grammar that can be asked from outside what it allows; the way generation asks it. */
import { takeList } from '../arguments.js';
import { assert, octavoError } from '../errors.js';
import type { CachedGrammar, Matcher } from '../grammar/compile.js';
import { Pacer } from '../text/pacer.js';
import { bytesOfToken } from '../text/token-bytes.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { bitsOf, newMask } from './constraint.js';

interface Vocabulary {
  readonly vocabSize: number;
  readonly eosTokenIds: readonly number[];
}

/**
 * What `structuredOutputs` compiles to with a model's vocabulary. Immutable; nothing of it needs to
 * be freed.
 */
export class CompiledGrammar {
  /** What of a schema is not enforced: with `strict: false`, and formats that are not known. */
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
   * @throws ERR_INVALID_PARAM, ERR_CLOSED, ERR_GRAMMAR where a limit is met
   */
  async accepts(output: string | ArrayLike<number>): Promise<boolean> {
    const ids = typeof output === 'string' ? await this.#tokenize(output) : this.#idsOf(output);
    if (ids === null) return false;
    return this.#asking(async (matcher) => {
      const mask = newMask(this.#vocabulary.vocabSize);
      const pacer = new Pacer(1);
      for (const [i, id] of ids.entries()) {
        await fill(matcher, mask);
        if (!hasBit(mask, id)) return false;
        assert(matcher.advance(id), 'a mask and its matcher disagree');
        const isLast = i === ids.length - 1;
        if (isLast && this.#vocabulary.eosTokenIds.includes(id)) return true;
        if (pacer.due()) await pacer.turn();
      }
      await fill(matcher, mask);
      return this.#vocabulary.eosTokenIds.some((id) => hasBit(mask, id));
    });
  }

  /**
   * The ids that may come next after these, ascending; those of EOS among them where the output may
   * end. Empty where the ids themselves are not allowed.
   * @throws ERR_INVALID_PARAM, ERR_CLOSED, ERR_GRAMMAR where a limit is met
   */
  async allowedTokens(tokenIds: ArrayLike<number>): Promise<Int32Array> {
    const ids = this.#idsOf(tokenIds);
    return this.#asking(async (matcher) => {
      for (const id of ids) if (!matcher.advance(id)) return new Int32Array(0);
      const mask = newMask(this.#vocabulary.vocabSize);
      await fill(matcher, mask);
      return Int32Array.from(bitsOf(mask));
    });
  }

  /**
   * How many of a text's UTF-8 bytes an output may begin with: up to the first that is wrong.
   * @throws ERR_CLOSED, ERR_GRAMMAR where a limit is met
   */
  async acceptedBytes(text: string): Promise<number> {
    return this.#asking((matcher) => matcher.acceptsBytes(Buffer.from(text)));
  }

  async #asking<T>(ask: (matcher: Matcher) => Promise<T>): Promise<T> {
    const matcher = this.#grammar.start();
    try {
      return await ask(matcher);
    } finally {
      matcher.close();
    }
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

/** Fills the mask of a matcher's place. @throws ERR_GRAMMAR where a limit is met */
async function fill(matcher: Matcher, mask: Int32Array): Promise<void> {
  if (!matcher.fillMask(mask, 0)) {
    await matcher.settle();
    matcher.fillMask(mask, 0);
  }
  if (!matcher.failure) return;
  throw octavoError('ERR_GRAMMAR', matcher.failure, { param: 'structuredOutputs' });
}

function hasBit(mask: Int32Array, id: number): boolean {
  return ((mask[id >>> 5] >>> (id & 31)) & 1) === 1;
}
