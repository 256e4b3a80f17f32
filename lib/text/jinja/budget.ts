import { TemplateFailure } from './failure.js';

/** What one render may spend. */
export interface Limits {
  /** Steps: a node evaluated, four characters or an element made or read, is one. */
  steps: number;
  /** Longest text, in UTF-16 units, and so the longest output. */
  text: number;
}

/** Deepest of macros and loops that call themselves, and what one more call costs. */
const MAX_DEPTH = 150;
const CALL_STEPS = 30;

/** Rendering is synchronous, so there is one budget at a time; `withBudget` owns it. */
let left = Number.POSITIVE_INFINITY;
let longest = Number.POSITIVE_INFINITY;
let depth = 0;

/**
 * Runs a render within its limits. A render within a render (of a value's `toJSON`) has its own.
 *
 * @throws TemplateFailure of kind limit
 */
export function withBudget<T>(limits: Limits, run: () => T): T {
  const outer = [left, longest, depth];
  [left, longest, depth] = [limits.steps, limits.text, 0];
  try {
    return run();
  } finally {
    [left, longest, depth] = outer;
  }
}

/** What is left of the steps. */
export function stepsLeft(): number {
  return left;
}

export function spend(steps: number): void {
  left -= steps;
  if (!(left >= 0)) throw new TemplateFailure('limit', 'it takes too many steps');
}

/** For a text that grows to this length. */
export function checkLength(length: number): void {
  if (length <= longest) return;
  throw new TemplateFailure('limit', `it makes a text of more than ${longest} characters`);
}

/** For a text of this length, before it is made or read. */
export function spendText(length: number): void {
  checkLength(length);
  spend(1 + (length >> 2));
}

/** For a text that is looked at where most are short, and cost no more than the step itself. */
export function spendLong(length: number): void {
  if (length > 64) spend(length >> 2);
}

/** For a search of one text in another, which takes both lengths' product at worst. */
export function spendSearch(text: string, part: string): void {
  const places = Math.max(0, text.length - part.length + 1);
  spendText(text.length);
  spend(Math.floor((places * part.length) / 256));
}

/** For what calls itself. */
export function nested<T>(run: () => T): T {
  spend(CALL_STEPS);
  if (++depth > MAX_DEPTH) throw new TemplateFailure('limit', 'it calls itself too deeply');
  try {
    return run();
  } finally {
    depth--;
  }
}
