/** What a loaded model makes of texts, as `info` tells it. */
import type { Pooling } from '../wire/layout.js';

/** How a model that is loaded to pool makes vectors, scores or labels, if a call does not say. */
export interface PoolingInfo {
  /** How the vectors of tokens become one. */
  readonly pooling: Pooling;
  /** Whether vectors are divided by their length. */
  readonly normalize: boolean;
  /** What compares two vectors, as the files say. */
  readonly similarity: 'cosine' | 'dot';
  /** Values of a vector; of a classifier, its labels. */
  readonly width: number;
  /** Whether the files say that the first values of a vector are a vector, too; a list: so many. */
  readonly matryoshka: readonly number[] | boolean;
  /** What may stand in front of texts, by name. */
  readonly prompts: Readonly<Record<string, string>>;
  /** The one that stands there if a call names none. */
  readonly defaultPromptName: string | undefined;
  /** Most tokens of a text, special ones included. */
  readonly maxSeqLength: number;
  /** Of a model with a classification head. */
  readonly labels: readonly string[] | undefined;
  /** How `score()` compares: two texts through the head, the logits of two tokens, two vectors by
   * `similarity`; undefined where a head has more labels than one, which `classify()` is for. */
  readonly scoring: 'head' | 'tokens' | 'cosine' | 'dot' | undefined;
}
