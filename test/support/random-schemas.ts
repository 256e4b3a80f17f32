/** Random JSON Schemas, and values that may or may not be of them. */
const NAMES = ['a', 'b', 'c/d', 'n1', 'n2', ''];
// ajv takes a required '' for there at all times.
const REQUIRED = NAMES.filter((name) => name !== '');
const TEXTS = ['', 'a', 'ab', 'n1', '12', 'x/y', 'é', '😀', 'true', '[1]', `it's "q"`, '\\n\n'];
const PATTERNS = ['^a', 'b$', '^[a-z]*$', '^n\\d$', '\\d'];
const NUMBERS = [-7, -1, 0, 1, 2, 3, 5, 6, 10, 12.5, -0.25, 100];

export class Dice {
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

export function schema(dice: Dice, depth: number): Schema {
  if (dice.roll(12) === 0) return dice.roll(3) > 0;
  const out: Record<string, unknown> = {};
  for (let i = 0; i <= dice.roll(3); i++) Object.assign(out, keyword(dice, depth));
  // Beside prefixItems ajv finds in an empty array what contains asks for.
  if ('prefixItems' in out && 'contains' in out) {
    delete out.contains;
    delete out.maxContains;
  }
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
      return { contains: { allOf: [inner()] }, maxContains: 1 + dice.roll(2) };
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

export function instance(dice: Dice, depth: number): unknown {
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

/** The value with its members in every order, at every depth: the first `limit` of these. */
export function orders(value: unknown, limit = 300): unknown[] {
  if (typeof value !== 'object' || value === null) return [value];
  if (Array.isArray(value)) return products(value, limit);
  return permutations(Object.keys(value)).flatMap((names) =>
    products(
      names.map((name) => (value as Record<string, unknown>)[name]),
      limit,
    ).map((values) => Object.fromEntries(names.map((name, i) => [name, values[i]]))),
  );
}

/** Lists of one order of each value. */
function products(values: readonly unknown[], limit: number): unknown[][] {
  let lists: unknown[][] = [[]];
  for (const value of values) {
    const those = orders(value, limit);
    lists = lists.flatMap((list) => those.map((one) => [...list, one])).slice(0, limit);
  }
  return lists;
}

function permutations<T>(list: readonly T[]): T[][] {
  if (list.length === 0) return [[]];
  return list.flatMap((first, i) =>
    permutations([...list.slice(0, i), ...list.slice(i + 1)]).map((rest) => [first, ...rest]),
  );
}

/** ajv's own code breaks on some mixes of if and dependentSchemas: of these nothing is known. */
export function judged(validate: (value: unknown) => unknown, value: unknown): boolean | undefined {
  try {
    return Boolean(validate(value));
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}
