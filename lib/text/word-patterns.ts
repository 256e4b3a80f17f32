/**
 * The regular expressions (Oniguruma) by which byte-level tokenizers cut a text into words. They
 * stand here in parts, because families differ in little: how many digits, what a word begins with.
 */

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const SPACES = '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
/** What may stand before the letters of a word: a space, a bracket, not a digit. */
const LEAD = '[^\\r\\n\\p{L}\\p{N}]?';

/** Digits, up to three or alone, cut off before anything else. */
export const THREE_DIGITS = '\\p{N}{1,3}';
export const DIGIT = '\\p{N}';

/** GPT-2's: words with the space before them, digits in runs. */
export const GPT2 =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** cl100k's shape, with the digits in a word as `digits` says; `marks`: in words, as letters. */
export function cl100k(digits: string, marks = ''): string {
  const letters = marks === '' ? '\\p{L}' : `[\\p{L}${marks}]`;
  const symbols = `[^\\s\\p{L}${marks}\\p{N}]`;
  return `${CONTRACTIONS}|${LEAD}${letters}+|${digits}| ?${symbols}+[\\r\\n]*|${SPACES}`;
}

/** As cl100k's, but line ends stay out of runs of symbols, or follow them one by one. */
export const SEED = `${CONTRACTIONS}|${LEAD}\\p{L}+|${DIGIT}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|${SPACES}`;
export const LING =
  `'(?i:[sdmt]|ll|ve|re)|${LEAD}\\p{L}+|${DIGIT}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|` +
  '\\s*[\\r\\n]|\\s+(?!\\S)|\\s+';

interface Cased {
  readonly digits: string;
  /** Endings like 's stay with their word. */
  readonly contractions: boolean;
  /** What runs of symbols take with them, a class. */
  readonly ends: string;
  /** Chinese characters are words of their own, not letters. */
  readonly han?: boolean;
}

/** o200k's shape: words also break where lower case turns to upper case. */
export function o200k({ digits, contractions, ends, han = false }: Cased): string {
  const without = han ? '&&[^\\p{Han}]' : '';
  const upper = `[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}${without}]`;
  const lower = `[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}${without}]`;
  const tail = contractions ? `${CONTRACTIONS}?` : '';
  const words = `${LEAD}${upper}*${lower}+${tail}|${LEAD}${upper}+${lower}*${tail}`;
  const first = han ? '\\p{Han}+|' : '';
  return `${first}${words}|${digits}| ?[^\\s\\p{L}\\p{N}]+${ends}*|${SPACES}`;
}

const ASCII_SYMBOLS = '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]';

/** DeepSeek's third: digits by three, then Chinese and Japanese, then words. */
export const DEEPSEEK3 = [
  THREE_DIGITS,
  '[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+',
  `${ASCII_SYMBOLS}[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|` +
    ` ?[\\p{P}\\p{S}]+[\\r\\n]*|${SPACES}`,
];

/** Chinese, and whatever lies between it and the Hangul, as DeepSeek's first two have it. */
const CJK = '[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+';

export const DEEPSEEK_CODER = ['[\\r\\n]', '\\s?\\p{L}+', '\\s?\\p{P}+', CJK, DIGIT];

/** Letters that have a case, as its first has them, written out. */
const CASED = [
  'A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293',
  '\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c',
  '\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5',
  '\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77',
  '\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59',
  '\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc',
  '\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107',
  '\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139',
  '\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee',
  '\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e',
  '\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\u{10400}-\u{1044f}',
  '\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}',
  '\u{118a0}-\u{118df}\u{1e900}-\u{1e943}',
].join('');
const WIDE_SYMBOLS = '!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002';

/** Spaces at the end of a part; looked for from the first of them only: runs cost little. */
const LAST_SPACES = '(?<!\\s)\\s++$';

export const DEEPSEEK_LLM = [
  ...['[\\r\\n]', `\\s?[${CASED}]+`, `\\s?[${WIDE_SYMBOLS}]+`, LAST_SPACES, CJK, '\\p{N}+'],
];

/** Punctuation in runs, then GPT-2's words, then digits by three. */
export const FALCON = ['[\\p{P}$+<=>^~|`]+', GPT2, '[0-9][0-9][0-9]'];

/** A word with its space, up to whitespace or punctuation of several scripts. */
export const BLOOM = ' ?[^(\\s|.,!?…。，、।۔،)]+';

/** cl100k's, but runs of spaces in powers of two. */
export const JAIS2 = cl100k(THREE_DIGITS).replace(
  '\\s+(?!\\S)|\\s+',
  [...[512, 256, 128, 64, 32, 16, 8, 4, '1,2'].map((n) => `\\s{${n}}(?!\\S)`), '\\s{1}'].join('|'),
);

/** cl100k's without its contractions: endings in Turkish follow an apostrophe. */
export const UFAKZEKA = cl100k(DIGIT).replace(`${CONTRACTIONS}|`, '');

/** Words go on over single spaces. */
export const EXAONE_MOE =
  `${CONTRACTIONS}|${LEAD}\\p{L}(?:[\\p{L}\\p{M}]| \\p{L})*+|${DIGIT}|` +
  ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+';

/** Lines and the ends between them apart, then cl100k's. */
export const LAGUNA = ['[^\\n]+|[\\n]+', cl100k(DIGIT)];

/** As DeepSeek's third, but line ends one by one and digits alone. */
export const SPARK = [
  ...DEEPSEEK3.slice(0, 2),
  DEEPSEEK3[2]
    .replace('[\\p{P}\\p{S}]+[\\r\\n]*', '[\\p{P}\\p{S}]+')
    .replace('\\s*[\\r\\n]+', '[\\r\\n]'),
  DIGIT,
];

export const CHAMELEON = [
  '<sentinel:[0-9]+>',
  'IMGIMG[A-I]{1,4}Z',
  '[\\t\\n]| {4}| {2}',
  DIGIT,
  '[\\p{P}!-/:-@\\[-`{-~]',
  GPT2,
];

/** Korean, punctuation, Bopomofo, Chinese and Japanese apart, then o200k's. */
export const YOUTU = [
  '[\uac00-\ud7a3\u3131-\u318e]+|' +
    '[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+|' +
    '[\u3105-\u312f]+|[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+',
  o200k({ digits: DIGIT, contractions: true, ends: '[\\r\\n/]' }),
];

/**
 * Digits by three from the right where no letter follows, then o200k's. The first is
 * `\\d{1,3}(?=(?:\\d{3})*\\b)`, in linear time: whole numbers, what stands before their threes,
 * their threes. (The last also cuts numbers before a letter, where o200k's would cut them, too.)
 */
export const TINY_AYA = [
  '(?<!\\d)\\d++(?!\\w)',
  '\\A\\d{1,2}(?=(?:\\d{3})+\\z)',
  '\\G\\d{3}',
  o200k({ digits: THREE_DIGITS, contractions: true, ends: '[\\r\\n/]' }),
];
