/** How reasoning is asked for, and whether a prompt has begun it already. */
import { readArgument, shown } from '../arguments.js';
import { octavoError } from '../errors.js';
import type { AnswerFormat } from './format.js';
import type { Beginning } from './parser.js';
import type { ReasoningOptions } from './types.js';

/** What templates call the switch. */
const SWITCHES = ['enable_thinking', 'enable_reasoning', 'thinking'] as const;

export interface CheckedReasoning {
  readonly enabled: boolean | undefined;
  readonly budget: number | undefined;
  readonly effort: string | undefined;
}

function invalid(name: string, must: string, value: unknown): Error {
  return octavoError(
    'ERR_INVALID_PARAM',
    `reasoning.${name} is ${shown(value)}; it must be ${must}`,
    { param: `reasoning.${name}` },
  );
}

/** @throws ERR_INVALID_PARAM */
export function checkReasoning(given: ReasoningOptions | null | undefined): CheckedReasoning {
  const refusal = (cause?: unknown) =>
    octavoError('ERR_INVALID_PARAM', 'reasoning must be an object {enabled, budget, effort}', {
      param: 'reasoning',
      cause,
    });
  return readArgument(() => {
    if (given != null && typeof given !== 'object') throw refusal();
    const { enabled, budget, effort } = (given ?? {}) as Record<string, unknown>;
    if (enabled != null && typeof enabled !== 'boolean') {
      throw invalid('enabled', 'true or false', enabled);
    }
    if (budget != null && !(Number.isSafeInteger(budget) && (budget as number) >= 0)) {
      throw invalid('budget', 'a whole number of tokens, 0 or more', budget);
    }
    if (effort != null && typeof effort !== 'string') throw invalid('effort', 'a string', effort);
    return {
      enabled: (enabled ?? undefined) as boolean | undefined,
      budget: (budget ?? undefined) as number | undefined,
      effort: (effort ?? undefined) as string | undefined,
    };
  }, refusal);
}

/** The variables of a template that say so. */
export function reasoningVariables(
  { enabled, effort }: CheckedReasoning,
  source: string,
): Record<string, unknown> {
  const variables: Record<string, unknown> = {};
  if (effort !== undefined) variables.reasoning_effort = effort;
  if (enabled === undefined) return variables;
  for (const name of SWITCHES) {
    if (new RegExp(`\\b${name}\\b`).test(source)) variables[name] = enabled;
  }
  return variables;
}

/** Where the answer to a prompt begins. */
export function beginningOf({ reasoning, preamble }: AnswerFormat, prompt: string): Beginning {
  if (reasoning === null) return 'start';
  const text = prompt.trimEnd();
  const [start, end] = [reasoning.start.trim(), reasoning.end.trim()];
  if (start !== '' && text.endsWith(start)) return 'reasoning';
  // In channels the end of one message and the beginning of another look like the end of reasoning.
  if (preamble === undefined && end !== '' && text.endsWith(end)) return 'reasoned';
  return start === '' ? 'reasoning' : 'start';
}
