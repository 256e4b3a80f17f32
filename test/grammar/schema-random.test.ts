/** Random schemas on random instances: whatever is accepted, ajv calls valid. */
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { GrammarSamples } from '../support/grammar-samples.js';
import { compile, grammarOf, spaced } from '../support/schemas.js';
import { SEED } from '../support/seed.js';

const ROUNDS = 400;
const NAMES = ['a', 'b', 'c/d', 'n1', 'n2', ''];
// ajv takes a required '' for there at all times.
const REQUIRED = NAMES.filter((name) => name !== '');
const TEXTS = ['', 'a', 'ab', 'n1', '12', 'x/y', 'é', '😀'];
const PATTERNS = ['^a', 'b$', '^[a-z]*$', '^n\\d$', '\\d'];
const NUMBERS = [-7, -1, 0, 1, 2, 3, 5, 6, 10, 12.5, -0.25, 100];

class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  /** Below `sides`. */
  roll(sides: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % sides;
  }

  of<T>(list: readonly T[]): T {
    return list[this.roll(list.length)];
  }

  some<T>(list: readonly T[], most: number): T[] {
    return [...new Set(Array.from({ length: this.roll(most + 1) }, () => this.of(list)))];
  }
}

type Schema = Record<string, unknown> | boolean;

function schema(dice: Dice, depth: number): Schema {
  if (dice.roll(12) === 0) return dice.roll(3) > 0;
  const out: Record<string, unknown> = {};
  for (let i = 0; i <= dice.roll(3); i++) Object.assign(out, keyword(dice, depth));
  return out;
}

function keyword(dice: Dice, depth: number): Record<string, unknown> {
  const kinds = depth > 0 ? 22 : 9;
  const inner = () => schema(dice, depth - 1);
  const several = () => Array.from({ length: 1 + dice.roll(3) }, inner);
  const named = (names: readonly string[]) =>
    Object.fromEntries(names.map((name) => [name, inner()]));
  const types = ['null', 'boolean', 'integer', 'number', 'string', 'object', 'array'];
  switch (dice.roll(kinds)) {
    case 0:
    case 1:
      return { type: dice.roll(3) === 0 ? [dice.of(types)] : dice.of(types) };
    case 2:
      return { enum: [dice.of(NUMBERS), dice.of(TEXTS), null, instance(dice, 1)] };
    case 3:
      return { minimum: dice.of(NUMBERS), exclusiveMaximum: dice.of(NUMBERS) + 5 };
    case 4:
      return { multipleOf: dice.of([2, 3, 5, 0.5, 2.5]) };
    case 5:
      return { minLength: dice.roll(3), maxLength: 1 + dice.roll(4) };
    case 6:
      return { pattern: dice.of(PATTERNS) };
    case 7:
      return { required: dice.some(REQUIRED, 2) };
    case 8:
      return dice.roll(2) === 0 ? { minItems: dice.roll(3) } : { maxProperties: dice.roll(4) };
    case 9:
    case 10:
    case 11:
      return { properties: named(dice.some(NAMES, 3)) };
    case 12:
      return { additionalProperties: inner(), properties: named(dice.some(NAMES, 2)) };
    case 13:
      return { patternProperties: { [dice.of(PATTERNS)]: inner() } };
    case 14:
      return dice.roll(2) === 0 ? { propertyNames: inner() } : { minProperties: dice.roll(2) };
    case 15:
      return { items: inner(), maxItems: dice.roll(4) };
    case 16:
      return { prefixItems: several(), items: inner() };
    case 17:
      return { contains: inner(), maxContains: 1 + dice.roll(2) };
    case 18:
      return { not: inner() };
    case 19:
      return { [dice.of(['allOf', 'anyOf', 'oneOf'])]: several() };
    case 20:
      return Object.fromEntries(['if', 'then', 'else'].map((name) => [name, inner()]));
    default:
      return { dependentSchemas: named(dice.some(NAMES, 1)), dependentRequired: { a: ['b'] } };
  }
}

function instance(dice: Dice, depth: number): unknown {
  switch (dice.roll(depth > 0 ? 8 : 5)) {
    case 0:
      return dice.of([null, true, false]);
    case 1:
    case 2:
      return dice.of(NUMBERS);
    case 3:
    case 4:
      return dice.of(TEXTS);
    case 5:
      return Array.from({ length: dice.roll(4) }, () => instance(dice, depth - 1));
    default:
      return Object.fromEntries(
        dice.some(NAMES, 4).map((name) => [name, instance(dice, depth - 1)]),
      );
  }
}

/** All members in an order, as far as the names of a schema's properties say one: tried both ways. */
function orders(value: unknown): string[] {
  const texts = [JSON.stringify(value), spaced(value)];
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return texts;
  const names = Object.keys(value);
  const permuted = permutations(names).map((order) =>
    JSON.stringify(
      Object.fromEntries(order.map((name) => [name, (value as Record<string, unknown>)[name]])),
    ),
  );
  return [...new Set([...texts, ...permuted])];
}

function permutations<T>(list: readonly T[]): T[][] {
  if (list.length === 0) return [[]];
  return list.flatMap((first, i) =>
    permutations([...list.slice(0, i), ...list.slice(i + 1)]).map((rest) => [first, ...rest]),
  );
}

/** ajv's own code breaks on some mixes of if and dependentSchemas: of these nothing is known. */
function judged(validate: (value: unknown) => unknown, value: unknown): boolean | undefined {
  try {
    return Boolean(validate(value));
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

describe('random schemas', () => {
  it('accept nothing that is invalid, and most of what is valid', () => {
    const dice = new Dice(SEED * 7919 + 3);
    const ajv = new Ajv2020({ strict: false, multipleOfPrecision: 9 });
    const count = { valid: 0, accepted: 0, invalid: 0, refused: 0, compiled: 0 };
    const wrong: string[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const made = schema(dice, 2);
      let matcher: ReturnType<typeof compile>;
      try {
        matcher = compile(made);
        count.compiled++;
      } catch (error) {
        expect((error as { code?: string }).code, `${JSON.stringify(made)}: ${error}`).toBe(
          'ERR_GRAMMAR',
        );
        count.refused++;
        continue;
      }
      const validate = ajv.compile(made as object);
      for (let i = 0; i < 12; i++) {
        const value = instance(dice, 2);
        const accepted = orders(value).some((text) => matcher.accepts(text));
        const valid = judged(validate, value);
        if (valid === undefined) continue;
        if (valid) count.valid++;
        else count.invalid++;
        if (valid && accepted) count.accepted++;
        if (accepted && !valid)
          wrong.push(`${JSON.stringify(made)} takes ${JSON.stringify(value)}`);
      }
    }
    expect(wrong).toEqual([]);
    expect(count.compiled).toBeGreaterThan(ROUNDS / 2);
    expect(count.invalid).toBeGreaterThan(ROUNDS);
    expect(count.accepted / count.valid).toBeGreaterThan(0.95);
  });

  it('give texts that parse and are valid', () => {
    const dice = new Dice(SEED * 31 + 17);
    const ajv = new Ajv2020({ strict: false, multipleOfPrecision: 9 });
    let drawn = 0;
    const wrong: string[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const made = schema(dice, 2);
      let samples: GrammarSamples;
      try {
        samples = new GrammarSamples(grammarOf(made), (sides) => dice.roll(sides));
      } catch {
        continue;
      }
      const validate = ajv.compile(made as object);
      for (let i = 0; i < 8; i++) {
        const text = samples.text();
        if (text === undefined) continue;
        drawn++;
        const valid = judged(validate, JSON.parse(text));
        if (valid === false) wrong.push(`${JSON.stringify(made)} gives ${text}`);
      }
    }
    expect(wrong).toEqual([]);
    expect(drawn).toBeGreaterThan(ROUNDS);
  });
});
