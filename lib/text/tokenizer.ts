import type { Decoder, Encoding, Tokenizer as Library } from 'tokenizers';
import { readArgument, shown, takeOptions } from '../arguments.js';
import { octavoError } from '../errors.js';
import { ByteRun } from './byte-runs.js';
import { ControlTokens, Cutter, fusedUnknown } from './control-tokens.js';
import { Pacer } from './pacer.js';
import type { SentenceRules } from './sentence-rules.js';
import { build, byteIds } from './tokenizer-build.js';
import {
  type Adding,
  addedBy,
  parts,
  type ReadConfig,
  readConfig,
  type TokenizerConfig,
  whoAdds,
} from './tokenizer-config.js';
import {
  countEnds,
  cutSingle,
  type Encoded,
  type Ends,
  pairOf,
  type TokenizedText,
  type WholeOptions,
  type WholeText,
} from './whole-texts.js';

export type { TokenizerConfig } from './tokenizer-config.js';

/** Of {@link Tokenizer.encode}. */
export interface EncodeOptions {
  /** Whether the BOS (and EOS) that the tokenizer asks for are added. Default true. */
  addSpecialTokens?: boolean;
  /**
   * False: control tokens that are spelled in the text are text, as with `encode_special_tokens`
   * of the library. Default true.
   */
  parseSpecialTokens?: boolean;
  /** A text that gives more tokens is refused with ERR_PROMPT_TOO_LONG. Default: no limit. */
  maxTokens?: number;
}

/** Of {@link Tokenizer.decode}. */
export interface DecodeOptions {
  /** Whether special tokens are left out of the text. Default true. */
  skipSpecialTokens?: boolean;
}

function invalid(param: string, message: string): Error {
  return octavoError('ERR_INVALID_PARAM', message, { param });
}

/** A flag that is on where it is not given. */
function takeFlag(value: unknown, name: string): boolean {
  if (value === undefined || typeof value === 'boolean') return value ?? true;
  throw invalid(name, `${name} must be true or false.`);
}

function tooLong(size: string, limit: string): Error {
  const message = `the text has ${size}, and ${limit}; shorten it`;
  return octavoError('ERR_PROMPT_TOO_LONG', message, { param: 'prompt' });
}

/**
 * Longest text that is tokenized, in UTF-16 units: more takes minutes, and at ten million spaces
 * the regular expressions of some tokenizers end the process.
 */
export const MAX_TEXT_LENGTH = 2 ** 23;

/** What a GGUF file says beside what stands in a tokenizer.json. */
interface OfGguf {
  /** SentencePiece's compiled rules, applied before what the json says. */
  readonly charsmap?: Uint8Array;
}

/** Runs `encode`, of a text of `size` UTF-16 units, when it is its turn. */
export type EncodeQueue = <T>(size: number, encode: () => Promise<T>) => Promise<T>;

/**
 * Text to ids and back, around Hugging Face's library. Immutable after construction and safe to
 * share between requests: encode and decode run on libuv's pool, everything else is synchronous and
 * takes about a microsecond.
 */
export class Tokenizer {
  readonly #library: Library;
  readonly #decoder: Decoder | null;
  readonly #special: ReadonlySet<number>;
  readonly #bytes: ReadonlyMap<number, number>;
  readonly #adding: Adding;
  readonly #isGguf: boolean;
  /** @internal Tokens spell bytes, each by a character of its own. */
  readonly isByteLevel: boolean;
  readonly #cutter: Cutter;
  #longestToken: Promise<number> | undefined;
  readonly #rules: SentenceRules | undefined;
  #queue: EncodeQueue = (_, encode) => encode();

  /** Number of ids with a token (the model's own vocabulary may be padded to more). */
  readonly vocabSize: number;
  /**
   * As tokenizer_config.json names it, else the token the post-processor puts in front; undefined
   * where there is none or it is not in the vocabulary.
   */
  readonly bosTokenId: number | undefined;
  /** As tokenizer_config.json names it; undefined where it names none of the vocabulary. */
  readonly eosTokenId: number | undefined;
  /** How the BOS is spelled. */
  readonly bosToken: string | undefined;
  /** How the EOS is spelled. */
  readonly eosToken: string | undefined;
  /** What fills up batches elsewhere: nothing is padded here. */
  readonly padToken: string | undefined;
  /** What stands for what the vocabulary does not have. */
  readonly unkToken: string | undefined;

  private constructor(json: string, config: ReadConfig, name: string, gguf?: OfGguf) {
    const { library, head, rules } = build(json, name, gguf?.charsmap);
    this.#isGguf = gguf !== undefined;
    this.#rules = rules;
    this.#library = library;
    this.#decoder = library.getDecoder();
    this.#special = new Set(head.added_tokens?.filter((t) => t.special).map((t) => t.id));
    this.#bytes = byteIds(library, head.decoder);
    this.isByteLevel = parts(head.decoder).some((part) => part.type === 'ByteLevel');
    this.#adding = whoAdds(config, head.post_processor);
    this.vocabSize = library.getVocabSize(true);
    const control = new ControlTokens(head.added_tokens ?? []);
    this.#cutter = new Cutter(library, control, fusedUnknown(head.model, library));
    this.bosToken = config.bos_token ?? addedBy(head.post_processor).first;
    this.eosToken = config.eos_token;
    this.padToken = config.pad_token;
    this.unkToken = config.unk_token;
    this.bosTokenId = this.bosToken === undefined ? undefined : this.tokenToId(this.bosToken);
    this.eosTokenId = this.eosToken === undefined ? undefined : this.tokenToId(this.eosToken);
  }

  /**
   * Builds a tokenizer from the text of a tokenizer.json and, where there is one, the parsed
   * tokenizer_config.json. Truncation and padding settings of the file are switched off.
   *
   * This is the one measured exception to "nothing blocks the event loop for 10 ms": the library
   * builds synchronously only, and what it builds cannot cross threads. Once, at load: 5 ms for the
   * demo model (4,096 tokens), 50 to 80 ms for 32,000, 0.4 to 0.7 s for 150,000.
   *
   * @param name the file's name for messages; default "tokenizer.json".
   * @param gguf where the json was made of a GGUF file.
   * @throws ERR_TOKENIZER when the library cannot read the json, or the config is not one.
   */
  static fromJson(
    json: string,
    config: TokenizerConfig = {},
    name = 'tokenizer.json',
    gguf?: OfGguf,
  ): Tokenizer {
    return new Tokenizer(json, readConfig(config, name), name, gguf);
  }

  /**
   * The ids of a text. Special tokens spelled out in it are parsed unless asked not to. The BOS
   * that the tokenizer asks for is added unless the text begins with it, as a template's does; an
   * encoder's ends always are.
   *
   * @throws ERR_INVALID_PROMPT when the text is not a string, ERR_PROMPT_TOO_LONG above maxTokens,
   * ERR_TOKENIZER when the library fails.
   */
  async encode(text: string, options: EncodeOptions = {}): Promise<number[]> {
    return this.#queue(typeof text === 'string' ? text.length : 0, () =>
      this.encodeNow(text, options),
    );
  }

  /** @internal Texts of `encode()` wait for their turn in this queue from now on. */
  useQueue(queue: EncodeQueue): void {
    this.#queue = queue;
  }

  /** @internal Characters that a text from outside needs to spell a control token. */
  get guardedChars(): string {
    return this.#cutter.control.chars;
  }

  /** @internal Whether a template might make a control token of a word from outside. */
  isPartOfControl(word: string): boolean {
    return this.#cutter.control.holds(word);
  }

  /**
   * @internal {@link encode} for whoever has waited already.
   * @param marked the text, other characters where it comes from outside; null: all of it does
   */
  async encodeNow(
    text: string,
    options: EncodeOptions = {},
    marked: string | null = text,
  ): Promise<number[]> {
    if (typeof text !== 'string') {
      throw octavoError('ERR_INVALID_PROMPT', `A text must be a string, not ${typeof text}.`);
    }
    const {
      addSpecialTokens,
      parseSpecialTokens,
      maxTokens = Number.POSITIVE_INFINITY,
    } = takeOptions(options, 'encode()', ['addSpecialTokens', 'parseSpecialTokens', 'maxTokens']);
    const add = takeFlag(addSpecialTokens, 'addSpecialTokens');
    const parse = takeFlag(parseSpecialTokens, 'parseSpecialTokens');
    if (typeof maxTokens !== 'number') throw invalid('maxTokens', 'maxTokens must be a number.');
    if (text.length > MAX_TEXT_LENGTH) {
      throw tooLong(`${text.length} characters`, `at most ${MAX_TEXT_LENGTH} are tokenized`);
    }
    const seen = parse ? marked : null;
    const whole = (await this.#rules?.apply(text, seen)) ?? { text, marked: seen };
    const { written, numCuts } = await this.#cutter.cut(whole.text, whole.marked, maxTokens);
    if (numCuts > maxTokens)
      throw tooLong(`${numCuts} tokens or more`, `${maxTokens} are the limit`);
    const encoding = await this.#encoding(written, null, add);
    // Ids of a text that is refused anyway would be copied on the event loop.
    const numTokens = encoding.getLength() - numCuts;
    if (numTokens > maxTokens) throw tooLong(`${numTokens} tokens`, `${maxTokens} are the limit`);
    const ids = numCuts === 0 ? encoding.getIds() : await this.#cutter.joined(encoding.getIds());
    if (!add) return ids;
    if (this.#adding.by === 'us') this.#addOurs(ids, this.#adding);
    else if (!this.#adding.always && this.#startsTwice(ids)) ids.shift();
    return ids;
  }

  /**
   * @internal The ids of a text, or of two, that a model reads whole; for whoever has waited
   * already. Special tokens spelled in the texts are parsed, but in what is not `marked`.
   * @param known of {@link prepare}
   * @throws ERR_PROMPT_TOO_LONG, also where special tokens alone are too many; ERR_TOKENIZER
   */
  async encodeWhole(
    whole: WholeText,
    options: WholeOptions,
    known?: Encoded,
  ): Promise<TokenizedText> {
    const { maxTokens, truncate, addSpecialTokens: add = true } = options;
    const { marked = whole.text, pair } = whole;
    const numUnits = whole.text.length + (pair?.length ?? 0);
    if (numUnits > MAX_TEXT_LENGTH) {
      throw tooLong(`${numUnits} characters`, `at most ${MAX_TEXT_LENGTH} are tokenized`);
    }
    const { encoding, numCuts } =
      known === undefined
        ? await this.#encodeMarked(whole.text, marked, pair, options)
        : { encoding: known, numCuts: 0 };
    const ends: Ends = add && this.#adding.by === 'us' ? this.#ends(this.#adding) : {};
    const most = maxTokens - countEnds(ends, pair !== undefined);
    const numTokens = encoding.getLength() - numCuts;
    if (numTokens > most && !truncate) {
      const added = maxTokens - most;
      throw tooLong(`${numTokens + added} tokens`, `${maxTokens} are the limit`);
    }
    const tooShort = () =>
      tooLong('special tokens around it', `more than the ${maxTokens} allowed`);
    if (pair !== undefined) {
      const both = pairOf(encoding, ends, maxTokens);
      if (both === null) throw tooShort();
      return both;
    }
    const all = numCuts === 0 ? encoding.getIds() : await this.#cutter.joined(encoding.getIds());
    if (add && this.#adding.by === 'library' && !this.#adding.always && this.#startsTwice(all)) {
      all.shift();
    }
    const ids = all.length > most ? cutSingle(all, encoding, most) : all;
    if (ids === null) throw tooShort();
    if (add && this.#adding.by === 'us') this.#addOurs(ids, this.#adding);
    return { ids, isTruncated: all.length > most };
  }

  async #encodeMarked(
    text: string,
    marked: string | null,
    pair: string | undefined,
    { maxTokens, addSpecialTokens: add = true }: WholeOptions,
  ): Promise<{ encoding: Encoded; numCuts: number }> {
    const first = (await this.#rules?.apply(text, marked)) ?? { text, marked };
    const { written, numCuts } = await this.#cutter.cut(first.text, first.marked, maxTokens);
    const second =
      pair === undefined ? null : ((await this.#rules?.apply(pair, pair))?.text ?? pair);
    return { encoding: await this.#encoding(written, second, add), numCuts };
  }

  /**
   * @internal Short texts for {@link encodeWhole}, all together, which takes the event loop a third
   * of the time. Null where each has to be looked at alone.
   */
  async prepare(texts: readonly string[]): Promise<readonly Encoded[] | null> {
    if (this.#rules !== undefined) return null;
    try {
      const byLibrary = { addSpecialTokens: this.#adding.by === 'library' };
      return await this.#library.encodeBatch([...texts], byLibrary);
    } catch {
      return null; // each alone tells whose fault it is
    }
  }

  async #encoding(text: string, pair: string | null, add: boolean): Promise<Encoding> {
    try {
      const byLibrary = { addSpecialTokens: add && this.#adding.by === 'library' };
      return await this.#library.encode(text, pair, byLibrary);
    } catch (cause) {
      throw octavoError('ERR_TOKENIZER', 'The tokenizer failed on this text.', { cause });
    }
  }

  #ends({ bos, eos }: { bos: boolean; eos: boolean }): Ends {
    const { bosTokenId: front, eosTokenId: back } = this;
    return {
      // transformers begins both texts of a pair so, llama.cpp the first alone.
      ...(bos && front !== undefined ? { front, second: this.#isGguf ? undefined : front } : {}),
      ...(eos && back !== undefined ? { back } : {}),
    };
  }

  #startsTwice(ids: readonly number[]): boolean {
    return this.bosTokenId !== undefined && ids[0] === this.bosTokenId && ids[1] === ids[0];
  }

  #addOurs(ids: number[], { bos, eos }: { bos: boolean; eos: boolean }): void {
    if (bos && this.bosTokenId !== undefined && ids[0] !== this.bosTokenId) {
      ids.unshift(this.bosTokenId);
    }
    if (eos && this.eosTokenId !== undefined && ids.at(-1) !== this.eosTokenId) {
      ids.push(this.eosTokenId);
    }
  }

  /**
   * The text of ids. Runs of byte-fallback tokens that are not UTF-8 are decoded byte by byte (see
   * byte-runs.ts), synchronously, at about 1 µs a token; everything else off the event loop.
   *
   * @throws ERR_INVALID_PARAM when an id is not an integer or has no token, naming it.
   */
  async decode(ids: ArrayLike<number>, options: DecodeOptions = {}): Promise<string> {
    const { skipSpecialTokens } = takeOptions(options, 'decode()', ['skipSpecialTokens']);
    const skip = takeFlag(skipSpecialTokens, 'skipSpecialTokens');
    const notIds = () => invalid('tokenIds', 'Token ids must be given as an array.');
    if (!Array.isArray(ids) && !ArrayBuffer.isView(ids)) throw notIds();
    const list = readArgument(() => Array.from(ids), notIds);
    for (let i = 0; i < list.length; i++) this.#checkId(list[i], i);
    if (this.#bytes.size > 0) {
      const repaired = this.#repair(list, skip);
      if (repaired !== null) return this.decodeTokens(repaired);
    }
    return this.#library.decode(list, skip);
  }

  #checkId(id: number, position: number): void {
    const known = Number.isInteger(id) && id >= 0 && id < 2 ** 32;
    if (known && (id < this.vocabSize || this.idToToken(id) !== null)) return;
    throw invalid(
      'tokenIds',
      `Token id ${shown(id)} at position ${position} is not one of the ${this.vocabSize} ids of ` +
        'the vocabulary.',
    );
  }

  /** The tokens with stray bytes replaced, or null when every byte run is valid UTF-8. */
  #repair(ids: readonly number[], skip: boolean): string[] | null {
    if (!ids.some((id) => this.#bytes.has(id))) return null;
    const run = new ByteRun();
    const tokens: string[] = [];
    for (const id of ids) {
      if (skip && this.isSpecial(id)) continue;
      const byte = this.#bytes.get(id);
      if (byte !== undefined) run.push(byte, tokens);
      else {
        run.end(tokens);
        tokens.push(this.idToToken(id) ?? '');
      }
    }
    run.end(tokens);
    return run.strays > 0 ? tokens : null;
  }

  /**
   * Length of the longest token's spelling in UTF-16 units: no token stands for more of a text,
   * unless the tokenizer's normalizer drops some. Looks at all of them once (0.3 µs each).
   */
  longestToken(): Promise<number> {
    this.#longestToken ??= this.#findLongestToken();
    return this.#longestToken;
  }

  async #findLongestToken(): Promise<number> {
    const pacer = new Pacer();
    let longest = 1;
    for (let id = 0; id < this.vocabSize; id++) {
      longest = Math.max(longest, this.idToToken(id)?.length ?? 0);
      if (pacer.due()) await pacer.turn();
    }
    return longest;
  }

  /** The byte that an id's byte-fallback token stands for; undefined for every other id. */
  byteOf(id: number): number | undefined {
    return this.#bytes.get(id);
  }

  /**
   * The text that tokens (not ids) spell together, as the tokenizer's decoder puts it. Synchronous,
   * about 1 µs for a few tokens. Byte runs must be valid UTF-8 (see ByteRun).
   */
  decodeTokens(tokens: string[]): string {
    return this.#decoder === null ? tokens.join(' ') : this.#decoder.decode(tokens);
  }

  /**
   * The token of an id, null where there is none. Synchronous, about 0.3 µs.
   * @throws ERR_INVALID_PARAM when the id is no number
   */
  idToToken(id: number): string | null {
    if (typeof id !== 'number') throw invalid('id', `An id must be a number, not ${typeof id}.`);
    return id === this.#cutter.separatorId ? null : this.#library.idToToken(id);
  }

  /**
   * The id of a token's exact spelling, undefined where there is none.
   * @throws ERR_INVALID_PARAM when the token is no string
   */
  tokenToId(token: string): number | undefined {
    if (typeof token !== 'string') {
      throw invalid('token', `A token must be a string, not ${typeof token}.`);
    }
    return this.#library.tokenToId(token) ?? undefined;
  }

  /** Whether decode leaves this id out by default (BOS, EOS, chat markers). */
  isSpecial(id: number): boolean {
    return this.#special.has(id);
  }
}
