/** A template: parsed and compiled once, rendered any number of times. */
import { type Limits, withBudget } from './budget.js';
import { compile, type Program } from './compile.js';
import { fromJs, type Size } from './convert.js';
import { asFailure, TemplateFailure } from './failure.js';
import { globals } from './globals.js';
import { type Marks, plain, withMarks } from './marks.js';
import type { Body } from './nodes.js';
import { parse } from './parser.js';

/** What any render may spend; and more for each part and character of what it is given. */
const BASE: Limits = { steps: 6_000_000, text: 1 << 20 };
const STEPS_PER_PART = 4000;
const STEPS_PER_CHARACTER = 16;
const TEXT_PER_CHARACTER = 8;

const NO_NAMES: ReadonlySet<string> = new Set();

/** Compiling a template only computes its constants. */
const COMPILING: Limits = { steps: 50_000_000, text: 4 << 20 };

/**
 * A Jinja template, in the environment in which transformers renders chat templates: sandboxed and
 * immutable, trim_blocks, lstrip_blocks, loop controls, the generation tag.
 */
export class JinjaTemplate {
  /** What it is made of. */
  readonly body: Body;
  readonly #program: Program;
  readonly #length: number;

  /** @throws TemplateFailure of kind syntax, or limit when it nests too deeply */
  constructor(source: string) {
    this.#length = source.length;
    try {
      this.body = withBudget(COMPILING, () => parse(source));
      this.#program = withBudget(COMPILING, () => compile(this.body));
    } catch (error) {
      throw asFailure(error);
    }
  }

  /**
   * @param variables by name
   * @param now what strftime_now takes for now
   * @param marks marks the texts of variables in the render, but those of `own` variables
   * @throws TemplateFailure
   */
  render(
    variables: Readonly<Record<string, unknown>>,
    now: Date,
    marks: Marks | null = null,
    own: ReadonlySet<string> = NO_NAMES,
  ): string {
    return withMarks(marks, () => this.#render(variables, now, own));
  }

  #render(
    variables: Readonly<Record<string, unknown>>,
    now: Date,
    own: ReadonlySet<string>,
  ): string {
    try {
      const names = globals(now);
      const size: Size = { parts: 0, text: 0 };
      for (const [name, value] of Object.entries(variables)) {
        if (value === undefined) continue;
        const made = own.has(name)
          ? withMarks(null, () => fromJs(value, size))
          : fromJs(value, size);
        names.set(name, made);
      }
      const limits = {
        steps: BASE.steps + STEPS_PER_PART * size.parts + STEPS_PER_CHARACTER * size.text,
        text: BASE.text + this.#length + TEXT_PER_CHARACTER * size.text,
      };
      const run = { globals: names, out: '', autoescape: false };
      return withBudget(limits, () => this.#program(run));
    } catch (error) {
      const failure = asFailure(error);
      const sentence = plain(failure.message);
      throw sentence === failure.message ? failure : new TemplateFailure(failure.kind, sentence);
    }
  }
}
