/** What the addon exports of grammars. */

/** The tokens of a model as bytes; any number of grammars share one. */
export interface NativeVocabulary {
  readonly numTokens: number;
  /** Memory that it takes. */
  readonly bytes: number;
  /** Gives it up; grammars that were compiled on it keep it till they are closed. */
  close(): void;
}

export interface NativeGrammarLimits {
  readonly maxStates: number;
  /** Of what is found out while it is used. */
  readonly maxBytes: number;
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

/** Where a text is under a grammar, after `length` tokens. */
export interface NativeMatcher {
  /** Takes a token. False: it is not allowed here, and nothing has changed. */
  advance(tokenId: number): boolean;
  fork(): NativeMatcher;
  /** Takes the last `n` tokens back. */
  rollback(n: number): void;
  readonly length: number;
  /** Whether the text may end here. */
  complete(): boolean;
  /** How many of the bytes could be taken; nothing changes. */
  acceptsBytes(bytes: Uint8Array): number;
  /** Writes ⌈numTokens / 32⌉ words: bit id % 32 of word id / 32 is 1 for what is allowed. */
  fillMask(into: Int32Array, offset: number): void;
  /** The bytes with which every continuation begins. */
  forcedBytes(): Uint8Array;
  /** Why nothing is allowed any more: a limit was exceeded. Empty: none was. */
  readonly failure: string;
  /** The id of a special token that alone may come; else none. */
  forcedTokens(): Int32Array;
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
    /** Rejects with ERR_GRAMMAR where a limit is met. */
    compile(
      vocabulary: NativeVocabulary,
      program: Int32Array,
      limits: NativeGrammarLimits,
    ): Promise<NativeGrammar>;
  };
}
