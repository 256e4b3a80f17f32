import { describe, expect, it } from 'vitest';
import { compileSpec, type GrammarSpec, type SpecLimits } from '../../lib/grammar/index.js';
import { accepts, pieces } from '../support/reference-matcher.js';

const made = (spec: GrammarSpec, limits?: SpecLimits) => compileSpec(spec, limits).grammar;

describe('a spec', () => {
  it('is of one constraint', () => {
    expect(() => made({})).toThrow(/has none/);
    expect(() => made({ regex: 'a', choice: ['a'] })).toThrow(/has regex and choice/);
    expect(() => made({ jsonObject: false })).toThrow(/only be true/);
  });

  it('of a regex is the whole text, with flags as a literal', () => {
    expect(accepts(made({ regex: 'a+|b' }), 'aa')).toBe(true);
    expect(accepts(made({ regex: 'a+|b' }), 'ab')).toBe(false);
    expect(accepts(made({ regex: '/a+/i' }), 'aA')).toBe(true);
    expect(accepts(made({ regex: '/a+/' }), '/a/')).toBe(true);
  });

  it('of a choice is one of its texts', () => {
    const grammar = made({ choice: ['yes', 'no', 'né', 'yes!'] });
    for (const text of ['yes', 'no', 'né', 'yes!']) expect(accepts(grammar, text)).toBe(true);
    for (const text of ['', 'ye', 'yesno', 'n']) expect(accepts(grammar, text)).toBe(false);
    expect(() => made({ choice: [] })).toThrow(/choice is empty/);
    expect(() => made({ choice: ['long'] }, { maxEnumBytes: 3 })).toThrow(/4 bytes of text, 3/);
    expect(accepts(made({ choice: [''] }), '')).toBe(true);
  });

  it('of a grammar may name tokens where their ids are known', () => {
    const tokenIds = (text: string) => (text === '<|x|>' ? 5 : undefined);
    const grammar = made({ grammar: 'root ::= <|x|> "a"' }, { tokenIds });
    expect(accepts(grammar, pieces({ token: 5 }, 'a'))).toBe(true);
    expect(() => made({ grammar: 'root ::= <|y|>' }, { tokenIds })).toThrow(/<\|y\|>/);
    expect(() => made({ grammar: 'root ::= <|x|>' })).toThrow(/<\|x\|>/);
  });

  it('may not be too long', () => {
    const limits = { maxSchemaBytes: 10 };
    expect(() => made({ regex: 'é'.repeat(6) }, limits)).toThrow(/12 bytes, 10/);
    expect(() => made({ grammar: 'root ::= "a"' }, limits)).toThrow(/12 bytes, 10/);
    expect(() => made({ json: '{"type": "null"}' }, limits)).toThrow(/16 bytes, 10/);
    const tag = { type: 'any_text' };
    for (const structuralTag of [tag, JSON.stringify(tag)]) {
      expect(() => made({ structuralTag }, limits)).toThrow(/structural tag has 19 bytes, 10/);
      expect(accepts(made({ structuralTag }, { maxSchemaBytes: 19 }), 'a')).toBe(true);
    }
    const many = { choice: ['', '', ''] };
    expect(() => made(many, { maxEnumBytes: 2 })).toThrow(/3 texts, 2/);
  });

  it('of JSON is read from its text, too', () => {
    expect(() => made({ json: '{"type": ' })).toThrow(/no JSON/);
    for (const json of [{ type: 'boolean' }, '{"type":"boolean"}']) {
      expect(accepts(made({ json }), 'true')).toBe(true);
      expect(accepts(made({ json }), '"true"')).toBe(false);
    }
  });

  it('of any JSON object is one', () => {
    const grammar = made({ jsonObject: true, disableAnyWhitespace: true });
    for (const text of ['{}', '{"a":[1,{"b":null}]}']) expect(accepts(grammar, text)).toBe(true);
    for (const text of ['[]', '1', '{"a":}', '{ }']) expect(accepts(grammar, text)).toBe(false);
  });
});
