/** Each keyword on texts that were judged by hand. */
import { describe, expect, it } from 'vitest';
import { compile } from '../support/schemas.js';

type Case = readonly [schema: unknown, valid: readonly string[], invalid: readonly string[]];

function check(name: string, cases: readonly Case[]): void {
  it.each(cases.map(([schema, valid, invalid]) => ({ schema, valid, invalid })))(
    `${name}: $schema`,
    ({ schema, valid, invalid }) => {
      const matcher = compile(schema);
      expect(valid.filter((text) => !matcher.accepts(text))).toEqual([]);
      expect(invalid.filter((text) => matcher.accepts(text))).toEqual([]);
    },
  );
}

describe('values', () => {
  check('type', [
    [
      { type: 'string' },
      ['""', '"a\\n\\u00e9\\ud83d\\ude00é😀"'],
      ['"\n"', '"\\ud800"', '"', 'null'],
    ],
    [{ type: 'integer' }, ['0', '-12', '9007199254740993'], ['01', '1.5', '1e3', '-', '-0']],
    [{ type: 'number' }, ['0', '-0.5', '1e10', '2.50E-3'], ['.5', '1.', '+1', '1e999', 'NaN']],
    [{ type: ['boolean', 'null'] }, ['true', 'false', 'null'], ['nul', '0', '""']],
    [
      { type: 'object' },
      ['{}', '{"a": [1, {"b": null}]}', '{\n  "a": 1\n}'],
      ['{"a"}', '{"a":1,}'],
    ],
    [{ type: 'array' }, ['[]', '[1,2]', '[[], {}]'], ['[1,]', '[', '[1 ,2]']],
    [true, ['1', '{"a":1}'], ['', 'x']],
    [{ title: 'said, not asked', format: 'unheard-of' }, ['"x"', '[]'], ['x']],
  ]);

  check('enum and const', [
    [
      { enum: ['a/b', 'ab', 3, null, 1.5] },
      ['"a/b"', '"ab"', '3', 'null', '1.5'],
      ['"a"', '3.0', '4'],
    ],
    [{ type: 'string', enum: ['a', 1] }, ['"a"'], ['1', '"1"']],
    [{ const: { a: [1, 'x'] } }, ['{"a":[1,"x"]}', '{"a": [1, "x"]}'], ['{"a":[1]}', '{}']],
    [{ const: 'tab\t"' }, ['"tab\\t\\""'], ['"tab\t\\""', '"tab"']],
    [{ enum: [1, 2, 3], minimum: 2 }, ['2', '3'], ['1']],
  ]);

  check('strings', [
    [
      { type: 'string', minLength: 2, maxLength: 3 },
      ['"ab"', '"😀😀😀"', '"\\u0041\\nb"'],
      ['"a"', '"abcd"'],
    ],
    [{ type: 'string', pattern: '^a+$', maxLength: 2 }, ['"a"', '"aa"'], ['""', '"aaa"', '"ab"']],
    [{ type: 'string', pattern: 'b/c' }, ['"ab/cd"', '"b\\/c"'], ['"bc"']],
    [{ type: 'string', pattern: '^\\n"$' }, ['"\\n\\""', '"\\u000a\\""'], ['"\n\\""']],
    [{ pattern: '^x' }, ['"x"', '1', '{}'], ['"y"']],
  ]);

  check('formats', [
    [
      { type: 'string', format: 'date' },
      ['"2024-02-29"', '"1999-12-31"'],
      ['"2023-02-29"', '"1999-13-01"'],
    ],
    [
      { type: 'string', format: 'time' },
      ['"12:30:00Z"', '"01:00:00.5+05:30"'],
      ['"24:00:00Z"', '"12:30"'],
    ],
    [
      { type: 'string', format: 'date-time' },
      ['"2020-01-01T00:00:00Z"'],
      ['"2020-01-01"', '"2020-01-01 00:00"'],
    ],
    [
      { type: 'string', format: 'uuid' },
      ['"123e4567-e89b-12d3-a456-426614174000"'],
      ['"123e4567"'],
    ],
    [{ type: 'string', format: 'email' }, ['"a.b@c.de"'], ['"a"', '"a@"', '".a@b"', '"a@b"']],
    [
      { type: 'string', format: 'ipv4' },
      ['"255.0.10.1"'],
      ['"256.0.0.1"', '"01.0.0.1"', '"1.1.1"'],
    ],
    [
      { type: 'string', format: 'ipv6' },
      [
        '"::"',
        '"1::"',
        '"::1"',
        '"1:2:3:4:5:6:7:8"',
        '"1::8"',
        '"::ffff:1.2.3.4"',
        '"1:2:3:4:5:6:7::"',
      ],
      ['":"', '"1:2"', '"1::2::3"', '"1:2:3:4:5:6:7:8:9"', '"12345::"', '"1:2:3:4:5:6:7:8::"'],
    ],
    [
      { type: 'string', format: 'uri' },
      ['"https://a.b/c?d=e#f"', '"urn:isbn:1"', '"mailto:a@b.c"'],
      ['"/a"', '"a b:c"', '"http://[x"'],
    ],
  ]);

  check('numbers', [
    [{ type: 'integer', minimum: -3, maximum: 12 }, ['-3', '0', '12'], ['-4', '13', '100', '1.0']],
    [
      { type: 'number', exclusiveMinimum: 0, maximum: 1.5 },
      ['0.001', '1.5', '1.50'],
      ['0', '0.0', '1.51', '-1'],
    ],
    [{ type: 'number', minimum: -1.25 }, ['-1.25', '-1.2', '-0.0', '7'], ['-1.26', '-2', '-10']],
    [{ maximum: 10, exclusiveMaximum: true }, ['9.99', '-100', '"x"'], ['10', '10.0', '11']],
    [
      { type: 'integer', exclusiveMinimum: 9, maximum: 101 },
      ['10', '99', '101'],
      ['9', '102', '1000'],
    ],
    [{ type: 'integer', multipleOf: 7 }, ['0', '-14', '7', '700'], ['1', '-8', '701']],
    [{ type: 'number', multipleOf: 0.25 }, ['0.5', '1.750', '-3'], ['0.1', '0.125']],
    [{ type: 'integer', multipleOf: 2.5 }, ['5', '0', '-10'], ['2', '2.5', '7']],
    [
      { type: 'number', minimum: 1e21, maximum: 1e22 },
      [`1${'0'.repeat(21)}`],
      ['1', `1${'0'.repeat(23)}`],
    ],
  ]);
});

describe('objects', () => {
  const two = { properties: { a: { type: 'integer' }, b: { type: 'string' } } };
  check('properties', [
    [
      { type: 'object', ...two, required: ['b'] },
      ['{"b":"x"}', '{"a":1,"b":""}', '{"b":"x","c":[]}', '{ "a": 1, "b": "" }'],
      ['{}', '{"a":1}', '{"a":"x","b":"x"}', '{"b":"x","a":1}', '{"b":"x","\\u0061":"y"}'],
    ],
    [
      { type: 'object', ...two, additionalProperties: false },
      ['{}', '{"a":1}'],
      ['{"c":1}', '{"":1}'],
    ],
    [
      { type: 'object', ...two, additionalProperties: { type: 'null' } },
      ['{"a":1,"c":null}', '{"ab":null}'],
      ['{"c":1}', '{"a":null}'],
    ],
    [{ type: 'object', required: ['z'] }, ['{"z":1}', '{"z":1,"y":2}'], ['{}', '{"y":2}']],
    // Names that only `required` has come behind all that some `properties` has.
    [
      { type: 'object', required: ['z', 'b'], allOf: [{ properties: { a: {}, b: {} } }] },
      ['{"a":1,"b":2,"z":3}', '{"b":2,"z":3}'],
      ['{"z":3,"b":2}', '{"b":2,"a":1,"z":3}', '{"a":1,"b":2}'],
    ],
    [{ type: 'object', properties: { a: false } }, ['{}', '{"b":1}'], ['{"a":1}']],
    [
      { type: 'object', properties: { __proto__: { type: 'null' } }, required: ['toString'] },
      [],
      ['{}'],
    ],
  ]);

  check('names', [
    [
      {
        patternProperties: { '^n': { type: 'number' }, x$: { minimum: 5 } },
        additionalProperties: false,
      },
      ['{"n":1}', '{"nx":5}', '{"x":"s"}', '[]'],
      ['{"nx":4}', '{"n":"s"}', '{"a":1}'],
    ],
    [
      { properties: { na: { maximum: 3 } }, patternProperties: { '^n': { type: 'integer' } } },
      ['{"na":3,"nb":9,"c":"x"}'],
      ['{"na":4}', '{"nb":"x"}', '{"na":"x"}'],
    ],
    [{ type: 'object', propertyNames: { maxLength: 2 } }, ['{"ab":1}', '{}'], ['{"abc":1}']],
    [
      { type: 'object', propertyNames: { enum: ['a', 'b'] }, minProperties: 1 },
      ['{"a":1}'],
      ['{}', '{"c":1}'],
    ],
  ]);

  check('counts', [
    [{ type: 'object', minProperties: 1 }, ['{"a":1}', '{"a":1,"b":2}'], ['{}']],
    [{ type: 'object', maxProperties: 1 }, ['{}', '{"a":1}'], ['{"a":1,"b":2}']],
    [
      {
        type: 'object',
        properties: { a: {}, b: {}, c: {} },
        additionalProperties: false,
        minProperties: 2,
      },
      ['{"a":1,"c":1}', '{"a":1,"b":1,"c":1}'],
      ['{"a":1}', '{}'],
    ],
    // A name that comes twice counts once: two others are never sure to be two.
    [{ properties: { a: {} }, minProperties: 2 }, ['{"a":1,"b":1}'], ['{"b":1,"b":1}', '{"a":1}']],
  ]);

  check('dependencies', [
    [
      { type: 'object', dependentRequired: { a: ['b'] } },
      ['{}', '{"b":1}', '{"a":1,"b":2}'],
      ['{"a":1}'],
    ],
    [
      { type: 'object', dependentSchemas: { a: { properties: { b: { type: 'null' } } } } },
      ['{"b":1}', '{"a":1,"b":null}'],
      ['{"a":1,"b":1}'],
    ],
    [
      { type: 'object', dependencies: { a: ['b'], c: { maxProperties: 1 } } },
      ['{"c":1}'],
      ['{"c":1,"d":1}'],
    ],
  ]);

  check('unevaluatedProperties', [
    [
      { allOf: [{ properties: { a: {} } }], properties: { b: {} }, unevaluatedProperties: false },
      ['{"b":1}', '{"b":1,"a":1}', '7'],
      ['{"c":1}'],
    ],
    [
      {
        anyOf: [{ properties: { a: { const: 1 } }, required: ['a'] }, { properties: { b: {} } }],
        unevaluatedProperties: false,
      },
      ['{"a":1}', '{"b":1}', '{"a":1,"b":2}', '{}'],
      ['{"a":2}', '{"c":1}'],
    ],
  ]);
});

describe('arrays', () => {
  check('items', [
    [
      { type: 'array', items: { type: 'integer' } },
      ['[]', '[1]', '[1, 2,3]', '[\n 1,\n 2\n]'],
      ['["a"]', '[1'],
    ],
    [
      { type: 'array', minItems: 2, maxItems: 4 },
      ['[1,2]', '[1,2,3,4]'],
      ['[]', '[1]', '[1,2,3,4,5]'],
    ],
    [
      { type: 'array', items: { type: 'null' }, minItems: 20, maxItems: 40 },
      [`[${Array(33).fill('null')}]`],
      ['[]'],
    ],
    [
      { type: 'array', prefixItems: [{ type: 'integer' }, { type: 'string' }], items: false },
      ['[]', '[1]', '[1,"x"]'],
      ['["x"]', '[1,"x",2]'],
    ],
    [
      {
        type: 'array',
        items: [{ type: 'integer' }],
        additionalItems: { type: 'string' },
        minItems: 1,
      },
      ['[1]', '[1,"x","y"]'],
      ['[]', '[1,2]'],
    ],
    [{ type: 'array', items: false }, ['[]'], ['[1]']],
  ]);

  check('contains and uniqueItems', [
    [{ contains: { const: 5 }, maxItems: 0 }, ['{}'], ['[]', '[5]']],
    [{ type: 'array', contains: { const: 5 } }, ['[5]', '[1,5,2]', '[5,5]'], ['[]', '[1,2]']],
    [
      { type: 'array', contains: { type: 'null' }, minContains: 2, maxContains: 2 },
      ['[null,1,null]'],
      ['[null]'],
    ],
    [
      { contains: { type: 'null' }, minContains: 0, maxContains: 1 },
      ['[]', '[1]', '[null]'],
      ['[null,null]'],
    ],
    [
      { type: 'array', items: { enum: ['a', 'b', 'c'] }, uniqueItems: true },
      ['[]', '["c","a"]', '["b","a","c"]'],
      ['["a","a"]', '["a","b","a"]'],
    ],
    [
      { type: 'array', items: { type: 'boolean' }, uniqueItems: true },
      ['[true,false]'],
      ['[true,true]'],
    ],
    [{ type: 'array', items: {}, uniqueItems: true, maxItems: 1 }, ['[{}]'], ['[1,2]']],
    [
      { type: 'array', items: { enum: [1, 2, 3, 4, 5, 6, 7, 8] }, uniqueItems: true, minItems: 2 },
      ['[1,8]', '[2,3,4]'],
      ['[1,1]', '[8,1]', '[1]'],
    ],
  ]);
});

describe('combinations', () => {
  check('allOf, anyOf, oneOf, not', [
    [
      { allOf: [{ type: 'string', pattern: '^a' }, { pattern: 'z$' }] },
      ['"az"'],
      ['"a"', '"z"', '1'],
    ],
    [
      {
        allOf: [
          { properties: { a: { minimum: 3 } } },
          { properties: { a: { maximum: 5 } }, required: ['a'] },
        ],
      },
      ['{"a":4}', '7'],
      ['{"a":2}', '{"a":6}', '{}'],
    ],
    [{ anyOf: [{ type: 'null' }, { type: 'integer' }] }, ['null', '3'], ['"x"']],
    [
      { oneOf: [{ multipleOf: 3 }, { multipleOf: 5 }], type: 'integer' },
      ['3', '10'],
      ['15', '7', '0'],
    ],
    [
      {
        oneOf: [
          {
            type: 'object',
            properties: { k: { const: 'a' }, x: { type: 'integer' } },
            required: ['k', 'x'],
          },
          {
            type: 'object',
            properties: { k: { const: 'b' }, y: { type: 'string' } },
            required: ['k'],
          },
        ],
      },
      ['{"k":"a","x":1}', '{"k":"b"}', '{"k":"b","y":"","x":"x"}'],
      ['{"k":"a"}', '{"k":"b","y":1}', '{"k":"c"}'],
    ],
    [
      { type: 'object', oneOf: [{ required: ['a'] }, { required: ['b'] }] },
      ['{"a":1}'],
      ['{"a":1,"b":1}', '{}'],
    ],
    [{ not: { type: ['string', 'object'] } }, ['1', '[]'], ['"x"', '{}']],
    [{ type: 'string', not: { enum: ['a', 'b'] } }, ['"c"', '""', '"ab"'], ['"a"', '"\\u0061"']],
    [{ type: 'object', not: { required: ['a'] } }, ['{}', '{"b":1}'], ['{"a":1}', '{"b":1,"a":1}']],
    [
      { type: 'object', not: { additionalProperties: { type: 'null' } } },
      ['{"a":1}'],
      ['{}', '{"a":null}'],
    ],
    [{ type: 'integer', not: { minimum: 0, multipleOf: 2 } }, ['-2', '1', '3'], ['0', '4']],
    [{ not: { not: { const: 3 } } }, ['3'], ['4']],
    [{ not: { type: 'null', pattern: 'a' } }, ['"b"', '"a"'], ['null', '"a","b"']],
  ]);

  check('if, then, else', [
    [
      {
        type: 'object',
        properties: { kind: { enum: ['x', 'y'] }, n: {} },
        required: ['kind'],
        if: { properties: { kind: { const: 'x' } } },
        // biome-ignore lint/suspicious/noThenProperty: the name of the keyword
        then: { required: ['n'] },
        else: { properties: { n: { type: 'null' } } },
      },
      ['{"kind":"x","n":1}', '{"kind":"y"}', '{"kind":"y","n":null}'],
      ['{"kind":"x"}', '{"kind":"y","n":1}'],
    ],
  ]);

  check('references', [
    [
      {
        $ref: '#/$defs/tree',
        $defs: { tree: { type: 'object', properties: { next: { $ref: '#/$defs/tree' } } } },
      },
      ['{}', '{"next":{"next":{}}}'],
      ['{"next":1}', '{"next":{"next":1}}'],
    ],
    [{ $defs: { 'a/b%': { type: 'null' } }, $ref: '#/$defs/a~1b%25' }, ['null'], ['1']],
    [
      { $id: 'http://x.y/z', $defs: { n: { $anchor: 'n', type: 'null' } }, $ref: '#n' },
      ['null'],
      ['1'],
    ],
    [{ $defs: { n: { type: 'integer' } }, $ref: '#/$defs/n', minimum: 3 }, ['3'], ['2', '"x"']],
    [
      {
        $schema: 'http://json-schema.org/draft-07/schema#',
        definitions: { n: { type: 'integer' } },
        allOf: [{ $ref: '#/definitions/n', minimum: 3 }],
      },
      ['3', '2'],
      ['"x"'],
    ],
    [
      {
        type: 'object',
        properties: { v: {}, kids: { type: 'array', items: { $ref: '#' } } },
        additionalProperties: false,
      },
      ['{"v":1,"kids":[{"v":2},{"kids":[]}]}'],
      ['{"kids":[1]}', '{"x":1}'],
    ],
  ]);
});
