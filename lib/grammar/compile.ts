/**
 * Compiled grammars, kept for whoever asks for the same again. Calls that ask at once share one
 * compilation; which grammars stay is decided by when they were last asked for, within a limit of
 * bytes. One that is no longer kept lives on with those that use it.
 */
import { createHash } from 'node:crypto';
import type { Grammar } from './grammar.js';
import { compileSpec, type GrammarSpec, type SpecLimits } from './index.js';
import { encodeProgram } from './program.js';
import { within } from './work-clock.js';

/** The state of one text under a grammar; the native side's. */
export interface Matcher {
  /** Takes a token. False: it is not allowed here, and nothing has changed. */
  advance(token: number): boolean;
  fork(): Matcher;
  /** Whether the text may end here. */
  complete(): boolean;
  /** How many of the bytes could be taken; nothing changes. */
  acceptsBytes(bytes: Uint8Array): number;
  /** Why nothing is allowed any more: a limit was exceeded. Empty: none was. */
  readonly failure: string;
  /** The bytes with which every continuation begins. */
  forcedBytes(): Uint8Array;
  /** Writes which tokens are allowed: ⌈vocabulary / 32⌉ words, bit id % 32 of word id / 32. */
  fillMask(into: Int32Array, offset: number): void;
}

/** What the native side makes of a program. */
export interface CompiledProgram {
  start(): Matcher;
  close(): void;
  /** Bytes that it takes now; what is found out while it is used is kept, too. */
  readonly memory: number;
}

/** A grammar that is not compiled yet. */
export interface GrammarSource {
  /** Names it wholly: sources of the same key build the same grammar. */
  readonly key: string;
  /** @throws ERR_GRAMMAR */
  build(): { readonly grammar: Grammar; readonly warnings: readonly string[] };
}

export interface CachedGrammar {
  readonly warnings: readonly string[];
  readonly numBytes: number;
  /** At the beginning of a text. */
  start(): Matcher;
  /** Gives its memory back, once no text is under it any more. */
  close(): void;
}

/** Counters since the start, and what is kept now. */
export interface GrammarCounts {
  readonly numCompiled: number;
  readonly numHits: number;
  readonly numKept: number;
  readonly numBytes: number;
}

/** The source of what a caller asked for. */
export function specSource(spec: GrammarSpec, limits: SpecLimits = {}): GrammarSource {
  return { key: JSON.stringify(spec), build: () => compileSpec(spec, limits) };
}

interface Entry {
  readonly promise: Promise<CachedGrammar>;
  /** Set once it is compiled. */
  grammar: CachedGrammar | null;
}

/** Of ordinary schemas 99 of 100 take a tenth of it. */
const MAX_BUILD_MS = 1_000;

export class GrammarCache {
  readonly #compile: (program: Int32Array) => Promise<CompiledProgram>;
  readonly #maxBytes: number;
  readonly #maxBuildMs: number;
  /** By hash, in the order in which they were last asked for. */
  readonly #entries = new Map<string, Entry>();
  #numCompiled = 0;
  #numHits = 0;

  /**
   * @param compile off the event loop; rejects with ERR_GRAMMAR
   * @param maxBytes of all that are kept
   * @param maxBuildMs of making a program, which holds the event loop
   */
  constructor(
    compile: (program: Int32Array) => Promise<CompiledProgram>,
    maxBytes: number,
    maxBuildMs = MAX_BUILD_MS,
  ) {
    this.#compile = compile;
    this.#maxBytes = maxBytes;
    this.#maxBuildMs = maxBuildMs;
  }

  get counts(): GrammarCounts {
    return {
      numCompiled: this.#numCompiled,
      numHits: this.#numHits,
      numKept: this.#entries.size,
      numBytes: this.#numBytes(),
    };
  }

  /**
   * A grammar, compiled now or before.
   * @throws ERR_GRAMMAR; what failed is not kept
   */
  compile(source: GrammarSource): Promise<CachedGrammar> {
    const hash = createHash('sha256').update(source.key).digest('base64');
    const known = this.#entries.get(hash);
    if (known !== undefined) {
      this.#numHits++;
      this.#entries.delete(hash);
      this.#entries.set(hash, known);
      return known.promise;
    }
    const promise = this.#build(source);
    const entry: Entry = { promise, grammar: null };
    this.#entries.set(hash, entry);
    promise.then(
      (grammar) => {
        entry.grammar = grammar;
        this.#evict();
      },
      () => this.#entries.delete(hash),
    );
    return promise;
  }

  /** Gives back what is kept, what is still being compiled included. */
  close(): void {
    for (const { promise } of this.#entries.values()) {
      promise.then(
        (grammar) => grammar.close(),
        () => {},
      );
    }
    this.#entries.clear();
  }

  async #build(source: GrammarSource): Promise<CachedGrammar> {
    const { program, warnings } = within(this.#maxBuildMs, () => {
      const built = source.build();
      return { program: encodeProgram(built.grammar), warnings: built.warnings };
    });
    const compiled = await this.#compile(program);
    this.#numCompiled++;
    return {
      warnings: Object.freeze([...warnings]),
      get numBytes() {
        return compiled.memory;
      },
      start: () => compiled.start(),
      close: () => compiled.close(),
    };
  }

  #numBytes(): number {
    let sum = 0;
    for (const { grammar } of this.#entries.values()) sum += grammar?.numBytes ?? 0;
    return sum;
  }

  /** Grammars grow while they are used, so all are counted anew. */
  #evict(): void {
    let left = this.#numBytes();
    for (const [hash, { grammar }] of this.#entries) {
      if (left <= this.#maxBytes) return;
      if (grammar === null) continue;
      left -= grammar.numBytes;
      this.#entries.delete(hash);
    }
  }
}
