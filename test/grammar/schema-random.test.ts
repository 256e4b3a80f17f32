/** Random schemas on random instances: whatever is accepted, ajv calls valid. */
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { sample } from '../support/all.js';
import { GrammarSamples } from '../support/grammar-samples.js';
import { Dice, instance, judged, orders, schema } from '../support/random-schemas.js';
import { compile, grammarOf, spaced } from '../support/schemas.js';
import { SEED } from '../support/seed.js';

const ROUNDS = sample(100, 400);

/** The value as it may be written: members in any order, with spaces and without. */
function texts(value: unknown): string[] {
  return [spaced(value), ...orders(value).map((one) => JSON.stringify(one))];
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
        const accepted = texts(value).some((text) => matcher.accepts(text));
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
    expect(count.accepted / count.valid).toBeGreaterThan(0.98);
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
