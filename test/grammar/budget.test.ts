import { describe, expect, it } from 'vitest';
import { Budget } from '../../lib/grammar/budget.js';
import { specSource } from '../../lib/grammar/compile.js';
import { GrammarBuilder } from '../../lib/grammar/grammar.js';
import { type GrammarFailure, grammarFailure } from '../../lib/grammar/problem.js';
import { readProgram } from '../../lib/grammar/reading.js';
import { schemaToGrammar } from '../../lib/grammar/schema/index.js';

function failureOf(run: () => unknown): GrammarFailure | null {
  try {
    run();
  } catch (error) {
    return grammarFailure(error);
  }
  return null;
}

/** Schemas that need much work. */
const names = Array.from({ length: 7 }, (_, i) => `n${i}`);
const HOSTILE = {
  type: 'object',
  allOf: names.map((name) => ({ anyOf: [{ required: [name] }, { required: [`${name}x`] }] })),
};

describe('a budget', () => {
  it('ends by work, at the same place each time', () => {
    const budget = new Budget({ maxWork: 100 });
    for (let i = 0; i < 100; i++) budget.spend();
    expect(budget.isSpent).toBe(false);
    expect(failureOf(() => budget.spend())).toMatchObject({
      message: expect.stringContaining('more work than is allowed (100 steps)'),
      isLate: false,
    });
    expect([budget.isSpent, budget.isLate]).toEqual([true, false]);
  });

  it('ends by time, and says that time was short', () => {
    const budget = new Budget({ maxMs: -1 });
    expect(failureOf(() => budget.spend())).toMatchObject({
      message: expect.stringContaining('longer than -1 ms'),
      isLate: true,
    });
    expect([budget.isSpent, budget.isLate]).toEqual([true, true]);
  });

  it('has no time for a piece of work that would take all that is left', () => {
    const budget = new Budget({ maxMs: 10_000 });
    budget.reserve(10);
    expect(failureOf(() => budget.reserve(20_000))?.isLate).toBe(true);
  });

  it('counts what is kept elsewhere once, and each time alike', () => {
    const budget = new Budget();
    budget.spendOnce('a', 7);
    budget.spendOnce('a', 7);
    budget.spendOnce('b', 2);
    expect(budget.work).toBe(9);
  });

  it('lets a part have half of what is left, and goes on without it', () => {
    const budget = new Budget({ maxWork: 1_000 });
    budget.spend(200);
    const spend = (units: number) => () => {
      for (let i = 0; i < units; i++) budget.spend();
      return units;
    };
    expect(budget.half(spend(400))).toBe(400);
    expect(budget.half(spend(300))).toBeUndefined();
    expect(budget.isSpent).toBe(false);
    expect(() => budget.half(() => spend(1)() && failing())).toThrow('of another kind');
    expect(failureOf(spend(300))).not.toBeNull();
  });
});

function failing(): never {
  throw new Error('of another kind');
}

describe('the work of a text', () => {
  it.each<[string, object]>([
    ['a schema', { json: HOSTILE }],
    [
      'a schema with a property of Unicode',
      { json: { type: 'string', pattern: '^\\p{Lu}\\p{L}*$' } },
    ],
    ['a regex that ignores case', { regex: '/[\\u00e0-\\u0fff]+k/i' }],
    ['a grammar', { grammar: 'root ::= "(" root? ")" | [a-c]{2,30}' }],
  ])('%s is the same whatever was done before', (_, spec) => {
    const work = () => {
      const budget = new Budget();
      readProgram(specSource(spec), budget);
      return budget.work;
    };
    const first = work();
    expect(first).toBeGreaterThan(50);
    expect([work(), work()]).toEqual([first, first]);
    const limited = (maxWork: number) =>
      failureOf(() => readProgram(specSource(spec), new Budget({ maxWork })))?.isLate;
    expect([limited(first), limited(first - 1)]).toEqual([undefined, false]);
  });

  it('is one budget for all schemas of a request: one that need not be strict leaves half', () => {
    const alone = new Budget();
    const simple = { type: 'object', properties: { a: { type: 'integer' } } };
    const build = (schema: unknown, budget: Budget, strict: boolean) => {
      const warnings: string[] = [];
      const builder = new GrammarBuilder(budget);
      schemaToGrammar(schema, { strict, warnings }, builder);
      schemaToGrammar(simple, { strict: true }, builder);
      return warnings;
    };
    build(HOSTILE, alone, true);
    const maxWork = Math.ceil(alone.work * 1.2);
    expect(build(HOSTILE, new Budget({ maxWork }), true)).toEqual([]);
    expect(build(HOSTILE, new Budget({ maxWork }), false)).toEqual([
      expect.stringMatching(/^the schema is not enforced: .* more work than is allowed/),
    ]);
    const strict = () => build(HOSTILE, new Budget({ maxWork: maxWork / 2 }), true);
    expect(failureOf(strict)?.isLate).toBe(false);
  });
});
