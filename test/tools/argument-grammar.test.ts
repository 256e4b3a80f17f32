/** What the grammar of a call takes of arguments, in the styles that are not JSON. */
import { describe, expect, it } from 'vitest';
import { answerGrammar } from '../../lib/tools/answer-grammar.js';
import { checkTools } from '../../lib/tools/definitions.js';
import { accepts } from '../support/reference-matcher.js';
import { FAMILIES } from '../support/tool-families.js';
import { piecesOf, type Subject, subject, writtenBy } from './support.js';

type Json = Record<string, unknown>;

const styles = (['glm47', 'deepseek_v32', 'gemma4', 'lfm2'] as const).map(
  (name) => [name, subject(FAMILIES[name].source)] as const,
);
const named = (calls: string) => subject(FAMILIES.hermes.source, { calls });

function built({ marked, marks }: Subject, parameters: Json, strict = true) {
  const tool = { type: 'function', function: { name: 'f', parameters, strict } } as const;
  const tools = checkTools({ tools: [tool], toolChoice: { name: 'f' } });
  return answerGrammar({ format: marked, marks, tools, beginning: 'reasoned', limits: {} });
}

/** Whether a call, as its text, is taken. */
function takes(own: Subject, parameters: Json, text: string, strict = true): boolean {
  return accepts(built(own, parameters, strict).grammar, piecesOf(own.marks.mark(text), own.marks));
}

/** A call as the template writes it. */
function called(own: Subject, args: Json): string {
  const { text } = writtenBy(own, [], { content: '', calls: [{ name: 'f', args }] });
  return Array.from(text, (char) => own.marks.spell(char) || char).join('');
}

function refusal(own: Subject, parameters: Json): object {
  try {
    built(own, parameters);
  } catch (error) {
    const { code, param, pointer } = error as Record<string, unknown>;
    return { code, param, pointer };
  }
  return {};
}

const of = (a: unknown, more: Json = {}): Json => ({
  type: 'object',
  properties: { a },
  additionalProperties: false,
  ...more,
});
const both = (more: Json): Json => ({
  type: 'object',
  properties: { a: { type: 'string' }, b: { type: 'integer' } },
  additionalProperties: false,
  ...more,
});

const KEYWORDS: readonly (readonly [schema: Json, valid: Json[], invalid: Json[]])[] = [
  [of({ type: 'string', format: 'date' }), [{ a: '2020-02-29' }], [{ a: '2021-02-29' }]],
  [
    of({ type: 'string', minLength: 2, pattern: '^[xy]+$' }),
    [{ a: 'xy' }],
    [{ a: 'x' }, { a: 'ab' }],
  ],
  [
    of({ anyOf: [{ enum: ['x', 'y'] }, { type: 'null' }] }),
    [{ a: 'x' }, { a: null }],
    [{ a: 'z' }, { a: 1 }],
  ],
  [of({ allOf: [{ enum: ['x', 'y'] }, { not: { const: 'y' } }] }), [{ a: 'x' }], [{ a: 'y' }]],
  [of({ oneOf: [{ type: 'string' }, { const: 'y' }] }), [{ a: 'x' }], [{ a: 'y' }]],
  [
    of({ type: 'integer', minimum: 3, multipleOf: 2 }),
    [{ a: 4 }],
    [{ a: 2 }, { a: 5 }, { a: 4.5 }],
  ],
  [
    of({ type: 'array', items: { type: 'string', maxLength: 1 }, minItems: 1 }),
    [{ a: ['x'] }],
    [{ a: [] }, { a: ['xy'] }, { a: [1] }],
  ],
  [
    of({
      type: 'object',
      properties: { b: { format: 'uuid' } },
      additionalProperties: { type: 'null' },
    }),
    [{ a: { c: null } }, { a: {} }],
    [{ a: { b: 'x' } }, { a: { c: 1 } }],
  ],
  [of({ type: 'boolean' }, { required: ['a'] }), [{ a: true }, { a: false }], [{}, { a: 1 }]],
  [both({ dependentRequired: { a: ['b'] } }), [{ a: 'x', b: 1 }, { b: 1 }, {}], [{ a: 'x' }]],
  [both({ if: { required: ['a'] }, else: { required: ['b'] } }), [{ a: 'x' }, { b: 1 }], [{}]],
  [both({ minProperties: 2 }), [{ a: 'x', b: 1 }], [{ a: 'x' }]],
  [
    both({ anyOf: [{ required: ['a'] }, { properties: { b: { const: 3 } } }] }),
    [{ b: 3 }],
    [{ b: 1 }],
  ],
  [
    {
      type: 'object',
      patternProperties: { '^n': { type: 'integer' } },
      additionalProperties: false,
    },
    [{ n1: 1, n2: 2 }, {}],
    [{ n1: 'x' }, { m: 1 }],
  ],
  [
    { type: 'object', propertyNames: { maxLength: 2 }, maxProperties: 2 },
    [{ xy: 1, z: 'x' }],
    [{ xyz: 1 }],
  ],
  [{ type: 'object' }, [{}, { x: 'y', 'user-id': [1, { z: null }] }], []],
  [
    { type: 'object', additionalProperties: { type: 'number' } },
    [{ x: 1.5 }],
    [{ x: 'y' }, { x: null }],
  ],
  [
    { $ref: '#/$defs/t', $defs: { t: of({ type: 'array', items: { $ref: '#/$defs/t' } }) } },
    [{ a: [{ a: [] }, {}] }],
    [{ a: [{ b: [] }] }],
  ],
];

describe.each(styles)('%s', (_, own) => {
  it.each(KEYWORDS)('%j', (schema, valid, invalid) => {
    const wrong = (args: Json[], wanted: boolean) =>
      args.map((one) => called(own, one)).filter((text) => takes(own, schema, text) !== wanted);
    expect({ refused: wrong(valid, true), taken: wrong(invalid, false) }).toEqual({
      refused: [],
      taken: [],
    });
  });

  it('what no grammar can tell is refused by its place where strict, else left out', () => {
    const schema = of({ type: 'string', pattern: '^(?=b)b$', maxLength: 1 });
    expect(refusal(own, schema)).toEqual({
      code: 'ERR_GRAMMAR',
      param: 'tools[0].function.parameters',
      pointer: '/properties/a/pattern',
    });
    const { warnings } = built(own, schema, false);
    expect(warnings).toEqual([expect.stringMatching(/^tools\[0].*\/properties\/a\/pattern /)]);
    expect(takes(own, schema, called(own, { a: 'c' }), false)).toBe(true);
    expect(takes(own, schema, called(own, { a: 'cc' }), false)).toBe(false);
  });
});

describe('names that a style cannot spell', () => {
  const STYLES = [
    ['glm47', ['a<b', 'a"b', 'a\nb']],
    ['qwen3_coder', ['a>b', 'x'.repeat(300)]],
    ['gemma4', ['a:b', '{', ' a', 'a\t', 'x'.repeat(300)]],
    ['pythonic', ['two words', '', 'a=b', "it's"]],
  ] as const;

  it.each(STYLES)('%s: %j', (calls, names) => {
    const own = named(calls);
    for (const name of names) {
      const schema = { type: 'object', properties: { ok: {}, [name]: { type: 'integer' } } };
      const pointer = `/properties/${name}`;
      expect(refusal(own, schema)).toMatchObject({ code: 'ERR_GRAMMAR', pointer });
      const { warnings } = built(own, { ...schema, required: [name] }, false);
      expect(warnings).toEqual([expect.stringContaining(`${pointer} is left out`)]);
      expect(() => built(own, { ...schema, properties: { [name]: false } })).not.toThrow();
    }
  });

  it('are told by their place within', () => {
    const inner = { type: 'object', properties: { 'a:b': true } };
    const pointer = '/properties/x/items/properties/a:b';
    const schema = { type: 'object', properties: { x: { items: inner } } };
    expect(refusal(named('gemma4'), schema)).toMatchObject({ pointer });
    expect(refusal(named('glm47'), schema)).toEqual({});
  });

  it.each([
    ['pythonic', '[f(user-id=1, a.b=2, $c=3, größe=4)]'],
    ['gemma4', '<|tool_call>call:f{a b:1,größe:2,user-id:3}<tool_call|>'],
    ['glm47', '<tool_call>f<arg_key>a b/c=$größe</arg_key><arg_value>1</arg_value></tool_call>'],
  ])('%s spells others', (calls, text) => {
    expect(
      takes(named(calls), { type: 'object', additionalProperties: { type: 'integer' } }, text),
    ).toBe(true);
  });
});

describe('texts beside other values, between tags', () => {
  const own = named('glm47');
  const value = (schema: unknown, text: string) =>
    takes(
      own,
      of(schema),
      `<tool_call>f<arg_key>a</arg_key><arg_value>${text}</arg_value></tool_call>`,
    );

  it.each([
    // What reads as a value that the schema does not allow is not written as a text either.
    [
      { type: ['string', 'integer'], minimum: 10 },
      ['10', '1x', '-', '1e', '01', ''],
      ['9', ' 9 ', '9.0', '1e1', '-3'],
    ],
    [
      { anyOf: [{ type: 'string' }, { const: true }] },
      ['true', 'True', 'no', 'falsely'],
      ['false', 'False\n'],
    ],
    [
      { anyOf: [{ type: 'string' }, { type: 'object', required: ['x'] }] },
      ['{"x": 1}', 'x{'],
      ['{}', '{x', ' {'],
    ],
    [
      { anyOf: [{ type: 'string' }, { type: 'array', maxItems: 0 }] },
      ['[]', 'x'],
      ['[1]', '[x](y)'],
    ],
    [{ type: ['string', 'null'] }, ['null', 'None', 'x', '{', '1'], []],
    [{ type: ['boolean', 'null'] }, ['true', 'False', 'None'], ['x', '']],
    [{}, ['1', 'x', '{x', '["'], []],
    [{ type: 'string' }, ['1', 'true', '{}', 'a\nb', '<b>'], ['</arg_value>', 'x</arg_value>y']],
    [{ type: 'object' }, ['{"x": "</arg_value>"}'], []],
    // Up to the first marker is read what might be a text.
    [{ type: ['object', 'string'] }, ['{"x": "<"}', 'x'], ['{"x": "</arg_value>"}']],
  ])('%j', (schema, taken, refused) => {
    expect(taken.filter((text) => !value(schema, text))).toEqual([]);
    expect(refused.filter((text) => value(schema, text))).toEqual([]);
  });

  it('also of names that only a part of the schema knows', () => {
    const parts = [
      { properties: { a: { type: 'string' } }, required: ['a'], additionalProperties: false },
      { properties: { b: {} }, required: ['b'], additionalProperties: { type: 'integer' } },
    ];
    const call = (list: Json) =>
      Object.entries(list)
        .map(([k, v]) => `<arg_key>${k}</arg_key><arg_value>${v}</arg_value>`)
        .join('');
    const valid = (schema: Json, list: Json, strict = true) =>
      takes(own, schema, `<tool_call>f${call(list)}</tool_call>`, strict);
    const schema = { type: 'object', anyOf: parts };
    expect(valid(schema, { a: 'x' })).toBe(true);
    expect(valid(schema, { b: 'x', a: 1, c: 2 })).toBe(true);
    expect(valid(schema, { b: 'x', a: 'y' })).toBe(false);
    // It would be read as a number, which this part does not allow.
    expect(valid(schema, { a: '1' })).toBe(false);
    // Where nothing of a schema is enforced, its names are still read by their types.
    const broken = {
      type: 'object',
      properties: { a: { type: 'string' }, b: { type: 'integer' } },
      allOf: 3,
    };
    expect(valid(broken, { a: 'x', b: 1, c: 'x' }, false)).toBe(true);
  });

  it('none where what stands around them tells their type', () => {
    const kimi = named('kimi_k3');
    const open = '<|open|>tools<|sep|><|open|>call tool="f" index="0"<|sep|>';
    const close = '<|close|>call<|sep|><|close|>tools<|sep|>';
    const a = (type: string, text: string) =>
      `${open}<|open|>argument key="a" type="${type}"<|sep|>${text}<|close|>argument<|sep|>${close}`;
    const schema = of({ type: ['string', 'integer'], minimum: 10 });
    expect(takes(kimi, schema, a('string', '9'))).toBe(true);
    expect(takes(kimi, schema, a('number', '9'))).toBe(false);
    expect(takes(kimi, schema, a('number', '10'))).toBe(true);
    expect(takes(kimi, schema, a('boolean', 'true'))).toBe(false);
  });
});

describe('Python', () => {
  const own = named('pythonic');
  const value = (schema: unknown, text: string) => takes(own, of(schema), `[f(a=${text})]`);

  it.each([
    [
      { type: 'string' },
      [`'x'`, `"x"`, `"it's"`, `'it\\'s'`, `'"'`, `'\\x41\\n\\u00e9'`],
      [`'it's'`, `"""`, 'x', `'\\q'`],
    ],
    [
      { enum: [`it's`, `"`] },
      [`"it's"`, `'it\\'s'`, `"it\\'s"`, `'"'`, `"\\""`],
      [`'its'`, `"it"s"`],
    ],
    [{ type: 'string', maxLength: 1 }, [`'"'`, `"\\'"`, `'\\x0a'`, `'\\n'`], [`"it"`, `'\\'x'`]],
    [
      { const: { b: [true, null] } },
      [`{'b': [True, None]}`, `{"b":[true, null]}`],
      [`{b: [True, None]}`, `{'b': [False, None]}`],
    ],
    [
      { type: 'object', propertyNames: { enum: [`q's`] } },
      [`{"q's": 1}`, `{'q\\'s': 'x'}`, '{}'],
      [`{'qs': 1}`],
    ],
    [{ type: 'number' }, ['1.5', '-2'], [`'1'`, 'True']],
  ])('%j', (schema, taken, refused) => {
    expect(taken.filter((text) => !value(schema, text))).toEqual([]);
    expect(refused.filter((text) => value(schema, text))).toEqual([]);
  });
});

describe('quotes of Gemma', () => {
  const schema = of({ type: 'string', maxLength: 8 });

  it('that are tokens may be spelled in texts, others not', () => {
    const gemma = named('gemma4');
    const call = '<|tool_call>call:f{a:<|"|>x<|"|>}<tool_call|>';
    const [before, after] = gemma.marks.mark(call).split('x');
    const { grammar } = built(gemma, schema);
    expect(accepts(grammar, piecesOf(gemma.marks.mark(call), gemma.marks))).toBe(true);
    const spelled = [...piecesOf(before, gemma.marks), ...piecesOf('<|"|>', gemma.marks)];
    expect(accepts(grammar, [...spelled, ...piecesOf(after, gemma.marks)])).toBe(true);
    const wrapped = (text: string) =>
      `<start_function_call>call:f{a:<escape>${text}<escape>}<end_function_call>`;
    const escapes = named('functiongemma');
    expect(takes(escapes, schema, wrapped('<escap'))).toBe(true);
    expect(takes(escapes, of({ type: 'string' }), wrapped('<escape>'))).toBe(false);
  });

  it('properties come sorted, others anywhere', () => {
    const gemma = named('gemma4');
    const open = both({ additionalProperties: { type: 'null' }, required: ['a'] });
    const call = (inner: string) => takes(gemma, open, `<|tool_call>call:f{${inner}}<tool_call|>`);
    const q = '<|"|>';
    expect(call(`a:${q}${q},b:1`)).toBe(true);
    expect(call(`_:null,a:${q}${q},aa:null,b:1,c:null`)).toBe(true);
    expect(call(`_:null,a:${q}${q}`)).toBe(true);
    expect(call(`b:1,a:${q}${q}`)).toBe(false);
    expect(call(`_:null,b:1`)).toBe(false);
    expect(call(`a:${q}${q},b:null`)).toBe(false);
  });
});
