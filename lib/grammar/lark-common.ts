/** Terminals that Lark grammars import from `common`, each as a regular expression. */
const INT = '[0-9]+';
const DECIMAL = '(?:[0-9]+\\.[0-9]*|\\.[0-9]+)';
const EXPONENT = '(?:[eE][+-]?[0-9]+)';
const FLOAT = `(?:${INT}${EXPONENT}|${DECIMAL}${EXPONENT}?)`;
const NUMBER = `(?:${FLOAT}|${INT})`;

export const LARK_COMMON: Readonly<Record<string, string>> = {
  DIGIT: '[0-9]',
  HEXDIGIT: '[0-9a-fA-F]',
  INT,
  SIGNED_INT: `[+-]?${INT}`,
  DECIMAL,
  _EXP: EXPONENT,
  FLOAT,
  SIGNED_FLOAT: `[+-]?${FLOAT}`,
  NUMBER,
  SIGNED_NUMBER: `[+-]?${NUMBER}`,
  ESCAPED_STRING: '"(?:[^"\\\\\\n]|\\\\[^\\n])*"',
  LCASE_LETTER: '[a-z]',
  UCASE_LETTER: '[A-Z]',
  LETTER: '[a-zA-Z]',
  WORD: '[a-zA-Z]+',
  CNAME: '[a-zA-Z_][a-zA-Z0-9_]*',
  WS_INLINE: '[ \\t]+',
  WS: '[ \\t\\f\\r\\n]+',
  CR: '\\r',
  LF: '\\n',
  NEWLINE: '(?:\\r?\\n)+',
  SH_COMMENT: '#[^\\n]*',
  SQL_COMMENT: '--[^\\n]*',
  CPP_COMMENT: '\\/\\/[^\\n]*',
  C_COMMENT: '\\/\\*(?:[^*]|\\*+[^*\\/])*\\*+\\/',
};
