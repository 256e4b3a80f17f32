import { type Decoder, Tokenizer as Library } from 'tokenizers';
import { z } from 'zod';
import { octavoError } from '../errors.js';
import { ByteRun, byteToken } from './byte-runs.js';
import { jsonMembers } from './json-members.js';

const special = z
  .union([z.string(), z.object({ content: z.string() }).transform((token) => token.content)])
  .nullish()
  .transform((token) => token ?? undefined);
const flag = z
  .boolean()
  .nullish()
  .transform((value) => value ?? undefined);

/** What is read of a tokenizer_config.json; unknown members are ignored. */
const configSchema = z.object({
  bos_token: special,
  eos_token: special,
  pad_token: special,
  unk_token: special,
  add_bos_token: flag,
  add_eos_token: flag,
  tokenizer_class: z.string().nullish(),
});

/**
 * A tokenizer_config.json as it stands in the file: special tokens are strings or objects with a
 * `content`. Everything is optional.
 */
export type TokenizerConfig = z.input<typeof configSchema>;

export interface EncodeOptions {
  /** Whether the BOS (and EOS) that the tokenizer asks for are added. Default true. */
  addSpecialTokens?: boolean;
}

export interface DecodeOptions {
  /** Whether special tokens are left out of the text. Default true. */
  skipSpecialTokens?: boolean;
}

const headSchema = z.object({
  added_tokens: z
    .array(z.object({ id: z.number(), content: z.string(), special: z.boolean().default(false) }))
    .nullish(),
  post_processor: z.unknown().optional(),
  decoder: z.unknown().optional(),
});
const HEAD = ['added_tokens', 'post_processor', 'decoder'];

/** Classes whose add_bos_token stands above the post-processor, and is on by default. */
const LLAMA_STYLE = /^(Llama|CodeLlama|Gemma)Tokenizer(Fast)?$/;

/** The parts of a processor or decoder of tokenizer.json, "Sequence" taken apart. */
function parts(node: unknown): Record<string, unknown>[] {
  if (typeof node !== 'object' || node === null) return [];
  const { type, processors, decoders } = node as Record<string, unknown>;
  if (type !== 'Sequence') return [node as Record<string, unknown>];
  const members = processors ?? decoders;
  return Array.isArray(members) ? members.flatMap(parts) : [];
}

const template = z.array(z.object({ SpecialToken: z.object({ id: z.string() }).optional() }));

/** The special tokens a post-processor puts around a text, and the first if it stands in front. */
function addedBy(processor: unknown): { any: boolean; first?: string } {
  for (const part of parts(processor)) {
    if (part.type === 'BertProcessing' || part.type === 'RobertaProcessing') {
      return { any: true, first: Array.isArray(part.cls) ? String(part.cls[0]) : undefined };
    }
    const single = part.type === 'TemplateProcessing' ? template.safeParse(part.single).data : [];
    if (single?.some((piece) => piece.SpecialToken)) {
      return { any: true, first: single[0].SpecialToken?.id };
    }
  }
  return { any: false };
}

/** Ids of byte-fallback tokens, where the tokenizer's decoder takes them for bytes. */
function byteIds(library: Library, decoder: unknown): Map<number, number> {
  const ids = new Map<number, number>();
  if (!parts(decoder).some((part) => part.type === 'ByteFallback')) return ids;
  for (let byte = 0; byte < 256; byte++) {
    const id = library.tokenToId(byteToken(byte));
    if (id !== null) ids.set(id, byte);
  }
  return ids;
}

/** Who adds BOS and EOS: the library (by its post-processor), or we, or nobody. */
type Adding = { by: 'library' } | { by: 'us'; bos: boolean; eos: boolean };

function whoAdds(config: z.output<typeof configSchema>, processor: unknown): Adding {
  const llama = LLAMA_STYLE.test(config.tokenizer_class ?? '');
  const said = config.add_bos_token !== undefined || config.add_eos_token !== undefined;
  if (addedBy(processor).any && !(llama && said)) return { by: 'library' };
  return { by: 'us', bos: config.add_bos_token ?? llama, eos: config.add_eos_token ?? false };
}

function build(
  json: string,
  name: string,
): { library: Library; head: z.output<typeof headSchema> } {
  try {
    const library = Library.fromString(json);
    library.disableTruncation();
    library.disablePadding();
    return { library, head: headSchema.parse(jsonMembers(json, HEAD)) };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    throw octavoError('ERR_TOKENIZER', `${name} is not a tokenizer the library can read: ${why}`, {
      param: name,
      cause,
    });
  }
}

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

  /** Number of ids with a token (the model's own vocabulary may be padded to more). */
  readonly vocabSize: number;
  /**
   * As tokenizer_config.json names it, else the token the post-processor puts in front; undefined
   * where there is none or it is not in the vocabulary.
   */
  readonly bosTokenId: number | undefined;
  /** As tokenizer_config.json names it; undefined where it names none of the vocabulary. */
  readonly eosTokenId: number | undefined;
  /** The spellings, for chat templates. */
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
  readonly padToken: string | undefined;
  readonly unkToken: string | undefined;

  private constructor(json: string, config: z.output<typeof configSchema>, name: string) {
    const { library, head } = build(json, name);
    this.#library = library;
    this.#decoder = library.getDecoder();
    this.#special = new Set(head.added_tokens?.filter((t) => t.special).map((t) => t.id));
    this.#bytes = byteIds(library, head.decoder);
    this.#adding = whoAdds(config, head.post_processor);
    this.vocabSize = library.getVocabSize(true);
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
   * builds synchronously only, and what it builds cannot cross threads. 5 ms for the demo model
   * (4,096 tokens; 10 ms on a busy machine), 50 to 80 ms for 32,000, 0.4 to 0.7 s for 150,000.
   * Done once, at load.
   *
   * @param name the file's name for messages; default "tokenizer.json".
   * @throws ERR_TOKENIZER when the library cannot read the json, or the config is not one.
   */
  static fromJson(json: string, config: TokenizerConfig = {}, name = 'tokenizer.json'): Tokenizer {
    const checked = configSchema.safeParse(config);
    if (!checked.success) {
      const { path, message } = checked.error.issues[0];
      throw octavoError(
        'ERR_TOKENIZER',
        `The tokenizer_config.json of ${name} is damaged at "${path.join('.')}": ${message}`,
        { param: 'tokenizer_config.json' },
      );
    }
    return new Tokenizer(json, checked.data, name);
  }

  /**
   * The ids of a text. Special tokens spelled out in the text are parsed as such. The BOS that the
   * tokenizer asks for is added unless the text already begins with it (as a chat template's
   * output does).
   *
   * @throws ERR_INVALID_PROMPT when the text is not a string, ERR_TOKENIZER when the library fails.
   */
  async encode(text: string, options: EncodeOptions = {}): Promise<number[]> {
    if (typeof text !== 'string') {
      throw octavoError('ERR_INVALID_PROMPT', `A text must be a string, not ${typeof text}.`);
    }
    const add = options.addSpecialTokens ?? true;
    const byLibrary = add && this.#adding.by === 'library';
    let ids: number[];
    try {
      const encoding = await this.#library.encode(text, null, { addSpecialTokens: byLibrary });
      ids = encoding.getIds();
    } catch (cause) {
      throw octavoError('ERR_TOKENIZER', 'The tokenizer failed on this text.', { cause });
    }
    if (!add) return ids;
    if (this.#adding.by === 'us') this.#addOurs(ids, this.#adding);
    else if (this.#startsTwice(ids)) ids.shift();
    return ids;
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
    const skip = options.skipSpecialTokens ?? true;
    const list = Array.from(ids);
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
    throw octavoError(
      'ERR_INVALID_PARAM',
      `Token id ${id} at position ${position} is not one of the ${this.vocabSize} ids of the ` +
        'vocabulary.',
      { param: 'tokenIds' },
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

  /** The token of an id, null where there is none. Synchronous, about 0.3 µs. */
  idToToken(id: number): string | null {
    return this.#library.idToToken(id);
  }

  /** The id of a token's exact spelling, undefined where there is none. */
  tokenToId(token: string): number | undefined {
    return this.#library.tokenToId(token) ?? undefined;
  }

  /** Whether decode leaves this id out by default (BOS, EOS, chat markers). */
  isSpecial(id: number): boolean {
    return this.#special.has(id);
  }
}
