/** What is wrong with a body, in words; schemas that have their own come first. */
import type { z } from 'zod';

type Raw = Parameters<z.core.$ZodErrorMap>[0];

const KINDS: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'an integer',
  boolean: 'true or false',
  array: 'an array',
  tuple: 'an array',
  object: 'an object',
  record: 'an object',
};

/** Of what a limit counts. */
const UNITS: Readonly<Record<string, string>> = { string: 'characters', array: 'entries' };

/** Behind the name of the member: what it must be. */
export function sayIssue(issue: Raw): string {
  if (issue.input === undefined && issue.code !== 'custom') return 'is needed';
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${KINDS[issue.expected] ?? issue.expected}`;
    case 'invalid_value':
      return `must be ${listOf(issue.values)}`;
    case 'too_small':
      return limitOf(issue.origin, 'at least', 'above', issue.minimum, issue.inclusive);
    case 'too_big':
      return limitOf(issue.origin, 'at most', 'below', issue.maximum, issue.inclusive);
    default:
      return 'has a value that is not taken';
  }
}

function listOf(values: readonly unknown[]): string {
  const said = values.map((value) => (typeof value === 'string' ? `'${value}'` : String(value)));
  if (said.length === 1) return said[0];
  return `${said.slice(0, -1).join(', ')} or ${said.at(-1)}`;
}

function limitOf(
  origin: string,
  within: string,
  beyond: string,
  limit: number | bigint,
  inclusive = true,
): string {
  const unit = UNITS[origin];
  if (unit === undefined) return `must be ${inclusive ? within : beyond} ${limit}`;
  if (within === 'at least' && Number(limit) === 1) return 'must not be empty';
  return `must have ${within} ${limit} ${unit}`;
}

/**
 * Of what is wrong with the first member that is wrong, the narrowest limit: an integer beyond 2^53
 * is beyond that, and beyond its own.
 */
export function tellingIssue(issues: readonly z.core.$ZodIssue[]): z.core.$ZodIssue {
  const [first] = issues;
  const same = issues.filter(({ path }) => path.join('.') === first.path.join('.'));
  if (first.code === 'too_big') {
    const rivals = same.filter((one) => one.code === 'too_big');
    return rivals.reduce((a, b) => (b.maximum < a.maximum ? b : a));
  }
  if (first.code !== 'too_small') return first;
  const rivals = same.filter((one) => one.code === 'too_small');
  return rivals.reduce((a, b) => (b.minimum > a.minimum ? b : a));
}

/** The member that an issue is about, as OpenAI writes it (`a[0].b`) or Anthropic (`a.0.b`). */
export function memberOf(path: readonly PropertyKey[], form: 'openai' | 'anthropic'): string {
  if (form === 'anthropic') return path.join('.');
  return path.map(String).reduce((before, key, i) => {
    if (typeof path[i] === 'number') return `${before}[${key}]`;
    return before === '' ? key : `${before}.${key}`;
  }, '');
}
