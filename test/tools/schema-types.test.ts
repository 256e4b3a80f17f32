import { describe, expect, it } from 'vitest';
import { JSON_TYPES } from '../../lib/tools/format.js';
import { SchemaTypes } from '../../lib/tools/schema-types.js';

const of = (schema: object, key = 'a') => [...new SchemaTypes({ ...schema }).of(key)].sort();
const property = (schema: unknown) => ({ properties: { a: schema } });
const ANY = [...JSON_TYPES].sort();

describe('types of an argument', () => {
  it.each([
    [property({ type: 'integer' }), ['number']],
    [property({ type: ['string', 'null'] }), ['null', 'string']],
    [property({ enum: ['x', 1, null] }), ['null', 'number', 'string']],
    [property({ const: [] }), ['array']],
    [property({ const: null }), ['null']],
    [property({ anyOf: [{ type: 'string' }, { type: 'object' }] }), ['object', 'string']],
    [property({ allOf: [{ type: ['string', 'number'] }, { type: 'number' }] }), ['number']],
    [property({ type: 'string', oneOf: [{ minLength: 3 }, { type: 'null' }] }), ['string']],
    [property(false), []],
    [property(true), ANY],
    [property({}), ANY],
    [{}, ANY],
    [{ additionalProperties: { type: 'number' } }, ['number']],
    [{ additionalProperties: false }, []],
    [{ additionalProperties: false, patternProperties: { x: { type: 'null' }, y: {} } }, ANY],
    [
      { additionalProperties: { type: 'string' }, patternProperties: { x: { type: 'null' } } },
      ['null', 'string'],
    ],
  ])('%j', (schema, types) => {
    expect(of(schema)).toEqual([...types].sort());
  });

  it('are those of all the schemas that a schema is made of', () => {
    const text = property({ type: 'string' });
    expect(of({ allOf: [text, {}] })).toEqual(['string']);
    expect(of({ anyOf: [text, property({ type: 'number' })] })).toEqual(['number', 'string']);
    expect(of({ oneOf: [text, {}] })).toEqual(ANY);
    expect(of({ $ref: '#/$defs/x~1y', $defs: { 'x/y': text } })).toEqual(['string']);
    expect(of({ ...property({ $ref: '#/$defs/t' }), $defs: { t: { type: 'null' } } })).toEqual([
      'null',
    ]);
    expect(of({ allOf: [{ additionalProperties: { type: 'string' } }, property({})] })).toEqual([
      'string',
    ]);
  });

  it('are any where references lead nowhere, elsewhere or in a circle', () => {
    for (const $ref of ['#/none', '#anchor', 'https://a.b/c', '#/properties/a', '#/%', '#']) {
      expect(of({ type: 'object', ...property({ $ref }) })).toEqual(
        $ref === '#' ? ['object'] : ANY,
      );
    }
    const many = { $ref: '#/$defs/t' };
    const tree = { anyOf: Array.from({ length: 40 }, () => ({ anyOf: [many, many, many] })) };
    expect(of({ ...property(many), $defs: { t: tree } })).toEqual(ANY);
  });

  it('are any where there is too much to look through', () => {
    const parts = (count: number) => ({
      allOf: Array.from({ length: count }, (_, i) => ({
        properties: { [`a${i}`]: { type: 'null' } },
      })),
    });
    expect(of(parts(90), 'a7')).toEqual(['null']);
    expect(of(parts(4000), 'a7')).toEqual(ANY);
    expect([...new SchemaTypes(parts(4000)).named]).toEqual([]);
  });

  it('tell names that the schema speaks of from others', () => {
    const types = new SchemaTypes({
      allOf: [property({ type: 'string' })],
      properties: { toString: { type: 'null' } },
      additionalProperties: { type: 'number' },
    });
    expect([...types.named].sort()).toEqual(['a', 'toString']);
    expect([...types.others]).toEqual(['number']);
    expect([...types.of('constructor')]).toEqual(['number']);
    expect([...types.of('toString')]).toEqual(['null']);
  });
});
