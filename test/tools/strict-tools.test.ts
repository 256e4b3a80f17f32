/** Strict tools, whatever the style of a call: what the grammar takes is read as valid arguments. */
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import type { Beginning } from '../../lib/tools/parser.js';
import type { ToolDefinition } from '../../lib/tools/types.js';
import { sample } from '../support/all.js';
import { GrammarSamples } from '../support/grammar-samples.js';
import { byteMatchers } from '../support/native-grammar.js';
import { Dice, instance, judged, orders, schema } from '../support/random-schemas.js';
import { SEED } from '../support/seed.js';
import { FAMILIES } from '../support/tool-families.js';
import { grammarOf, parse, subject, writtenBy } from './support.js';

const ROUNDS = sample(10, 60);
const NAMES = ['a', 'b', 'c/d', 'n1', 'user-id'];

/** All of a format is text, so that a matcher of bytes can follow. */
const noTokens = { tokenToId: () => undefined, isSpecial: () => false };

/** A format, and the text of a call of `f` in it, as its template writes that. */
interface Style {
  readonly own: Own;
  readonly beginning: Beginning;
  write(args: Schema): string;
}

type Own = ReturnType<typeof subject>;
type Schema = Record<string, unknown>;

const families = ['qwen3_coder', 'glm47', 'minimax_m2', 'deepseek_v32', 'gemma4', 'lfm2'] as const;
const RENDERED = families.map((name): [string, Style] => {
  const own = subject(FAMILIES[name].source, {}, noTokens);
  const written = (args: Schema) =>
    writtenBy(own, toolOf({}), { content: '', calls: [{ name: 'f', args }] });
  return [name, { own, beginning: written({}).beginning, write: (args) => written(args).text }];
});
const NAMED = ['pythonic', 'kimi_k3', 'seed_oss', 'functiongemma', 'hermes'].map(
  (calls): [string, Style] => {
    const own = subject(FAMILIES.hermes.source, { calls }, noTokens);
    return [calls, { own, beginning: 'reasoned', write: inPython }];
  },
);

function inPython(args: Schema): string {
  const list = Object.entries(args).map(([name, value]) => `${name}=${repr(value)}`);
  return `[f(${list.join(', ')})]`;
}

function repr(value: unknown): string {
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'number') return String(value);
  if (typeof value === 'string') {
    const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
    const inner = value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
    return quote + inner.replaceAll(quote, `\\${quote}`) + quote;
  }
  if (Array.isArray(value)) return `[${value.map(repr).join(', ')}]`;
  const members = Object.entries(value as object).map(([name, v]) => `${repr(name)}: ${repr(v)}`);
  return `{${members.join(', ')}}`;
}

/** A schema of arguments: mostly properties, and some of all else. */
function argumentSchema(dice: Dice): Schema {
  const properties = Object.fromEntries(
    dice.some(NAMES, 3).map((name) => [name, schema(dice, 1)] as const),
  );
  const whole: Schema = { type: 'object', properties };
  if (dice.roll(2) === 0) whole.required = dice.some(NAMES, 2);
  if (dice.roll(2) === 0) whole.additionalProperties = schema(dice, 1);
  const more = dice.roll(3) === 0 ? schema(dice, 2) : {};
  return typeof more === 'object' ? { ...more, ...whole } : whole;
}

function argumentsOf(dice: Dice): Schema {
  return Object.fromEntries(dice.some(NAMES, 3).map((name) => [name, instance(dice, 1)]));
}

function toolOf(parameters: Schema): ToolDefinition[] {
  return [{ type: 'function', function: { name: 'f', parameters, strict: true } }];
}

/** The grammar of one call of the tool; undefined where its schema is refused. */
function callGrammar({ own, beginning }: Style, parameters: Schema) {
  try {
    return grammarOf(own, { tools: toolOf(parameters), toolChoice: { name: 'f' } }, beginning);
  } catch (error) {
    const { code } = error as { code?: string };
    expect(code, `${JSON.stringify(parameters)}: ${error}`).toBe('ERR_GRAMMAR');
    return undefined;
  }
}

/** The arguments that are read of a call; undefined where there is none, or not the whole. */
function read({ own, beginning }: Style, parameters: Schema, text: string): unknown {
  const { calls } = parse(own, toolOf(parameters), text, beginning, () => 1000, true);
  if (calls.length !== 1 || !calls[0].ended) return undefined;
  try {
    return JSON.parse(calls[0].text);
  } catch {
    return undefined;
  }
}

describe.each([...RENDERED, ...NAMED])('%s', (name, style) => {
  it('what the grammar gives is read as valid arguments', () => {
    const bare: Style = { ...style, beginning: 'reasoned' };
    const dice = new Dice(SEED * 31 + name.length * 1001);
    const ajv = new Ajv2020({ strict: false, multipleOfPrecision: 9 });
    const wrong: object[] = [];
    let drawn = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const parameters = argumentSchema(dice);
      const grammar = callGrammar(bare, parameters);
      if (grammar === undefined) continue;
      const samples = new GrammarSamples(grammar, (sides) => dice.roll(sides));
      const validate = ajv.compile(parameters);
      for (let i = 0; i < 6; i++) {
        const text = samples.text();
        if (text === undefined) continue;
        drawn++;
        const args = read(bare, parameters, text);
        const valid = args !== undefined && judged(validate, args);
        if (valid === false) wrong.push({ parameters: JSON.stringify(parameters), text, args });
      }
    }
    expect(wrong).toEqual([]);
    expect(drawn).toBeGreaterThan(ROUNDS);
  });
});

describe.each([...RENDERED, NAMED[0]])('%s', (name, style) => {
  it('takes no call of invalid arguments, and nearly every one of valid ones', async () => {
    const matcherOf = await byteMatchers();
    const dice = new Dice(SEED * 7919 + name.length * 13);
    const ajv = new Ajv2020({ strict: false, multipleOfPrecision: 9 });
    const wrong: object[] = [];
    const missed: object[] = [];
    const count = { valid: 0, invalid: 0, compiled: 0 };
    for (let round = 0; round < ROUNDS; round++) {
      const parameters = argumentSchema(dice);
      const grammar = callGrammar(style, parameters);
      if (grammar === undefined) continue;
      count.compiled++;
      const accepts = await matcherOf(grammar);
      const validate = ajv.compile(parameters);
      for (let i = 0; i < 8; i++) {
        const args = argumentsOf(dice);
        const valid = judged(validate, args);
        if (valid === undefined || !isPlain(name, args)) continue;
        count[valid ? 'valid' : 'invalid']++;
        const texts = orders(args).map((one) => style.write(one as Schema));
        const taken: string[] = [];
        for (const text of texts) if (await accepts(text)) taken.push(text);
        const told = { parameters: JSON.stringify(parameters), args: JSON.stringify(args) };
        for (const text of taken) {
          const got = read(style, parameters, text);
          const same = JSON.stringify(sorted(got)) === JSON.stringify(sorted(args));
          // A value of one type may be spelled as one of another; what is read counts.
          if (valid ? !same : got === undefined || judged(validate, got) === false) {
            wrong.push({ ...told, text, got: JSON.stringify(got) });
          }
        }
        if (valid && taken.length === 0) missed.push({ ...told, text: texts[0] });
      }
    }
    expect(wrong).toEqual([]);
    expect(count.compiled).toBeGreaterThan(ROUNDS / 2);
    expect(Math.min(count.invalid, count.valid)).toBeGreaterThan(ROUNDS);
    const most = 2 + count.valid * 0.05;
    expect(missed.length, JSON.stringify(missed, null, 1)).toBeLessThan(most);
  });
});

/** Whether the style can tell the values from others: texts in tags may look like something else. */
function isPlain(name: string, args: Schema): boolean {
  if (!name.match(/_|glm/)) return true;
  return Object.values(args).every(
    (value) => typeof value !== 'string' || /^[^\s\d[]/.test(value.replace('true', '[')),
  );
}

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(sorted);
  const members = Object.entries(value).map(([name, own]) => [name, sorted(own)] as const);
  return Object.fromEntries(members.sort(([a], [b]) => (a < b ? -1 : 1)));
}
