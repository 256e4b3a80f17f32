import { describe, expect, it } from 'vitest';
import { Tokenizer } from '../../lib/text/tokenizer.js';
import { checkTokenizerShape, type TokenizerShape } from '../../lib/text/tokenizer-shape.js';
import { FIXTURES, readJson } from './support.js';

const split = (Regex: string) => ({ type: 'Split', pattern: { Regex } });
const replace = (text: string, content: string) => ({
  ...{ type: 'Replace', pattern: { String: text }, content },
});
const template = (single: unknown[], special_tokens: object) => ({
  ...{ type: 'TemplateProcessing', single, pair: [], special_tokens },
});

describe('a tokenizer.json that would end the process', () => {
  it.each<[string, TokenizerShape, RegExp]>([
    ['a slow split', { pre_tokenizer: split('(a+)+$') }, /pre_tokenizer "Split".*very long/],
    ['a replaced nothing', { normalizer: replace('', 'b') }, /normalizer "Replace".*empty/],
    ['a pattern of nothing', { decoder: { ...split('a*'), type: 'Replace' } }, /match nothing/],
    [
      'growth',
      { normalizer: { type: 'Sequence', normalizers: Array(5).fill(replace('a', 'aa')) } },
      /32 times/,
    ],
    ['a long prefix', { normalizer: { type: 'Prepend', prepend: 'x'.repeat(1e6) } }, /1000000/],
    [
      'a damaged charsmap',
      { normalizer: { type: 'Precompiled', precompiled_charsmap: '' } },
      /charsmap/,
    ],
    [
      'a cut from the end',
      { decoder: { type: 'Strip', content: 'a', start: 0, stop: 1 } },
      /Strip/,
    ],
    ['words of length 0', { pre_tokenizer: { type: 'FixedLength', length: 0 } }, /FixedLength/],
    [
      'an unknown token',
      { post_processor: template([{ SpecialToken: { id: '[X]' } }], {}) },
      /\[X\]/,
    ],
    [
      'a thousand tokens more',
      {
        post_processor: template([{ SpecialToken: { id: 'x' } }], {
          x: { ids: Array(1001).fill(1) },
        }),
      },
      /1001 tokens/,
    ],
    ['a prefix of words', { model: { type: 'BPE', continuing_subword_prefix: '##' } }, /##/],
    ['a part of another kind', { decoder: { type: 'Sequence', decoders: [5] } }, /5 for a part/],
    ['a part without type', { decoder: { content: 'a', start: 0, stop: 9 } }, /without a type/],
    [
      'many parts',
      { decoder: { type: 'Sequence', decoders: Array(65).fill({ type: 'Fuse' }) } },
      /64/,
    ],
  ])('%s is refused, naming the part', (_, shape, why) => {
    expect(() => checkTokenizerShape(shape)).toThrow(why);
  });

  it('is ERR_TOKENIZER, also where a member stands twice or a token is endless', () => {
    const json = readJson<Record<string, unknown>>(`${FIXTURES}hf-320.json`);
    const text = JSON.stringify({ ...json, decoder: { type: 'Fuse' } });
    const bad = '{"type":"Strip","content":"a","start":0,"stop":9}';
    const twice = text.replace(/}$/, `,"decoder":${bad}}`);
    expect(() => Tokenizer.fromJson(text)).not.toThrow();
    expect(() => Tokenizer.fromJson(twice)).toThrow(
      expect.objectContaining({ code: 'ERR_TOKENIZER', message: expect.stringContaining('Strip') }),
    );
    const long = text.replace('"vocab":{', `"vocab":{"${'x'.repeat(1e6)}":319,`);
    expect(() => Tokenizer.fromJson(long)).toThrow(
      expect.objectContaining({
        code: 'ERR_TOKENIZER',
        message: expect.stringContaining('1000000'),
      }),
    );
  });
});

it('what known tokenizers have passes', () => {
  const normalizers = [{ type: 'Prepend', prepend: '\u2581' }, replace(' ', '\u2581')];
  const decoders = [
    ...[replace('\u2581', ' '), { type: 'ByteFallback' }, { type: 'Fuse' }],
    { type: 'Strip', content: ' ', start: 1, stop: 0 },
  ];
  const bos = { id: '<s>', ids: [1], tokens: ['<s>'] };
  const single = [
    { SpecialToken: { id: '<s>', type_id: 0 } },
    { Sequence: { id: 'A', type_id: 0 } },
  ];
  const shape = {
    normalizer: { type: 'Sequence', normalizers },
    pre_tokenizer: null,
    post_processor: template(single, { '<s>': bos }),
    decoder: { type: 'Sequence', decoders },
    model: { continuing_subword_prefix: '', type: 'BPE' },
  };
  expect(() => checkTokenizerShape(shape)).not.toThrow();
});
