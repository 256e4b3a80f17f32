/** What `embed()`, `score()`, `rank()` and `classify()` give. */

interface PooledOutput {
  /** Tokens that were computed, special ones included. */
  readonly numPromptTokens: number;
  /** The text was cut, which only `truncate` allows. */
  readonly isTruncated: boolean;
}

/** Of `embed()`. */
export interface EmbeddingOutput extends PooledOutput {
  /** The vector of the text. */
  readonly embedding: Float32Array;
}

/** Of `score()`. */
export interface ScoreOutput extends PooledOutput {
  /** Place of the document among those given. */
  readonly index: number;
  /** Higher is better: 0 … 1 as a rule, −1 … 1 of vectors' cosine, any of their product. */
  readonly score: number;
  /** What the score was made of, where the model has a head for it; not of vectors. */
  readonly logits?: Float32Array;
}

/** Of `rank()`. */
export interface RankOutput extends ScoreOutput {
  /** As it was given. */
  readonly document: string;
}

/** Of `classify()`. */
export interface ClassifyOutput extends PooledOutput {
  /** The label with the highest score. */
  readonly label: string;
  /** Its score. */
  readonly score: number;
  /** Of all labels, in the order of `info.pooling.labels`. */
  readonly scores: Float32Array;
}
