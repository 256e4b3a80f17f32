/**
 * Beam search: which continuations live on, which are finished, when it is over. The
 * rules and scores are Hugging Face's (GenerationMixin._beam_search of transformers 5). Whoever
 * commits steps does the forks; here nobody knows blocks.
 *
 * A step: each live beam brings its best next tokens with their log-softmax; of all of them
 * together the best `numCandidates` are looked at, best first, ties by lower beam, then lower
 * token id. One that ends (an ending id, or maxTokens) is finished if it ranks among the first
 * `width`, else dropped; the best `width` that do not end are the live beams of the next step. A
 * finished beam scores cumulative logprob / (generated tokens)^lengthPenalty, its ending id
 * included in both.
 */
import { assert } from '../errors.js';

export interface BeamParams {
  readonly width: number;
  /** Above 0 favours longer outputs (scores are negative sums). */
  readonly lengthPenalty: number;
  /**
   * When it is over. true: as soon as `width` beams are finished. false: when moreover no live beam
   * scores better now than the worst finished one. 'never': when none could, were it as long as it
   * may get (differs from false only for a length penalty above 0).
   */
  readonly earlyStopping: boolean | 'never';
}

/** The best next tokens of a beam, best first; log-softmax in nats. */
export interface Candidates {
  readonly tokenIds: Int32Array;
  readonly logprobs: Float64Array;
}

/** What the search must know of a beam: a sequence. */
export interface Beam {
  readonly numPromptTokens: number;
  readonly numTokens: number;
  readonly numOutputTokens: number;
  /** Valid until the next token is appended. */
  readonly outputTokens: Int32Array;
  /** numTokens from which ending ids count, and at which length ends it. */
  readonly mayStopAt: number;
  readonly endsAt: number;
  readonly cumulativeLogprob: number;
  readonly candidates: Candidates | null;
}

/** Ids that end a beam. */
export interface EndingIds {
  readonly eosTokenIds: readonly number[];
  readonly stopTokenIds: readonly number[];
  /** Both, each once. */
  readonly endTokenIds: ArrayLike<number>;
}

export interface FinishedBeam {
  /** Generated tokens, the ending id included. */
  readonly tokens: Int32Array;
  /** Sum of their logprobs, in nats. */
  readonly cumulativeLogprob: number;
  readonly score: number;
  readonly finishReason: 'stop' | 'length';
  /** The stop id that ended it. */
  readonly stopReason: number | null;
}

/** A live beam of the next step: `token` behind the tokens of `parent`. */
export interface Survivor<B extends Beam> {
  readonly parent: B;
  readonly token: number;
  readonly cumulativeLogprob: number;
}

/** How many candidates decide a step: so many that `width` go on when all ending ids are there. */
export function numCandidates(width: number, numEndIds: number): number {
  return Math.max(2, 1 + numEndIds) * width;
}

export class BeamSearch<B extends Beam> {
  readonly params: BeamParams;
  readonly #ending: EndingIds;
  #live: readonly B[];
  readonly #finished: FinishedBeam[] = [];

  constructor(params: BeamParams, ending: EndingIds, first: B) {
    this.params = params;
    this.#ending = ending;
    this.#live = [first];
  }

  /** Best first; at first only the prompt. */
  get live(): readonly B[] {
    return this.#live;
  }

  /** Best first, at most `width`. */
  get finished(): readonly FinishedBeam[] {
    return this.#finished;
  }

  /** Has every live beam brought its candidates? */
  get ready(): boolean {
    return this.live.every((sequence) => sequence.candidates !== null);
  }

  /**
   * Takes the step; returns the live beams of the next one, best first, or null: it is over.
   * Whoever carries them out says with {@link goOn} who they are.
   */
  advance(): readonly Survivor<B>[] | null {
    const { width } = this.params;
    const { live } = this;
    const length = live[0].numOutputTokens + 1;
    const byLength = live[0].numTokens + 1 >= live[0].endsAt;
    const survivors: Survivor<B>[] = [];
    for (const [rank, candidate] of this.#best().entries()) {
      const end = this.#endOf(candidate, byLength);
      if (end === null) {
        if (survivors.length < width) survivors.push(candidate);
      } else if (rank < width) {
        this.#finish(candidate, length, end);
      }
    }
    if (survivors.length === 0 || this.#isOver(survivors[0], length)) return null;
    return survivors;
  }

  /** The live beams of the next step, in the order of {@link advance}. */
  goOn(live: readonly B[]): void {
    this.#live = live;
  }

  /** All beams' candidates, merged. */
  #best(): Survivor<B>[] {
    const { live } = this;
    const all: (Survivor<B> & { readonly beam: number })[] = [];
    for (const [beam, parent] of live.entries()) {
      assert(parent.candidates !== null, 'a beam has no candidates');
      const { tokenIds, logprobs } = parent.candidates;
      for (let i = 0; i < tokenIds.length; i++) {
        if (logprobs[i] === Number.NEGATIVE_INFINITY) break;
        const cumulativeLogprob = parent.cumulativeLogprob + logprobs[i];
        all.push({ beam, parent, token: tokenIds[i], cumulativeLogprob });
      }
    }
    all.sort(
      (a, b) => b.cumulativeLogprob - a.cumulativeLogprob || a.beam - b.beam || a.token - b.token,
    );
    return all.slice(0, numCandidates(this.params.width, this.#ending.endTokenIds.length));
  }

  /** Ending ids count only once minTokens are there. */
  #endOf(
    { parent, token }: Survivor<B>,
    byLength: boolean,
  ): Pick<FinishedBeam, 'finishReason' | 'stopReason'> | null {
    const { eosTokenIds, stopTokenIds } = this.#ending;
    if (parent.numTokens + 1 >= parent.mayStopAt) {
      if (eosTokenIds.includes(token)) return { finishReason: 'stop', stopReason: null };
      if (stopTokenIds.includes(token)) return { finishReason: 'stop', stopReason: token };
    }
    return byLength ? { finishReason: 'length', stopReason: null } : null;
  }

  #finish(
    { parent, token, cumulativeLogprob }: Survivor<B>,
    length: number,
    end: Pick<FinishedBeam, 'finishReason' | 'stopReason'>,
  ): void {
    const finished = this.#finished;
    const score = this.#score(cumulativeLogprob, length);
    let at = finished.length;
    while (at > 0 && score > finished[at - 1].score) at--;
    if (at === this.params.width) return;
    const tokens = new Int32Array(length);
    tokens.set(parent.outputTokens);
    tokens[length - 1] = token;
    finished.splice(at, 0, { tokens, cumulativeLogprob, score, ...end });
    if (finished.length > this.params.width) finished.pop();
  }

  #isOver(best: Survivor<B>, length: number): boolean {
    const { finished } = this;
    const { width, earlyStopping, lengthPenalty } = this.params;
    if (finished.length < width) return false;
    if (earlyStopping === true) return true;
    const { endsAt, numPromptTokens } = best.parent;
    const longest = earlyStopping === 'never' && lengthPenalty > 0;
    const attainable = longest ? endsAt - numPromptTokens : length;
    return this.#score(best.cumulativeLogprob, attainable) <= finished[width - 1].score;
  }

  #score(cumulativeLogprob: number, length: number): number {
    return cumulativeLogprob / length ** this.params.lengthPenalty;
  }
}
