/**
 * Why a template ended: what it is (`syntax`), what it did with its values (`type`, `value`,
 * `undefined`, `security`), what it says itself (`refused`), or what it may not spend (`limit`).
 */
export type FailureKind =
  | 'syntax'
  | 'type'
  | 'value'
  | 'undefined'
  | 'security'
  | 'refused'
  | 'limit';

/** Longest message, and longest name that one quotes, in UTF-16 units. */
const MAX_MESSAGE = 1000;
const LONG_NAME = /'([^']{80})[^']+'/g;

/** What names and values a message quotes is up to the template: they are not shown whole. */
function cut(kind: FailureKind, message: string): string {
  const short = kind === 'refused' ? message : message.replace(LONG_NAME, "'$1…'");
  return short.length > MAX_MESSAGE ? `${short.slice(0, MAX_MESSAGE - 1)}…` : short;
}

/** The one error of this room; the words are, where it matters, Python's. */
export class TemplateFailure extends Error {
  constructor(
    readonly kind: FailureKind,
    message: string,
  ) {
    super(cut(kind, message));
    this.name = 'TemplateFailure';
  }
}

export function typeFailure(message: string): TemplateFailure {
  return new TemplateFailure('type', message);
}

export function valueFailure(message: string): TemplateFailure {
  return new TemplateFailure('value', message);
}

/** A stack that is used up is a limit, too: of how deep a template or what it is given nests. */
export function asFailure(error: unknown): TemplateFailure {
  if (error instanceof TemplateFailure) return error;
  if (error instanceof RangeError) {
    return new TemplateFailure('limit', 'it nests or calls itself too deeply');
  }
  return new TemplateFailure('value', reason(error));
}

/** What is thrown may be anything, and throw when it is looked at. */
function reason(error: unknown): string {
  try {
    return error instanceof Error ? String(error.message) : String(error);
  } catch {
    return 'a value of it throws what cannot be shown';
  }
}
