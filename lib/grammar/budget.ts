/**
 * What the reading of one schema or grammar may cost. Work is counted, so that the same text is
 * refused whatever else the machine does or has done before; a clock only backs that up.
 */
import { grammarError, tooSlow } from './problem.js';

export interface BudgetLimits {
  /** Most units of work; one is some microseconds. Default 300,000. */
  readonly maxWork?: number;
  /** Longest time in ms. Default none. */
  readonly maxMs?: number;
}

const MAX_WORK = 300_000;
/** Units between two looks at the clock. */
const LOOK = 64;

export class Budget {
  readonly #maxWork: number;
  readonly #maxMs: number;
  readonly #ends: number;
  readonly #charged = new Set<string>();
  #work = 0;
  /** What may be spent at the moment; at most `#maxWork`. */
  #limit: number;
  /** When to look at the clock, or at the limit. */
  #next = 0;
  #isLate = false;

  constructor({ maxWork = MAX_WORK, maxMs = Infinity }: BudgetLimits = {}) {
    this.#maxWork = maxWork;
    this.#limit = maxWork;
    this.#maxMs = maxMs;
    this.#ends = performance.now() + maxMs;
  }

  /** Units spent so far. */
  get work(): number {
    return this.#work;
  }

  /** Whether time has run out, and not work: another time it might suffice. */
  get isLate(): boolean {
    return this.#isLate;
  }

  /** Whether nothing may be spent any more: an error that is caught now says only that. */
  get isSpent(): boolean {
    return this.#isLate || this.#work > this.#limit;
  }

  /**
   * Counts work; between two calls no more than some microseconds should pass for a unit.
   * @throws ERR_GRAMMAR where there is none left
   */
  spend(units = 1): void {
    this.#work += units;
    if (this.#work >= this.#next) this.#look();
  }

  /** As {@link spend}, once for each name: of what is computed once and kept, even elsewhere. */
  spendOnce(name: string, units: number): void {
    if (this.#charged.has(name)) return;
    this.#charged.add(name);
    this.spend(units);
  }

  /** Before a piece of work of about so many ms, with no look at the clock within. */
  reserve(ms: number): void {
    if (performance.now() + ms > this.#ends) this.#tooLate();
  }

  /** What `build` returns, or undefined where half of what is left does not suffice for it. */
  half<T>(build: () => T): T | undefined {
    const outer = this.#limit;
    this.#limit = Math.floor(this.#work + (outer - this.#work) / 2);
    this.#next = this.#work;
    try {
      return build();
    } catch (error) {
      if (this.isSpent && !this.#isLate && this.#work < outer) return undefined;
      throw error;
    } finally {
      this.#limit = outer;
      this.#next = this.#work;
    }
  }

  #look(): void {
    if (this.#work > this.#limit) {
      throw grammarError(
        `reading it takes more work than is allowed (${this.#maxWork} steps): make the schema or ` +
          'grammar simpler or smaller',
      );
    }
    this.#next = Math.min(this.#work + LOOK, this.#limit + 1);
    if (performance.now() > this.#ends) this.#tooLate();
  }

  #tooLate(): never {
    this.#isLate = true;
    throw tooSlow(this.#maxMs);
  }
}
