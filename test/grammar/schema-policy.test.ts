/** What is refused, where; what is left out where a schema need not be strict; whitespace; limits. */
import { describe, expect, it } from 'vitest';
import { compile, refusal } from '../support/schemas.js';

describe('refusals', () => {
  it.each([
    [{ properties: { a: { pattern: '(?=x)' } } }, '/properties/a/pattern'],
    [{ type: 'array', uniqueItems: true }, '/uniqueItems'],
    [{ type: 'object', minProperties: 2 }, '/minProperties'],
    [{ properties: { 'a/b': { multipleOf: 0.123456789 } } }, '/properties/a~1b/multipleOf'],
    [{ $ref: 'http://elsewhere/schema' }, '/$ref'],
    [{ $ref: '#/nowhere' }, '/$ref'],
    [{ allOf: [{ $ref: '#' }] }, '/allOf/0/$ref'],
    [{ type: 'float' }, '/type'],
    [{ properties: { a: { required: true } } }, '/properties/a/required'],
    [{ properties: { a: 3 } }, '/properties/a'],
    [{ minLength: -1 }, '/minLength'],
    [{ not: { uniqueItems: true } }, '/not/uniqueItems'],
    [{ type: 'string', enum: [1, 2] }, ''],
    [false, ''],
    [3, ''],
  ])('%j at %s', (schema, pointer) => {
    expect(refusal(schema)).toEqual({ code: 'ERR_GRAMMAR', pointer });
  });
});

describe('schemas that need not be strict', () => {
  it('are enforced without the keyword that cannot be, and say so', () => {
    const warnings: string[] = [];
    const schema = {
      type: 'object',
      properties: {
        a: { type: 'string', pattern: '^(?=x)', maxLength: 2 },
        b: { type: 'array', items: { type: 'integer' }, uniqueItems: true },
      },
      required: ['a'],
    };
    const matcher = compile(schema, { strict: false, warnings });
    expect(matcher.accepts('{"a":"yy","b":[1,1]}')).toBe(true);
    expect(matcher.accepts('{"a":"yyy"}')).toBe(false);
    expect(matcher.accepts('{"a":"y","b":["x"]}')).toBe(false);
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toContain('/properties/a/pattern');
    expect(warnings[1]).toContain('/properties/b/uniqueItems');
  });

  it('have no warning where all is enforced', () => {
    const warnings: string[] = [];
    compile({ type: 'object' }, { strict: false, warnings });
    expect(warnings).toEqual([]);
  });

  it('say which formats are not enforced, strict or not, once', () => {
    const colour = () => ({ type: 'string', format: 'rgb' });
    const properties = { 'a/b': colour(), c: { format: 'date' }, d: { items: colour() } };
    const schema = { type: 'object', properties };
    for (const strict of [true, false]) {
      const warnings: string[] = [];
      const matcher = compile(schema, { strict, warnings });
      expect(matcher.accepts('{"a/b":"no colour"}')).toBe(true);
      expect(matcher.accepts('{"c":"no date"}')).toBe(false);
      expect(warnings).toEqual([
        expect.stringMatching(/^\/properties\/a~1b\/format is not enforced: "rgb" is not known/),
        expect.stringMatching(
          /^\/properties\/d\/items\/format is not enforced: "rgb" is not known; known are date, /,
        ),
      ]);
    }
  });

  it('take a part without any meaning for anything', () => {
    const warnings: string[] = [];
    const matcher = compile({ properties: { a: 3, b: false } }, { strict: false, warnings });
    expect(matcher.accepts('{"a":[]}')).toBe(true);
    expect(matcher.accepts('{"b":1}')).toBe(false);
    expect(warnings).toHaveLength(1);
  });
});

describe('options', () => {
  const schema = { type: 'object', properties: { a: { type: 'array' } }, required: ['a'] };

  it('whitespace: none where it is switched off', () => {
    const matcher = compile(schema, { disableAnyWhitespace: true });
    expect(matcher.accepts('{"a":[1,{"b":2}]}')).toBe(true);
    expect(matcher.accepts('{"a": []}')).toBe(false);
    expect(matcher.accepts('{"a":[1, 2]}')).toBe(false);
  });

  it('whitespace: what a pattern says', () => {
    const matcher = compile(schema, { whitespacePattern: '[ ]{0,2}' });
    expect(matcher.accepts('{  "a"  :  [ 1  ,2]}')).toBe(true);
    expect(matcher.accepts('{"a":\n[]}')).toBe(false);
    expect(matcher.accepts('{"a":   []}')).toBe(false);
  });

  it('whitespace: bounded by default', () => {
    const matcher = compile(schema);
    expect(matcher.accepts('{\n    "a": [\n        1\n    ]\n}')).toBe(true);
    expect(matcher.accepts('{"a":  []}')).toBe(false);
    expect(matcher.accepts(`{\n${' '.repeat(21)}"a": []}`)).toBe(false);
    expect(matcher.accepts('{\n\n"a": []}')).toBe(false);
  });

  it('no other properties than the named', () => {
    const matcher = compile(schema, { disableAdditionalProperties: true });
    expect(matcher.accepts('{"a":[]}')).toBe(true);
    expect(matcher.accepts('{"a":[],"b":1}')).toBe(false);
  });
});

describe('limits', () => {
  it('bytes, depth, bytes of enums', () => {
    expect(refusal({ title: 'x'.repeat(200) }, { maxSchemaBytes: 100 }).pointer).toBe('');
    expect(refusal({ enum: ['x'.repeat(200)] }, { maxEnumBytes: 100 }).pointer).toBe('');
    let deep: unknown = {};
    for (let i = 0; i < 70; i++) deep = { not: deep };
    expect(refusal({ not: deep }, { maxDepth: 20 }).pointer).toBe('');
  });

  it.each<[string, (next: object) => object]>([
    ['anyOf', (next) => ({ anyOf: [next, { type: 'null' }] })],
    ['oneOf', (next) => ({ oneOf: [{ type: 'null' }, next] })],
    ['if', (next) => ({ if: next, else: { type: 'null' } })],
    ['propertyNames', (next) => ({ propertyNames: next })],
    ['required', (next) => ({ type: 'object', properties: { a: next }, required: ['a'] })],
    ['dependentSchemas', (next) => ({ dependentSchemas: { a: next } })],
  ])('references in a row, by way of %s', (_, wrap) => {
    const chain = (length: number) => {
      const names = Array.from({ length }, (_, i) => `n${i}`);
      const next = (i: number) => wrap({ $ref: `#/$defs/n${i + 1}` });
      const defs = names.map((name, i) => [name, i < length - 1 ? next(i) : { type: 'string' }]);
      return { $ref: '#/$defs/n0', $defs: Object.fromEntries(defs) };
    };
    expect(() => compile(chain(40))).not.toThrow();
    expect(refusal(chain(1_000), { maxSchemaBytes: 1e6 }).code).toBe('ERR_GRAMMAR');
  });

  it('alternatives and states are bounded, whatever a schema multiplies', () => {
    const names = Array.from({ length: 20 }, (_, i) => `n${i}`);
    const many = names.map((name) => ({
      anyOf: [{ required: [name] }, { required: [`${name}x`] }],
    }));
    expect(refusal({ type: 'object', allOf: many }).code).toBe('ERR_GRAMMAR');
    const unique = { type: 'array', contains: { type: 'null' }, minContains: 5000 };
    expect(refusal(unique).pointer).toBe('/contains');
  });
});
