import { describe, expect, it } from 'vitest';
import { GrammarBuilder } from '../../lib/grammar/grammar.js';
import { anyJson } from '../../lib/grammar/notation.js';
import { ByteMatcher } from '../support/byte-matcher.js';

function matcher(kind: 'value' | 'object' | 'array'): ByteMatcher {
  const builder = new GrammarBuilder();
  builder.start(anyJson(builder)[kind]);
  return new ByteMatcher(builder.build());
}

describe('any JSON', () => {
  const values = [
    'null',
    '-1.5e3',
    '"\\u0000\\ud83d\\ude00"',
    '{"a":{"":[true,[]]}}',
    '[ {}, "x" ]',
  ];
  const wrong = ['', 'nul', '[1', '{"a"}', '{1:2}', '"\\x"', '"\\udc00"', '1 2', '[,]', '{"a":1,}'];

  it('values', () => {
    const any = matcher('value');
    expect(values.filter((text) => !any.accepts(text))).toEqual([]);
    expect(wrong.filter((text) => any.accepts(text))).toEqual([]);
  });

  it('objects and arrays only', () => {
    const [object, array] = [matcher('object'), matcher('array')];
    expect(values.map((text) => object.accepts(text))).toEqual([false, false, false, true, false]);
    expect(values.map((text) => array.accepts(text))).toEqual([false, false, false, false, true]);
  });

  it('deep nesting', () => {
    const depth = 500;
    const text = `${'['.repeat(depth)}1${']'.repeat(depth)}`;
    expect(matcher('value').accepts(text)).toBe(true);
    expect(matcher('value').accepts(text.slice(1))).toBe(false);
  });
});
