/** What the addon exports of grammars. */

/** The tokens of a model as bytes; any number of grammars share one. */
export interface NativeVocabulary {
  readonly numTokens: number;
  /** Memory that it takes. */
  readonly bytes: number;
  /**
   * Gives it up; grammars that were compiled on it keep it till they are closed. What is still
   * being compiled on it is broken off, and rejects with ERR_CLOSED.
   */
  close(): void;
}

export interface NativeGrammarLimits {
  readonly maxStates: number;
  /** Of what is found out while it is used. */
  readonly maxBytes: number;
  /** Of compiling it; how much one mask or one token may take follows from it. */
  readonly maxMs: number;
}

/** What lib/grammar/program.ts writes, compiled. */
export interface NativeGrammar {
  /** At the beginning of a text. */
  start(): NativeMatcher;
  /** Gives it up; its matchers keep it till they are gone. */
  close(): void;
  /** Bytes that it takes now. */
  readonly memory: number;
}

/**
 * Where a text is under a grammar, after `length` tokens. No call holds up its thread for more than
 * a few milliseconds, whatever the grammar: what would take longer has no answer (`null`, or false
 * from `fillMask()`) before `settle()` has found it out on a thread of its own. Whether a text is
 * beyond a limit does not depend on what others have asked before.
 */
export interface NativeMatcher {
  /**
   * Takes a token. False: it is not allowed here, and nothing has changed. One that would take long
   * is taken on trust: where it was not allowed after all, nothing is behind it.
   */
  advance(tokenId: number): boolean;
  fork(): NativeMatcher;
  /** Takes the last `n` tokens back. */
  rollback(n: number): void;
  readonly length: number;
  /** Whether the text may end here. */
  complete(): boolean | null;
  /** How many of the bytes could be taken; nothing changes. On a thread of its own. */
  acceptsBytes(bytes: Uint8Array): Promise<number>;
  /**
   * Writes ⌈numTokens / 32⌉ words: bit id % 32 of word id / 32 is 1 for what is allowed. False: it
   * has no answer yet, and the words are 0.
   */
  fillMask(into: Int32Array, offset: number): boolean;
  /** The bytes with which every continuation begins, as far as 1,024. */
  forcedBytes(): Uint8Array | null;
  /** Finds out what the other calls need of this place; they may then be asked again. */
  settle(): Promise<void>;
  /** Why nothing is allowed here any more: a limit was exceeded. Empty: none was. */
  readonly failure: string;
  /** Gives it back; what the collector of garbage finds comes late. */
  close(): void;
}

/** Of the addon's exports. */
export interface NativeGrammars {
  readonly Vocabulary: {
    /** Token i has bytes [offsets[i], offsets[i + 1]); none: no text spells it. */
    build(
      bytes: Uint8Array,
      offsets: Int32Array,
      endTokenIds: Int32Array,
    ): Promise<NativeVocabulary>;
  };
  readonly Grammar: {
    /** Rejects with ERR_GRAMMAR where a limit is met, with ERR_BUSY where too many are waiting. */
    compile(
      vocabulary: NativeVocabulary,
      program: Int32Array,
      limits: NativeGrammarLimits,
    ): Promise<NativeGrammar>;
  };
}
