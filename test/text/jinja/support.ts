import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { withBudget } from '../../../lib/text/jinja/budget.js';
import { TemplateFailure } from '../../../lib/text/jinja/failure.js';
import { readJson } from '../../../lib/text/jinja/json.js';
import { JinjaTemplate } from '../../../lib/text/jinja/template.js';
import type { Dict, Value } from '../../../lib/text/jinja/values.js';

export const TEMPLATES = fileURLToPath(new URL('../../fixtures/chat-templates/', import.meta.url));

/** The time of all references. */
export const NOW = new Date(2026, 10, 28, 9, 5, 7);

export const TOKENS = {
  bos_token: '<|bos|>',
  eos_token: '<|eos|>',
  pad_token: '<|pad|>',
  unk_token: '<|unk|>',
};

const VARIABLES = {
  ...TOKENS,
  messages: [
    { role: 'user', content: 'Hello' },
    { role: 'assistant', content: 'Yo', tool_calls: [] },
    { role: 'user', content: 'Bye' },
  ],
  tools: null,
  documents: null,
  add_generation_prompt: true,
};

export interface Expression {
  readonly id: string;
  readonly template: string;
  readonly text?: string;
  readonly error?: string;
  readonly context: Readonly<Record<string, unknown>>;
}

/** Reads them as Python does: members in their order. */
export function readExpressions(folder: string): Expression[] {
  const list = readJson(readFileSync(`${folder}expressions.json`, 'utf8')) as Dict[];
  return list.map((dict) => {
    const { context, ...rest } = Object.fromEntries(dict.entries());
    return {
      ...rest,
      context: context ? Object.fromEntries((context as Dict).entries()) : {},
    } as Expression;
  });
}

export function render(template: string, context: Readonly<Record<string, unknown>> = {}): string {
  return new JinjaTemplate(template).render({ ...VARIABLES, ...context }, NOW);
}

/** The render, or what the template failed of. */
export function outcome(template: string, context: Readonly<Record<string, unknown>> = {}): string {
  try {
    return render(template, context);
  } catch (error) {
    if (error instanceof TemplateFailure) return `${error.kind}: ${error.message}`;
    throw error;
  }
}

/** Those that come out otherwise than in Python. */
export function wrong(expressions: readonly Expression[]): unknown[] {
  return expressions.flatMap(({ id, template, text, error, context }) => {
    let got: unknown;
    try {
      got = render(template, context);
    } catch (failure) {
      if (error !== undefined && failure instanceof TemplateFailure) return [];
      got = failure;
    }
    return got === text ? [] : [{ id, template, right: text ?? error, got }];
  });
}

/** Declares a test of the reference expressions of these families: of Hugging Face's renderer. */
export function checkExpressions(...families: readonly string[]): void {
  const of = (family: string) => (expression: Expression) => expression.id.startsWith(`${family}.`);
  const all = readExpressions(TEMPLATES);
  it.each(families)('renders %s as Python does', (family) => {
    const expressions = all.filter(of(family));
    expect(expressions.length).toBeGreaterThan(0);
    expect(wrong(expressions)).toEqual([]);
  });
}

/** Runs with as much as any render has. */
export function budgeted<T>(run: () => T): T {
  return withBudget({ steps: 1_000_000, text: 1_000_000 }, run);
}

export function fails(kind: string, run: () => Value | undefined): void {
  expect(() => budgeted(run)).toThrow(expect.objectContaining({ name: 'TemplateFailure', kind }));
}
