import { Tokenizer as Library } from 'tokenizers';
import { describe, expect, it } from 'vitest';
import { PRE_TOKENIZERS, preTokenizer } from '../../lib/text/pre-tokenizers.js';
import { patternFault } from '../../lib/text/regex-cost.js';
import { DEEPSEEK_LLM, EXAONE_MOE, TINY_AYA } from '../../lib/text/word-patterns.js';
import { SEED } from '../support/seed.js';
import { random } from './support.js';

/** What isolating each pattern in turn makes of a text. */
function cut(patterns: readonly string[], text: string): string[] {
  const pretokenizers = patterns.map((pattern) => ({
    type: 'Split',
    pattern: { Regex: pattern },
    behavior: 'Isolated',
    invert: false,
  }));
  const json = JSON.stringify({
    version: '1.0',
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: 'Sequence', pretokenizers },
    post_processor: null,
    decoder: null,
    model: { type: 'BPE', vocab: {}, merges: [] },
  });
  return Library.fromString(json)
    .getPreTokenizer()!
    .preTokenizeString(text)
    .map(([word]) => word);
}

describe('word patterns', () => {
  it.each(PRE_TOKENIZERS)('%s costs little whatever the text, and leaves all of it', (name) => {
    const { patterns } = preTokenizer(name);
    expect(patterns.map(patternFault)).toEqual(patterns.map(() => undefined));
    const text = " The whale's 12345\u00b2  ÉTÉ e\u0301 中文かな 안녕 \r\n\n\t x=1;//end\n  ";
    expect(cut(patterns, text).join('')).toBe(text);
  });

  // What a tokenizer.json says, of which the one here is a quicker form.
  it.each([
    [
      'spaces at the end, as DeepSeek has them',
      DEEPSEEK_LLM,
      DEEPSEEK_LLM.map((pattern) => (pattern.includes('(?<!') ? '\\s+$' : pattern)),
      [' ', ' ', '  ', '\n', '\t', '\u3000', '\u00a0', '\u2028', 'a', '中', '1', '.'],
    ],
    [
      'numbers by three from the right',
      TINY_AYA,
      ['\\d{1,3}(?=(?:\\d{3})*\\b)', ...TINY_AYA.slice(-1)],
      ['1', '2', '34', '567', '\u0663', '½', ' ', '  ', 'a', 'B', '_', '\u0301', '.', '\n', '中'],
    ],
    [
      'words over single spaces',
      [EXAONE_MOE],
      [
        EXAONE_MOE.replace(
          '\\p{L}(?:[\\p{L}\\p{M}]| \\p{L})*+',
          '(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+',
        ),
      ],
      [' ', '  ', 'a', 'b', 'É', '\u0301', '1', '.', '\n', "'s", '中'],
    ],
  ])('%s are those of a slower pattern', (_, quick, slow, parts) => {
    expect(slow).not.toEqual(quick);
    const next = random(SEED);
    const pick = () => parts[Math.floor(next() * parts.length)];
    for (let round = 0; round < 300; round++) {
      const text = Array.from({ length: 1 + Math.floor(next() * 12) }, pick).join('');
      expect(cut(quick, text), JSON.stringify(text)).toEqual(cut(slow, text));
    }
  });
});
