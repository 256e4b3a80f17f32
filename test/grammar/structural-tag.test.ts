import { describe, expect, it } from 'vitest';
import { GrammarBuilder } from '../../lib/grammar/grammar.js';
import { structuralTagToGrammar } from '../../lib/grammar/structural-tag.js';
import { ByteMatcher } from '../support/byte-matcher.js';
import { accepts, pieces } from '../support/reference-matcher.js';

const TOKENS = new Map([
  ['<|call|>', 7],
  ['<|end|>', 8],
]);

function grammar(tag: unknown) {
  const builder = new GrammarBuilder();
  const tokenIds = (text: string) => TOKENS.get(text);
  builder.start(structuralTagToGrammar(tag, { tokenIds }, builder));
  return builder.build();
}

function check(format: unknown, valid: readonly string[], invalid: readonly string[]): void {
  const matcher = new ByteMatcher(grammar({ type: 'structural_tag', format }));
  expect(valid.filter((text) => !matcher.accepts(text))).toEqual([]);
  expect(invalid.filter((text) => matcher.accepts(text))).toEqual([]);
}

const A = { type: 'const_string', value: 'a' };
const B = { type: 'const_string', value: 'b' };
const NUMBER = { type: 'json_schema', json_schema: { type: 'integer' } };
const call = (name: string) => ({ begin: `<f=${name}>`, content: NUMBER, end: '</f>' });

describe('formats', () => {
  it('simple ones', () => {
    check(A, ['a'], ['', 'b', 'aa']);
    check(NUMBER, ['12'], ['"x"']);
    check({ type: 'regex', pattern: '[ab]+' }, ['abba'], ['', 'c']);
    check({ type: 'regex', pattern: '[ab]+', excludes: ['bb'] }, ['aba'], ['abba']);
    check({ type: 'grammar', grammar: 'root ::= "x" root | "y"' }, ['xxy'], ['x']);
    check({ type: 'any_text', excludes: ['no'] }, ['', 'yes\n😀'], ['a no', 'no']);
    check({ type: 'sequence', elements: [A, B] }, ['ab'], ['a', 'ba']);
    check({ type: 'or', elements: [A, B] }, ['a', 'b'], ['ab']);
    check({ type: 'optional', content: A }, ['', 'a'], ['aa']);
    check({ type: 'repeat', content: A, min: 2, max: 3 }, ['aa', 'aaa'], ['a', 'aaaa']);
    check({ type: 'plus', content: { type: 'or', elements: [A, B] } }, ['ab'], ['']);
  });

  it('tags end at the first of their ends', () => {
    check({ type: 'tag', begin: '<t>', content: A, end: '</t>' }, ['<t>a</t>'], ['<t></t>', 'a']);
    const free = {
      type: 'tag',
      begin: '<t>',
      content: { type: 'any_text' },
      end: ['</t>', '</u>'],
    };
    check(free, ['<t></t>', '<t>x<</u>'], ['<t>x</t></t>', '<t>x</u> </t>', '<t>']);
    const inner = { type: 'sequence', elements: [{ type: 'any_text' }, A] };
    check({ type: 'tag', begin: '<', content: inner, end: '>' }, ['<a>', '<bba>'], ['<b>', '<>a>']);
  });

  it('triggered tags', () => {
    const format = { type: 'triggered_tags', triggers: ['<f='], tags: [call('x'), call('yy')] };
    check(
      format,
      ['', 'some text', 'so: <f=x>1</f> and <f=yy>2</f>.', '<f=x>1</f><f=x>2</f>', '<f'],
      ['<f=', '<f=z>1</f>', '<f=x>"a"</f>', 'a<f=x>1'],
    );
    check({ ...format, at_least_one: true }, ['<f=x>1</f>!'], ['', 'a', 'a<f=x>1</f>']);
    check({ ...format, stop_after_first: true }, ['a', 'a<f=x>1</f>'], ['<f=x>1</f>b']);
    const both = { ...format, at_least_one: true, stop_after_first: true };
    check(both, ['<f=x>1</f>'], ['<f=x>1</f><f=x>1</f>', '']);
  });

  it('tags with separator', () => {
    const format = { type: 'tags_with_separator', tags: [call('x'), call('y')], separator: ', ' };
    check(format, ['', '<f=x>1</f>', '<f=x>1</f>, <f=y>2</f>'], ['<f=x>1</f><f=y>2</f>', ', ']);
    check({ ...format, at_least_one: true, stop_after_first: true }, ['<f=y>1</f>'], ['']);
  });

  it('the older form', () => {
    const tag = {
      type: 'structural_tag',
      structures: [{ begin: '<f=x>', schema: { type: 'integer' }, end: '</f>' }],
      triggers: ['<f='],
    };
    const matcher = new ByteMatcher(grammar(JSON.stringify(tag)));
    expect(matcher.accepts('now <f=x>1</f>')).toBe(true);
    expect(matcher.accepts('now <f=x>"1"</f>')).toBe(false);
  });

  it('special tokens', () => {
    const token = (text: string) => ({ type: 'token', token: text });
    const tag = { begin: token('<|call|>'), content: NUMBER, end: token('<|end|>') };
    const format = { type: 'token_triggered_tags', trigger_tokens: ['<|call|>'], tags: [tag] };
    const made = grammar({ type: 'structural_tag', format });
    expect(accepts(made, pieces('hi', { token: 7 }, '12', { token: 8 }, '!'))).toBe(true);
    expect(accepts(made, pieces('hi'))).toBe(true);
    expect(accepts(made, pieces({ token: 7 }, 'x', { token: 8 }))).toBe(false);
    expect(accepts(made, pieces('<|call|>12<|end|>'))).toBe(true);
    expect(() => grammar({ format: token('<|no|>') })).toThrow(/no token/);
  });
});

describe('parameters between tags', () => {
  const json_schema = {
    type: 'object',
    properties: {
      city: { type: 'string', maxLength: 5 },
      days: { type: 'integer', minimum: 1 },
      more: { type: 'array', items: { type: 'string' } },
    },
    required: ['city'],
    additionalProperties: false,
  };

  it('qwen_xml', () => {
    check(
      { type: 'json_schema', style: 'qwen_xml', json_schema },
      [
        '<parameter=city>Oslo</parameter>',
        '<parameter=city>\n"a"\n</parameter>\n<parameter=days>\n3\n</parameter>\n',
        '<parameter=city></parameter><parameter=more>["x", "\\n"]</parameter>',
      ],
      [
        '<parameter=days>3</parameter>',
        '<parameter=city>Berlin</parameter>',
        '<parameter=city>a</parameter><parameter=days>0</parameter>',
        '<parameter=city>a</parameter><parameter=more>[x]</parameter>',
      ],
    );
  });

  it('glm_xml', () => {
    check(
      { type: 'json_schema', style: 'glm_xml', json_schema },
      [
        '<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>days</arg_key><arg_value>1</arg_value>',
      ],
      ['<arg_key>days</arg_key><arg_value>1</arg_value>', '<arg_key>city</arg_key><arg_value>x'],
    );
  });
});

describe('parameters that no list of properties tells', () => {
  const a = (text: string) => `<parameter=a>${text}</parameter>`;
  const b = (text: string) => `<parameter=b>${text}</parameter>`;
  const taken = (json_schema: object, valid: string[], invalid: string[]) =>
    check({ type: 'qwen_xml_parameter', json_schema }, valid, invalid);

  it('how many, which depend on which, and any others', () => {
    const properties = { a: { type: 'string' }, b: { type: 'integer' } };
    const closed = { type: 'object', properties, additionalProperties: false };
    taken({ ...closed, minProperties: 2 }, [a('x') + b('1')], ['', a('x'), b('1')]);
    taken({ ...closed, maxProperties: 1 }, ['', a('x'), b('1')], [a('x') + b('1')]);
    taken({ ...closed, dependentRequired: { a: ['b'] } }, [b('1'), a('x') + b('1')], [a('x')]);
    taken({ ...closed, anyOf: [{ required: ['a'] }, { required: ['b'] }] }, [a('x'), b('1')], ['']);
    taken(
      { type: 'object', properties, additionalProperties: { type: 'null' } },
      ['<parameter=c d>None</parameter>', `${a('x')}<parameter=c>null</parameter>`],
      [
        '<parameter=c>1</parameter>',
        `<parameter=c>null</parameter>${a('x')}`,
        '<parameter=>>null</parameter>',
      ],
    );
  });

  it('a name that ends its tag is refused', () => {
    const json_schema = { type: 'object', properties: { 'a>b': {} } };
    const pointer = '/format/json_schema/properties/a>b';
    expect(() => grammar({ format: { type: 'qwen_xml_parameter', json_schema } })).toThrow(
      expect.objectContaining({ code: 'ERR_GRAMMAR', pointer }),
    );
  });
});

describe('mistakes', () => {
  it.each([
    [{ format: { type: 'odd' } }, '/format'],
    [{ format: { type: 'const_string' } }, '/format/value'],
    [{ format: { type: 'sequence', elements: [A, 3] } }, '/format/elements/1'],
    [{ format: { type: 'json_schema', json_schema: { type: 'x' } } }, '/format/json_schema/type'],
    [{ format: { type: 'json_schema', style: 'odd' } }, '/format/style'],
    [
      {
        format: {
          type: 'triggered_tags',
          triggers: ['<'],
          tags: [{ begin: 'x', content: A, end: '' }],
        },
      },
      '/format/tags/0/begin',
    ],
    [3, ''],
    ['{', ''],
  ])('%j', (tag, pointer) => {
    expect(() => grammar(tag)).toThrow(expect.objectContaining({ code: 'ERR_GRAMMAR', pointer }));
  });

  it('in a type say which there are', () => {
    const known = /use one of const_string, json_schema, .*, tags_with_separator/;
    expect(() => grammar({ format: { type: 'no' } })).toThrow(/"no" is not known/);
    expect(() => grammar({ format: { type: 'no' } })).toThrow(known);
    expect(() => grammar({ format: {} })).toThrow(known);
  });
});
