/** The grammars of a loaded model: its tokens as bytes, read once, and what is compiled on them. */
import type { StructuredOutputs } from '../core/structured.js';
import { checkStructuredOutputs } from '../core/structured-shape.js';
import { octavoError } from '../errors.js';
import {
  type CachedGrammar,
  type CompiledProgram,
  GrammarCache,
  type GrammarCounts,
  type GrammarSource,
} from '../grammar/compile.js';
import type { SpecLimits } from '../grammar/index.js';
import { markLate } from '../grammar/problem.js';
import {
  fromNative,
  type NativeAddon,
  type NativeGrammar,
  type NativeVocabulary,
} from '../native.js';
import { byteTokens, tokenBytes } from '../text/token-bytes.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { CompiledGrammar } from './compiled-grammar.js';
import { GrammarReader } from './grammar-reader.js';
import { type Structured, structuredOf } from './structured.js';

/** Even where nothing is kept, one grammar may take so much while it is used. */
const MIN_BYTES = 2 ** 25;

/** Work of reading that may be done for each ms of the limit: an idle core does it in a tenth. */
const WORK_PER_MS = 60;

/** What of a model's options says how far grammars may go. */
export interface GrammarOptions {
  readonly grammarCacheBytes: number;
  readonly grammarMaxSchemaBytes: number;
  readonly grammarMaxDepth: number;
  readonly grammarMaxEnumBytes: number;
  readonly grammarMaxStates: number;
  readonly grammarMaxCompileMs: number;
}

/** What of a model grammars look at. */
export interface GrammarModel {
  readonly vocabSize: number;
  readonly eosTokenIds: readonly number[];
}

/** The model may be closed at any time, and the grammar with it. */
function coded(grammar: NativeGrammar): CompiledProgram {
  const attempt = <T>(call: () => T): T => {
    try {
      return call();
    } catch (error) {
      throw fromNative(error);
    }
  };
  return {
    start: () => attempt(() => grammar.start()),
    get memory() {
      return attempt(() => grammar.memory);
    },
    close: () => grammar.close(),
  };
}

interface Vocabulary {
  readonly tokens: NativeVocabulary;
  /** For each byte the token that is it alone, or −1. */
  readonly byteTokens: readonly number[];
}

export class Grammars {
  readonly #addon: NativeAddon;
  readonly #tokenizer: Tokenizer;
  readonly #model: GrammarModel;
  readonly #options: GrammarOptions;
  readonly #reader: GrammarReader;
  readonly #cache: GrammarCache;
  readonly limits: SpecLimits;
  #vocabulary: Promise<Vocabulary> | undefined;

  constructor(
    addon: NativeAddon,
    tokenizer: Tokenizer,
    model: GrammarModel,
    options: GrammarOptions,
  ) {
    this.#addon = addon;
    this.#tokenizer = tokenizer;
    this.#model = model;
    this.#options = options;
    const { grammarMaxCompileMs: maxMs } = options;
    this.#reader = new GrammarReader({ maxMs, maxWork: maxMs * WORK_PER_MS });
    this.#cache = new GrammarCache((program) => this.#compile(program), options.grammarCacheBytes, {
      read: (source) => this.#reader.read(source),
    });
    this.limits = {
      maxSchemaBytes: options.grammarMaxSchemaBytes,
      maxDepth: options.grammarMaxDepth,
      maxEnumBytes: options.grammarMaxEnumBytes,
      tokenIds: (text) => tokenizer.tokenToId(text),
    };
  }

  /** Told of each that is compiled how long that took. */
  set onCompiled(told: ((ms: number) => void) | null) {
    this.#cache.onCompiled = told;
  }

  get counts(): GrammarCounts {
    return this.#cache.counts;
  }

  /** @throws ERR_INVALID_PARAM */
  structured(given: StructuredOutputs): Structured {
    return structuredOf(given, this.limits);
  }

  /** @throws ERR_GRAMMAR */
  compile(source: GrammarSource): Promise<CachedGrammar> {
    return this.#cache.compile(source);
  }

  /** For {@link LLM.compileGrammar}. */
  async compileGrammar(given: unknown): Promise<CompiledGrammar> {
    const { source } = this.structured(checkStructuredOutputs(given));
    return new CompiledGrammar(
      await this.compile(source),
      this.#tokenizer,
      this.#model,
      (await this.#tokens()).byteTokens,
    );
  }

  async #compile(program: Int32Array) {
    if (this.#model.eosTokenIds.length === 0) {
      throw octavoError(
        'ERR_GRAMMAR',
        "neither the model's files nor its tokenizer name an end of sequence, by which a " +
          'constrained output ends',
        { param: 'structuredOutputs' },
      );
    }
    const { grammarMaxStates, grammarCacheBytes, grammarMaxCompileMs } = this.#options;
    const { tokens } = await this.#tokens();
    const limits = {
      maxStates: grammarMaxStates,
      maxBytes: Math.max(grammarCacheBytes, MIN_BYTES),
      maxMs: grammarMaxCompileMs,
    };
    const started = performance.now();
    try {
      return coded(await this.#addon.Grammar.compile(tokens, program, limits));
    } catch (cause) {
      const error = fromNative(cause);
      if (performance.now() - started >= grammarMaxCompileMs) markLate(error);
      throw error;
    }
  }

  /** Gives all memory back, that of grammars in use as soon as nobody uses them. */
  async close(): Promise<void> {
    this.#cache.close();
    await this.#reader.close();
    const vocabulary = await this.#vocabulary?.catch(() => undefined);
    vocabulary?.tokens.close();
  }

  /** Reads the tokens before the first grammar needs them. */
  async warmUp(): Promise<void> {
    await this.#tokens();
  }

  /** Built with the first grammar: milliseconds for small vocabularies, 0.3 s for large ones. */
  #tokens(): Promise<Vocabulary> {
    this.#vocabulary ??= this.#build().catch((error) => {
      this.#vocabulary = undefined;
      throw error;
    });
    return this.#vocabulary;
  }

  async #build(): Promise<Vocabulary> {
    const { vocabSize, eosTokenIds } = this.#model;
    const all = await tokenBytes(this.#tokenizer, vocabSize);
    const { bytes, offsets } = all;
    const ends = Int32Array.from(eosTokenIds);
    try {
      const tokens = await this.#addon.Vocabulary.build(bytes, offsets, ends);
      return { tokens, byteTokens: byteTokens(all) };
    } catch (error) {
      throw fromNative(error);
    }
  }
}
