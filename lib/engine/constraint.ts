/** What a sequence of a constrained request obeys: where its output is under its grammar. */
import type { TokenConstraint } from '../core/structured.js';
import type { Matcher } from '../grammar/compile.js';

export class GrammarConstraint implements TokenConstraint {
  matcher: Matcher;
  readonly #vocabSize: number;

  constructor(matcher: Matcher, vocabSize: number) {
    this.matcher = matcher;
    this.#vocabSize = vocabSize;
  }

  advance(token: number): boolean {
    return this.matcher.advance(token);
  }

  fork(): GrammarConstraint {
    return new GrammarConstraint(this.matcher.fork(), this.#vocabSize);
  }

  /** The ids that may come next, ascending. */
  allowed(): number[] {
    return allowedTokens(this.matcher, newMask(this.#vocabSize));
  }
}

export function newMask(vocabSize: number): Int32Array {
  return new Int32Array(Math.ceil(vocabSize / 32));
}

/** The ids that a matcher allows, ascending, by way of this mask. */
export function allowedTokens(matcher: Matcher, mask: Int32Array): number[] {
  matcher.fillMask(mask, 0);
  const allowed: number[] = [];
  for (const [i, word] of mask.entries()) {
    for (let bits = word; bits !== 0; bits &= bits - 1) {
      allowed.push(32 * i + 31 - Math.clz32(bits & -bits));
    }
  }
  return allowed;
}
