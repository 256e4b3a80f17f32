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

  close(): void {
    this.matcher.close();
  }

  /** How long its mask takes, in ms: it is filled for nobody. */
  timeMask(): number {
    const mask = newMask(this.#vocabSize);
    const started = performance.now();
    this.matcher.fillMask(mask, 0);
    return performance.now() - started;
  }

  /** The ids that may come next, ascending; undefined where it takes too long to find out. */
  allowed(): number[] | undefined {
    const mask = newMask(this.#vocabSize);
    return this.matcher.fillMask(mask, 0) ? bitsOf(mask) : undefined;
  }
}

export function newMask(vocabSize: number): Int32Array {
  return new Int32Array(Math.ceil(vocabSize / 32));
}

/** The ids of a mask, ascending. */
export function bitsOf(mask: Int32Array): number[] {
  const allowed: number[] = [];
  for (const [i, word] of mask.entries()) {
    for (let bits = word; bits !== 0; bits &= bits - 1) {
      allowed.push(32 * i + 31 - Math.clz32(bits & -bits));
    }
  }
  return allowed;
}
